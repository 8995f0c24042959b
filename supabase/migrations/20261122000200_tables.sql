-- What this project remembers. Everything lives in a schema of its own that PostgREST does not
-- expose; the only way in are the pmc_… functions of the later files.

create schema if not exists pickmyclass;
revoke all on schema pickmyclass from public;

-- The baseline of each section: what was last seen, and how its checks went.
create table pickmyclass.section_checks (
    term               text not null,
    class_nbr          text not null,
    subject            text,
    catalog_nbr        text,
    title              text,
    instructor_name    text,
    seats_available    int,          -- null: unknown, never zero
    seats_capacity     int,
    non_reserved_seats int,
    location           text,
    meeting_times      text,
    observed_at        timestamptz,  -- start of the scrape the facts came from; null: never seen
    version            bigint not null default 0,
    checked_at         timestamptz,  -- last committed check, by the clock that the slots use
    last_attempt_at    timestamptz,  -- last ended attempt, by the server's clock
    last_error         text,         -- why the last ended attempt gave up; null after a success
    attempt_slot       timestamptz,  -- slot of the last ended attempt
    committed_slot     timestamptz,  -- slot of the last committed check, with what the mass-event guard asks of it:
    was_full           boolean not null default false,  -- ... no open seat before the slot's first commit
    opened             boolean not null default false,  -- ... and one after it
    not_found_strikes  int not null default 0,
    first_strike_at    timestamptz,
    strike_slot        timestamptz,  -- slot of the last strike: one per slot at most
    primary key (term, class_nbr)
);
create index section_checks_by_committed_slot on pickmyclass.section_checks (committed_slot);

-- Every edge that a check saw, for ever comparable with what was mailed.
create table pickmyclass.section_events (
    id          bigint generated always as identity primary key,
    term        text not null,
    class_nbr   text not null,
    kind        text not null check (kind in ('seat_available', 'seats_filled', 'instructor_assigned',
                    'instructor_changed', 'instructor_unassigned', 'not_found', 'retired')),
    before      jsonb,
    after       jsonb,
    observed_at timestamptz not null,
    slot        timestamptz not null,
    tick_id     text,
    created_at  timestamptz not null default clock_timestamp()  -- the commit, by the server's clock
);
create index section_events_by_section on pickmyclass.section_events (term, class_nbr, id);
create index section_events_by_time on pickmyclass.section_events (created_at);

-- A batch is frozen once: its id is the idempotency key, its body is sent byte for byte until it is settled.
create table pickmyclass.mail_batches (
    id               uuid primary key,
    body             text,         -- the frozen request; deleted a week after it settled (addresses)
    attempts         int not null default 1,
    attempted_at     timestamptz not null default clock_timestamp(),  -- start of the latest attempt
    unknown_since    timestamptz,  -- first attempt whose outcome is unknown; null: every attempt was refused for certain
    leased_by        text,         -- an attempt is under way; when the lease ends unsettled, its outcome is unknown
    leased_until     timestamptz not null,
    next_attempt_at  timestamptz not null default clock_timestamp(),
    outcome          text check (outcome in ('accepted', 'dissolved', 'dead')),  -- null: not settled
    last_error       text,
    created_at       timestamptz not null default clock_timestamp(),
    settled_at       timestamptz
);
-- Unsettled batches are what every mailer looks at first.
create index mail_batches_unsettled on pickmyclass.mail_batches (next_attempt_at) where outcome is null;

-- One row per email owed. Without foreign keys to watch and user: the debt outlives them.
create table pickmyclass.outbox (
    id                bigint generated always as identity primary key,
    event_id          bigint not null references pickmyclass.section_events (id) on delete cascade,
    watch_id          uuid not null,
    user_id           uuid not null,
    watched_since     timestamptz not null,  -- order within an event: who began to watch first
    term              text not null,
    class_nbr         text not null,
    notification_type text not null check (notification_type in ('seat_available', 'instructor_assigned', 'section_removed')),
    payload           jsonb not null,        -- what the mail says, as of the event
    event_at          timestamptz not null,  -- when it was seen; links expire 90 days after it
    slot              timestamptz not null,
    status            text not null default 'pending' check (status in (
                          'pending',    -- owed            -> sending, dropped
                          'sending',    -- frozen          -> sent, dead, pending (batch dissolved)
                          'sent',       -- accepted        -> delivered, dead (bounced or failed later)
                          'delivered',  -- Resend said so
                          'dropped',    -- no longer owed: filled again, unsubscribed, gone
                          'dead')),     -- given up; the reason is in last_error
    leased_by         text,                  -- while pending: whose batch it is about to join
    leased_until      timestamptz,
    held              boolean not null default false,  -- by the mass-event guard, until a later check
    confirmed         boolean not null default false,  -- a later check confirmed it: the guard lets it pass
    alone             boolean not null default false,  -- its batch was refused as invalid: send it by itself
    attempts          int not null default 0,
    batch_id          uuid references pickmyclass.mail_batches (id) on delete set null,
    batch_index       int,                   -- its place in the batch: Resend answers by place
    message_id        text,
    last_error        text,
    created_at        timestamptz not null default clock_timestamp(),
    sent_at           timestamptz,
    settled_at        timestamptz
);
-- One event tells one watch once.
create unique index outbox_once on pickmyclass.outbox (event_id, watch_id, notification_type);
create index outbox_pending on pickmyclass.outbox (event_at, event_id, watched_since, watch_id)
    where status = 'pending' and not held;
