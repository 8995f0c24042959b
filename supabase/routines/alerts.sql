-- Alerts: what the operator was told, kept here so that several servers do not tell it several times.

set check_function_bodies = off;  -- they name functions of other files

-- pmc_claim_alerts: notes what is wrong now and hands out what the operator is to be told, leased to `p_worker`.
-- p_causes: [{"cause", "words", "hold_seconds"}], all that is wrong now; one is told when it has lasted
-- `hold_seconds`, at most once an hour; once more when it is over, if it was told.
-- Returns {"tell": [{"alert_id", "cause", "kind", "words", "since"}]}.
-- Race: two servers look at once; they take turns here, and the second finds the lease of the first.
create or replace function public.pmc_claim_alerts(
    p_worker text, p_causes jsonb, p_again_seconds double precision default 3600,
    p_lease_seconds double precision default 120)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := clock_timestamp();
    v_again constant timestamptz := v_now - make_interval(secs => p_again_seconds);
    v_tell jsonb;
begin
    perform pg_advisory_xact_lock(hashtextextended('pickmyclass:alerts', 0));
    insert into pickmyclass.alerts as a (cause, words, since)
    select c.cause, c.words, v_now from jsonb_to_recordset(p_causes) as c (cause text, words text)
    on conflict (cause) do update set words = excluded.words, since = coalesce(a.since, v_now);
    update pickmyclass.alerts a set since = null
    where a.since is not null
      and a.cause not in (select c.cause from jsonb_to_recordset(p_causes) as c (cause text));
    delete from pickmyclass.alerts a
    where a.since is null and not a.is_told and coalesce(a.told_at <= v_again, true)
      and coalesce(a.leased_until <= v_now, true);

    with wanted as (
        select a.cause, case when a.since is null then 'over' else 'wrong' end as kind
        from pickmyclass.alerts a
        left join jsonb_to_recordset(p_causes) as c (cause text, hold_seconds double precision) on c.cause = a.cause
        where coalesce(a.leased_until <= v_now, true)
          and case when a.since is null then a.is_told
                   else a.since <= v_now - make_interval(secs => coalesce(c.hold_seconds, 0))
                        and coalesce(a.told_at <= v_again, true) end
    ), taken as (
        update pickmyclass.alerts a set
            alert_id = case when a.kind = w.kind then coalesce(a.alert_id, gen_random_uuid())
                            else gen_random_uuid() end,
            kind = w.kind, leased_by = p_worker, leased_until = v_now + make_interval(secs => p_lease_seconds)
        from wanted w where a.cause = w.cause
        returning a.alert_id, a.cause, a.kind, a.words, a.since
    )
    select coalesce(jsonb_agg(to_jsonb(taken) order by taken.cause), '[]') into v_tell from taken;
    return jsonb_build_object('tell', v_tell);
end $$;

-- pmc_settle_alert: the operator was told (or could not be: then it is handed out again at the next look).
create or replace function public.pmc_settle_alert(p_worker text, p_alert_id uuid, p_told boolean) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    if p_told then
        update pickmyclass.alerts a set
            is_told = a.kind = 'wrong', told_at = case a.kind when 'wrong' then clock_timestamp() else a.told_at end,
            alert_id = null, kind = null, leased_by = null, leased_until = null
        where a.alert_id = p_alert_id;
    else
        update pickmyclass.alerts a set leased_by = null, leased_until = null
        where a.alert_id = p_alert_id and a.leased_by = p_worker;
    end if;
    return jsonb_build_object('settled', found);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
