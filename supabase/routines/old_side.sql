-- What the old Workers call, mended. They call more of the origin's own functions, which stay as they are.

set check_function_bodies = off;  -- they name functions of other files

-- O36, and the hand-over: the old Workers get exactly the sections that are theirs, and an error for a group that
-- does not exist instead of everything.
create or replace function public.get_sections_to_check(stagger_type text)
returns table (class_nbr text, term text)
language plpgsql stable security definer set search_path = '' as $$
begin
    if stagger_type is null or stagger_type not in ('even', 'odd', 'all') then
        raise exception using errcode = '22023', message = 'stagger_type must be even, odd or all';
    end if;
    return query
    select d.class_nbr, d.term
    from (select distinct w.class_nbr, w.term from public.class_watches w
          where stagger_type = 'all' or (stagger_type = 'even') = (right(w.class_nbr, 1)::int % 2 = 0)) d
    where pickmyclass.owner_of(d.term, d.class_nbr) = 'workers';
end $$;

-- O1: a claim that has expired can be taken again. Of two callers at once one waits on the other's row and then
-- finds it fresh.
create or replace function public.try_record_notification(
    p_class_watch_id uuid, p_notification_type text, p_expires_hours int default 24)
returns boolean
language plpgsql security definer set search_path = '' as $$
begin
    insert into public.notifications_sent as n (class_watch_id, notification_type, sent_at, expires_at)
    values (p_class_watch_id, p_notification_type, now(), now() + make_interval(hours => p_expires_hours))
    on conflict (class_watch_id, notification_type)
        do update set sent_at = excluded.sent_at, expires_at = excluded.expires_at
        where n.expires_at <= now();
    return found;
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
