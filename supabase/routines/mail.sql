-- Mail: from what is owed (pickmyclass.outbox) to what Resend accepted.
--
-- A mailer gathers rows, writes the emails, freezes them into a batch, sends the batch and settles it:
--   pmc_gather_mail -> pmc_freeze_batch -> (Resend) -> pmc_settle_batch
-- Any number of mailers may do so at once. A row belongs to one of them while its lease lasts; a batch, once
-- frozen, is sent byte for byte under one idempotency key until its outcome is known. All waiting here goes
-- by the server's clock; the clock of a replay plays no part.
--
-- What the emails say is read from outbox.payload, as the commit of the check wrote it:
--   facts                 what was seen (keys of shared.sections.section.Facts)
--   before                what was known before, or null
--   observed_at           when it was seen
--   previous_observed_at  when the section had been seen before that, or null

set check_function_bodies = off;  -- they name functions of other files

-- Why this row is no longer owed, or null while it is. Asked when it is gathered and again when it is frozen.
create or replace function pickmyclass.why_not_owed(p_mail pickmyclass.outbox) returns text
language sql stable set search_path = '' as $$
    select case
        when p_mail.notification_type = 'seat_available' and exists (
            select from pickmyclass.section_events e
            where e.term = p_mail.term and e.class_nbr = p_mail.class_nbr
              and e.id > p_mail.event_id and e.kind = 'seats_filled')
            then 'the seats were taken again before it could leave'
        when not exists (select from auth.users u where u.id = p_mail.user_id and u.email <> '')
            then 'the account or its address is gone'
        when not pickmyclass.is_eligible(p_mail.user_id)
            then 'unsubscribed, bounced, complained or disabled'
        when exists (
            select from pickmyclass.preferences k
            where k.user_id = p_mail.user_id and (not k.seats and p_mail.notification_type = 'seat_available'
                or not k.instructors and p_mail.notification_type = 'instructor_assigned'))
            then 'emails of this kind are switched off'
    end
$$;

-- Drop those of these rows that are no longer owed; their reason stays with them.
create or replace function pickmyclass.drop_unowed(p_ids bigint[], p_now timestamptz) returns int
language plpgsql set search_path = '' as $$
declare v_count int;
begin
    with judged as materialized (
        select o.id, pickmyclass.why_not_owed(o) as reason
        from pickmyclass.outbox o where o.id = any (p_ids) and o.status = 'pending'
    )
    update pickmyclass.outbox o
       set status = 'dropped', last_error = j.reason, settled_at = p_now, leased_by = null, leased_until = null
      from judged j where o.id = j.id and j.reason is not null;
    get diagnostics v_count = row_count;
    return v_count;
end $$;

-- Since when the outcome of a batch is unknown: since its first attempt that brought no answer, or, when a
-- lease ended unsettled (its mailer died), since that attempt; null while every attempt was refused for certain.
create or replace function pickmyclass.unknown_since(p_batch pickmyclass.mail_batches) returns timestamptz
language sql immutable set search_path = '' as $$
    select coalesce(p_batch.unknown_since, case when p_batch.leased_by is not null then p_batch.attempted_at end)
$$;

-- Give up batches whose outcome stayed unknown for twenty hours: Resend forgets an idempotency key after
-- twenty-four, and after that the same bytes could be sent twice.
create or replace function pickmyclass.bury_old_batches(p_now timestamptz) returns void
language plpgsql set search_path = '' as $$
declare v_batch uuid;
begin
    for v_batch in
        select b.id from pickmyclass.mail_batches b
        where b.outcome is null and b.leased_until <= p_now
          and pickmyclass.unknown_since(b) <= p_now - interval '20 hours'
        limit 50 for update skip locked
    loop
        update pickmyclass.mail_batches set outcome = 'dead', settled_at = p_now, leased_by = null
        where id = v_batch;
        update pickmyclass.outbox set status = 'dead', last_error = 'unknown whether sent', settled_at = p_now
        where batch_id = v_batch and status = 'sending';
    end loop;
end $$;

