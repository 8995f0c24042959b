-- Accounts: who no longer wants mail, whose mail cannot arrive, what one person may take along, and who leaves.

-- Drops the mail that waits for a person, with the reason. What is frozen is out of our hands.
-- Race: a mailer that has gathered a row freezes it or finds it dropped, whoever locks it first decides.
create function pickmyclass.drop_mail_of(p_user_id uuid, p_reason text) returns int
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
create function pickmyclass.ensure_profile(p_user_id uuid) returns void
language sql volatile set search_path = '' as $$
    insert into public.user_profiles (user_id) select u.id from auth.users u where u.id = p_user_id
    on conflict (user_id) do nothing
$$;

-- pmc_unsubscribe: no more mail for a person, and what waits is dropped. A second time changes nothing.
create function public.pmc_unsubscribe(p_user_id uuid, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    perform pickmyclass.ensure_profile(p_user_id);
    update public.user_profiles p
       set notifications_enabled = false, unsubscribed_at = coalesce(p_now, clock_timestamp())
     where p.user_id = p_user_id and (p.notifications_enabled is distinct from false or p.unsubscribed_at is null);
    return jsonb_build_object('changed', found, 'dropped', pickmyclass.drop_mail_of(p_user_id, 'unsubscribed'));
end $$;

-- Whom a message of Resend's is about: the owner of the mail with this message id, and of each address it went to.
create function pickmyclass.people_of(p_message_id text, p_addresses jsonb) returns setof uuid
language sql stable set search_path = '' as $$
    select o.user_id from pickmyclass.outbox o where o.message_id = p_message_id
    union
    select u.id from auth.users u
    where lower(u.email) in (select lower(value) from jsonb_array_elements_text(p_addresses))
$$;

-- pmc_record_webhook: what Resend says became of a mail. p_effect:
--   "delivered"   the mail arrived
--   "dead"        the mail was given up (p_reason)
--   "bounced"     the address does not exist: its owner gets no more mail
--   "complained"  its owner called it spam: no more mail, as if unsubscribed
-- Returns {"result": "handled", "people", "mails"} or {"result": "repeated"}.
-- Race: the same message twice at once: the second waits on the first's row, then finds that it is there. The row
-- is written in the transaction of the effect, so a message that failed is new when Resend repeats it.
create function public.pmc_record_webhook(
    p_svix_id text, p_event_type text, p_effect text, p_message_id text, p_addresses jsonb, p_reason text default null,
    p_now timestamptz default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_user uuid;
    v_people int := 0;
    v_mails int := 0;
begin
    insert into pickmyclass.webhook_deliveries (svix_id, event_type) values (p_svix_id, p_event_type)
    on conflict (svix_id) do nothing;
    if not found then
        return jsonb_build_object('result', 'repeated');
    end if;
    if p_effect = 'delivered' then
        update pickmyclass.outbox o set status = 'delivered', settled_at = clock_timestamp()
        where o.message_id = p_message_id and o.status = 'sent';
        get diagnostics v_mails = row_count;
    elsif p_effect = 'dead' then
        update pickmyclass.outbox o
           set status = 'dead', last_error = left(p_reason, 500), settled_at = clock_timestamp()
         where o.message_id = p_message_id and o.status in ('sent', 'delivered');
        get diagnostics v_mails = row_count;
    elsif p_effect in ('bounced', 'complained') then
        update pickmyclass.outbox o set last_error = left(coalesce(p_reason, p_effect), 500)
        where o.message_id = p_message_id;
        get diagnostics v_mails = row_count;
        for v_user in select pickmyclass.people_of(p_message_id, p_addresses) order by 1 loop
            perform pickmyclass.ensure_profile(v_user);
            if p_effect = 'bounced' then
                update public.user_profiles p
                   set email_bounced = true, email_bounced_at = v_now, notifications_enabled = false
                 where p.user_id = v_user;
            else
                update public.user_profiles p
                   set spam_complained = true, spam_complained_at = v_now, notifications_enabled = false,
                       unsubscribed_at = coalesce(p.unsubscribed_at, v_now)
                 where p.user_id = v_user;
            end if;
            perform pickmyclass.drop_mail_of(v_user, p_effect);
            v_people := v_people + 1;
        end loop;
    else
        raise exception using errcode = '22023',
            message = 'p_effect must be delivered, dead, bounced or complained';
    end if;
    return jsonb_build_object('result', 'handled', 'people', v_people, 'mails', v_mails);
end $$;

-- What one person was told: the mail that left from here, and what the old side's claims tell where we sent nothing.
create function pickmyclass.notification_history(p_user_id uuid) returns jsonb
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
create function public.pmc_export_user(p_user_id uuid, p_now timestamptz default null) returns jsonb
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
create function public.pmc_delete_user(p_user_id uuid, p_now timestamptz default null) returns jsonb
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
