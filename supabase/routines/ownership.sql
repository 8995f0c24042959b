-- Ownership: who checks and mails a section during the move, `workers` (the old side) or `server` (us).

set check_function_bodies = off;  -- they name functions of other files

-- Whom a section belongs to: its own row of `ownership`, else the default row, else us.
create or replace function pickmyclass.owner_of(p_term text, p_class_nbr text) returns text
language sql stable as $$
    select coalesce(
        (select o.owner from pickmyclass.ownership o where o.term = p_term and o.class_nbr = p_class_nbr),
        (select o.owner from pickmyclass.ownership o where o.term = '' and o.class_nbr = ''),
        'server')
$$;

-- Everyone who relies on who owns a section holds this until the end of the transaction; a switch waits for them.
create or replace function pickmyclass.hold_ownership() returns void
language sql volatile as $$
    select pg_advisory_xact_lock_shared(hashtextextended('pickmyclass:ownership', 0))
$$;

-- pmc_show_ownership: the default and the sections that differ from it.
create or replace function public.pmc_show_ownership() returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'default', pickmyclass.owner_of('', ''),
        'switched_at', (select o.switched_at from pickmyclass.ownership o where o.term = '' and o.class_nbr = ''),
        'exceptions', coalesce((
            select jsonb_agg(jsonb_build_object('term', o.term, 'class_nbr', o.class_nbr, 'owner', o.owner,
                                                'switched_at', o.switched_at) order by o.term, o.class_nbr)
            from pickmyclass.ownership o where o.term <> ''), '[]'),
        'exception_count', (select count(*) from pickmyclass.ownership o where o.term <> ''))
$$;

-- Takes over what the old side last saw of sections that come to us, where that is newer than what we know. The new
-- version makes checks that are still on their way compare again, and strikes from before that look are void.
create or replace function pickmyclass.adopt_states(p_sections jsonb, p_now timestamptz) returns int
language plpgsql as $$
declare
    v_seeded int := pickmyclass.seed_baselines(p_sections, p_now);
    v_adopted int;
begin
    perform pickmyclass.leave_listing(w.term, array_agg(w.class_nbr))
    from jsonb_to_recordset(p_sections) as w (term text, class_nbr text) group by w.term;
    update pickmyclass.section_checks c set
        subject = s.subject, catalog_nbr = s.catalog_nbr, title = s.title, instructor_name = s.instructor_name,
        seats_available = s.seats_available, seats_capacity = s.seats_capacity,
        non_reserved_seats = s.non_reserved_seats, location = s.location, meeting_times = s.meeting_times,
        observed_at = least(s.last_checked_at, p_now), checked_at = greatest(c.checked_at, least(s.last_checked_at, p_now)),
        version = c.version + 1, source = 'scraper', not_found_strikes = 0, first_strike_at = null,  -- the old side found it
        memory = c.memory - '{instructor_unsaid,reserved_unsaid}'::text[],
        named = lower(btrim(coalesce(s.instructor_name, ''))) not in ('', 'staff')
    from jsonb_to_recordset(p_sections) as wanted (term text, class_nbr text)
    join public.class_states s on s.term = wanted.term and s.class_nbr = wanted.class_nbr
    where c.term = wanted.term and c.class_nbr = wanted.class_nbr and c.observed_at < least(s.last_checked_at, p_now);
    get diagnostics v_adopted = row_count;
    return v_seeded + v_adopted;
end $$;

-- Shows the old side what we last saw of sections that go to it, where the projection does not say so already.
create or replace function pickmyclass.hand_over_states(p_sections jsonb) returns int
language plpgsql as $$
declare
    v_known pickmyclass.section_checks;
    v_count int := 0;
begin
    for v_known in
        select c.* from jsonb_to_recordset(p_sections) as wanted (term text, class_nbr text)
        join pickmyclass.checks_seen() c on c.term = wanted.term and c.class_nbr = wanted.class_nbr
        left join public.class_states s on s.class_nbr = c.class_nbr and s.term = c.term
        where c.observed_at is not null and c.seats_available is not null
          and (s.seats_available, s.non_reserved_seats, s.instructor_name)
              is distinct from (c.seats_available, c.non_reserved_seats, c.instructor_name)
        order by c.observed_at
    loop
        perform pickmyclass.project_state(v_known);
        v_count := v_count + 1;
    end loop;
    return v_count;
end $$;

