-- Mail, the second half: what came of a batch, and an operator's hand on the tap.

set check_function_bodies = off;  -- they name functions of other files

-- Resend accepted the batch: its rows are sent, with their message ids; those it named as wrong are dead.
create or replace function pickmyclass.settle_accepted(p_batch_id uuid, p_outcome jsonb, p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_sent int;
    v_dead int;
begin
    update pickmyclass.outbox o
       set status = 'dead', last_error = e ->> 'message', settled_at = p_now
      from jsonb_array_elements(p_outcome -> 'errors') e
     where o.batch_id = p_batch_id and o.status = 'sending' and o.batch_index = (e ->> 'index')::int;
    get diagnostics v_dead = row_count;
    update pickmyclass.outbox o
       set status = 'sent', message_id = p_outcome -> 'message_ids' ->> o.batch_index, sent_at = p_now,
           last_error = null
     where o.batch_id = p_batch_id and o.status = 'sending';
    get diagnostics v_sent = row_count;
    update pickmyclass.mail_batches set outcome = 'accepted', settled_at = p_now, leased_by = null, last_error = null
    where id = p_batch_id;
    -- Resend is back from an outage (not: one batch in trouble among others that pass): nobody waits out his backoff.
    update pickmyclass.mail_batches set next_attempt_at = p_now
    where outcome is null and leased_by is null and exists (select from pickmyclass.mail_hold where failures >= 3);
    -- A batch that was not full took all there was: what is owed later may be tried whole again.
    update pickmyclass.mail_hold
       set failures = 0, batch_limit = case when v_sent + v_dead < batch_limit then null else batch_limit end
     where failures <> 0 or batch_limit is not null;
    return jsonb_build_object('state', 'accepted', 'sent', v_sent, 'dead', v_dead);
end $$;

-- Every attempt was refused for certain: nothing was sent, so the rows are owed as before. A batch refused as
-- invalid is tried again row by row; a row that is invalid by itself is dead.
create or replace function pickmyclass.dissolve_batch(p_batch_id uuid, p_outcome jsonb, p_now timestamptz) returns jsonb
language plpgsql set search_path = '' as $$
declare
    v_invalid boolean := p_outcome ->> 'reason' = 'invalid';
    v_size    int;
begin
    select count(*) into v_size from pickmyclass.outbox where batch_id = p_batch_id and status = 'sending';
    update pickmyclass.outbox
       set status = case when v_invalid and v_size = 1 then 'dead' else 'pending' end,
           settled_at = case when v_invalid and v_size = 1 then p_now end,
           alone = alone or v_invalid, batch_id = null, batch_index = null, last_error = p_outcome ->> 'error'
     where batch_id = p_batch_id and status = 'sending';
    update pickmyclass.mail_batches
       set outcome = 'dissolved', settled_at = p_now, leased_by = null, body = null, last_error = p_outcome ->> 'error'
     where id = p_batch_id;
    return jsonb_build_object('state', 'dissolved', 'sent', 0,
                              'dead', case when v_invalid and v_size = 1 then 1 else 0 end);
end $$;

-- Close the tap as this outcome asks for: a rate limit pauses; a quota that has no room for a batch of `p_size` may have
-- room for half of it, until not even one email goes; then it parks, as the account's troubles do, for as long as the
-- caller says; no answer at all parks for longer and longer (1, 2, 4 ... 300 units).
create or replace function pickmyclass.close_tap(p_outcome jsonb, p_size int, p_now timestamptz) returns void
language plpgsql set search_path = '' as $$
declare
    v_wait interval := make_interval(secs => (p_outcome ->> 'wait_seconds')::double precision);
    v_unit double precision := coalesce((p_outcome ->> 'unit_seconds')::double precision, 1);
begin
    if p_outcome ->> 'reason' = 'rate' or p_outcome ->> 'kind' = 'accepted' then
        update pickmyclass.mail_hold set paused_until = greatest(paused_until, p_now + v_wait)
        where v_wait is not null;
    elsif (p_outcome ->> 'quota')::boolean and p_size > 1 then
        update pickmyclass.mail_hold set batch_limit = p_size / 2;
    elsif p_outcome ->> 'reason' = 'park' then
        update pickmyclass.mail_hold
           set failures = 0, batch_limit = null, parked_at = p_now, park_reason = p_outcome ->> 'error', parked_until = p_now + v_wait;
    elsif p_outcome ->> 'reason' = 'no_answer' then
        update pickmyclass.mail_hold
           set failures = failures + 1, parked_at = p_now, park_reason = p_outcome ->> 'error',
               parked_until = greatest(parked_until,
                   p_now + make_interval(secs => least(300, power(2, least(failures, 9))) * v_unit));
    end if;
end $$;

-- Settle an attempt. p_outcome:
--   {"kind": "accepted", "message_ids": [by place, null where refused], "errors": [{index, message}], "wait_seconds"?}
--   {"kind": "refused", "reason": "invalid" | "rate" | "park" | "no_answer", "error", "wait_seconds"?}  for certain
--   {"kind": "unknown", "reason": "no_answer" | "busy", "error"}       nobody knows whether it was sent
--   and "unit_seconds": what one second of backoff lasts (a chaos run shortens it).
-- Returns {"state": "accepted" | "dissolved" | "waiting" | "settled before", "sent", "dead", "next_attempt_at"?}.
-- Race: a mailer that was paused past its lease answers late. An acceptance is a fact and counts from anyone; a
-- refusal counts only from the holder of the lease, and only while no attempt's outcome is unknown.
create or replace function public.pmc_settle_batch(p_batch_id uuid, p_worker text, p_outcome jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now   timestamptz := clock_timestamp();
    v_batch pickmyclass.mail_batches;
    v_until timestamptz;
    v_size  int;
begin
    select * into v_batch from pickmyclass.mail_batches where id = p_batch_id for update;
    if not found or v_batch.outcome is not null then
        return jsonb_build_object('state', 'settled before', 'sent', 0, 'dead', 0);
    end if;
    select count(*) into v_size from pickmyclass.outbox o where o.batch_id = p_batch_id and o.status = 'sending';
    perform pickmyclass.close_tap(p_outcome, v_size, v_now);
    if p_outcome ->> 'kind' = 'accepted' then
        return pickmyclass.settle_accepted(p_batch_id, p_outcome, v_now);
    elsif v_batch.leased_by is distinct from p_worker then
        return jsonb_build_object('state', 'waiting', 'sent', 0, 'dead', 0);
    elsif p_outcome ->> 'kind' = 'refused' and v_batch.unknown_since is null then
        return pickmyclass.dissolve_batch(p_batch_id, p_outcome, v_now);
    end if;
    select greatest(h.parked_until, h.paused_until) into v_until from pickmyclass.mail_hold h;
    -- 2, 4, 8 ... 900 units, each between half and whole, so that many batches do not come back together.
    v_until := greatest(v_until, v_now + make_interval(secs =>
        least(900, power(2, least(v_batch.attempts, 10))) * (0.5 + random() / 2)
        * coalesce((p_outcome ->> 'unit_seconds')::double precision, 1)));
    update pickmyclass.mail_batches
       set unknown_since = case when p_outcome ->> 'kind' = 'unknown' then coalesce(unknown_since, attempted_at)
                                else unknown_since end,
           leased_by = null, leased_until = v_now, next_attempt_at = v_until, last_error = p_outcome ->> 'error'
     where id = p_batch_id;
    update pickmyclass.outbox set last_error = p_outcome ->> 'error'
    where batch_id = p_batch_id and status = 'sending';
    return jsonb_build_object('state', 'waiting', 'sent', 0, 'dead', 0, 'next_attempt_at', v_until);
end $$;

-- Hold all mail that is not frozen yet, until it is released.
create or replace function public.pmc_hold_mail(p_reason text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    update pickmyclass.mail_hold
       set held = true, held_reason = coalesce(nullif(p_reason, ''), 'by an operator'), held_at = clock_timestamp();
    return jsonb_build_object('held', true,
        'pending', (select count(*) from pickmyclass.outbox where status = 'pending'));
end $$;

-- Open the tap: what an operator or the mass-event guard holds may leave, and parking ends at once.
create or replace function public.pmc_release_mail() returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.mail_hold
       set held = false, held_reason = null, held_at = null, paused_until = null, failures = 0,
           parked_until = null, park_reason = null, parked_at = null;
    -- A row that a check has locked is being confirmed or dropped by it.
    update pickmyclass.outbox set held = false, confirmed = true, last_error = null
    where id in (select o.id from pickmyclass.outbox o where o.status = 'pending' and o.held for update skip locked);
    get diagnostics v_count = row_count;
    return jsonb_build_object('held', false, 'released', v_count,
        'pending', (select count(*) from pickmyclass.outbox where status = 'pending'));
end $$;

-- Mail that left or was given up is owed once more, as if it never had been; how many rows that is.
create or replace function pickmyclass.owe_again(p_ids bigint[]) returns int
language plpgsql set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.outbox o
       set status = 'pending', settled_at = null, sent_at = null, message_id = null, batch_id = null,
           batch_index = null, last_error = null, leased_by = null, leased_until = null, acked_at = null
     where o.id = any (p_ids) and o.status in ('sent', 'delivered', 'dead');
    get diagnostics v_count = row_count;
    return v_count;
end $$;

-- Owe dead mail again: the ids given, or (null) all that certainly never left. Mail that may have been sent
-- (it has a message id, or its outcome stayed unknown) is retried only when it is named by its id.
create or replace function public.pmc_retry_mail(p_ids jsonb default null) returns jsonb
language sql security definer set search_path = '' as $$
    select jsonb_build_object('retried', pickmyclass.owe_again(array(
        select o.id from pickmyclass.outbox o
        where o.status = 'dead'
          and case when p_ids is null then o.message_id is null and o.last_error is distinct from 'unknown whether sent'
                   else o.id in (select value::bigint from jsonb_array_elements_text(p_ids)) end)))
$$;

-- pmc_ack_mail: an operator has seen dead mail (null: all of it); health counts it no more.
create or replace function public.pmc_ack_mail(p_ids jsonb default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.outbox o set acked_at = clock_timestamp()
     where o.status = 'dead' and o.acked_at is null
       and (p_ids is null or o.id in (select value::bigint from jsonb_array_elements_text(p_ids)));
    get diagnostics v_count = row_count;
    return jsonb_build_object('acked', v_count);
end $$;

-- pmc_drop_mail: mail that waits or was given up is no longer owed, by an operator's decision. What is frozen is on its
-- way and stays.
create or replace function public.pmc_drop_mail(p_ids jsonb) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.outbox o
       set status = 'dropped', last_error = 'dropped by an operator', settled_at = clock_timestamp(), held = false,
           leased_by = null, leased_until = null
     where o.status in ('pending', 'dead')
       and o.id in (select value::bigint from jsonb_array_elements_text(p_ids));
    get diagnostics v_count = row_count;
    return jsonb_build_object('dropped', v_count);
end $$;

-- The outbox for an operator's eyes: newest first, addresses masked.
create or replace function public.pmc_list_mail(p_status text default 'pending', p_limit int default 50) returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'counts', (select coalesce(jsonb_object_agg(status, n), '{}')
                   from (select status, count(*) as n from pickmyclass.outbox group by status) c),
        'held_by_guard', (select count(*) from pickmyclass.outbox where status = 'pending' and held),
        'tap', (select to_jsonb(h) - 'only_row' from pickmyclass.mail_hold h),
        'mail', (select coalesce(jsonb_agg(jsonb_build_object(
                     'id', o.id, 'event_id', o.event_id, 'term', o.term, 'class_nbr', o.class_nbr,
                     'notification_type', o.notification_type, 'status', o.status,
                     'recipient', left(u.email, 1) || '***@' || left(split_part(u.email, '@', 2), 1) || '***',
                     'event_at', o.event_at, 'created_at', o.created_at, 'sent_at', o.sent_at,
                     'attempts', o.attempts, 'held', o.held, 'alone', o.alone, 'batch_id', o.batch_id,
                     'message_id', o.message_id, 'last_error', o.last_error) order by o.id desc), '[]')
                 from (select * from pickmyclass.outbox
                       where status = p_status order by id desc limit least(p_limit, 500)) o
                 left join auth.users u on u.id = o.user_id))
$$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
