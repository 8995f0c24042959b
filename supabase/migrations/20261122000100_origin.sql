-- The objects of the origin, only where they are missing: a plain Postgres becomes what the old Workers, the site
-- and our functions expect. On the origin's Supabase project every step finds its object and does nothing.
-- Replaces: 4a42d779ac302e29da7828030f8c6b86128e6b43b077ecb731bbf632b4a62d8a
-- Replaces: a7f431fca565b0ddf2c9109647321ad7c06078464d7210dbe8f8980e6c7090b2

-- Tables, each with its indexes and policies, when it is new -------------------------------------------------------

do $$
begin
    if to_regclass('public.class_watches') is not null then
        return;
    end if;
    create table public.class_watches (
        id          uuid primary key default gen_random_uuid(),
        user_id     uuid not null references auth.users (id) on delete cascade,
        term        text not null,
        subject     text not null,
        catalog_nbr text not null,
        class_nbr   text not null,
        created_at  timestamptz default now(),
        constraint unique_user_class_watch unique (user_id, term, class_nbr)
    );
    create index idx_class_watches_user_id on public.class_watches (user_id);
    create index idx_class_watches_class_nbr on public.class_watches (class_nbr);
    create index idx_class_watches_even on public.class_watches (class_nbr, term)
        where (right(class_nbr, 1)::int % 2 = 0);
    create index idx_class_watches_odd on public.class_watches (class_nbr, term)
        where (right(class_nbr, 1)::int % 2 = 1);
    alter table public.class_watches enable row level security;
    create policy "People read their own watches" on public.class_watches
        for select using (auth.uid() = user_id);
    create policy "People add their own watches" on public.class_watches
        for insert with check (auth.uid() = user_id);
    create policy "People delete their own watches" on public.class_watches
        for delete using (auth.uid() = user_id);
end $$;

do $$
begin
    if to_regclass('public.class_states') is not null then
        return;
    end if;
    create table public.class_states (
        id                 uuid primary key default gen_random_uuid(),
        term               text not null,
        subject            text not null,
        catalog_nbr        text not null,
        class_nbr          text not null,
        title              text,
        instructor_name    text,
        seats_available    int default 0,
        seats_capacity     int default 0,
        non_reserved_seats int,
        location           text,
        meeting_times      text,
        last_checked_at    timestamptz default now(),
        last_changed_at    timestamptz default now(),
        constraint class_states_class_nbr_key unique (class_nbr)
    );
    alter table public.class_states enable row level security;
    create policy "People read states" on public.class_states
        for select to authenticated using (true);
    alter publication supabase_realtime add table public.class_states;
end $$;

do $$
begin
    if to_regclass('public.user_profiles') is not null then
        return;
    end if;
    create table public.user_profiles (
        id                    uuid primary key default gen_random_uuid(),
        user_id               uuid not null references auth.users (id) on delete cascade,
        is_admin              boolean not null default false,
        is_disabled           boolean not null default false,
        disabled_at           timestamptz,
        notifications_enabled boolean not null default true,
        unsubscribed_at       timestamptz,
        email_bounced         boolean not null default false,
        email_bounced_at      timestamptz,
        spam_complained       boolean not null default false,
        spam_complained_at    timestamptz,
        age_verified_at       timestamptz,
        agreed_to_terms_at    timestamptz,
        created_at            timestamptz not null default now(),
        updated_at            timestamptz not null default now(),
        constraint unique_user_profile unique (user_id)
    );
    alter table public.user_profiles enable row level security;
    create policy "People read their own profile" on public.user_profiles
        for select using (auth.uid() = user_id);
    create policy "People add their own profile" on public.user_profiles
        for insert with check (auth.uid() = user_id);
    create policy "People change their own profile" on public.user_profiles
        for update using (auth.uid() = user_id) with check (auth.uid() = user_id);
end $$;

do $$
begin
    if to_regclass('public.failed_login_attempts') is not null then
        return;
    end if;
    create table public.failed_login_attempts (  -- the old site's login; nobody but the service reads it
        email           text primary key,
        attempts        int not null default 0,
        locked_until    timestamptz,
        last_attempt_at timestamptz default now()
    );
    alter table public.failed_login_attempts enable row level security;
end $$;

do $$
begin
    if to_regprocedure('public.user_owns_class_watch(uuid)') is null then
        create function public.user_owns_class_watch(watch_id uuid) returns boolean
        language sql stable security definer set search_path = '' as $body$
            select exists (select from public.class_watches w where w.id = watch_id and w.user_id = auth.uid())
        $body$;
    end if;
end $$;

do $$
begin
    if to_regclass('public.notifications_sent') is not null then
        return;
    end if;
    create table public.notifications_sent (
        id                uuid primary key default gen_random_uuid(),
        class_watch_id    uuid not null references public.class_watches (id) on delete cascade,
        notification_type text not null
            constraint valid_notification_type check (notification_type in ('seat_available', 'instructor_assigned')),
        sent_at           timestamptz default now(),
        expires_at        timestamptz default now() + interval '24 hours',
        constraint unique_notification unique (class_watch_id, notification_type)
    );
    alter table public.notifications_sent enable row level security;
    create policy "People read their own notifications" on public.notifications_sent
        for select using (public.user_owns_class_watch(class_watch_id));
