-- What a switch of ownership must not leave behind: mail that waits for a look of ours that will never come, the old
-- side at work on rows that it can no longer write, exceptions that say what the default says.

-- Hold the seat mail of these rows' slots where a mass event is under way: all of it that is not yet frozen
-- and that no later check has confirmed. Returns the sections whose mail was held by this call, so that they
-- are queued once more; a section held before is not named again.
-- Rows that another mailer has leased are left to its own freeze, which asks again. Those of sections that went to
-- the workers are not held: no later check of ours would free them. So a switch must wait for this answer; where one
-- is under way already nobody waits for it here, with rows locked that others may need: the mailer comes again.
create or replace function pickmyclass.hold_mass_events(p_ids bigint[], p_worker text, p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_slot     timestamptz;
    v_sections jsonb;
    v_recheck  jsonb := '[]';
begin
    for v_slot in
        select distinct o.slot from pickmyclass.outbox o
        where o.id = any (p_ids) and o.notification_type = 'seat_available' and not o.held and not o.confirmed
    loop
        continue when not pickmyclass.is_mass_event(v_slot);
        if not pg_try_advisory_xact_lock_shared(hashtextextended('pickmyclass:ownership', 0)) then
            raise exception using errcode = '55P03', message = 'a switch of ownership is under way; try again';
        end if;
        with doubtful as (
            select o.id, o.term, o.class_nbr from pickmyclass.outbox o
            where o.status = 'pending' and not o.held and not o.confirmed
              and o.notification_type = 'seat_available' and o.slot = v_slot
              and (o.leased_by is null or o.leased_by = p_worker or o.leased_until <= p_now)
              and pickmyclass.owner_of(o.term, o.class_nbr) = 'server'
              -- A check that was committed since has looked again already.
              and exists (select from pickmyclass.section_checks c
                          where c.term = o.term and c.class_nbr = o.class_nbr and c.observed_at <= o.event_at)
            for update of o skip locked
        ), named as (
            select distinct d.term, d.class_nbr from doubtful d
            where not exists (select from pickmyclass.outbox o
                              where o.status = 'pending' and o.held and o.slot = v_slot
                                and o.term = d.term and o.class_nbr = d.class_nbr)
        ), held as (
            update pickmyclass.outbox o set held = true, leased_by = null, leased_until = null,
                   last_error = 'held: unusually many sections opened at once'
            from doubtful d where o.id = d.id
        )
        select coalesce(jsonb_agg(jsonb_build_object('term', term, 'class_nbr', class_nbr)), '[]')
        into v_sections from named;
        v_recheck := v_recheck || v_sections;
    end loop;
    return v_recheck;
end $$;

-- Mail that the guard holds for a later check of sections that go away: nothing will confirm it, and the claims keep
-- the old side from telling. Its seats were seen, so it is sent. How many rows that are.
create function pickmyclass.release_held(p_sections jsonb) returns int
language plpgsql set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.outbox o set held = false, confirmed = true, last_error = null
      from jsonb_to_recordset(p_sections) as s (term text, class_nbr text)
     where o.term = s.term and o.class_nbr = s.class_nbr and o.status = 'pending' and o.held;
    get diagnostics v_count = row_count;
    return v_count;
end $$;

-- Takes over what the old side last saw of sections that come to us, where that is newer than what we know. The new
-- version makes checks that are still on their way compare again, and strikes from before that look are void.
create or replace function pickmyclass.adopt_states(p_sections jsonb, p_now timestamptz) returns int
language plpgsql as $$
declare
    v_seeded int := pickmyclass.seed_baselines(p_sections, p_now);
    v_adopted int;
begin
    update pickmyclass.section_checks c set
        subject = s.subject, catalog_nbr = s.catalog_nbr, title = s.title, instructor_name = s.instructor_name,
        seats_available = s.seats_available, seats_capacity = s.seats_capacity,
        non_reserved_seats = s.non_reserved_seats, location = s.location, meeting_times = s.meeting_times,
        observed_at = least(s.last_checked_at, p_now), checked_at = greatest(c.checked_at, least(s.last_checked_at, p_now)),
        version = c.version + 1, not_found_strikes = 0, first_strike_at = null  -- the old side found it
    from jsonb_to_recordset(p_sections) as wanted (term text, class_nbr text)
    join public.class_states s on s.term = wanted.term and s.class_nbr = wanted.class_nbr
    where c.term = wanted.term and c.class_nbr = wanted.class_nbr and c.observed_at < least(s.last_checked_at, p_now);
    get diagnostics v_adopted = row_count;
    return v_seeded + v_adopted;
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

-- Claims that stand although what they tell of is not so: the old side told late, of what it had seen before a switch,
-- while we knew that the seats were gone again or that nobody was named. They would keep the next time from being told.
-- Where only reserved seats are left, claims of our own stand: who was told of them is not told again within a day.
create function pickmyclass.release_outlived(p_known pickmyclass.section_checks) returns void
language sql volatile set search_path = '' as $$
    delete from public.notifications_sent n using public.class_watches w
    where w.term = p_known.term and w.class_nbr = p_known.class_nbr and n.class_watch_id = w.id
      and n.sent_at < p_known.observed_at
      and (n.notification_type = 'seat_available' and p_known.seats_available = 0
           or n.notification_type = 'seat_available' and p_known.non_reserved_seats = 0
              and not exists (
                  select from pickmyclass.outbox o
                  where o.user_id = w.user_id and o.watch_id = w.id and o.notification_type = n.notification_type
                    and o.event_at > n.sent_at - interval '10 minutes')
           or n.notification_type = 'instructor_assigned'
              and lower(btrim(coalesce(p_known.instructor_name, ''))) in ('', 'staff'))
$$;

-- pmc_commit_check: accepts what a check saw, in one transaction.
--   1. Not ours (any more): nothing is written.
--   2. The baseline's row is locked: checks of one section take turns.
--   3. An observation that began before the one we have is discarded; something newer is known (O41).
--   4. Made against another version of the facts: the fresh ones go back, the caller detects again on them.
--   5. Baseline, projection, events, claims and owed mail are written; the attempt has ended; strikes are cleared.
--   6. Mail that the mass-event guard held is confirmed by this later check (a full section drops it in step 5).
--   7. Claims from before this look that it makes untrue are gone, whoever took them.
-- An observation from the future (a wrong clock) counts as of now, or it would make every later one look old.
-- The version changes only with the facts: a check that saw nothing new does not invalidate other checks on the way.
create or replace function public.pmc_commit_check(p_check jsonb, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_slot constant timestamptz := (p_check ->> 'slot')::timestamptz;
    v_observed_at constant timestamptz := least((p_check ->> 'observed_at')::timestamptz, v_now);
    v_facts constant jsonb := p_check -> 'facts';
    v_known pickmyclass.section_checks;
    v_new pickmyclass.section_checks;
    v_ids bigint[] := '{}';
    v_queued int := 0;
    v_leased int := 0;
begin
    if v_slot is null or p_check ->> 'observed_at' is null or jsonb_typeof(v_facts) is distinct from 'object' then
        raise exception using errcode = '22023', message = 'a check needs slot, observed_at and facts';
    end if;
    perform pickmyclass.hold_ownership();
    if pickmyclass.owner_of(p_check ->> 'term', p_check ->> 'class_nbr') <> 'server' then
        return jsonb_build_object('result', 'not_owned');
    end if;

    v_known := pickmyclass.lock_section(p_check ->> 'term', p_check ->> 'class_nbr');
    if v_observed_at < v_known.observed_at then
        perform pickmyclass.end_attempt(v_known, v_slot, null);
        return jsonb_build_object('result', 'superseded');
    end if;
    if v_known.version <> coalesce((p_check ->> 'version')::bigint, 0) then
        return jsonb_build_object('result', 'conflict', 'version', v_known.version,
                                  'observed_at', v_known.observed_at, 'facts', pickmyclass.facts_of(v_known));
    end if;

    if p_check -> 'events' <> '[]' then
        select r.ids, r.queued, r.leased into v_ids, v_queued, v_leased
        from pickmyclass.record_events(p_check, v_known, v_observed_at, v_now) r;
    end if;

    update pickmyclass.section_checks c set
        subject = v_facts ->> 'subject', catalog_nbr = v_facts ->> 'catalog_nbr', title = v_facts ->> 'title',
        instructor_name = v_facts ->> 'instructor_name',
        seats_available = (v_facts ->> 'seats_available')::int,
        seats_capacity = (v_facts ->> 'seats_capacity')::int,
        non_reserved_seats = (v_facts ->> 'non_reserved_seats')::int,
        location = v_facts ->> 'location', meeting_times = v_facts ->> 'meeting_times',
        observed_at = v_observed_at, checked_at = greatest(c.checked_at, v_now),
        version = c.version + (pickmyclass.facts_of(v_known) is distinct from v_facts)::int,
        attempt_slot = greatest(c.attempt_slot, v_slot), last_attempt_at = clock_timestamp(), last_error = null,
        committed_slot = greatest(c.committed_slot, v_slot),
        was_full = case when c.committed_slot >= v_slot then c.was_full
                        else coalesce((p_check ->> 'was_full')::boolean, false) end,
        opened = case when c.committed_slot >= v_slot then c.opened
                      else coalesce(p_check -> 'events' @> '[{"kind": "seat_available"}]', false) end,
        not_found_strikes = 0, first_strike_at = null
    where c.term = v_known.term and c.class_nbr = v_known.class_nbr
    returning c.* into v_new;
    perform pickmyclass.project_state(v_new);
    update pickmyclass.outbox o set held = false, confirmed = true
    where o.term = v_new.term and o.class_nbr = v_new.class_nbr and o.status = 'pending' and o.held;
    perform pickmyclass.release_outlived(v_new);

    return jsonb_build_object(
        'result', 'committed', 'version', v_new.version, 'first_observation', v_known.observed_at is null,
        'events', to_jsonb(v_ids), 'emails_queued', v_queued, 'leased', v_leased);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
