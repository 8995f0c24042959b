-- What an operator is asked to look at, and what he did about it.

-- Why the last attempt gave up, as a word for programs beside `last_error` for people.
alter table pickmyclass.section_checks add column last_error_code text;

-- Dead mail that an operator has seen: no trouble any more.
alter table pickmyclass.outbox add column acked_at timestamptz;

-- What was done for a student by hand. It goes when the account goes.
create table pickmyclass.operator_acts (
    id      bigint generated always as identity primary key,
    at      timestamptz not null default clock_timestamp(),
    by      text not null,         -- whose hands
    act     text not null,
    user_id uuid not null references auth.users (id) on delete cascade,
    detail  jsonb not null default '{}'
);
create index operator_acts_by_user on pickmyclass.operator_acts (user_id, id);
alter table pickmyclass.operator_acts enable row level security;

-- A closed account begins no watches, also not through the site's own key.
create function pickmyclass.guard_watcher() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
    if exists (select from public.user_profiles p where p.user_id = new.user_id and p.is_disabled) then
        raise exception using errcode = '42501', message = 'this account is closed';
    end if;
    return new;
end $$;
create trigger pickmyclass_guard_watcher before insert or update on public.class_watches
    for each row when (current_user in ('anon', 'authenticated')) execute function pickmyclass.guard_watcher();

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