-- What a mailer needs to know of rows, in the order in which people are told.
create or replace function pickmyclass.mail_json(p_ids bigint[]) returns jsonb
language sql stable set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'id', o.id, 'event_id', o.event_id, 'user_id', o.user_id, 'email', u.email,
               'term', o.term, 'class_nbr', o.class_nbr, 'notification_type', o.notification_type,
               'payload', o.payload, 'event_at', o.event_at, 'tick_id', e.tick_id)
               order by o.event_at, o.event_id, o.watched_since, o.watch_id), '[]')
    from pickmyclass.outbox o
    join pickmyclass.section_events e on e.id = o.event_id
    left join auth.users u on u.id = o.user_id
    where o.id = any (p_ids)
$$;

-- Take the unsettled batch that is due for another attempt, with the bytes to repeat; null when there is none.
-- Two mailers never hold the same batch: the row is locked while its lease is taken over.
create or replace function pickmyclass.take_batch(p_worker text, p_now timestamptz, p_lease interval) returns jsonb
language plpgsql set search_path = '' as $$
declare v_batch pickmyclass.mail_batches;
begin
    select * into v_batch from pickmyclass.mail_batches b
    where b.outcome is null and b.next_attempt_at <= p_now and b.leased_until <= p_now
    order by b.next_attempt_at limit 1 for update skip locked;
    if not found then
        return null;
    end if;
    update pickmyclass.mail_batches
       set unknown_since = pickmyclass.unknown_since(v_batch), attempts = attempts + 1, attempted_at = p_now,
           leased_by = p_worker, leased_until = p_now + p_lease
     where id = v_batch.id;
    update pickmyclass.outbox set attempts = attempts + 1 where batch_id = v_batch.id and status = 'sending';
    return jsonb_build_object(
        'id', v_batch.id, 'body', v_batch.body, 'attempt', v_batch.attempts + 1,
        'rows', (select jsonb_agg(jsonb_build_object(
                     'id', o.id, 'user_id', o.user_id, 'term', o.term, 'class_nbr', o.class_nbr,
                     'notification_type', o.notification_type, 'tick_id', e.tick_id) order by o.batch_index)
                 from pickmyclass.outbox o join pickmyclass.section_events e on e.id = o.event_id
                 where o.batch_id = v_batch.id));
end $$;

-- Choose and lock the next rows: the oldest event first, then who began to watch first. A row that its batch
-- was refused for comes by itself. Rows that anybody else has locked are passed over, never waited for.
create or replace function pickmyclass.choose_rows(p_worker text, p_limit int, p_own_only boolean, p_now timestamptz)
returns bigint[]
language plpgsql set search_path = '' as $$
declare
    v_ids   bigint[];
    v_alone boolean;
begin
    if p_own_only then
        select array_agg(id) into v_ids from (
            select o.id from pickmyclass.outbox o
            where o.status = 'pending' and not o.held and o.leased_by = p_worker and o.leased_until > p_now
            order by o.id limit p_limit for update skip locked) chosen;
        return coalesce(v_ids, '{}');
    end if;
    select o.alone into v_alone from pickmyclass.outbox o
    where o.status = 'pending' and not o.held and (o.leased_by is null or o.leased_until <= p_now)
    order by o.event_at, o.event_id, o.watched_since, o.watch_id limit 1;
    select array_agg(id) into v_ids from (
        select o.id from pickmyclass.outbox o
        where o.status = 'pending' and not o.held and (o.leased_by is null or o.leased_until <= p_now)
          and o.alone = v_alone
        order by o.event_at, o.event_id, o.watched_since, o.watch_id
        limit case when v_alone then 1 else p_limit end for update skip locked) chosen;
    return coalesce(v_ids, '{}');
end $$;

-- When something will be due that is not due now: a batch's next attempt or, unless only frozen mail counts, the
-- end of somebody's lease.
create or replace function pickmyclass.mail_due_at(p_frozen_only boolean) returns timestamptz
language sql stable set search_path = '' as $$
    select least(
        (select min(greatest(b.next_attempt_at, b.leased_until))
           from pickmyclass.mail_batches b where b.outcome is null),
        (select min(o.leased_until) from pickmyclass.outbox o
          where o.status = 'pending' and o.leased_by is not null and not p_frozen_only))
$$;

