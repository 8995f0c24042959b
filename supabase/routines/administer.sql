-- What administrators see and do. Whoever is none gets their own account and nothing else, whatever is asked.

set check_function_bodies = off;  -- they name functions of other files

create or replace function pickmyclass.may_administer(p_user_id uuid, p_now timestamptz) returns boolean
language sql stable set search_path = '' as $$
    select pickmyclass.standing_of(p_user_id, p_now) = 'active' and exists (
        select from public.user_profiles p where p.user_id = p_user_id and p.is_admin)
$$;

-- One account as a list of accounts shows it.
create or replace function pickmyclass.account_listed(p_user_id uuid, p_now timestamptz) returns jsonb
language sql stable set search_path = '' set timezone = 'UTC' as $$
    select pickmyclass.account_of(u.id, p_now) || jsonb_build_object(
        'id', u.id, 'created_at', u.created_at,
        'mails', (select count(*) from pickmyclass.outbox o where o.user_id = u.id and o.sent_at is not null))
    from auth.users u where u.id = p_user_id
$$;

-- pmc_admin_overview: counts, and what was done by hand last.
create or replace function public.pmc_admin_overview(p_user_id uuid, p_now timestamptz default null) returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object('account', pickmyclass.account_of(p_user_id, clock.now)) || case
        when pickmyclass.may_administer(p_user_id, clock.now) then jsonb_build_object(
            'counts', jsonb_build_object(
                'users', (select count(*) from auth.users),
                'watching', (select count(distinct w.user_id) from public.class_watches w),
                'watches', (select count(*) from public.class_watches),
                'sections', (select count(*) from (select distinct w.term, w.class_nbr from public.class_watches w) s),
                'mails', (select count(*) from pickmyclass.outbox o where o.sent_at > clock.now - interval '1 day'),
                'bounced', (select count(*) from public.user_profiles p where p.email_bounced),
                'disabled', (select count(*) from public.user_profiles p where p.is_disabled)),
            'acts', (select coalesce(jsonb_agg(pickmyclass.act_told(a.id) order by a.id desc), '[]')
                     from (select x.id from pickmyclass.acts x order by x.id desc limit 20) a))
        else '{}' end
    from (select coalesce(p_now, clock_timestamp()) as now) clock
$$;

-- pmc_admin_users: a page of fifty accounts whose address holds the words, newest first, and how many there are.
create or replace function public.pmc_admin_users(
    p_user_id uuid, p_search text, p_page int, p_now timestamptz default null)
returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object('account', pickmyclass.account_of(p_user_id, clock.now)) || case
        when pickmyclass.may_administer(p_user_id, clock.now) then jsonb_build_object(
            'total', (select count(*) from auth.users u where position(lower(p_search) in lower(u.email)) > 0),
            'users', (select coalesce(jsonb_agg(pickmyclass.account_listed(u.id, clock.now)
                                                order by u.created_at desc, u.id), '[]')
                      from (select x.id, x.created_at from auth.users x
                            where position(lower(p_search) in lower(x.email)) > 0
                            order by x.created_at desc, x.id limit 50 offset 50 * greatest(p_page - 1, 0)) u))
        else '{}' end
    from (select coalesce(p_now, clock_timestamp()) as now) clock
$$;

-- pmc_admin_user: one account with its watches, its mails, and what was done to it by hand.
create or replace function public.pmc_admin_user(
    p_user_id uuid, p_subject uuid, p_now timestamptz default null)
returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object('account', pickmyclass.account_of(p_user_id, clock.now)) || case
        when pickmyclass.may_administer(p_user_id, clock.now) then jsonb_build_object(
            'user', pickmyclass.account_listed(p_subject, clock.now),
            'watched', (select coalesce(jsonb_agg(jsonb_build_object('term', w.term, 'class_nbr', w.class_nbr,
                            'subject', w.subject, 'catalog_nbr', w.catalog_nbr, 'since', w.created_at)
                            order by w.created_at desc), '[]')
                        from public.class_watches w where w.user_id = p_subject),
            'letters', (select coalesce(jsonb_agg(jsonb_build_object('kind', o.notification_type, 'term', o.term,
                            'class_nbr', o.class_nbr, 'event_at', o.event_at, 'sent_at', o.sent_at,
                            'status', o.status, 'reason', o.last_error) order by o.event_at desc), '[]')
                        from (select x.* from pickmyclass.outbox x where x.user_id = p_subject
                              order by x.event_at desc limit 50) o),
            'acts', (select coalesce(jsonb_agg(pickmyclass.act_told(a.id) order by a.id desc), '[]')
                     from pickmyclass.acts a where a.user_id = p_subject))
        else '{}' end
    from (select coalesce(p_now, clock_timestamp()) as now) clock
$$;

