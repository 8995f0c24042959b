-- The origin's project as we may find it: its own names for policies, indexes and triggers, its own bodies, its holes
-- (O1, O36-O39), and some rows. Written independently of our first migration, which must leave all of it alone.
-- Everything in public belongs to the project's owner, who is no superuser and does not own the auth schema.

create role anon nologin noinherit;
create role authenticated nologin noinherit;
create role service_role nologin noinherit bypassrls;
create role authenticator login noinherit;
grant anon, authenticated, service_role to authenticator;
create role project_owner login createrole bypassrls;
grant anon, authenticated, service_role to project_owner;

create schema auth;
grant usage on schema auth to anon, authenticated, service_role, project_owner;
create table auth.users (
    id uuid primary key default gen_random_uuid(),
    email varchar(255),
    raw_user_meta_data jsonb,
    created_at timestamptz default now()
);
grant all on auth.users to project_owner;
create function auth.uid() returns uuid language sql stable as
$$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $$;
create function auth.jwt() returns jsonb language sql stable as
$$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
create publication supabase_realtime;
alter publication supabase_realtime owner to project_owner;

do $$ begin execute format('alter database %I owner to project_owner', current_database()); end $$;
set role project_owner;
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant execute on functions to anon, authenticated, service_role;

create table public.class_watches (
    id uuid default gen_random_uuid() primary key,
    user_id uuid references auth.users (id) on delete cascade not null,
    term text not null,
    subject text not null,
    catalog_nbr text not null,
    class_nbr text not null,
    created_at timestamptz default now(),
    constraint unique_user_class_watch unique (user_id, term, class_nbr)
);
create index idx_watches_stagger_even on public.class_watches (class_nbr)
    where (cast(substring(class_nbr from length(class_nbr)) as int) % 2 = 0);
create index idx_watches_stagger_odd on public.class_watches (class_nbr)
    where (cast(substring(class_nbr from length(class_nbr)) as int) % 2 = 1);

create table public.class_states (
    id uuid default gen_random_uuid() primary key,
    term text not null, subject text not null, catalog_nbr text not null, class_nbr text not null,
    title text, instructor_name text,
    seats_available int default 0, seats_capacity int default 0, non_reserved_seats int,
    location text, meeting_times text,
    last_checked_at timestamptz default now(), last_changed_at timestamptz default now(),
    constraint class_states_class_nbr_key unique (class_nbr)
);
alter publication supabase_realtime add table public.class_states;

create table public.notifications_sent (
    id uuid default gen_random_uuid() primary key,
    class_watch_id uuid references public.class_watches (id) on delete cascade not null,
    notification_type text not null check (notification_type in ('seat_available', 'instructor_assigned')),
    sent_at timestamptz default now(),
    expires_at timestamptz default (now() + interval '24 hours'),
    constraint unique_notification unique (class_watch_id, notification_type)
);

create table public.user_profiles (
    id uuid default gen_random_uuid() primary key,
    user_id uuid references auth.users (id) on delete cascade not null,
    is_admin boolean default false,
    is_disabled boolean default false, disabled_at timestamptz,
    notifications_enabled boolean default true, unsubscribed_at timestamptz,
    email_bounced boolean default false, email_bounced_at timestamptz,
    spam_complained boolean default false, spam_complained_at timestamptz,
    age_verified_at timestamptz, agreed_to_terms_at timestamptz,
    created_at timestamptz default now(), updated_at timestamptz default now(),
    constraint unique_user_profile unique (user_id)
);
create table public.failed_login_attempts (
    email text primary key, attempts int default 0, locked_until timestamptz, last_attempt_at timestamptz
);

alter table public.class_watches enable row level security;
alter table public.class_states enable row level security;
alter table public.notifications_sent enable row level security;
alter table public.user_profiles enable row level security;
alter table public.failed_login_attempts enable row level security;
create policy "own watches" on public.class_watches using (auth.uid() = user_id) with check (auth.uid() = user_id);
create policy "states for all" on public.class_states for select using (true);
create policy "own profile" on public.user_profiles using (auth.uid() = user_id) with check (auth.uid() = user_id);

create function public.user_owns_class_watch(watch_id uuid) returns boolean
language sql security definer stable as
$$ select exists (select 1 from public.class_watches where id = watch_id and user_id = auth.uid()) $$;
create policy "own notifications" on public.notifications_sent for select
    using (public.user_owns_class_watch(class_watch_id));