-- Whether a mailer that is idle should look: something is due now and the tap is open.
create or replace function pickmyclass.is_mail_due() returns boolean
language sql stable set search_path = '' as $$
    select not exists (select from pickmyclass.mail_hold h
                       where greatest(h.parked_until, h.paused_until) > clock_timestamp())
       and (exists (select from pickmyclass.mail_batches b
                    where b.outcome is null and greatest(b.next_attempt_at, b.leased_until) <= clock_timestamp())
            or exists (select from pickmyclass.outbox o, pickmyclass.mail_hold h
                       where o.status = 'pending' and not o.held and not h.held
                         and (o.leased_by is null or o.leased_until <= clock_timestamp())))
$$;

-- The answer of a gather that has nothing to send now; the wait is told in seconds, so that the caller's clock
-- plays no part. It is never nothing: a row that somebody has locked for a moment must not be asked for in a spin.
create or replace function pickmyclass.nothing_to_send(p_state text, p_until timestamptz, p_reason text, p_recheck jsonb)
returns jsonb language sql volatile set search_path = '' as $$
    select jsonb_build_object('state', p_state, 'reason', p_reason, 'recheck', p_recheck, 'wait_seconds',
        case when p_until is not null then greatest(0.05, extract(epoch from p_until - clock_timestamp())) end)
$$;

