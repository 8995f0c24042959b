-- The commit of a check: baseline, projection, events, claims and owed mail move together or not at all.

set check_function_bodies = off;  -- they name functions of other files

-- The baseline of a section as `checks_seen` tells it, locked until the end of the transaction; an empty one is made at
-- first sight. Two commits of one section take turns here, so that the second compares with what the first wrote; and
-- a look at its listing, which speaks for it without writing its row, takes turns with both: the listing is locked
-- before the section, by everybody, also where the listing does not speak for it yet: while we wait for the section it
-- may begin to, and locked only then two would wait for each other.
create or replace function pickmyclass.lock_section(p_term text, p_class_nbr text) returns pickmyclass.section_checks
language plpgsql as $$
declare
    v_subject text;
    v_known pickmyclass.section_checks;
begin
    loop
        select coalesce(c.listing, c.subject) into v_subject from pickmyclass.section_checks c
        where c.term = p_term and c.class_nbr = p_class_nbr;
        if not found then
            insert into pickmyclass.section_checks (term, class_nbr) values (p_term, p_class_nbr) on conflict do nothing;
            continue;
        end if;
        perform from pickmyclass.listings l where l.term = p_term and l.subject = v_subject for share;
        perform from pickmyclass.section_checks c where c.term = p_term and c.class_nbr = p_class_nbr for update;
        select * into v_known from pickmyclass.checks_seen() c where c.term = p_term and c.class_nbr = p_class_nbr;
        exit when v_known.term is not null and coalesce(v_known.listing, v_known.subject) is not distinct from v_subject;
    end loop;
    return v_known;
end $$;

-- Writes down the mail that an event owes: one row per eligible watcher. Seats and instructors are claimed in
-- `notifications_sent`, which the old code shares: a claim that somebody holds and that has not expired owes
-- nothing (O1, O15). The first `p_lease_limit` rows are leased to `p_lease_to`, who will send them himself.
-- The watches are locked, so that one deleted meanwhile is left out instead of failing the whole check.
create or replace function pickmyclass.owe_mail(
    p_event pickmyclass.section_events, p_type text, p_payload jsonb, p_now timestamptz,
    p_lease_to text default null, p_lease_limit int default 0, p_lease_seconds double precision default 120,
    out queued int, out leased int)
language plpgsql as $$
begin
    perform pickmyclass.forgive_old_addresses();
    with told as (
        select w.id, w.user_id, coalesce(w.created_at, '-infinity') as watched_since
        from public.class_watches w
        where w.term = p_event.term and w.class_nbr = p_event.class_nbr and pickmyclass.is_eligible(w.user_id)
        order by w.id
        for key share of w
    ), claimed as (
        insert into public.notifications_sent as n (class_watch_id, notification_type, sent_at, expires_at)
        select told.id, p_type, p_now, p_now + interval '24 hours' from told
        where p_type <> 'section_removed'
        on conflict (class_watch_id, notification_type)
            do update set sent_at = excluded.sent_at, expires_at = excluded.expires_at
            where n.expires_at <= p_now
        returning n.class_watch_id
    ), owed as (
        select told.*, row_number() over (order by told.watched_since, told.id) as place
        from told
        where p_type = 'section_removed' or told.id in (select claimed.class_watch_id from claimed)
    ), written as (
        insert into pickmyclass.outbox (
            event_id, watch_id, user_id, watched_since, term, class_nbr, notification_type, payload, event_at,
            slot, leased_by, leased_until)
        select p_event.id, owed.id, owed.user_id, owed.watched_since, p_event.term, p_event.class_nbr, p_type,
               p_payload, p_event.observed_at, p_event.slot,
               case when owed.place <= p_lease_limit then p_lease_to end,
               case when owed.place <= p_lease_limit and p_lease_to is not null
                   then clock_timestamp() + make_interval(secs => p_lease_seconds) end
        from owed
        on conflict (event_id, watch_id, notification_type) do nothing
        returning leased_by
    )
    select count(*), count(leased_by) into queued, leased from written;
end $$;