create function public.touch_class_state() returns trigger language plpgsql as $$
begin
    if old.seats_available is distinct from new.seats_available
       or old.instructor_name is distinct from new.instructor_name then
        new.last_changed_at = now();
    end if;
    new.last_checked_at = now();
    return new;
end $$;
create trigger trigger_update_class_state_changed_at before update on public.class_states
    for each row execute function public.touch_class_state();
create function public.set_updated_at() returns trigger language plpgsql as
$$ begin new.updated_at = now(); return new; end $$;
create trigger set_user_profiles_updated_at before update on public.user_profiles
    for each row execute function public.set_updated_at();
create function public.handle_new_user() returns trigger language plpgsql security definer as $$
begin
    insert into public.user_profiles (user_id) values (new.id);
    return new;
end $$;

create function public.get_sections_to_check(stagger_type text)
returns table (class_nbr text, term text) language plpgsql security definer as $$
begin
    if stagger_type = 'even' then
        return query select distinct w.class_nbr, w.term from public.class_watches w
            where cast(right(w.class_nbr, 1) as int) % 2 = 0 order by 1;
    elsif stagger_type = 'odd' then
        return query select distinct w.class_nbr, w.term from public.class_watches w
            where cast(right(w.class_nbr, 1) as int) % 2 = 1 order by 1;
    else
        return query select distinct w.class_nbr, w.term from public.class_watches w order by 1;
    end if;
end $$;
create function public.get_watchers_for_sections(section_numbers text[])
returns table (user_id uuid, email text, watch_id uuid, class_nbr text) language sql security definer as $$
    select w.user_id, u.email::text, w.id, w.class_nbr from public.class_watches w
    join auth.users u on u.id = w.user_id join public.user_profiles p on p.user_id = w.user_id
    where w.class_nbr = any (section_numbers) and p.notifications_enabled and not p.email_bounced
      and not p.spam_complained and not p.is_disabled
$$;
create function public.get_class_watchers(section_number text)
returns table (user_id uuid, email text, watch_id uuid) language sql security definer as $$
    select w.user_id, u.email::text, w.id from public.class_watches w
    join auth.users u on u.id = w.user_id where w.class_nbr = section_number
$$;
create function public.try_record_notification(
    p_class_watch_id uuid, p_notification_type text, p_expires_hours integer default 24)
returns boolean language plpgsql security definer as $$
begin
    insert into public.notifications_sent (class_watch_id, notification_type, expires_at)
    values (p_class_watch_id, p_notification_type, now() + (p_expires_hours || ' hours')::interval);
    return true;
exception when unique_violation then
    return false;
end $$;
create function public.get_notification_counts_by_class()
returns table (class_nbr text, total bigint, seats bigint) language sql security definer as $$
    select w.class_nbr, count(*), count(*) filter (where n.notification_type = 'seat_available')
    from public.notifications_sent n join public.class_watches w on w.id = n.class_watch_id group by 1
$$;
create function public.get_notification_counts_by_user()
returns table (user_id uuid, total bigint) language sql security definer as $$
    select w.user_id, count(*) from public.notifications_sent n
    join public.class_watches w on w.id = n.class_watch_id group by 1
$$;
reset role;
create trigger on_auth_user_created after insert on auth.users
    for each row execute function public.handle_new_user();

insert into auth.users (id, email)
select ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid, 'student' || i || '@example.edu'
from generate_series(1, 20) i;
insert into public.class_watches (user_id, term, subject, catalog_nbr, class_nbr, created_at)
select u.id, '2267', 'CSE', (100 + i)::text, (12000 + i)::text, timestamptz '2026-10-01' + i * interval '1 hour'
from auth.users u, generate_series(1, 12) i
where right(u.id::text, 2)::int + i <= 14;
insert into public.class_states (term, subject, catalog_nbr, class_nbr, title, instructor_name, seats_available, seats_capacity)
select distinct '2267', 'CSE', w.catalog_nbr, w.class_nbr, 'Title ' || w.class_nbr, 'Staff', 0, 30
from public.class_watches w where right(w.class_nbr, 1) <> '5';
insert into public.notifications_sent (class_watch_id, notification_type, sent_at, expires_at)
select id, 'seat_available', now() - interval '30 hours', now() - interval '6 hours'
from public.class_watches where class_nbr in ('12001', '12002');
insert into public.notifications_sent (class_watch_id, notification_type)
select id, 'instructor_assigned' from public.class_watches where class_nbr = '12003';
update public.user_profiles set email_bounced = true
where user_id = '00000000-0000-0000-0000-000000000002';
update public.user_profiles set is_admin = true where user_id = '00000000-0000-0000-0000-000000000020';
