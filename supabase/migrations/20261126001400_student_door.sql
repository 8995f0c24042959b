-- What the student's pages and the administrator's remember beside the site's own tables.

-- Which kinds of mail a person wants, while they want mail at all; no row: all of them.
create table pickmyclass.preferences (
    user_id     uuid primary key references auth.users (id) on delete cascade,
    seats       boolean not null default true,
    instructors boolean not null default true
);

-- The last time a person asked to try a bounced address again: at most once a day, and it counts only when the
-- test mail was delivered.
create table pickmyclass.address_tests (
    user_id    uuid primary key references auth.users (id) on delete cascade,
    asked_at   timestamptz not null,
    message_id text
);
create index address_tests_by_message on pickmyclass.address_tests (message_id);

-- What administrators did to whom. Without foreign keys and addresses: the record outlives both accounts.
create table pickmyclass.admin_actions (
    id       bigint generated always as identity primary key,
    at       timestamptz not null default clock_timestamp(),
    admin_id uuid not null,
    user_id  uuid not null,
    action   text not null check (action in ('disable', 'enable', 'forgive', 'restore'))
);
create index admin_actions_by_user on pickmyclass.admin_actions (user_id, id);

do $$
declare t text;
begin
    foreach t in array array['preferences', 'address_tests', 'admin_actions'] loop
        execute format('alter table pickmyclass.%I enable row level security', t);
        execute format('revoke all on pickmyclass.%I from public, anon, authenticated, service_role', t);
    end loop;
end $$;
