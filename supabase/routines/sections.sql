-- Sections: which are watched, which are due, what is known about them.

set check_function_bodies = off;  -- they name functions of other files

-- The start of the latest slot of a section's group at a moment: the full hour for an even last digit, the half
-- hour for an odd one, in UTC.
create or replace function pickmyclass.slot_of(p_class_nbr text, p_at timestamptz) returns timestamptz
language sql immutable as $$
    select date_bin('1 hour', p_at, case when right(p_class_nbr, 1) in ('0', '2', '4', '6', '8')
        then timestamptz '2000-01-01 00:00:00+00' else timestamptz '2000-01-01 00:30:00+00' end)
$$;

-- Whether a term's last session has ended, by the university's calendar day. An unknown term is never over.
create or replace function pickmyclass.term_is_over(p_term text, p_at timestamptz) returns boolean
language sql stable as $$
    select exists (select from pickmyclass.terms t
                   where t.term = p_term and t.ends < (p_at at time zone 'America/Phoenix')::date)
$$;

-- Whether a person may be told, asked again whenever mail is frozen.
create or replace function pickmyclass.is_eligible(p_user_id uuid) returns boolean
language sql stable as $$
    select not exists (
        select from public.user_profiles p
        where p.user_id = p_user_id
          and not (coalesce(p.notifications_enabled, true) and not coalesce(p.email_bounced, false)
                   and not coalesce(p.spam_complained, false) and not coalesce(p.is_disabled, false)))
$$;

-- The sections that are ours to check at a moment: watched by someone who may be told, their term not over, owned by
-- us (O16). A number that no scraper would accept is left out rather than allowed to spoil a whole tick.
create or replace function pickmyclass.our_sections(p_at timestamptz)
returns table (term text, class_nbr text, watched_since timestamptz, subject text, watchers bigint)
language sql stable as $$
    select w.term, w.class_nbr, min(w.watched_since), min(w.subject), count(*)
    from pickmyclass.watchers w
    left join pickmyclass.terms t on t.term = w.term
    left join pickmyclass.ownership o on o.term = w.term and o.class_nbr = w.class_nbr
    where w.eligible and w.class_nbr ~ '^[0-9]{5}$' and w.term ~ '^[0-9]{4}$'
      and coalesce(t.ends >= (p_at at time zone 'America/Phoenix')::date, true)
      and coalesce(o.owner, (select pickmyclass.owner_of('', ''))) = 'server'  -- asked once, not per row
    group by w.term, w.class_nbr
$$;

-- The facts of a baseline; null when the section was never seen.
create or replace function pickmyclass.facts_of(p_known pickmyclass.section_checks) returns jsonb
language sql immutable as $$
    select case when p_known.observed_at is not null then jsonb_build_object(
        'subject', p_known.subject, 'catalog_nbr', p_known.catalog_nbr, 'title', p_known.title,
        'instructor_name', p_known.instructor_name, 'seats_available', p_known.seats_available,
        'seats_capacity', p_known.seats_capacity, 'non_reserved_seats', p_known.non_reserved_seats,
        'location', p_known.location, 'meeting_times', p_known.meeting_times) end
$$;

-- What the next comparison needs, as the jobs carry it: the facts, and in them the memory, which nobody here reads.
create or replace function pickmyclass.baseline_of(p_known pickmyclass.section_checks) returns jsonb
language sql immutable as $$
    select pickmyclass.facts_of(p_known) || jsonb_build_object('memory', p_known.memory)
$$;

-- Takes over what the old side last saw of sections that we have never seen, always before they are scraped. Only
-- from a state of the same term (O6). Two readers at once: one inserts, the other finds the row.
create or replace function pickmyclass.seed_baselines(p_sections jsonb, p_now timestamptz) returns int
language plpgsql as $$
declare seeded int;
begin
    insert into pickmyclass.section_checks as known (
        term, class_nbr, subject, catalog_nbr, title, instructor_name, seats_available, seats_capacity,
        non_reserved_seats, location, meeting_times, observed_at, checked_at, version, source, named)
    select s.term, s.class_nbr, s.subject, s.catalog_nbr, s.title, s.instructor_name, s.seats_available,
           s.seats_capacity, s.non_reserved_seats, s.location, s.meeting_times,
           least(s.last_checked_at, p_now), least(s.last_checked_at, p_now), 1, 'scraper',
           lower(btrim(coalesce(s.instructor_name, ''))) not in ('', 'staff')
    from jsonb_to_recordset(p_sections) as wanted (term text, class_nbr text)
    join public.class_states s on s.term = wanted.term and s.class_nbr = wanted.class_nbr
    order by s.term, s.class_nbr
    on conflict (term, class_nbr) do update set
        subject = excluded.subject, catalog_nbr = excluded.catalog_nbr, title = excluded.title,
        instructor_name = excluded.instructor_name, seats_available = excluded.seats_available,
        seats_capacity = excluded.seats_capacity, non_reserved_seats = excluded.non_reserved_seats,
        location = excluded.location, meeting_times = excluded.meeting_times,
        observed_at = excluded.observed_at, checked_at = excluded.checked_at, version = known.version + 1, source = excluded.source,
        named = excluded.named
        where known.observed_at is null;
    get diagnostics seeded = row_count;
    return seeded;
