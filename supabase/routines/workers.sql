-- Workers: which consumers live.

set check_function_bodies = off;  -- they name functions of other files

-- pmc_beat: a consumer says that it lives, and learns what it should do and whom it has to replace. A consumer that
-- was declared dead but still runs is active again with this beat; what an operator set (paused, draining) stays.
-- `others`: how many threads all others that take jobs have. A worker is dead when its last beat is older than `dead_after_seconds` (default 60) by the server's clock; it is cut
-- off when it says so itself: then its lease in Redis runs out although it beats.
create or replace function public.pmc_beat(p_worker jsonb, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_status text;
    v_dead jsonb;
    v_cut_off jsonb;
    v_others bigint;
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
    select coalesce(jsonb_agg(w.worker_id order by w.worker_id), '[]') into v_cut_off
    from pickmyclass.workers w
    where w.status <> 'offline' and w.worker_id <> p_worker ->> 'worker_id'
      and not v_dead ? w.worker_id and w.figures #>> '{redis,connected}' = 'false';
    select coalesce(sum(w.max_concurrent_jobs), 0) into v_others
    from pickmyclass.workers w
    where w.status = 'active' and w.worker_id <> p_worker ->> 'worker_id' and not (v_dead || v_cut_off) ? w.worker_id;
    return jsonb_build_object('status', v_status, 'dead', v_dead, 'cut_off', v_cut_off, 'others', v_others,
                              'mail_due', pickmyclass.is_mail_due());
end $$;

-- pmc_set_worker_status: by an operator, by a consumer that stops, or by one that has taken a dead one's jobs over
-- (first the jobs, then "offline").
create or replace function public.pmc_set_worker_status(p_worker_id text, p_status text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    update pickmyclass.workers w set status = p_status, updated_at = clock_timestamp()
    where w.worker_id = p_worker_id;
    return jsonb_build_object('found', found);
end $$;

-- pmc_list_workers: every incarnation that is not offline, and those that went offline during the last day.
create or replace function public.pmc_list_workers() returns jsonb
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