end $$;

-- Triggers -----------------------------------------------------------------------------------------------------------

do $$
begin
    if not exists (select from pg_trigger where tgrelid = 'public.class_states'::regclass
                   and tgname = 'trigger_update_class_state_changed_at') then
        create function public.update_class_state_changed_at() returns trigger
        language plpgsql set search_path = '' as $body$
        begin
            if new.seats_available is distinct from old.seats_available
               or new.instructor_name is distinct from old.instructor_name then
                new.last_changed_at := now();
            end if;
            new.last_checked_at := now();
            return new;
        end $body$;
        create trigger trigger_update_class_state_changed_at before update on public.class_states
            for each row execute function public.update_class_state_changed_at();
    end if;

    if not exists (select from pg_trigger where tgrelid = 'public.user_profiles'::regclass and not tgisinternal) then
        create function public.update_user_profiles_updated_at() returns trigger
        language plpgsql set search_path = '' as $body$
        begin
            new.updated_at := now();
            return new;
        end $body$;
        create trigger update_user_profiles_updated_at before update on public.user_profiles
            for each row execute function public.update_user_profiles_updated_at();
    end if;

    if to_regprocedure('public.handle_new_user()') is null then
        create function public.handle_new_user() returns trigger
        language plpgsql security definer set search_path = '' as $body$
        begin
            insert into public.user_profiles (user_id) values (new.id) on conflict (user_id) do nothing;
            return new;
        end $body$;
    end if;
    if not exists (select from pg_trigger where tgrelid = 'auth.users'::regclass
                   and tgfoid = 'public.handle_new_user()'::regprocedure) then
        create trigger on_auth_user_created after insert on auth.users
            for each row execute function public.handle_new_user();
    end if;
end $$;

-- The functions that the old Workers and the site call --------------------------------------------------------------

do $$
begin
    if to_regprocedure('public.get_sections_to_check(text)') is null then
        create function public.get_sections_to_check(stagger_type text)
        returns table (class_nbr text, term text)
        language plpgsql stable security definer set search_path = '' as $body$
        begin
            return query
            select distinct w.class_nbr, w.term from public.class_watches w
            where stagger_type not in ('even', 'odd')
               or (stagger_type = 'even') = (right(w.class_nbr, 1)::int % 2 = 0);
        end $body$;
    end if;

    if to_regprocedure('public.get_watchers_for_sections(text[])') is null then
        create function public.get_watchers_for_sections(section_numbers text[])
        returns table (user_id uuid, email text, watch_id uuid, class_nbr text)
        language plpgsql stable security definer set search_path = '' as $body$
        begin
            return query
            select w.user_id, u.email::text, w.id, w.class_nbr
            from public.class_watches w
            join auth.users u on u.id = w.user_id
            left join public.user_profiles p on p.user_id = w.user_id
            where w.class_nbr = any (section_numbers)
              and (p.user_id is null or (p.notifications_enabled and not p.email_bounced
                   and not p.spam_complained and not p.is_disabled));
        end $body$;
    end if;

    if to_regprocedure('public.get_class_watchers(text)') is null then
        create function public.get_class_watchers(section_number text)
        returns table (user_id uuid, email text, watch_id uuid)
        language sql stable security definer set search_path = '' as $body$
            select s.user_id, s.email, s.watch_id
            from public.get_watchers_for_sections(array[section_number]) s
        $body$;
    end if;

    if to_regprocedure('public.try_record_notification(uuid, text, int)') is null then
        create function public.try_record_notification(
            p_class_watch_id uuid, p_notification_type text, p_expires_hours int default 24)
        returns boolean
        language plpgsql security definer set search_path = '' as $body$
        begin
            insert into public.notifications_sent (class_watch_id, notification_type, expires_at)
            values (p_class_watch_id, p_notification_type, now() + make_interval(hours => p_expires_hours))
            on conflict (class_watch_id, notification_type) do nothing;
            return found;
        end $body$;
    end if;

    if to_regprocedure('public.get_notification_counts_by_class()') is null then
        create function public.get_notification_counts_by_class()
        returns table (class_nbr text, notification_count bigint)
        language sql stable security definer set search_path = '' as $body$
            select w.class_nbr, count(*)
            from public.notifications_sent n join public.class_watches w on w.id = n.class_watch_id
            group by w.class_nbr
        $body$;
    end if;

    if to_regprocedure('public.get_notification_counts_by_user()') is null then
        create function public.get_notification_counts_by_user()
        returns table (user_id uuid, notification_count bigint)
        language sql stable security definer set search_path = '' as $body$
            select w.user_id, count(*)
            from public.notifications_sent n join public.class_watches w on w.id = n.class_watch_id
            group by w.user_id
        $body$;
    end if;
end $$;

notify pgrst, 'reload schema';
