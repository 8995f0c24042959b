-- What a student asks for on the pages: which mail, an address tried again, the terms agreed to, an account reopened.

set check_function_bodies = off;  -- they name functions of other files

-- pmc_set_mail: whether a person wants mail, and which kinds. What waits for someone who wants none is dropped.
create or replace function public.pmc_set_mail(
    p_user_id uuid, p_mail boolean, p_seats boolean, p_instructors boolean, p_now timestamptz default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_now constant timestamptz := coalesce(p_now, clock_timestamp());
begin
    if not p_mail then
        perform public.pmc_unsubscribe(p_user_id, v_now);
    else
        perform pickmyclass.ensure_profile(p_user_id);
        -- Who called it spam and now asks for it says that it is none.
        update public.user_profiles p
           set notifications_enabled = true, unsubscribed_at = null, spam_complained = false, spam_complained_at = null
         where p.user_id = p_user_id and not p.is_disabled;
    end if;
    insert into pickmyclass.preferences (user_id, seats, instructors) values (p_user_id, p_seats, p_instructors)
    on conflict (user_id) do update set seats = excluded.seats, instructors = excluded.instructors;
    return jsonb_build_object('mail', p_mail);
end $$;

-- pmc_begin_address_test: whether a bounced address may be tried again now: once a day, and only while it bounces.
-- Race: of two at once the second finds the first's row as fresh.
create or replace function public.pmc_begin_address_test(p_user_id uuid, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare v_now constant timestamptz := coalesce(p_now, clock_timestamp());
begin
    insert into pickmyclass.address_tests as t (user_id, asked_at)
    select p.user_id, v_now from public.user_profiles p where p.user_id = p_user_id and p.email_bounced
    on conflict (user_id) do update set asked_at = excluded.asked_at, message_id = null
        where t.asked_at <= v_now - interval '1 day';
    return jsonb_build_object('allowed', found);
end $$;

-- pmc_note_address_test: which mail it is; its delivery clears the bounce (pmc_record_webhook).
create or replace function public.pmc_note_address_test(p_user_id uuid, p_message_id text) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    update pickmyclass.address_tests t set message_id = p_message_id where t.user_id = p_user_id;
    return jsonb_build_object('noted', found);
end $$;

-- A test mail was delivered: its address takes mail again. How many people that is about.
create or replace function pickmyclass.clear_bounce(p_message_id text) returns int
language plpgsql set search_path = '' as $$
declare v_people int;
begin
    update public.user_profiles p
       set email_bounced = false, email_bounced_at = null, notifications_enabled = true, unsubscribed_at = null
      from pickmyclass.address_tests t
     where t.message_id = p_message_id and p.user_id = t.user_id and p.email_bounced;
    get diagnostics v_people = row_count;
    return v_people;
end $$;

-- pmc_agree: the terms and the age, once; the first time stays.
create or replace function public.pmc_agree(p_user_id uuid, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    perform pickmyclass.ensure_profile(p_user_id);
    update public.user_profiles p
       set agreed_to_terms_at = coalesce(p.agreed_to_terms_at, p_now, clock_timestamp()),
           age_verified_at = coalesce(p.age_verified_at, p_now, clock_timestamp())
     where p.user_id = p_user_id;
    return jsonb_build_object('agreed', found);
end $$;

-- pmc_reopen: a closed account is as it was, mail included. Only while it can be, and never what was disabled.
create or replace function public.pmc_reopen(p_user_id uuid, p_now timestamptz default null) returns jsonb
language plpgsql security definer set search_path = '' as $$
begin
    if pickmyclass.standing_of(p_user_id, coalesce(p_now, clock_timestamp())) <> 'closed' then
        return jsonb_build_object('reopened', false);
    end if;
    update public.user_profiles p
       set is_disabled = false, disabled_at = null, notifications_enabled = true, unsubscribed_at = null
     where p.user_id = p_user_id;
    return jsonb_build_object('reopened', true);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
