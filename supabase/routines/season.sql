-- The recorded term: what every section was like, and each of its changes.

set check_function_bodies = off;  -- they name functions of other files

-- pmc_read_season: one page of a term's sections (default: the term of the latest event) in the order of their
-- numbers after `p_after`, each with its facts now and with its events, oldest first.
create or replace function public.pmc_read_season(p_term text default null, p_after text default '', p_limit int default 200)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_term constant text := coalesce(
        p_term, (select e.term from pickmyclass.section_events e order by e.id desc limit 1));
begin
    return jsonb_build_object('term', v_term, 'sections', coalesce((
        select jsonb_agg(jsonb_build_object(
            'class_nbr', c.class_nbr, 'facts', pickmyclass.facts_of(c), 'events', coalesce((
                select jsonb_agg(jsonb_build_object('at', e.observed_at, 'before', e.before, 'after', e.after)
                                 order by e.observed_at, e.id)
                from pickmyclass.section_events e
                where e.term = c.term and e.class_nbr = c.class_nbr and e.after is not null), '[]'))
            order by c.class_nbr)
        from (
            select s.* from pickmyclass.section_checks s
            where s.term = v_term and s.class_nbr > p_after and s.observed_at is not null
            order by s.class_nbr limit least(p_limit, 1000)) c), '[]'));
end $$;