-- Gather what is to be sent next, leased to p_worker for p_lease_seconds.
--   {"state": "batch", "batch": {id, body, attempt, rows}}   repeat these bytes under this key
--   {"state": "rows", "rows": [...]}                         write these emails and freeze them; none: ask again
--   {"state": "idle" | "held" | "paused" | "parked", "wait_seconds": until it is worth asking again, "reason"}
-- and always "recheck": [{term, class_nbr}], sections whose mail the mass-event guard has just held.
-- p_own_only: nothing but rows that a commit leased to this worker (a check over HTTP sends its own mail).
-- Race: two mailers gather at once; rows are locked and leased in one transaction, and locked ones passed over.
create or replace function public.pmc_gather_mail(
    p_worker text, p_limit int default 100, p_own_only boolean default false,
    p_lease_seconds double precision default 60
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now     timestamptz := clock_timestamp();
    v_lease   interval := make_interval(secs => p_lease_seconds);
    v_hold    pickmyclass.mail_hold;
    v_batch   jsonb;
    v_ids     bigint[];
    v_recheck jsonb := '[]';
begin
    perform pickmyclass.bury_old_batches(v_now);
    perform pickmyclass.forgive_old_addresses();
    select * into v_hold from pickmyclass.mail_hold;
    if v_hold.parked_until > v_now then
        return pickmyclass.nothing_to_send('parked', v_hold.parked_until, v_hold.park_reason, v_recheck);
    elsif v_hold.paused_until > v_now then
        return pickmyclass.nothing_to_send('paused', v_hold.paused_until, 'rate limit', v_recheck);
    end if;
    v_batch := case when not p_own_only then pickmyclass.take_batch(p_worker, v_now, v_lease) end;
    if v_batch is not null then
        return jsonb_build_object('state', 'batch', 'batch', v_batch, 'recheck', v_recheck);
    elsif v_hold.held then
        return pickmyclass.nothing_to_send('held', pickmyclass.mail_due_at(true), v_hold.held_reason, v_recheck);
    end if;
    for v_round in 1..10 loop
        v_ids := pickmyclass.choose_rows(p_worker, least(p_limit, v_hold.batch_limit), p_own_only, v_now);
        if v_ids = '{}' then
            return pickmyclass.nothing_to_send('idle', pickmyclass.mail_due_at(false), null, v_recheck);
        end if;
        v_recheck := v_recheck || pickmyclass.hold_mass_events(v_ids, p_worker, v_now);
        perform pickmyclass.drop_unowed(v_ids, v_now);
        with leased as (
            update pickmyclass.outbox o set leased_by = p_worker, leased_until = v_now + v_lease
            where o.id = any (v_ids) and o.status = 'pending' and not o.held
            returning o.id
        )
        select coalesce(array_agg(id), '{}') into v_ids from leased;
        exit when v_ids <> '{}';
    end loop;
    return jsonb_build_object('state', 'rows', 'rows', pickmyclass.mail_json(v_ids), 'recheck', v_recheck);
end $$;

-- Give leased rows back unsent (a stop, or the tap was closed meanwhile): anyone may gather them at once.
create or replace function public.pmc_hand_back_mail(p_worker text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.outbox set leased_by = null, leased_until = null
    where id in (select o.id from pickmyclass.outbox o
                 where o.status = 'pending' and o.leased_by = p_worker for update skip locked);
    get diagnostics v_count = row_count;
    return jsonb_build_object('handed_back', v_count);
end $$;

-- Freeze the gathered rows into one batch, leased to p_worker for its first attempt. Everything is asked once
-- more under lock and decided for good: eligibility, address, drop, mass event.
-- p_emails, in the order gathered: [{"id", "to", "email": JSON text}] or [{"id", "error": why it has no text, "status":
-- "dropped", or "dead" where that is our fault}].
-- Returns {"state": "frozen", "ids": [in the order sent], "digest": sha-256 of the body}, "empty" when nothing
-- was left to send, or "held"; and "recheck" as the gather does. The body is "[" + the texts joined by "," + "]":
-- the caller holds the texts already and need not be sent them back.
-- Race: the owner unsubscribes or the seats fill between gather and freeze; both touch only rows that are still
-- pending, so whoever locks the row first decides, and a row that somebody else has locked is left out.
create or replace function public.pmc_freeze_batch(
    p_worker text, p_batch_id uuid, p_emails jsonb, p_lease_seconds double precision default 60
) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now     timestamptz := clock_timestamp();
    v_ids     bigint[];
    v_body    text;
    v_recheck jsonb;
begin
    select b.body, (select array_agg(o.id order by o.batch_index) from pickmyclass.outbox o where o.batch_id = b.id)
    into v_body, v_ids from pickmyclass.mail_batches b where b.id = p_batch_id;
    if found then  -- the answer to the same call was lost on its way
        return jsonb_build_object('state', 'frozen', 'ids', to_jsonb(v_ids), 'recheck', '[]'::jsonb,
                                  'digest', encode(sha256(convert_to(v_body, 'UTF8')), 'hex'));
    end if;
    if exists (select from pickmyclass.mail_hold where held) then
        return jsonb_build_object('state', 'held', 'recheck', '[]'::jsonb);
    end if;
    select array_agg(id) into v_ids from (
        select o.id from pickmyclass.outbox o
        where o.id in (select (m ->> 'id')::bigint from jsonb_array_elements(p_emails) m)
          and o.status = 'pending' and not o.held and o.leased_by = p_worker
        for update skip locked) locked;
    v_recheck := pickmyclass.hold_mass_events(v_ids, p_worker, v_now);
    perform pickmyclass.drop_unowed(v_ids, v_now);
    update pickmyclass.outbox o
       set status = coalesce(m ->> 'status', 'dead'), last_error = m ->> 'error', settled_at = v_now,
           leased_by = null, leased_until = null
      from jsonb_array_elements(p_emails) m
     where o.id = (m ->> 'id')::bigint and o.id = any (v_ids) and o.status = 'pending' and not o.held
       and m ->> 'error' is not null;
    select array_agg(o.id order by m.place), '[' || string_agg(m.email ->> 'email', ',' order by m.place) || ']'
    into v_ids, v_body
    from jsonb_array_elements(p_emails) with ordinality as m (email, place)
    join pickmyclass.outbox o on o.id = (m.email ->> 'id')::bigint
    join auth.users u on u.id = o.user_id and u.email = m.email ->> 'to'  -- a new address: gathered again
    where o.id = any (v_ids) and o.status = 'pending' and not o.held;
    if v_ids is null then
        perform public.pmc_hand_back_mail(p_worker);
        return jsonb_build_object('state', 'empty', 'recheck', v_recheck);
    end if;
    insert into pickmyclass.mail_batches (id, body, attempted_at, leased_by, leased_until)
    values (p_batch_id, v_body, v_now, p_worker, v_now + make_interval(secs => p_lease_seconds));
    update pickmyclass.outbox o
       set status = 'sending', batch_id = p_batch_id, batch_index = k.place - 1, attempts = attempts + 1,
           last_error = null, leased_by = null, leased_until = null
      from unnest(v_ids) with ordinality as k (id, place) where o.id = k.id;
    perform public.pmc_hand_back_mail(p_worker);
    return jsonb_build_object('state', 'frozen', 'ids', to_jsonb(v_ids), 'recheck', v_recheck,
                              'digest', encode(sha256(convert_to(v_body, 'UTF8')), 'hex'));
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
