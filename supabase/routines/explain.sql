-- Why: everything known about one address and one section, for the question "was this student told?".

set check_function_bodies = off;  -- they name functions of other files

-- What keeps a person from being told; empty when nothing does.
create or replace function pickmyclass.why_not_eligible(p_user_id uuid) returns text[]
language sql stable as $$
    select coalesce((
        select array_remove(array[
            case when not coalesce(p.notifications_enabled, true) then 'notifications are switched off' end,
            case when p.unsubscribed_at is not null then 'unsubscribed' end,
            case when p.email_bounced then 'the address bounced' end,
            case when p.spam_complained then 'complained of spam' end,
            case when p.is_disabled then 'the account is disabled' end], null)
        from public.user_profiles p
        where p.user_id = p_user_id and not pickmyclass.is_eligible(p_user_id)), '{}')
$$;

-- One email of the outbox as an operator sees it.
create or replace function pickmyclass.mail_story(p_mail pickmyclass.outbox) returns jsonb
language sql stable as $$
    select jsonb_build_object(
        'id', p_mail.id, 'event_id', p_mail.event_id, 'notification_type', p_mail.notification_type,
        'status', p_mail.status, 'held', p_mail.held, 'attempts', p_mail.attempts, 'created_at', p_mail.created_at,
        'event_at', p_mail.event_at, 'sent_at', p_mail.sent_at, 'settled_at', p_mail.settled_at,
        'message_id', p_mail.message_id, 'last_error', p_mail.last_error)
$$;

-- pmc_explain: the person, the watch, the section, its latest events with the mail that each owed to this person,
-- and the claims that stand. Nothing is decided here; the words are found where they are shown.
create or replace function public.pmc_explain(
    p_address text, p_term text, p_class_nbr text, p_now timestamptz default null)
returns jsonb
language plpgsql stable security definer set search_path = '' as $$
declare
    v_now constant timestamptz := coalesce(p_now, clock_timestamp());
    v_user uuid;
    v_watch public.class_watches;
    v_known pickmyclass.section_checks;
begin
    v_user := pickmyclass.user_of(p_address);
    select * into v_watch from public.class_watches w
    where w.user_id = v_user and w.term = p_term and w.class_nbr = p_class_nbr;
    select * into v_known from pickmyclass.checks_seen() c where c.term = p_term and c.class_nbr = p_class_nbr;
    return jsonb_build_object(
        'person', case when v_user is not null then pickmyclass.person_of(v_user) end,
        'watch', case when v_watch.id is not null then jsonb_build_object(
            'id', v_watch.id, 'since', v_watch.created_at) end,
        'section', jsonb_build_object(
            'term', p_term, 'class_nbr', p_class_nbr,
            'owner', pickmyclass.owner_of(p_term, p_class_nbr),
            'term_is_over', pickmyclass.term_is_over(p_term, v_now),
            'watchers', (select count(*) from pickmyclass.watchers w
                         where w.term = p_term and w.class_nbr = p_class_nbr and w.eligible),
            'checked_at', v_known.checked_at, 'last_attempt_at', v_known.last_attempt_at,
            'last_error', v_known.last_error, 'strikes', coalesce(v_known.not_found_strikes, 0),
            'observed_at', v_known.observed_at, 'facts', pickmyclass.facts_of(v_known)),
        'events', coalesce((
            select jsonb_agg(jsonb_build_object(
                'id', e.id, 'kind', e.kind, 'before', e.before, 'after', e.after, 'observed_at', e.observed_at,
                'committed_at', e.created_at, 'tick_id', e.tick_id,
                'mail', (select jsonb_agg(pickmyclass.mail_story(o) order by o.id) from pickmyclass.outbox o
                         where o.event_id = e.id and o.user_id = v_user),
                'owed_to_others', (select count(*) from pickmyclass.outbox o
                                   where o.event_id = e.id and o.user_id is distinct from v_user)) order by e.id desc)
            from (select * from pickmyclass.section_events e
                  where e.term = p_term and e.class_nbr = p_class_nbr order by e.id desc limit 20) e), '[]'),
        'claims', coalesce((
            select jsonb_agg(jsonb_build_object('notification_type', n.notification_type, 'sent_at', n.sent_at,
                                                'expires_at', n.expires_at) order by n.sent_at desc)
            from public.notifications_sent n where n.class_watch_id = v_watch.id), '[]'),
        'tap', (select jsonb_build_object(
                    'held', h.held, 'held_reason', h.held_reason, 'park_reason', h.park_reason,
                    'parked_until', case when h.parked_until > clock_timestamp() then h.parked_until end)
                from pickmyclass.mail_hold h));
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