create index outbox_leased on pickmyclass.outbox (leased_by, leased_until) where status = 'pending' and leased_by is not null;
create index outbox_by_section on pickmyclass.outbox (term, class_nbr) where status = 'pending';
create index outbox_by_user on pickmyclass.outbox (user_id);
create index outbox_by_batch on pickmyclass.outbox (batch_id);
create index outbox_by_message on pickmyclass.outbox (message_id);
create index outbox_by_sent on pickmyclass.outbox (sent_at) where sent_at is not null;
create index outbox_dead on pickmyclass.outbox (settled_at) where status = 'dead';

-- The hand on the mail tap: held by an operator, parked by Resend's quota or by our account.
create table pickmyclass.mail_hold (
    only_row     boolean primary key default true check (only_row),
    held         boolean not null default false,
    held_reason  text,
    held_at      timestamptz,
    paused_until timestamptz,          -- Resend's rate limit: a breath, not a fault
    failures     int not null default 0,  -- attempts in a row that brought no answer; each parks mail longer
    parked_until timestamptz,
    park_reason  text,
    parked_at    timestamptz
);
insert into pickmyclass.mail_hold default values;

-- What was begun at which slot.
create table pickmyclass.ticks (
    id            text primary key,
    slot          timestamptz not null,
    stagger_group text not null check (stagger_group in ('even', 'odd', 'all')),
    source        text not null check (source in ('scheduler', 'http', 'rescue')),
    worker        text,
    started_at    timestamptz not null default clock_timestamp(),
    finished_at   timestamptz,
    enqueued      int,
    already_queued int,
    error         text
);
-- A slot is ticked by one scheduler, however many servers there are.
create unique index ticks_once_per_slot on pickmyclass.ticks (slot, stagger_group) where source = 'scheduler';
create index ticks_by_time on pickmyclass.ticks (started_at);

-- Consumers; a row is one incarnation (a process), not a host.
create table pickmyclass.workers (
    worker_id           text primary key,
    worker_name         text not null,
    host                text not null,
    status              text not null default 'active' check (status in ('active', 'paused', 'draining', 'offline')),
    last_heartbeat      timestamptz not null default clock_timestamp(),
    max_concurrent_jobs int not null,
    current_jobs        int not null default 0,
    figures             jsonb not null default '{}',  -- queue, breaker and lock as of the last beat
    capabilities        jsonb not null default '{}',
    created_at          timestamptz not null default clock_timestamp(),
    updated_at          timestamptz not null default clock_timestamp()
);

-- Who checks and mails: one default row (term and class_nbr empty), and one row per section that differs.
create table pickmyclass.ownership (
    term        text not null default '',
    class_nbr   text not null default '',
    owner       text not null check (owner in ('workers', 'server')),
    switched_at timestamptz not null default clock_timestamp(),
    primary key (term, class_nbr)
);

-- Terms and when their last session ends; a term that is not here is never over. Extend by inserting.
create table pickmyclass.terms (
    term text primary key,
    ends date not null
);
-- ASU's codes: 2, two digits of the year, 1 spring / 4 summer / 7 fall. A few days later than the last session of
-- any year ended: a section checked for nothing costs little, one forgotten too early costs a seat.
insert into pickmyclass.terms (term, ends)
select '2' || to_char(year, 'FM00') || season.digit, make_date(2000 + year, season.month, season.day)
from generate_series(20, 40) as year,
     (values ('1', 5, 15), ('4', 8, 20), ('7', 12, 20)) as season (digit, month, day);

create table pickmyclass.webhook_deliveries (
    svix_id     text primary key,
    event_type  text not null,
    received_at timestamptz not null default clock_timestamp()
);

create table pickmyclass.settings (
    key   text primary key,
    value text not null
);

-- Nobody reads these tables directly; the functions run as their owner.
do $$
declare t text;
begin
    for t in select tablename from pg_tables where schemaname = 'pickmyclass' loop
        execute format('alter table pickmyclass.%I enable row level security', t);
        execute format('revoke all on pickmyclass.%I from public, anon, authenticated, service_role', t);
    end loop;
end $$;

-- Called at the end of every migration that adds functions: Supabase's older projects let everyone execute
-- what is created in public (O37), so the right is taken away by name.
create function pickmyclass.lock_down() returns void
language plpgsql set search_path = '' as $$
declare f regprocedure;
begin
    for f in
        select p.oid from pg_catalog.pg_proc p join pg_catalog.pg_namespace n on n.oid = p.pronamespace
        where (n.nspname = 'public' and p.proname like 'pmc\_%') or n.nspname = 'pickmyclass'
    loop
        execute format('revoke all on function %s from public, anon, authenticated', f);
        if f::text like '%pmc\_%' then
            execute format('grant execute on function %s to service_role', f);
        end if;
    end loop;
end $$;