end $$;

-- pmc_due_sections: one page of the sections of a group that are to be checked, with their baselines: never checked
-- first, then the longest unchecked. The page after `p_after` leaves out whatever was checked since the first page
-- began, because a check moves a section to the end of the order while the pages are still being read.
-- `p_unattempted_only` (the rescue): only sections without an ended attempt in their latest slot, and only when that
-- began `p_grace_seconds` ago; and those whose mail the mass-event guard holds until they are looked at once more,
-- because whoever was told to queue them may have died with the order.
create or replace function public.pmc_due_sections(
    p_group text, p_now timestamptz default null, p_unattempted_only boolean default false,
    p_started_at timestamptz default null, p_after jsonb default null, p_limit int default 2500,
    p_grace_seconds double precision default 120)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_started_at constant timestamptz := coalesce(p_started_at, clock_timestamp());
    v_unseen jsonb;
    v_sections jsonb;
    v_next jsonb;
begin
    if p_group is null or p_group not in ('even', 'odd', 'all') then
        raise exception using errcode = '22023', message = 'p_group must be even, odd or all';
    end if;
    if p_limit is null or p_limit not between 1 and 10000 then
        raise exception using errcode = '22023', message = 'p_limit must be between 1 and 10000';
    end if;
    if p_after is null then
        perform pickmyclass.forgive_old_addresses();
        select jsonb_agg(jsonb_build_object('term', s.term, 'class_nbr', s.class_nbr)) into v_unseen
        from pickmyclass.our_sections(v_now) s
        left join pickmyclass.checks_seen() c on c.term = s.term and c.class_nbr = s.class_nbr
        where c.observed_at is null;
        if v_unseen is not null then
            perform pickmyclass.seed_baselines(v_unseen, v_now);
        end if;
    end if;

    with page as (
        select s.term, s.class_nbr, s.subject, coalesce(c.checked_at, '-infinity') as last_time
        from pickmyclass.our_sections(v_now) s
        left join pickmyclass.checks_seen() c on c.term = s.term and c.class_nbr = s.class_nbr
        where (p_group = 'all' or (p_group = 'even') = (right(s.class_nbr, 1) in ('0', '2', '4', '6', '8')))
          and coalesce(c.last_attempt_at < v_started_at, true)
          and (not p_unattempted_only or exists (
              select from pickmyclass.outbox o
              where o.term = s.term and o.class_nbr = s.class_nbr and o.status = 'pending' and o.held) or (
              coalesce(c.attempt_slot < pickmyclass.slot_of(s.class_nbr, v_now), true)
              and pickmyclass.slot_of(s.class_nbr, v_now) <= v_now - make_interval(secs => p_grace_seconds)))
          and (p_after is null or (coalesce(c.checked_at, '-infinity'), s.term, s.class_nbr)
              > ((p_after ->> 'checked_at')::timestamptz, p_after ->> 'term', p_after ->> 'class_nbr'))
        order by last_time, s.term, s.class_nbr
        limit p_limit
    ), ordered as (
        select row_number() over (order by last_time, term, class_nbr) as place, * from page
    )
    select coalesce(jsonb_agg(jsonb_build_object(
               'term', o.term, 'class_nbr', o.class_nbr, 'version', coalesce(c.version, 0),
               'observed_at', c.observed_at, 'source', c.source, 'subject', coalesce(c.subject, o.subject),
               'facts', pickmyclass.baseline_of(c)) order by o.place), '[]'),
           jsonb_agg(jsonb_build_object('checked_at', o.last_time, 'term', o.term, 'class_nbr', o.class_nbr))
               filter (where o.place = p_limit) -> 0
    into v_sections, v_next
    from ordered o
    left join pickmyclass.checks_seen() c on c.term = o.term and c.class_nbr = o.class_nbr;
    return jsonb_build_object('sections', v_sections, 'next', v_next, 'started_at', v_started_at);
end $$;

-- pmc_read_section: what is known about one section and who owns it. A failing read is an error, never "first seen".
create or replace function public.pmc_read_section(p_term text, p_class_nbr text, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_owner constant text := pickmyclass.owner_of(p_term, p_class_nbr);
    v_known pickmyclass.section_checks;
begin
    select * into v_known from pickmyclass.checks_seen() c where c.term = p_term and c.class_nbr = p_class_nbr;
    if v_owner = 'server' and v_known.observed_at is null then
        perform pickmyclass.seed_baselines(
            jsonb_build_array(jsonb_build_object('term', p_term, 'class_nbr', p_class_nbr)), v_now);
        select * into v_known from pickmyclass.checks_seen() c where c.term = p_term and c.class_nbr = p_class_nbr;
    end if;
    return jsonb_build_object('owner', v_owner, 'version', coalesce(v_known.version, 0),
                              'observed_at', v_known.observed_at, 'source', v_known.source,
                              'facts', pickmyclass.baseline_of(v_known));
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
