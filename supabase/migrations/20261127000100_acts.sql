-- What was done to an account by hand, by an operator or an administrator: one record where there were two.

-- Exactly one of `by` (whose hands, on the server) and `admin_id` (which administrator). Without foreign keys and
-- addresses: the record outlives both accounts, and names nobody then.
create table pickmyclass.acts (
    id       bigint generated always as identity primary key,
    at       timestamptz not null default clock_timestamp(),
    by       text,
    admin_id uuid,
    act      text not null,
    user_id  uuid not null,
    detail   jsonb not null default '{}',
    check (num_nonnulls(by, admin_id) = 1)
);
create index acts_by_user on pickmyclass.acts (user_id, id);
alter table pickmyclass.acts enable row level security;
revoke all on pickmyclass.acts from public, anon, authenticated, service_role;

insert into pickmyclass.acts (at, by, admin_id, act, user_id, detail)
select o.at, o.by, null, o.act, o.user_id, o.detail from pickmyclass.operator_acts o
union all
select a.at, null, a.admin_id, a.action, a.user_id, '{}' from pickmyclass.admin_actions a
order by 1;

drop table pickmyclass.operator_acts;
drop table pickmyclass.admin_actions;
