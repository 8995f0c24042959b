-- Ticks: which slot was begun by whom. Workers: which consumers live.

-- pmc_begin_tick: writes down that a slot's tick begins. The scheduler's are unique per slot and group, however many
-- servers there are: of two at once one inserts and the other is told "already". A tick that failed, or that began
-- `p_stale_seconds` ago and never finished, may be begun again.
create function public.pmc_begin_tick(
    p_tick_id text, p_slot timestamptz, p_group text, p_source text, p_worker text default null,
    p_now timestamptz default null, p_stale_seconds double precision default 600)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_tick pickmyclass.ticks;
begin
    if p_source = 'scheduler' then
        insert into pickmyclass.ticks as t (id, slot, stagger_group, source, worker)
        values (p_tick_id, p_slot, p_group, p_source, p_worker)
        on conflict (slot, stagger_group) where source = 'scheduler' do update set
            id = excluded.id, worker = excluded.worker, started_at = clock_timestamp(), finished_at = null,
            enqueued = null, already_queued = null, error = null
            where t.error is not null or t.id = excluded.id
               or (t.finished_at is null and t.started_at < clock_timestamp() - make_interval(secs => p_stale_seconds))
        returning * into v_tick;
    else
        insert into pickmyclass.ticks as t (id, slot, stagger_group, source, worker)
        values (p_tick_id, p_slot, p_group, p_source, p_worker)
        on conflict (id) do update set worker = excluded.worker
        returning * into v_tick;
    end if;
    if v_tick.id is null then
        select * into v_tick from pickmyclass.ticks t
        where t.slot = p_slot and t.stagger_group = p_group and t.source = 'scheduler';
        return jsonb_build_object('result', 'already', 'tick_id', v_tick.id);
    end if;
    return jsonb_build_object('result', 'begun', 'started_at', v_tick.started_at);
end $$;

-- pmc_finish_tick: what came of a tick. One that another server has taken over meanwhile is not found, and that is fine.
create function public.pmc_finish_tick(
    p_tick_id text, p_enqueued int default null, p_already_queued int default null, p_error text default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    update pickmyclass.ticks t set
        finished_at = clock_timestamp(), enqueued = p_enqueued, already_queued = p_already_queued,
        error = left(p_error, 500)
    where t.id = p_tick_id;
    return jsonb_build_object('finished', found);
end $$;

-- The scheduler's latest tick of a group up to a moment.
create function pickmyclass.latest_tick(p_group text, p_at timestamptz) returns pickmyclass.ticks
language sql stable as $$
    select t from pickmyclass.ticks t
    where t.source = 'scheduler' and t.stagger_group = p_group and t.slot <= p_at
    order by t.slot desc limit 1
$$;

-- pmc_latest_ticks: for a starting consumer, which runs whatever is missing.
create function public.pmc_latest_ticks(p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_answer jsonb := '{}';
    v_group text;
    v_tick pickmyclass.ticks;
begin
    foreach v_group in array array['even', 'odd'] loop
        v_tick := pickmyclass.latest_tick(v_group, coalesce(p_now, clock_timestamp()));
        v_answer := v_answer || jsonb_build_object(v_group, case when v_tick.id is not null then jsonb_build_object(
            'tick_id', v_tick.id, 'slot', v_tick.slot,
            'finished', v_tick.finished_at is not null and v_tick.error is null) end);
    end loop;
    return v_answer;
end $$;

-- pmc_beat: a consumer says that it lives, and learns what it should do and whom it has to replace. A consumer that
-- was declared dead but still runs is active again with this beat; what an operator set (paused, draining) stays.
-- A worker is dead when its last beat is older than `dead_after_seconds` (default 60) by the server's clock.
create function public.pmc_beat(p_worker jsonb, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_status text;
    v_dead jsonb;
begin
    insert into pickmyclass.workers as w (
        worker_id, worker_name, host, max_concurrent_jobs, current_jobs, figures, capabilities)
    values (p_worker ->> 'worker_id', p_worker ->> 'worker_name', p_worker ->> 'host',
            (p_worker ->> 'max_concurrent_jobs')::int, coalesce((p_worker ->> 'current_jobs')::int, 0),
            coalesce(p_worker -> 'figures', '{}'), coalesce(p_worker -> 'capabilities', '{}'))
    on conflict (worker_id) do update set
        worker_name = excluded.worker_name, host = excluded.host,
        max_concurrent_jobs = excluded.max_concurrent_jobs, current_jobs = excluded.current_jobs,
        figures = excluded.figures, capabilities = excluded.capabilities,
        status = case when w.status = 'offline' then 'active' else w.status end,
        last_heartbeat = clock_timestamp(), updated_at = clock_timestamp()
    returning w.status into v_status;
    select coalesce(jsonb_agg(w.worker_id order by w.last_heartbeat), '[]') into v_dead
    from pickmyclass.workers w
    where w.status <> 'offline' and w.last_heartbeat < clock_timestamp()
        - make_interval(secs => coalesce((p_worker ->> 'dead_after_seconds')::double precision, 60));
    return jsonb_build_object('status', v_status, 'dead', v_dead, 'mail_due', pickmyclass.is_mail_due());
end $$;

-- pmc_set_worker_status: by an operator, by a consumer that stops, or by one that has taken a dead one's jobs over
-- (first the jobs, then "offline").
create function public.pmc_set_worker_status(p_worker_id text, p_status text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    update pickmyclass.workers w set status = p_status, updated_at = clock_timestamp()
    where w.worker_id = p_worker_id;
    return jsonb_build_object('found', found);
end $$;

-- pmc_list_workers: every incarnation that is not offline, and those that went offline during the last day.
create function public.pmc_list_workers() returns jsonb
language sql stable security definer set search_path = '' as $$
    select coalesce(jsonb_agg(jsonb_build_object(
        'worker_id', w.worker_id, 'worker_name', w.worker_name, 'host', w.host, 'status', w.status,
        'last_heartbeat', w.last_heartbeat,
        'heartbeat_age_seconds', extract(epoch from clock_timestamp() - w.last_heartbeat),
        'max_concurrent_jobs', w.max_concurrent_jobs, 'current_jobs', w.current_jobs, 'figures', w.figures,
        'capabilities', w.capabilities, 'started_at', w.created_at) order by w.created_at, w.worker_id), '[]')
    from pickmyclass.workers w
    where w.status <> 'offline' or w.updated_at > clock_timestamp() - interval '1 day'
$$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
