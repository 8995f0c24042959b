-- The student's pages: one call reads everything that a page shows, the account's state included.

set check_function_bodies = off;  -- they name functions of other files

-- Closing writes all of this at once (pmc_delete_user, and the old route); an administrator disables otherwise.
create or replace function pickmyclass.was_closed_by_owner(p_profile public.user_profiles) returns boolean
language sql stable set search_path = '' as $$
    select p_profile.is_disabled and not p_profile.notifications_enabled and p_profile.unsubscribed_at
        between p_profile.disabled_at - interval '1 minute' and p_profile.disabled_at + interval '1 minute'
$$;

-- How an account stands:
--   "active"    it may act
--   "closed"    by its owner, at most thirty days ago: it can be opened again
--   "disabled"  by an administrator, or closed for longer
--   "gone"      it is not there
create or replace function pickmyclass.standing_of(p_user_id uuid, p_now timestamptz) returns text
language sql stable set search_path = '' as $$
    select case
        when not exists (select from auth.users u where u.id = p_user_id) then 'gone'
        when not coalesce(p.is_disabled, false) then 'active'
        when pickmyclass.was_closed_by_owner(p) and p.disabled_at > p_now - interval '30 days' then 'closed'
        else 'disabled' end
    from (select) one left join public.user_profiles p on p.user_id = p_user_id
$$;

-- What every page knows of who looks at it.
create or replace function pickmyclass.account_of(p_user_id uuid, p_now timestamptz) returns jsonb
language sql stable set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object(
        'standing', pickmyclass.standing_of(p_user_id, p_now),
        'email', (select u.email from auth.users u where u.id = p_user_id),
        'is_admin', coalesce(p.is_admin, false),
        'has_agreed', p.agreed_to_terms_at is not null and p.age_verified_at is not null,
        'mail', coalesce(p.notifications_enabled, true),
        'bounced', coalesce(p.email_bounced, false),
        'complained', coalesce(p.spam_complained, false),
        'disabled_at', p.disabled_at,
        'watches', (select count(*) from public.class_watches w where w.user_id = p_user_id),
        'max_watches', pickmyclass.max_watches())
    from (select) one left join public.user_profiles p on p.user_id = p_user_id
$$;

-- What is known of a section, by whichever side looked last: the facts, when they were seen, strikes of the catalog.
create or replace function pickmyclass.section_shown(p_term text, p_class_nbr text) returns jsonb
language sql stable set search_path = '' set timezone = 'UTC' as $$
    select case when c.observed_at is not null and pickmyclass.owner_of(p_term, p_class_nbr) = 'server' or s.id is null
        then coalesce(pickmyclass.facts_of(c), '{}') || jsonb_build_object('seen_at', c.checked_at, 'full_at', c.full_at)
        else jsonb_build_object(
            'subject', s.subject, 'catalog_nbr', s.catalog_nbr, 'title', s.title, 'instructor_name', s.instructor_name,
            'seats_available', s.seats_available, 'seats_capacity', s.seats_capacity,
            'non_reserved_seats', s.non_reserved_seats, 'location', s.location, 'meeting_times', s.meeting_times,
            'seen_at', s.last_checked_at) end
        || jsonb_build_object('strikes', coalesce(c.not_found_strikes, 0), 'failed', c.last_error is not null)
    from (select) one
    left join pickmyclass.checks_seen() c on c.term = p_term and c.class_nbr = p_class_nbr
    left join public.class_states s on s.term = p_term and s.class_nbr = p_class_nbr
$$;

-- The latest edges of a section's seats, oldest first: [{"at", "open", "seats"}], at most p_most.
create or replace function pickmyclass.seat_edges(p_term text, p_class_nbr text, p_most int) returns jsonb
language sql stable set search_path = '' set timezone = 'UTC' as $$
    select coalesce(jsonb_agg(jsonb_build_object(
               'at', e.observed_at, 'open', e.kind = 'seat_available',
               'seats', coalesce(e.after -> 'non_reserved_seats', 'null'), 'all_seats', e.after -> 'seats_available')
               order by e.id), '[]')
    from (select x.id, x.kind, x.observed_at, x.after from pickmyclass.section_events x
          where x.term = p_term and x.class_nbr = p_class_nbr and x.kind in ('seat_available', 'seats_filled')
          order by x.id desc limit p_most) e
$$;

-- pmc_read_student: who looks at a page that shows nothing else of them.
create or replace function public.pmc_read_student(p_user_id uuid, p_now timestamptz default null) returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object('account', pickmyclass.account_of(p_user_id, coalesce(p_now, clock_timestamp())))
$$;

