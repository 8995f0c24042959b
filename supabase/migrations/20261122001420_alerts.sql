-- Alerts: what the operator was told, kept here so that several servers do not tell it several times.
-- Replaces: 0f361c7dd0a4dbc8394098423cc10863e7959c1f65e2e00348d394ef66aed2e1

create table pickmyclass.alerts (
    cause        text primary key,
    words        text not null,            -- what is wrong, as of the last look
    since        timestamptz,              -- when this spell was first seen; null: it is over
    told_at      timestamptz,              -- the last mail that said it is wrong; kept after the end, for the hour
    is_told      boolean not null default false,  -- the operator believes that it is wrong
    alert_id     uuid,                     -- of the mail being sent: the same one until it is settled
    kind         text check (kind in ('wrong', 'over')),
    leased_by    text,
    leased_until timestamptz
);
alter table pickmyclass.alerts enable row level security;
revoke all on pickmyclass.alerts from public, anon, authenticated, service_role;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