-- Takes back what a reversed edge makes untrue: the claims, so that the next edge is told again, and for seats the
-- mail that nobody has begun to send.
create or replace function pickmyclass.release_claims(p_term text, p_class_nbr text, p_type text) returns void
language plpgsql as $$
begin
    delete from public.notifications_sent n using public.class_watches w
    where w.id = n.class_watch_id and w.term = p_term and w.class_nbr = p_class_nbr and n.notification_type = p_type;
    if p_type = 'seat_available' then
        update pickmyclass.outbox o set
            status = 'dropped', last_error = 'the seats were gone again', settled_at = clock_timestamp(),
            leased_by = null, leased_until = null, held = false
        where o.term = p_term and o.class_nbr = p_class_nbr and o.notification_type = p_type
          and o.status = 'pending';
    end if;
end $$;

-- Records the events of a check in order and does what each one asks for.
-- The mail says what the section is like as of the event, when that was seen, when it was last seen before, and of an
-- opening when it was last seen full.
create or replace function pickmyclass.record_events(
    p_check jsonb, p_known pickmyclass.section_checks, p_observed_at timestamptz, p_now timestamptz,
    out ids bigint[], out queued int, out leased int)
language plpgsql as $$
declare
    v_edge jsonb;
    v_event pickmyclass.section_events;
    v_limit int := case when p_check ->> 'lease_to' is null then 0
                        else coalesce((p_check ->> 'lease_limit')::int, 100) end;
    v_mail record;
begin
    ids := '{}';
    queued := 0;
    leased := 0;
    for v_edge in select value from jsonb_array_elements(p_check -> 'events') loop
        insert into pickmyclass.section_events (
            term, class_nbr, kind, before, after, observed_at, slot, tick_id, last_full_at)
        values (p_known.term, p_known.class_nbr, v_edge ->> 'kind', nullif(v_edge -> 'before', 'null'),
                nullif(v_edge -> 'after', 'null'), p_observed_at, (p_check ->> 'slot')::timestamptz,
                p_check ->> 'tick_id', case when v_edge ->> 'kind' = 'seat_available' then p_known.full_at end)
        returning * into v_event;
        ids := ids || v_event.id;
        case v_event.kind
            when 'seat_available', 'instructor_assigned' then
                v_mail := pickmyclass.owe_mail(
                    v_event, v_event.kind,
                    jsonb_build_object('facts', (p_check -> 'facts') - 'memory', 'before', pickmyclass.facts_of(p_known),
                        'observed_at', p_observed_at, 'previous_observed_at', p_known.observed_at,
                        'last_full_at', v_event.last_full_at),
                    p_now, p_check ->> 'lease_to', v_limit - leased,
                    coalesce((p_check ->> 'lease_seconds')::double precision, 120));
                queued := queued + v_mail.queued;
                leased := leased + v_mail.leased;
            when 'seats_filled' then
                perform pickmyclass.release_claims(p_known.term, p_known.class_nbr, 'seat_available');
            when 'instructor_unassigned' then
                perform pickmyclass.release_claims(p_known.term, p_known.class_nbr, 'instructor_assigned');
            when 'instructor_changed' then
                null;  -- worth knowing, not worth a mail
            else
                raise exception using errcode = '22023', message = 'a check cannot see this kind of event';
        end case;
    end loop;
end $$;

-- Ends the attempt of a slot: with an error, or without one. A later slot's outcome, or a success in the same slot,
-- is not overwritten by a straggler.
create or replace function pickmyclass.end_attempt(
    p_known pickmyclass.section_checks, p_slot timestamptz, p_error text, p_code text default null)
returns void
language sql volatile as $$
    update pickmyclass.section_checks c set
        attempt_slot = greatest(c.attempt_slot, p_slot),
        last_attempt_at = clock_timestamp(),
        last_error = case when p_error is null then null
                          when p_known.attempt_slot > p_slot or p_known.committed_slot >= p_slot then c.last_error
                          else left(p_error, 500) end,
        last_error_code = case when p_error is null then null
                               when p_known.attempt_slot > p_slot or p_known.committed_slot >= p_slot
                               then c.last_error_code else p_code end
    where c.term = p_known.term and c.class_nbr = p_known.class_nbr
$$;