-- pmc_read_dashboard: the account and a card for each watch, newest watch first.
create or replace function public.pmc_read_dashboard(p_user_id uuid, p_now timestamptz default null) returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object(
        'account', pickmyclass.account_of(p_user_id, coalesce(p_now, clock_timestamp())),
        'cards', (
            select coalesce(jsonb_agg(
                jsonb_build_object('subject', w.subject, 'catalog_nbr', w.catalog_nbr)
                || jsonb_strip_nulls(pickmyclass.section_shown(w.term, w.class_nbr))
                || jsonb_build_object('id', w.id, 'term', w.term, 'class_nbr', w.class_nbr, 'since', w.created_at,
                                      'edges', pickmyclass.seat_edges(w.term, w.class_nbr, 60))
                order by w.created_at desc nulls last, w.id), '[]')
            from public.class_watches w where w.user_id = p_user_id))
$$;

-- pmc_read_class: a section's story for one student: what is known, its edges of the term, and what this student was
-- told of it.
create or replace function public.pmc_read_class(
    p_user_id uuid, p_term text, p_class_nbr text, p_now timestamptz default null)
returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object(
        'account', pickmyclass.account_of(p_user_id, coalesce(p_now, clock_timestamp())),
        'section', jsonb_strip_nulls(pickmyclass.section_shown(p_term, p_class_nbr))
            || jsonb_build_object('term', p_term, 'class_nbr', p_class_nbr),
        'watch', (select jsonb_build_object('id', w.id, 'since', w.created_at) from public.class_watches w
                  where w.user_id = p_user_id and w.term = p_term and w.class_nbr = p_class_nbr),
        'first_seen_at', (select min(e.observed_at) from pickmyclass.section_events e
                          where e.term = p_term and e.class_nbr = p_class_nbr),
        'edges', pickmyclass.seat_edges(p_term, p_class_nbr, 1000),
        'mails', (select coalesce(jsonb_agg(jsonb_build_object(
                      'kind', o.notification_type, 'event_at', o.event_at, 'sent_at', o.sent_at, 'status', o.status,
                      'reason', o.last_error) order by o.event_at desc, o.id desc), '[]')
                  from (select x.* from pickmyclass.outbox x
                        where x.user_id = p_user_id and x.term = p_term and x.class_nbr = p_class_nbr
                        order by x.event_at desc limit 50) o))
$$;

-- pmc_read_settings: the account with what its owner may change.
create or replace function public.pmc_read_settings(p_user_id uuid, p_now timestamptz default null) returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object(
        'account', pickmyclass.account_of(p_user_id, coalesce(p_now, clock_timestamp())),
        'seats', coalesce(k.seats, true), 'instructors', coalesce(k.instructors, true),
        'bounced_at', p.email_bounced_at, 'complained_at', p.spam_complained_at, 'tested_at', t.asked_at)
    from (select) one
    left join pickmyclass.preferences k on k.user_id = p_user_id
    left join public.user_profiles p on p.user_id = p_user_id
    left join pickmyclass.address_tests t on t.user_id = p_user_id
$$;

-- pmc_read_adding: the account with which sections it watches in a term, and what is known of those in p_class_nbrs
-- and of those of a course.
create or replace function public.pmc_read_adding(
    p_user_id uuid, p_term text, p_class_nbrs jsonb, p_subject text, p_catalog_nbr text,
    p_now timestamptz default null)
returns jsonb
language sql stable security definer set search_path = '' set timezone = 'UTC' as $$
    select jsonb_build_object(
        'account', pickmyclass.account_of(p_user_id, coalesce(p_now, clock_timestamp())),
        'watched', (select coalesce(jsonb_agg(w.class_nbr), '[]') from public.class_watches w
                    where w.user_id = p_user_id and w.term = p_term),
        'known', (select coalesce(jsonb_object_agg(k.class_nbr, pickmyclass.section_shown(p_term, k.class_nbr)), '{}')
                  from (select c.class_nbr from pickmyclass.section_checks c
                        where c.term = p_term and c.observed_at is not null
                          and (p_class_nbrs ? c.class_nbr
                               or (c.subject = p_subject and c.catalog_nbr = p_catalog_nbr))
                        order by c.class_nbr limit 60) k))
$$;

-- pmc_read_front: what the first page says of the last week: how many sections are watched, and how many seconds it
-- took from the check that saw an opening to Resend's acceptance of the mail.
create or replace function public.pmc_read_front(p_now timestamptz default null) returns jsonb
language sql stable security definer set search_path = '' as $$
    select jsonb_build_object(
        'sections', (select count(*) from (select distinct w.term, w.class_nbr from public.class_watches w) watched),
        'mails', count(*),
        'median', percentile_cont(0.5) within group (order by extract(epoch from o.sent_at - o.created_at)),
        'p95', percentile_cont(0.95) within group (order by extract(epoch from o.sent_at - o.created_at)))
    from pickmyclass.outbox o
    where o.sent_at > coalesce(p_now, clock_timestamp()) - interval '7 days' and o.notification_type = 'seat_available'
$$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
