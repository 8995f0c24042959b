-- History: what the health page draws. Bounded by a day and by the number of watched sections.

set check_function_bodies = off;  -- they name functions of other files

-- How many of our sections were last checked how long ago: counts by upper bound in minutes; the last bucket has no
-- bound, `never` has not been checked yet.
create or replace function pickmyclass.ages(p_at timestamptz) returns jsonb
language sql stable as $$
    with sections as (
        select extract(epoch from p_at - c.checked_at) / 60 as age
        from pickmyclass.our_sections(p_at) s
        left join pickmyclass.checks_seen() c on c.term = s.term and c.class_nbr = s.class_nbr
    ), bounds as (
        select upper, coalesce(lag(upper) over (order by upper), '-infinity') as lower
        from unnest(array[10, 20, 30, 40, 50, 60, 75, 90, 120, 'infinity']::double precision[]) upper
    )
    select jsonb_build_object(
        'never', (select count(*) from sections where age is null),
        'buckets', (select jsonb_agg(jsonb_build_object(
                        'up_to_minutes', nullif(b.upper, 'infinity'),
                        'sections', (select count(*) from sections s where s.age > b.lower and s.age <= b.upper))
                        order by b.upper) from bounds b))
$$;

-- The last 48 slots, oldest first: what the ticks queued, what the checks saw, what was mailed of it.
create or replace function pickmyclass.slots_of_the_day(p_at timestamptz) returns jsonb
language sql stable as $$
    with slots as (
        select date_bin('30 minutes', p_at, timestamptz '2000-01-01 00:00:00+00') - i * interval '30 minutes' as slot
        from generate_series(0, 47) i
    ), queued as (
        select t.slot, sum(t.enqueued) as sections, count(*) filter (where t.error is not null) as failed
        from pickmyclass.ticks t where t.slot > p_at - interval '25 hours' and t.source <> 'rescue' group by t.slot
    ), seen as (
        select e.slot, count(*) filter (where e.kind = 'seat_available') as openings,
               count(*) filter (where e.kind = 'instructor_assigned') as instructors
        from pickmyclass.section_events e
        -- An event is committed with its slot or soon after; a replay's clock is not the server's, so slots decide.
        where e.slot > p_at - interval '25 hours' and e.slot <= p_at group by e.slot
    ), mailed as (
        select o.slot, count(*) as emails from pickmyclass.outbox o
        where o.sent_at is not null and o.slot > p_at - interval '25 hours' group by o.slot
    )
    select jsonb_agg(jsonb_build_object(
        'slot', s.slot, 'queued', coalesce(q.sections, 0), 'ticked', q.slot is not null,
        'failed', coalesce(q.failed, 0) > 0, 'openings', coalesce(n.openings, 0),
        'instructors', coalesce(n.instructors, 0), 'emails', coalesce(m.emails, 0)) order by s.slot)
    from slots s
    left join queued q on q.slot = s.slot
    left join seen n on n.slot = s.slot
    left join mailed m on m.slot = s.slot
$$;

-- pmc_read_history: everything that the health page draws beside the checks, in one round trip.
create or replace function public.pmc_read_history(p_now timestamptz default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare v_now constant timestamptz := coalesce(p_now, clock_timestamp());
begin
    return jsonb_build_object(
        'ages', pickmyclass.ages(v_now),
        'slots', pickmyclass.slots_of_the_day(v_now),
        'ticks', coalesce((
            select jsonb_agg(jsonb_build_object(
                'tick_id', t.id, 'slot', t.slot, 'group', t.stagger_group, 'source', t.source, 'worker', t.worker,
                'started_at', t.started_at, 'finished_at', t.finished_at, 'enqueued', t.enqueued,
                'already_queued', t.already_queued, 'error', t.error) order by t.started_at desc)
            from (select * from pickmyclass.ticks order by started_at desc limit 8) t), '[]'),
        'mail', (select coalesce(jsonb_object_agg(m.status, m.emails), '{}')
                 from (select o.status, count(*) as emails from pickmyclass.outbox o
                       where o.slot > v_now - interval '1 day' group by o.status) m));
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