-- Claims that stand although what they tell of is not so: the old side told late, of what it had seen before a switch,
-- while we knew that the seats were gone again or that nobody was named. They would keep the next time from being told.
-- Where only reserved seats are left, claims of our own stand: who was told of them is not told again within a day.
create or replace function pickmyclass.release_outlived(p_term text, p_class_nbrs text[]) returns void
language sql volatile set search_path = '' as $$
    delete from public.notifications_sent n using public.class_watches w, pickmyclass.checks_seen() p_known
    where p_known.term = p_term and p_known.class_nbr = any (p_class_nbrs)
      and w.term = p_known.term and w.class_nbr = p_known.class_nbr and n.class_watch_id = w.id
      and n.sent_at < p_known.observed_at
      and (n.notification_type = 'seat_available' and p_known.seats_available = 0
           or n.notification_type = 'seat_available' and p_known.non_reserved_seats = 0
              and not exists (
                  select from pickmyclass.outbox o
                  where o.user_id = w.user_id and o.watch_id = w.id and o.notification_type = n.notification_type
                    and o.event_at > n.sent_at - interval '10 minutes')
           or n.notification_type = 'instructor_assigned'
              and not p_known.named)
$$;

-- commit_check: accepts what a check saw; whoever calls it holds the ownership.
--   1. Not ours (any more): nothing is written.
--   2. The baseline's row is locked: checks of one section take turns.
--   3. An observation that began before the one we have is discarded; something newer is known (O41).
--   4. Made against another version of the facts: the fresh ones go back, the caller detects again on them.
--   5. Baseline, projection, events, claims and owed mail are written; the attempt has ended; strikes are cleared.
--   6. Mail that the mass-event guard held is confirmed by this later check (a full section drops it in step 5).
--   7. Claims from before this look that it makes untrue are gone, whoever took them.
-- Where the number means another course now ("replaced"), its watchers are told that their section is gone, and the
-- check is a first sight; of many at once the source is doubted instead ("doubted": nothing is written). Where many
-- sections of the slot have lost their instructors' names, the old ones stay.
-- An observation from the future (a wrong clock) counts as of now, or it would make every later one look old.
-- The version changes only with the facts: a check that saw nothing new does not invalidate other checks on the way.
-- Without `touch` the projection is left alone while nothing changed. `is_full`: this very look saw it full.
create or replace function pickmyclass.commit_check(p_check jsonb, p_now timestamptz) returns jsonb
language plpgsql as $$
declare
    v_slot constant timestamptz := (p_check ->> 'slot')::timestamptz;
    v_observed_at constant timestamptz := least((p_check ->> 'observed_at')::timestamptz, p_now);
    v_replaced constant boolean := coalesce((p_check ->> 'replaced')::boolean, false);
    v_facts jsonb := p_check -> 'facts';
    v_check jsonb := p_check;
    v_lost boolean := coalesce(p_check -> 'events' @> '[{"kind": "instructor_unassigned"}]', false);
    v_named boolean := coalesce((p_check ->> 'named')::boolean, false);
    v_known pickmyclass.section_checks;
    v_new pickmyclass.section_checks;
    v_again boolean;
    v_ids bigint[] := '{}';
    v_queued int := 0;
    v_leased int := 0;
