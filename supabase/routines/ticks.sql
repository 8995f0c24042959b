-- Ticks: which slot was begun by whom.

set check_function_bodies = off;  -- they name functions of other files

-- pmc_begin_tick: writes down that a slot's tick begins. The scheduler's are unique per slot and group, however many
-- servers there are: of two at once one inserts and the other is told "already". A tick that failed, or that began
-- `p_stale_seconds` ago and never finished, may be begun again.
create or replace function public.pmc_begin_tick(
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
create or replace function public.pmc_finish_tick(
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
create or replace function pickmyclass.latest_tick(p_group text, p_at timestamptz) returns pickmyclass.ticks
language sql stable as $$
    select t from pickmyclass.ticks t
    where t.source = 'scheduler' and t.stagger_group = p_group and t.slot <= p_at
    order by t.slot desc limit 1
$$;

-- pmc_latest_ticks: for a starting consumer, which runs whatever is missing.
create or replace function public.pmc_latest_ticks(p_now timestamptz default null) returns jsonb
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

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
