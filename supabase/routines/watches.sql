-- Watches: what one student watches, and the only way in which our functions add one.

set check_function_bodies = off;  -- they name functions of other files

-- How many sections one person may watch; `migrate` writes the number.
create or replace function pickmyclass.max_watches() returns int
language sql stable set search_path = '' as $$
    select coalesce((select s.value::int from pickmyclass.settings s where s.key = 'max_watches'), 10)
$$;

-- pmc_read_user: whether an account may still act, and how much room it has. A token outlives the account that it
-- was issued for, so everyone who shows one is asked for here first; unknown and disabled are the same to the caller.
create or replace function public.pmc_read_user(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'active', exists (select from auth.users u where u.id = p_user_id) and not exists (
            select from public.user_profiles p where p.user_id = p_user_id and p.is_disabled),
        'watches', (select count(*) from public.class_watches w where w.user_id = p_user_id),
        'max_watches', pickmyclass.max_watches())
$$;

-- pmc_list_watches: a person's watches, newest first, each with what is shown of its section. The state is looked up
-- by term and number: the same number means another class in another term (O6). `last_seen_at`, `last_full_at`: when
-- anybody last looked, also between the ticks, and when it was last seen full.
create or replace function public.pmc_list_watches(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object('max_watches', pickmyclass.max_watches(), 'watches', (
        select coalesce(jsonb_agg(to_jsonb(w) || jsonb_build_object(
                    'class_state', to_jsonb(s) || jsonb_build_object(
                        'last_seen_at', c.observed_at, 'last_full_at', c.full_at))
                                  order by w.created_at desc nulls last, w.id), '[]')
        from public.class_watches w
        left join public.class_states s on s.term = w.term and s.class_nbr = w.class_nbr
        left join pickmyclass.checks_seen() c on c.term = w.term and c.class_nbr = w.class_nbr
        where w.user_id = p_user_id))
$$;

-- pmc_add_watch: "added" with the watch, "exists", or "limit".
-- Race: two posts of one person take turns on the advisory lock that the limit's trigger takes too, so that the
-- second counts what the first inserted (O31); the lock is taken before the count, whose snapshot is then newer.
create or replace function public.pmc_add_watch(
    p_user_id uuid, p_term text, p_class_nbr text, p_subject text, p_catalog_nbr text)
returns jsonb
language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare
    v_max constant int := pickmyclass.max_watches();
    v_watch public.class_watches;
begin
    perform pg_advisory_xact_lock(hashtextextended('pickmyclass:watches:' || p_user_id, 0));
    if (select count(*) from public.class_watches w where w.user_id = p_user_id) >= v_max then
        return jsonb_build_object('result', 'limit', 'max_watches', v_max);
    end if;
    insert into public.class_watches (user_id, term, class_nbr, subject, catalog_nbr)
    values (p_user_id, p_term, p_class_nbr, p_subject, p_catalog_nbr)
    on conflict (user_id, term, class_nbr) do nothing
    returning * into v_watch;
    if v_watch.id is null then
        return jsonb_build_object('result', 'exists');
    end if;
    return jsonb_build_object('result', 'added', 'watch', to_jsonb(v_watch));
end $$;

-- pmc_remove_watch: removes a person's own watch; nothing when it is another's or gone already.
create or replace function public.pmc_remove_watch(p_user_id uuid, p_watch_id uuid) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    delete from public.class_watches w where w.id = p_watch_id and w.user_id = p_user_id;
    return jsonb_build_object('removed', found);
end $$;

-- pmc_add_known_watch: a watch of a section that was seen before, without a look at it now: for taking back a removal,
-- and while the source is down. "added", "exists", "limit", or "unknown" for a section that nobody has seen.
create or replace function public.pmc_add_known_watch(p_user_id uuid, p_term text, p_class_nbr text) returns jsonb
language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare v_known pickmyclass.section_checks;
begin
    select * into v_known from pickmyclass.section_checks c
    where c.term = p_term and c.class_nbr = p_class_nbr and c.observed_at is not null;
    if v_known.term is null then
        return jsonb_build_object('result', 'unknown');
    end if;
    return public.pmc_add_watch(
        p_user_id, p_term, p_class_nbr, coalesce(v_known.subject, ''), coalesce(v_known.catalog_nbr, ''));
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
