-- Holes of the origin, closed in the database, so that every way in meets them: old code, site, our functions.
-- Replaces: d506e74f14202a4feb583cf12f34a15905968c4684e396ca391f827178a5e19d

-- O37: these show other people's addresses, or write for them; the old code calls them as the service.
do $$
declare f regprocedure;
begin
    for f in
        select p.oid from pg_proc p
        where p.pronamespace = 'public'::regnamespace and p.proname in (
            'get_sections_to_check', 'get_watchers_for_sections', 'get_class_watchers', 'try_record_notification',
            'get_notification_counts_by_class', 'get_notification_counts_by_user')
    loop
        execute format('revoke all on function %s from public, anon, authenticated', f);
        execute format('grant execute on function %s to service_role', f);
    end loop;
    for f in select p.oid from pg_proc p
             where p.pronamespace = 'public'::regnamespace and p.proname = 'user_owns_class_watch'
    loop
        execute format('grant execute on function %s to anon, authenticated, service_role', f);  -- policies use it
    end loop;
end $$;

-- O38: people write their consent and whether they want mail; everything else about them is not theirs to say.
-- Runs as the caller (not security definer), so that current_user tells who is asking.
create function pickmyclass.guard_profile() returns trigger
language plpgsql set search_path = '' as $$
declare
    theirs constant text[] := array['age_verified_at', 'agreed_to_terms_at', 'notifications_enabled',
                                    'unsubscribed_at', 'updated_at'];
begin
    if current_user not in ('anon', 'authenticated') then
        return new;
    end if;
    if tg_op = 'INSERT' then
        if coalesce(new.is_admin, false) or coalesce(new.is_disabled, false) or new.disabled_at is not null
           or coalesce(new.email_bounced, false) or new.email_bounced_at is not null
           or coalesce(new.spam_complained, false) or new.spam_complained_at is not null then
            raise exception using errcode = '42501', message = 'this column of a profile is not yours to write';
        end if;
    elsif to_jsonb(new) - theirs is distinct from to_jsonb(old) - theirs then
        raise exception using errcode = '42501', message = 'this column of a profile is not yours to write';
    end if;
    return new;
end $$;
create trigger pickmyclass_guard_profile before insert or update on public.user_profiles
    for each row execute function pickmyclass.guard_profile();

-- O31, O39: nobody holds more watches than the limit, however they come in. The lock makes two inserts of one
-- person take turns, so that the second counts the first.
create function pickmyclass.guard_watch_limit() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
    most constant int := coalesce(
        (select s.value::int from pickmyclass.settings s where s.key = 'max_watches'), 10);
    held int;
begin
    perform pg_advisory_xact_lock(hashtextextended('pickmyclass:watches:' || new.user_id, 0));
    select count(*) into held from public.class_watches w where w.user_id = new.user_id and w.id <> new.id;
    if held >= most then
        raise exception using errcode = 'PT429', message = format(  -- PostgREST answers 429
            'Maximum watches limit reached (%s). Delete some watches to add more.', most);
    end if;
    return new;
end $$;
-- When a watch began decides who is told first, so it is not for people to say.
create function pickmyclass.stamp_watch() returns trigger
language plpgsql set search_path = '' as $$
begin
    if current_user in ('anon', 'authenticated') then
        new.created_at := case when tg_op = 'UPDATE' then old.created_at else now() end;
    end if;
    return new;
end $$;
create trigger pickmyclass_stamp_watch before insert or update on public.class_watches
    for each row execute function pickmyclass.stamp_watch();

create trigger pickmyclass_guard_watch_limit before insert or update of user_id on public.class_watches
    for each row execute function pickmyclass.guard_watch_limit();

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
