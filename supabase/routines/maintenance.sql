-- Maintenance: what is no longer needed goes, a bounded number of rows a call, so that no statement comes near the
-- eight seconds that the service role has.

set check_function_bodies = off;  -- they name functions of other files

-- Accounts that their owners closed (pmc_delete_user, or the old route, which wrote both times at once) and that were
-- kept for thirty days. An account that an operator disabled was not closed by its owner and stays. Everything that
-- belongs to the account goes with it; addresses of frozen mail went long before, with their batches' bodies.
create or replace function pickmyclass.purge_accounts(p_limit int, p_now timestamptz) returns int
language plpgsql set search_path = '' as $$
declare
    v_users uuid[];
    v_addresses text[];
begin
    select array_agg(locked.user_id), array_agg(locked.email) into v_users, v_addresses from (
        select p.user_id, u.email from public.user_profiles p join auth.users u on u.id = p.user_id
        where p.is_disabled and p.disabled_at <= p_now - interval '30 days' and not p.notifications_enabled
          and p.unsubscribed_at between p.disabled_at - interval '1 minute' and p.disabled_at + interval '1 minute'
        order by p.disabled_at limit p_limit for update of p skip locked) locked;
    if v_users is null then
        return 0;
    end if;
    delete from pickmyclass.outbox o where o.user_id = any (v_users) and o.status <> 'sending';
    if to_regclass('public.failed_login_attempts') is not null then
        delete from public.failed_login_attempts f where f.email = any (v_addresses);
    end if;
    delete from auth.users u where u.id = any (v_users);
    return cardinality(v_users);
end $$;

-- pmc_prune: one bounded step of one phase; {"rows": how many}. Fewer than p_limit: the phase is done.
-- Race: rows that somebody else holds are left for the next step or the next day.
create or replace function public.pmc_prune(p_phase text, p_limit int default 1000, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_rows int;
begin
    case p_phase
        when 'expired_claims' then  -- expired claims can be taken again anyway (O1); this only tidies up
            delete from public.notifications_sent n where n.id in (
                select x.id from public.notifications_sent x
                where x.expires_at <= v_now limit p_limit for update skip locked);
        when 'past_terms' then  -- nobody is told: the term is over
            delete from public.class_watches w where w.id in (
                select x.id from public.class_watches x
                where pickmyclass.term_is_over(x.term, v_now) limit p_limit for update skip locked);
        when 'deleted_accounts' then
            return jsonb_build_object('rows', pickmyclass.purge_accounts(p_limit, v_now));
        when 'mail_bodies' then  -- they hold addresses
            update pickmyclass.mail_batches b set body = null where b.id in (
                select x.id from pickmyclass.mail_batches x
                where x.body is not null and x.settled_at <= v_now - interval '7 days'
                limit p_limit for update skip locked);
        when 'outbox' then
            delete from pickmyclass.outbox o where o.id in (
                select x.id from pickmyclass.outbox x
                where x.status not in ('pending', 'sending') and x.created_at <= v_now - interval '90 days'
                limit p_limit for update skip locked);
        when 'mail_batches' then
            delete from pickmyclass.mail_batches b where b.id in (
                select x.id from pickmyclass.mail_batches x
                where x.settled_at <= v_now - interval '90 days' and not exists (
                    select from pickmyclass.outbox o where o.batch_id = x.id)
                limit p_limit for update skip locked);
        when 'events' then  -- a month after its term, and after its mail: pages draw a section's whole term
            delete from pickmyclass.section_events e where e.id in (
                select x.id from pickmyclass.section_events x
                where pickmyclass.term_is_over(x.term, v_now - interval '30 days') and not exists (
                    select from pickmyclass.outbox o where o.event_id = x.id)
                limit p_limit for update skip locked);
        when 'ticks' then
            delete from pickmyclass.ticks t where t.id in (
                select x.id from pickmyclass.ticks x
                where x.started_at <= v_now - interval '30 days' limit p_limit for update skip locked);
        when 'webhook_deliveries' then  -- a signature is good for five minutes, repetitions come for a few days
            delete from pickmyclass.webhook_deliveries d where d.svix_id in (
                select x.svix_id from pickmyclass.webhook_deliveries x
                where x.received_at <= v_now - interval '30 days' limit p_limit for update skip locked);
        when 'workers' then  -- only those whose jobs were taken over: a row that goes first leaves them stuck
            delete from pickmyclass.workers w where w.worker_id in (
                select x.worker_id from pickmyclass.workers x
                where x.status = 'offline' and x.updated_at <= v_now - interval '7 days'
                limit p_limit for update skip locked);
        when 'baselines' then
            delete from pickmyclass.section_checks c where (c.term, c.class_nbr) in (
                select x.term, x.class_nbr from pickmyclass.section_checks x
                where pickmyclass.term_is_over(x.term, v_now - interval '30 days') and not exists (
                    select from public.class_watches w where w.term = x.term and w.class_nbr = x.class_nbr)
                limit p_limit for update skip locked);
        else
            raise exception using errcode = '22023', message = 'there is no such phase of maintenance';
    end case;
    get diagnostics v_rows = row_count;
    return jsonb_build_object('rows', v_rows);
end $$;

-- pmc_read_metrics: what health asks, and all mail by its status, in one round trip.
create or replace function public.pmc_read_metrics(p_now timestamptz default null) returns jsonb
language sql stable security definer set search_path = '' as $$
    select public.pmc_read_health(p_now) || jsonb_build_object('outbox', (
        select coalesce(jsonb_object_agg(by_status.status, by_status.mails), '{}')
        from (select o.status, count(*) as mails from pickmyclass.outbox o group by o.status) by_status))
$$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
