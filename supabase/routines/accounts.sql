-- Accounts: who no longer wants mail, what one person may take along, and who leaves.

set check_function_bodies = off;  -- they name functions of other files

-- Drops the mail that waits for a person, with the reason. What is frozen is out of our hands.
-- Race: a mailer that has gathered a row freezes it or finds it dropped, whoever locks it first decides.
create or replace function pickmyclass.drop_mail_of(p_user_id uuid, p_reason text) returns int
language plpgsql set search_path = '' as $$
declare v_count int;
begin
    update pickmyclass.outbox o
       set status = 'dropped', last_error = p_reason, settled_at = clock_timestamp(), leased_by = null,
           leased_until = null, held = false
     where o.user_id = p_user_id and o.status = 'pending';
    get diagnostics v_count = row_count;
    return v_count;
end $$;

-- The profile's row, made when it is missing, for those who still have an account.
create or replace function pickmyclass.ensure_profile(p_user_id uuid) returns void
language sql volatile set search_path = '' as $$
    insert into public.user_profiles (user_id) select u.id from auth.users u where u.id = p_user_id
    on conflict (user_id) do nothing
$$;

-- pmc_unsubscribe: no more mail for a person, and what waits is dropped. A second time changes nothing.
create or replace function public.pmc_unsubscribe(p_user_id uuid, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    perform pickmyclass.ensure_profile(p_user_id);
    update public.user_profiles p
       set notifications_enabled = false, unsubscribed_at = coalesce(p_now, clock_timestamp())
     where p.user_id = p_user_id and (p.notifications_enabled is distinct from false or p.unsubscribed_at is null);
    return jsonb_build_object('changed', found, 'dropped', pickmyclass.drop_mail_of(p_user_id, 'unsubscribed'));
end $$;

-- What one person was told: the mail that left from here, and what the old side's claims tell where we sent nothing.
create or replace function pickmyclass.notification_history(p_user_id uuid) returns jsonb
language sql stable set search_path = '' set timezone = 'UTC' as $$
    select coalesce(jsonb_agg(told.entry order by told.sent_at desc), '[]') from (
        select o.sent_at, jsonb_build_object(
                   'notification_type', o.notification_type, 'term', o.term, 'class_nbr', o.class_nbr,
                   'sent_at', o.sent_at, 'status', o.status) as entry
        from pickmyclass.outbox o where o.user_id = p_user_id and o.sent_at is not null
        union all
        select n.sent_at, jsonb_build_object(
                   'notification_type', n.notification_type, 'term', w.term, 'class_nbr', w.class_nbr,
                   'sent_at', n.sent_at, 'status', 'sent')
        from public.notifications_sent n join public.class_watches w on w.id = n.class_watch_id
        where w.user_id = p_user_id and not exists (
            select from pickmyclass.outbox o
            where o.watch_id = w.id and o.notification_type = n.notification_type)) told
$$;

-- pmc_export_user: everything that is known about one person, for that person.
create or replace function public.pmc_export_user(p_user_id uuid, p_now timestamptz default null) returns jsonb
language plpgsql stable security definer set search_path = '' set timezone = 'UTC' as $$
declare
    v_account jsonb := (select to_jsonb(u) from auth.users u where u.id = p_user_id);
    v_watches constant jsonb := public.pmc_list_watches(p_user_id) -> 'watches';
    v_history constant jsonb := pickmyclass.notification_history(p_user_id);
begin
    return jsonb_build_object(
        'export_info', jsonb_build_object(
            'exported_at', coalesce(p_now, clock_timestamp()), 'format', 'json', 'version', '1.0'),
        'user_account', jsonb_build_object(
            'id', v_account -> 'id', 'email', v_account -> 'email', 'created_at', v_account -> 'created_at',
            'last_sign_in_at', v_account -> 'last_sign_in_at'),
        'profile', (select to_jsonb(p) - 'id' from public.user_profiles p where p.user_id = p_user_id),
        'class_watches', v_watches,
        'notification_history', v_history,
        'summary', jsonb_build_object(
            'total_class_watches', jsonb_array_length(v_watches),
            'total_notifications', jsonb_array_length(v_history)));
end $$;

-- pmc_delete_user: closes an account. It is kept for thirty days, then maintenance removes it; no mail from now on.
create or replace function public.pmc_delete_user(p_user_id uuid, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' set timezone = 'UTC' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
begin
    perform pickmyclass.ensure_profile(p_user_id);
    update public.user_profiles p
       set is_disabled = true, disabled_at = v_now, notifications_enabled = false, unsubscribed_at = v_now
     where p.user_id = p_user_id;
    perform pickmyclass.drop_mail_of(p_user_id, 'the account was closed');
    return jsonb_build_object('disabled_at', v_now, 'permanent_deletion_date', v_now + interval '30 days');
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
