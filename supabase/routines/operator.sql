-- What an operator sees of one person, and does for them by hand.

set check_function_bodies = off;  -- they name functions of other files

-- What keeps a person from being told, as facts (why_not_eligible has them in words).
create or replace function pickmyclass.person_of(p_user_id uuid) returns jsonb
language sql stable set search_path = '' as $$
    select jsonb_build_object(
        'user_id', p_user_id, 'eligible', pickmyclass.is_eligible(p_user_id),
        'reasons', to_jsonb(pickmyclass.why_not_eligible(p_user_id)),
        'mail', coalesce(p.notifications_enabled, true) and p.unsubscribed_at is null,
        'bounced', coalesce(p.email_bounced, false), 'complained', coalesce(p.spam_complained, false),
        'disabled', coalesce(p.is_disabled, false), 'disabled_at', p.disabled_at,
        'unsubscribed_at', p.unsubscribed_at, 'bounced_at', p.email_bounced_at, 'complained_at', p.spam_complained_at)
    from (select) one left join public.user_profiles p on p.user_id = p_user_id
$$;

-- One act of the record. "by": whose hands; an administrator's address, null when the account is gone.
create or replace function pickmyclass.act_told(p_id bigint) returns jsonb
language sql stable set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object(
        'at', a.at, 'by', coalesce(a.by, (select u.email from auth.users u where u.id = a.admin_id)), 'act', a.act,
        'user', (select u.email from auth.users u where u.id = a.user_id), 'detail', a.detail)
    from pickmyclass.acts a where a.id = p_id
$$;

create or replace function pickmyclass.user_of(p_address text) returns uuid
language sql stable set search_path = '' as $$
    select u.id from auth.users u where lower(u.email) = lower(btrim(p_address)) order by u.created_at limit 1
$$;

-- pmc_find_student: everything about whoever has an address: the person, the watches with when each section was checked
-- last, the latest mail, and what was done by hand. "person" is null when nobody has it.
create or replace function public.pmc_find_student(p_address text) returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_user constant uuid := pickmyclass.user_of(p_address);
    v_account constant jsonb := (select to_jsonb(u) from auth.users u where u.id = v_user);
begin
    if v_user is null then
        return jsonb_build_object('person', null, 'watches', '[]'::jsonb, 'mail', '[]'::jsonb, 'acts', '[]'::jsonb);
    end if;
    return jsonb_build_object(
        'person', pickmyclass.person_of(v_user) || jsonb_build_object(
            'since', v_account -> 'created_at', 'last_sign_in_at', v_account -> 'last_sign_in_at'),
        'watches', (
            select coalesce(jsonb_agg(jsonb_build_object(
                'term', w.term, 'class_nbr', w.class_nbr, 'subject', w.subject, 'catalog_nbr', w.catalog_nbr,
                'since', w.created_at, 'owner', pickmyclass.owner_of(w.term, w.class_nbr),
                'checked_at', c.checked_at, 'last_error', c.last_error, 'strikes', coalesce(c.not_found_strikes, 0))
                order by w.created_at desc, w.id), '[]')
            from public.class_watches w
            left join pickmyclass.section_checks c on c.term = w.term and c.class_nbr = w.class_nbr
            where w.user_id = v_user),
        'mail', (
            select coalesce(jsonb_agg(pickmyclass.mail_story(o) || jsonb_build_object(
                'term', o.term, 'class_nbr', o.class_nbr) order by o.id desc), '[]')
            from (select x.* from pickmyclass.outbox x where x.user_id = v_user order by x.id desc limit 10) o),
        'acts', (
            select coalesce(jsonb_agg(pickmyclass.act_told(a.id) order by a.id desc), '[]')
            from (select x.id from pickmyclass.acts x where x.user_id = v_user order by x.id desc limit 20) a));
end $$;

-- pmc_help_student: what an operator does for one person, written down when it changed anything. p_act:
--   "forgive"  the address is believed to take mail again; mail is on again
--   "mail-on"  the person wants mail after all: unsubscribed, switched off and called spam are forgotten
--   "reopen"   the account is open again, with the mail that its closing had switched off
--   "resend"   the latest mail that left or was given up is owed once more; it may arrive twice
-- Returns {"done", "mail_id"}. What was not so changes nothing and is not written down.
create or replace function public.pmc_help_student(p_address text, p_act text, p_by text) returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_user constant uuid := pickmyclass.user_of(p_address);
    v_mail bigint;
    v_done boolean;
begin
    if p_act = 'forgive' then
        update public.user_profiles p
           set email_bounced = false, email_bounced_at = null, notifications_enabled = true
         where p.user_id = v_user and p.email_bounced;
        v_done := found;
        delete from pickmyclass.bounces b where b.user_id = v_user and v_done;
    elsif p_act = 'mail-on' then
        update public.user_profiles p
           set notifications_enabled = true, unsubscribed_at = null, spam_complained = false, spam_complained_at = null
         where p.user_id = v_user and not pickmyclass.is_eligible(v_user)
           and (not coalesce(p.notifications_enabled, true) or p.unsubscribed_at is not null or p.spam_complained);
        v_done := found;
    elsif p_act = 'reopen' then
        update public.user_profiles p
           set is_disabled = false, disabled_at = null,
               notifications_enabled = p.notifications_enabled or p.unsubscribed_at >= p.disabled_at,
               unsubscribed_at = case when p.unsubscribed_at < p.disabled_at then p.unsubscribed_at end
         where p.user_id = v_user and p.is_disabled;
        v_done := found;
    elsif p_act = 'resend' then
        select o.id into v_mail from pickmyclass.outbox o
        where o.user_id = v_user and o.status in ('sent', 'delivered', 'dead') order by o.id desc limit 1;
        v_done := pickmyclass.owe_again(array[v_mail]) > 0;
    else
        raise exception using errcode = '22023', message = 'p_act must be forgive, mail-on, reopen or resend';
    end if;
    if v_done then
        insert into pickmyclass.acts (by, act, user_id, detail)
        values (left(p_by, 100), p_act, v_user, jsonb_strip_nulls(jsonb_build_object('mail_id', v_mail)));
    end if;
    return jsonb_build_object('done', v_done, 'mail_id', v_mail);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
