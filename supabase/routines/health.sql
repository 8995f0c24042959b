-- Health: what Postgres knows about how it goes, in one answer.

set check_function_bodies = off;  -- they name functions of other files

-- Outbox: what waits, since when, and what was given up. A frozen batch that Resend has not answered waits, too. Given up
-- is what nobody has seen to in the last three days; older mail is history.
create or replace function pickmyclass.mail_health() returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'pending', (select count(*) from pickmyclass.outbox o where o.status = 'pending'),
        'sending', (select count(*) from pickmyclass.outbox o join pickmyclass.mail_batches b on b.id = o.batch_id
                    where b.outcome is null),
        'held', (select count(*) from pickmyclass.outbox o where o.status = 'pending' and o.held),
        'oldest_pending_seconds', (select extract(epoch from clock_timestamp() - min(o.created_at))
                                   from pickmyclass.outbox o where o.status in ('pending', 'sending')),
        'dead', (select count(*) from pickmyclass.outbox o
                 where o.status = 'dead' and o.acked_at is null
                   and coalesce(o.settled_at, o.created_at) > clock_timestamp() - interval '3 days'),
        'hold', (select to_jsonb(h) - 'only_row' from pickmyclass.mail_hold h))
$$;

-- The figure that counts: seconds from the commit that saw an opening to Resend's acceptance, over the last day, by
-- the server's clock at both ends.
create or replace function pickmyclass.mail_delay() returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'count', count(*),
        'p50_seconds', percentile_cont(0.5) within group (order by extract(epoch from o.sent_at - o.created_at)),
        'p95_seconds', percentile_cont(0.95) within group (order by extract(epoch from o.sent_at - o.created_at)))
    from pickmyclass.outbox o
    where o.sent_at > clock_timestamp() - interval '1 day' and o.notification_type = 'seat_available'
$$;

-- How late the openings of the last day can have been seen: seconds from when a section was last seen full to when it
-- was seen open. It opened in between.
create or replace function pickmyclass.opening_bound(p_at timestamptz) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'count', count(*),
        'p50_seconds', percentile_cont(0.5) within group (order by extract(epoch from e.observed_at - e.last_full_at)),
        'p95_seconds', percentile_cont(0.95) within group (order by extract(epoch from e.observed_at - e.last_full_at)))
    from pickmyclass.section_events e
    where e.kind = 'seat_available' and e.observed_at > p_at - interval '1 day' and e.last_full_at is not null
$$;

-- The rounds, see `note_round`; no seconds where nobody plans looks.
create or replace function pickmyclass.round_health(p_at timestamptz) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'seconds', s.round_seconds, 'usual_seconds', s.usual_seconds,
        'age_seconds', case when s.leased_until > clock_timestamp() - interval '10 minutes'
                            then extract(epoch from p_at - s.round_began) end)
    from (select) as always_one_row left join pickmyclass.look_scheduler s on true
$$;

-- Ticks: the latest one that finished and the scheduler's latest of each group; what became of their sections is
-- counted from the baselines, so that four workers do not queue for one hot row.
create or replace function pickmyclass.tick_health(p_tick pickmyclass.ticks) returns jsonb
language sql stable as $$
    select case when p_tick.id is not null then jsonb_build_object(
        'tick_id', p_tick.id, 'slot', p_tick.slot, 'group', p_tick.stagger_group, 'source', p_tick.source,
        'worker', p_tick.worker, 'started_at', p_tick.started_at, 'finished_at', p_tick.finished_at,
        'enqueued', p_tick.enqueued, 'already_queued', p_tick.already_queued, 'error', p_tick.error,
        'checked', count(c.*) filter (where c.last_error is null),
        'failed', count(c.*) filter (where c.last_error is not null),
        'last_attempt_at', max(c.last_attempt_at)) end
    from (select) as always_one_row
    left join pickmyclass.checks_seen() c
        -- A tick of both groups looks at the other one's slot, which began half an hour before its own.
        on c.attempt_slot >= p_tick.slot - (p_tick.stagger_group = 'all')::int * interval '30 minutes'
       and c.attempt_slot < p_tick.slot + interval '1 hour'
       and (p_tick.stagger_group = 'all'
            or (p_tick.stagger_group = 'even') = (right(c.class_nbr, 1) in ('0', '2', '4', '6', '8')))
