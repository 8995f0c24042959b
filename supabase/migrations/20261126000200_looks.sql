-- Looks at whole listings (a subject in a term), and between the ticks.

-- The last look at each listing. What it saw unchanged is written down here once, not in the row of every section.
create table pickmyclass.listings (
    term         text not null,
    subject      text not null,
    looked_at    timestamptz,  -- start of the look
    checked_at   timestamptz,  -- its commit, by the clock that the slots use
    committed_at timestamptz,  -- its commit, by the server's clock
    primary key (term, subject)
);

alter table pickmyclass.section_checks
    add column source   text,         -- who told the facts; null: never seen
    add column listing  text,         -- the last look at this listing saw the section as it stands here: its times count
    add column full_at  timestamptz,  -- when it was last seen full
    add column moved_at timestamptz;  -- when it last opened or filled
create index section_checks_by_listing on pickmyclass.section_checks (term, listing) where listing is not null;
create index section_checks_by_subject on pickmyclass.section_checks (term, subject);
create index class_watches_by_subject on public.class_watches (term, subject);
alter table pickmyclass.section_events
    add column last_full_at timestamptz;  -- an opening's: between this and observed_at it opened

update pickmyclass.section_checks c set
    source = 'scraper',
    moved_at = (select max(e.observed_at) from pickmyclass.section_events e
                where e.term = c.term and e.class_nbr = c.class_nbr and e.kind in ('seat_available', 'seats_filled'))
where c.observed_at is not null;

create or replace view pickmyclass.watchers as
    select w.id, w.user_id, w.term, w.class_nbr, coalesce(w.created_at, '-infinity') as watched_since,
           p.user_id is null or (coalesce(p.notifications_enabled, true) and not coalesce(p.email_bounced, false)
               and not coalesce(p.spam_complained, false) and not coalesce(p.is_disabled, false)) as eligible,
           w.subject
    from public.class_watches w left join public.user_profiles p on p.user_id = w.user_id;

-- Who decides where to look next: one consumer at a time, over any number of servers.
create table pickmyclass.look_scheduler (
    only_row     boolean primary key default true check (only_row),
    holder       text,
    leased_until timestamptz
);
insert into pickmyclass.look_scheduler default values;

do $$
declare t text;
begin
    foreach t in array array['listings', 'look_scheduler'] loop
        execute format('alter table pickmyclass.%I enable row level security', t);
        execute format('revoke all on pickmyclass.%I from public, anon, authenticated, service_role', t);
    end loop;
end $$;

select pickmyclass.lock_down();
notify pgrst, 'reload schema';