-- pmc_admin_classes: a page of fifty watched sections, those with most watchers first.
create or replace function public.pmc_admin_classes(
    p_user_id uuid, p_page int, p_now timestamptz default null)
returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object('account', pickmyclass.account_of(p_user_id, clock.now)) || case
        when pickmyclass.may_administer(p_user_id, clock.now) then jsonb_build_object(
            'total', (select count(*) from (select distinct w.term, w.class_nbr from public.class_watches w) s),
            'classes', (select coalesce(jsonb_agg(
                jsonb_strip_nulls(pickmyclass.section_shown(c.term, c.class_nbr))
                || jsonb_build_object('term', c.term, 'class_nbr', c.class_nbr, 'watchers', c.watchers,
                    'mails', (select count(*) from pickmyclass.outbox o where o.term = c.term
                              and o.class_nbr = c.class_nbr and o.sent_at is not null))
                order by c.watchers desc, c.term, c.class_nbr), '[]')
                from (select w.term, w.class_nbr, count(*) as watchers from public.class_watches w
                      group by w.term, w.class_nbr order by count(*) desc, w.term, w.class_nbr
                      limit 50 offset 50 * greatest(p_page - 1, 0)) c))
        else '{}' end
    from (select coalesce(p_now, clock_timestamp()) as now) clock
$$;

-- pmc_admin_class: one section with who watches it and what was sent of it.
create or replace function public.pmc_admin_class(
    p_user_id uuid, p_term text, p_class_nbr text, p_now timestamptz default null)
returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object('account', pickmyclass.account_of(p_user_id, clock.now)) || case
        when pickmyclass.may_administer(p_user_id, clock.now) then jsonb_build_object(
            'section', jsonb_strip_nulls(pickmyclass.section_shown(p_term, p_class_nbr))
                || jsonb_build_object('term', p_term, 'class_nbr', p_class_nbr),
            'users', (select coalesce(jsonb_agg(pickmyclass.account_listed(w.user_id, clock.now)
                                                order by w.created_at), '[]')
                      from (select * from public.class_watches x where x.term = p_term and x.class_nbr = p_class_nbr
                            order by x.created_at limit 200) w),
            'mails', (select coalesce(jsonb_object_agg(m.status, m.mails), '{}')
                      from (select o.status, count(*) as mails from pickmyclass.outbox o
                            where o.term = p_term and o.class_nbr = p_class_nbr group by o.status) m))
        else '{}' end
    from (select coalesce(p_now, clock_timestamp()) as now) clock
$$;

-- pmc_admin_act: what an administrator does to an account, written down with who, whom and when in one transaction.
--   "disable"  no mail and no signing in; it is not removed
--   "enable"   takes that back
--   "forgive"  a bounce or a complaint is forgotten, and mail is on again
--   "restore"  an account that its owner closed is open again
-- {"done": whether it was any of that}. Nobody disables themselves.
create or replace function public.pmc_admin_act(
    p_user_id uuid, p_subject uuid, p_action text, p_now timestamptz default null)
returns jsonb
language plpgsql security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_changed boolean;
begin
    if not pickmyclass.may_administer(p_user_id, v_now) or (p_action = 'disable' and p_subject = p_user_id) then
        return jsonb_build_object('done', false);
    end if;
    perform pickmyclass.ensure_profile(p_subject);
    case p_action
        when 'disable' then  -- must never look like an account that its owner closed: that one is removed later
            update public.user_profiles p set is_disabled = true, disabled_at = v_now,
                   unsubscribed_at = least(p.unsubscribed_at, v_now - interval '2 minutes')
             where p.user_id = p_subject and not p.is_disabled;
            v_changed := found;
            perform pickmyclass.drop_mail_of(p_subject, 'the account was disabled');
        when 'enable' then
            update public.user_profiles p set is_disabled = false, disabled_at = null
             where p.user_id = p_subject and p.is_disabled and not pickmyclass.was_closed_by_owner(p);
            v_changed := found;
        when 'forgive' then
            update public.user_profiles p
               set email_bounced = false, email_bounced_at = null, spam_complained = false, spam_complained_at = null,
                   notifications_enabled = true, unsubscribed_at = null
             where p.user_id = p_subject and (p.email_bounced or p.spam_complained);
            v_changed := found;
        when 'restore' then
            update public.user_profiles p
               set is_disabled = false, disabled_at = null, notifications_enabled = true, unsubscribed_at = null
             where p.user_id = p_subject and pickmyclass.was_closed_by_owner(p);
            v_changed := found;
        else
            raise exception using errcode = '22023', message = 'p_action must be disable, enable, forgive or restore';
    end case;
    if v_changed then
        insert into pickmyclass.acts (at, admin_id, user_id, act)
        values (v_now, p_user_id, p_subject, p_action);
    end if;
    return jsonb_build_object('done', v_changed);
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