$$;

-- Freshness of our sections. One is overdue when a full slot has passed since the start of its own and no attempt
-- has ended since that start; one that is watched only since then is not. Its age counts from its last committed
-- check, or from when it was first watched. Struck are those that the source once knew: a number that somebody made up
-- says nothing about the source.
create or replace function pickmyclass.freshness(p_at timestamptz) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'watched_sections', count(*),
        'overdue_sections', count(*) filter (where s.watched_since < s.due_since
            and coalesce(c.attempt_slot < s.due_since, true)),
        'oldest_check_seconds', extract(epoch from p_at - min(
            coalesce(c.checked_at, nullif(s.watched_since, '-infinity')))),
        'last_completed_check_at', max(c.checked_at),
        'struck_sections', count(*) filter (where c.not_found_strikes > 0 and c.observed_at is not null),
        'failed_sections', count(*) filter (where c.last_error is not null))
    from (select o.*, pickmyclass.slot_of(o.class_nbr, p_at - interval '30 minutes') as due_since
          from pickmyclass.our_sections(p_at) o) s
    left join pickmyclass.checks_seen() c on c.term = s.term and c.class_nbr = s.class_nbr
$$;

-- Why the last attempts of our sections were given up, the most frequent reasons first.
create or replace function pickmyclass.failures(p_at timestamptz) returns jsonb
language sql stable as $$
    select coalesce(jsonb_agg(jsonb_build_object('code', f.code, 'error', f.last_error, 'sections', f.sections)
                              order by f.sections desc, f.last_error), '[]')
    from (select c.last_error, min(c.last_error_code) as code, count(*) as sections
          from pickmyclass.our_sections(p_at) s
          join pickmyclass.section_checks c on c.term = s.term and c.class_nbr = s.class_nbr
          where c.last_error is not null
          group by c.last_error order by count(*) desc, c.last_error limit 5) f
$$;

-- Whether this server takes writes. A full disk at Supabase makes new transactions read-only by default; functions like
-- these are run read-only by PostgREST anyway, so it is the default that tells.
create or replace function pickmyclass.takes_writes() returns boolean
language sql stable as $$
    select current_setting('default_transaction_read_only') = 'off' and not pg_is_in_recovery()
$$;

-- pmc_ready: whether work can be done here.
create or replace function public.pmc_ready() returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object('takes_writes', pickmyclass.takes_writes())
$$;

-- pmc_read_health: everything that the health check and the metrics ask of Postgres, in one round trip.
create or replace function public.pmc_read_health(p_now timestamptz default null) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_last pickmyclass.ticks;
begin
    select * into v_last from pickmyclass.ticks t where t.source <> 'rescue' order by t.started_at desc limit 1;
    return jsonb_build_object(
        'server_time', clock_timestamp(),
        'takes_writes', pickmyclass.takes_writes(),
        'email', pickmyclass.mail_health(),
        'email_delay', pickmyclass.mail_delay(),
        'opening_bound', pickmyclass.opening_bound(v_now),
        'round', pickmyclass.round_health(v_now),
        'last_tick', pickmyclass.tick_health(v_last),
        'ticks', jsonb_build_object(
            'even', pickmyclass.tick_health(pickmyclass.latest_tick('even', v_now)),
            'odd', pickmyclass.tick_health(pickmyclass.latest_tick('odd', v_now))),
        'workers', public.pmc_list_workers(),
        'freshness', pickmyclass.freshness(v_now),
        'failures', pickmyclass.failures(v_now),
        'source_looks_broken', pickmyclass.source_looks_broken(v_now),
        'ownership', public.pmc_show_ownership() - 'exceptions');
end $$;

-- pmc_read_tick: one tick and how its slot's checks went, as pmc_read_health tells of the last; null: no such tick.
create or replace function public.pmc_read_tick(p_tick_id text) returns jsonb
language sql stable security definer set search_path = '' as $$
    select pickmyclass.tick_health(t) from pickmyclass.ticks t where t.id = p_tick_id
$$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