-- Every section that anybody watches or that we or the old side have seen, and that belongs to `p_owner`.
create or replace function pickmyclass.sections_of(p_owner text) returns jsonb
language sql stable as $$
    select coalesce(jsonb_agg(jsonb_build_object('term', s.term, 'class_nbr', s.class_nbr)), '[]')
    from (select w.term, w.class_nbr from public.class_watches w
          union select s.term, s.class_nbr from public.class_states s
          union select c.term, c.class_nbr from pickmyclass.section_checks c) s
    left join pickmyclass.ownership o on o.term = s.term and o.class_nbr = s.class_nbr
    where coalesce(o.owner, (select pickmyclass.owner_of('', ''))) = p_owner
$$;

-- Mail that the guard holds for a later check of sections that go away: nothing will confirm it, and the claims keep
-- the old side from telling. Its seats were seen, so it is sent. How many rows that are.
create or replace function pickmyclass.release_held(p_sections jsonb) returns int
language plpgsql set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.outbox o set held = false, confirmed = true, last_error = null
      from jsonb_to_recordset(p_sections) as s (term text, class_nbr text)
     where o.term = s.term and o.class_nbr = s.class_nbr and o.status = 'pending' and o.held;
    get diagnostics v_count = row_count;
    return v_count;
end $$;

-- pmc_switch_ownership: gives sections to `p_owner`; without a list everything, the default and all exceptions. What
-- is known goes along in the same transaction, and what the mass-event guard held of them is released.
-- Returns {"owner", "sections": how many went, "carried": of how many something was known, "unwatched": how many of
-- the list nobody watches, "owed": how many emails of these sections we still have to send}.
-- Race: a commit that asked who owns its section before the switch finishes first, because both hold the same lock.
create or replace function public.pmc_switch_ownership(
    p_owner text, p_sections jsonb default null, p_now timestamptz default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_coming jsonb;
    v_carried int;
begin
    if p_owner is null or p_owner not in ('workers', 'server') then
        raise exception using errcode = '22023', message = 'the owner must be workers or server';
    end if;
    perform pg_advisory_xact_lock(hashtextextended('pickmyclass:ownership', 0));
    if p_owner = 'workers' and exists (
        select from pg_catalog.pg_constraint c
        where c.conrelid = 'public.class_states'::regclass and c.conname = 'class_states_term_class_nbr_key') then
        raise exception using errcode = '55000',
            message = 'states are kept per term since migrate --post-cutover: the workers can no longer write them';
    end if;
    v_coming := pickmyclass.sections_of(case p_owner when 'server' then 'workers' else 'server' end);
    if p_sections is not null then
        select coalesce(jsonb_agg(distinct jsonb_build_object('term', w.term, 'class_nbr', w.class_nbr)), '[]')
        into v_coming from jsonb_to_recordset(p_sections) as w (term text, class_nbr text)
        where pickmyclass.owner_of(w.term, w.class_nbr) <> p_owner;
    end if;
    v_carried := case p_owner when 'server' then pickmyclass.adopt_states(v_coming, v_now)
                              else pickmyclass.hand_over_states(v_coming) end;
    if p_owner = 'workers' then
        perform pickmyclass.release_held(v_coming);
    end if;

    if p_sections is null then
        delete from pickmyclass.ownership o where o.term <> '';
        insert into pickmyclass.ownership (owner) values (p_owner)
        on conflict (term, class_nbr) do update set owner = excluded.owner, switched_at = clock_timestamp();
    else
        insert into pickmyclass.ownership as o (term, class_nbr, owner)
        select w.term, w.class_nbr, p_owner from jsonb_to_recordset(v_coming) as w (term text, class_nbr text)
        on conflict (term, class_nbr) do update set owner = excluded.owner, switched_at = clock_timestamp();
        delete from pickmyclass.ownership o where o.term <> '' and o.owner = pickmyclass.owner_of('', '');
    end if;
    return jsonb_build_object(
        'owner', p_owner, 'sections', jsonb_array_length(v_coming), 'carried', v_carried,
        'unwatched', (select count(*) from jsonb_to_recordset(coalesce(p_sections, '[]')) as w (term text, class_nbr text)
                      where not exists (select from public.class_watches cw
                                        where cw.term = w.term and cw.class_nbr = w.class_nbr)),
        'owed', (select count(*) from jsonb_to_recordset(v_coming) as w (term text, class_nbr text)
                 join pickmyclass.outbox o on o.term = w.term and o.class_nbr = w.class_nbr
                 where o.status in ('pending', 'sending')));
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