begin
    if v_slot is null or p_check ->> 'observed_at' is null or jsonb_typeof(v_facts) is distinct from 'object' then
        raise exception using errcode = '22023', message = 'a check needs slot, observed_at and facts';
    end if;
    if pickmyclass.owner_of(p_check ->> 'term', p_check ->> 'class_nbr') <> 'server' then
        return jsonb_build_object('result', 'not_owned');
    end if;

    v_known := pickmyclass.lock_section(p_check ->> 'term', p_check ->> 'class_nbr');
    if v_observed_at < v_known.observed_at then
        perform pickmyclass.end_attempt(v_known, v_slot, null);
        return jsonb_build_object('result', 'superseded');
    end if;
    if v_known.version <> coalesce((p_check ->> 'version')::bigint, 0) then
        return jsonb_build_object(
            'result', 'conflict', 'version', v_known.version, 'observed_at', v_known.observed_at,
            'source', v_known.source, 'facts', pickmyclass.baseline_of(v_known));
    end if;

    if v_replaced then
        if pickmyclass.courses_look_wrong(v_slot) then
            return jsonb_build_object('result', 'doubted');
        end if;
        v_queued := pickmyclass.retire_section(v_known, v_slot, v_observed_at, p_check ->> 'tick_id', p_now,
                                               v_facts - 'memory');
    end if;
    if v_lost and pickmyclass.names_look_lost(v_slot) then
        perform pickmyclass.give_names_back(v_slot);
        v_check := pickmyclass.with_name_of(v_known, p_check);
        v_facts := v_check -> 'facts';
        v_named := true;
    end if;
    if v_check -> 'events' <> '[]' then
        select r.ids, r.queued, r.leased into v_ids, v_queued, v_leased
        from pickmyclass.record_events(v_check, v_known, v_observed_at, p_now) r;
    end if;

    -- The guard asks what a slot's checks saw in all: full at one of them, opened at one of them.
    v_again := coalesce(v_known.committed_slot >= v_slot, false);
    update pickmyclass.section_checks c set
        subject = v_facts ->> 'subject', catalog_nbr = v_facts ->> 'catalog_nbr', title = v_facts ->> 'title',
        instructor_name = v_facts ->> 'instructor_name',
        seats_available = (v_facts ->> 'seats_available')::int,
        seats_capacity = (v_facts ->> 'seats_capacity')::int,
        non_reserved_seats = (v_facts ->> 'non_reserved_seats')::int,
        location = v_facts ->> 'location', meeting_times = v_facts ->> 'meeting_times',
        memory = coalesce(v_facts -> 'memory', '{}'), named = v_named,
        observed_at = v_observed_at, checked_at = greatest(v_known.checked_at, p_now),
        version = c.version + (pickmyclass.baseline_of(v_known) is distinct from v_facts)::int,
        attempt_slot = greatest(c.attempt_slot, v_slot), last_attempt_at = clock_timestamp(), last_error = null,
        last_error_code = null,
        committed_slot = greatest(v_known.committed_slot, v_slot),
        was_full = v_again and v_known.was_full or coalesce((p_check ->> 'was_full')::boolean, false),
        opened = v_again and v_known.opened
                 or coalesce(p_check -> 'events' @> '[{"kind": "seat_available"}]', false),
        had_name = v_again and v_known.had_name or coalesce((p_check ->> 'was_named')::boolean, false),
        lost_name = v_again and v_known.lost_name or v_lost,
        full_at = case when (p_check ->> 'is_full')::boolean then v_observed_at else v_known.full_at end,
        moved_at = case when p_check -> 'events' @> any (array['[{"kind": "seat_available"}]',
                                                              '[{"kind": "seats_filled"}]']::jsonb[])
                        then v_observed_at else c.moved_at end,
        source = coalesce(p_check ->> 'source', c.source),
        -- A listing's look tells when a full section was last seen full; one that did not see that is no such look.
        listing = case when (p_check ->> 'is_full')::boolean is not true
                            and coalesce(v_facts ->> 'non_reserved_seats', v_facts ->> 'seats_available') = '0'
                       then null else coalesce(p_check ->> 'listing', c.listing) end,
        not_found_strikes = 0, first_strike_at = null
    where c.term = v_known.term and c.class_nbr = v_known.class_nbr
    returning c.* into v_new;
    if v_new.version <> v_known.version or coalesce((p_check ->> 'touch')::boolean, true) then
        perform pickmyclass.project_state(v_new);
    end if;
    update pickmyclass.outbox o set held = false, confirmed = true
    where o.term = v_new.term and o.class_nbr = v_new.class_nbr and o.status = 'pending' and o.held;
    perform pickmyclass.release_outlived(v_new.term, array[v_new.class_nbr]);

    return jsonb_build_object(
        'result', 'committed', 'version', v_new.version, 'first_observation', v_known.observed_at is null or v_replaced,
        'events', to_jsonb(v_ids), 'emails_queued', v_queued, 'leased', v_leased,
        'name_kept', v_facts is distinct from p_check -> 'facts');
end $$;

-- pmc_commit_check: accepts what a check saw, in one transaction.
create or replace function public.pmc_commit_check(p_check jsonb, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    perform pickmyclass.hold_ownership();
    return pickmyclass.commit_check(p_check, coalesce(p_now, clock_timestamp()));
end $$;

-- pmc_end_attempt: the check of a slot was given up (no retry will follow), with the reason in words and as a code.
create or replace function public.pmc_end_attempt(
    p_term text, p_class_nbr text, p_slot timestamptz, p_error text default null, p_now timestamptz default null,
    p_code text default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    perform pickmyclass.end_attempt(pickmyclass.lock_section(p_term, p_class_nbr), p_slot, p_error, p_code);
    return jsonb_build_object('ended', true);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
