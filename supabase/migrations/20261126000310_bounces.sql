-- Which address of a person bounced, because the flag in the profile does not say, and what they had chosen before; and
-- how large a batch may be while the day's quota runs out.

create table pickmyclass.bounces (
    user_id     uuid primary key references auth.users (id) on delete cascade,
    address     text not null,
    bounced_at  timestamptz not null,
    was_enabled boolean not null
);
alter table pickmyclass.bounces enable row level security;

alter table pickmyclass.mail_hold add column batch_limit int check (batch_limit > 0);
