-- What Resend says of a mail and of an address.

set check_function_bodies = off;  -- they name functions of other files

-- What a word does to the mail it speaks of; how many rows that changed.
create or replace function pickmyclass.apply_word(p_message_id text, p_effect text, p_reason text) returns int
language plpgsql set search_path = '' as $$
declare v_mails int;
begin
    if p_effect = 'delivered' then
        update pickmyclass.outbox o set status = 'delivered', settled_at = clock_timestamp()
        where o.message_id = p_message_id and o.status = 'sent';
    elsif p_effect in ('dead', 'suppressed') then
        update pickmyclass.outbox o
           set status = 'dead', last_error = left(p_reason, 500), settled_at = clock_timestamp()
         where o.message_id = p_message_id and o.status in ('sent', 'delivered');
    else
        update pickmyclass.outbox o set last_error = left(coalesce(p_reason, p_effect), 500)
        where o.message_id = p_message_id;
    end if;
    get diagnostics v_mails = row_count;
    if p_effect = 'delivered' then
        perform pickmyclass.clear_bounce(p_message_id);
    end if;
    return v_mails;
end $$;

-- Race: a word and the settling of its mail at once: both take the message's lock first, so the later one sees what
-- the earlier one wrote.
create or replace function pickmyclass.lock_message(p_message_id text) returns void
language sql volatile set search_path = '' as $$
    select pg_advisory_xact_lock(hashtextextended('pickmyclass:message:' || p_message_id, 0))
$$;

-- Whom a message of Resend's is about: the owner of the mail with this message id, and of each address it went to. A
-- bounce is about addresses: it does not concern an owner whose address is another one by now.
create or replace function pickmyclass.people_of(p_message_id text, p_addresses jsonb, p_effect text)
returns setof uuid
language sql stable set search_path = '' as $$
    select o.user_id from pickmyclass.outbox o
    where o.message_id = p_message_id and (p_effect = 'complained' or p_addresses = '[]')
    union
    select u.id from auth.users u
    where lower(u.email) in (select lower(value) from jsonb_array_elements_text(p_addresses))
$$;

-- Ends the bounce of people whose address is another one by now; what they had chosen before it holds again. Asked
-- whenever mail becomes owed or is gathered, and before a tick, because only the account's row says that it was changed.
create or replace function pickmyclass.forgive_old_addresses() returns void
language plpgsql set search_path = '' as $$
declare v_bounce pickmyclass.bounces;
begin
    for v_bounce in
        select b.* from pickmyclass.bounces b join auth.users u on u.id = b.user_id
        where lower(u.email) <> b.address order by b.user_id for update of b skip locked
    loop
        delete from pickmyclass.bounces b where b.user_id = v_bounce.user_id;
        update public.user_profiles p
           set email_bounced = false, email_bounced_at = null,
               notifications_enabled = p.notifications_enabled
                   or v_bounce.was_enabled and coalesce(p.unsubscribed_at < v_bounce.bounced_at, true)
         where p.user_id = v_bounce.user_id;
    end loop;
end $$;

-- pmc_record_webhook: what Resend says became of a mail. p_effect:
--   "delivered"   the mail arrived
--   "dead"        the mail was given up (p_reason)
--   "bounced"     the address does not exist: its owner gets no more mail until the address is another one
--   "suppressed"  the mail was given up because the address had bounced before: both
--   "complained"  its owner called it spam: no more mail, as if unsubscribed
-- Returns {"result": "handled", "people", "mails"} or {"result": "repeated"}.
-- Race: the same message twice at once: the second waits on the first's row, then finds that it is there. The row
-- is written in the transaction of the effect, so a message that failed is new when Resend repeats it.
create or replace function public.pmc_record_webhook(
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
    if p_effect is null or p_effect not in ('delivered', 'dead', 'bounced', 'suppressed', 'complained') then
        raise exception using errcode = '22023',
            message = 'p_effect must be delivered, dead, bounced, suppressed or complained';
    end if;
    insert into pickmyclass.webhook_deliveries (svix_id, event_type) values (p_svix_id, p_event_type)
    on conflict (svix_id) do nothing;
    if not found then
        return jsonb_build_object('result', 'repeated');
    end if;
    if p_message_id is not null then
        perform pickmyclass.lock_message(p_message_id);
        v_mails := pickmyclass.apply_word(p_message_id, p_effect, p_reason);
        if v_mails = 0 then
            update pickmyclass.webhook_deliveries d
               set early_message_id = p_message_id, early_effect = p_effect, early_reason = left(p_reason, 500)
             where d.svix_id = p_svix_id;
        end if;
    end if;
    if p_effect in ('bounced', 'suppressed', 'complained') then
        for v_user in select pickmyclass.people_of(p_message_id, p_addresses, p_effect) order by 1 loop
            perform pickmyclass.ensure_profile(v_user);
            if p_effect <> 'complained' then
                insert into pickmyclass.bounces as b (user_id, address, bounced_at, was_enabled)
                select u.id, lower(u.email), v_now, coalesce(p.notifications_enabled, true)
                from auth.users u join public.user_profiles p on p.user_id = u.id where u.id = v_user
                on conflict (user_id) do update
                    set address = excluded.address, bounced_at = excluded.bounced_at,
                        was_enabled = b.was_enabled or excluded.was_enabled;
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
    end if;
    return jsonb_build_object('result', 'handled', 'people', v_people, 'mails', v_mails);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
