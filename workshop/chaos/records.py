"""What the database saw: every committed check in order, written down by a trigger of the run's own.

The trigger is how an opening "counts when its check was committed": the verdict knows the commits from here, and
not from what the product says of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.rows import dict_row

_TRIGGER = """
create schema chaos;
create table chaos.commits (
    id bigint generated always as identity primary key, class_nbr text, observed_at timestamptz, seats int,
    instructor text, committed_at timestamptz default clock_timestamp());
create function chaos.note() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    if old.observed_at is distinct from new.observed_at then  -- else only an attempt has ended
        insert into chaos.commits (class_nbr, observed_at, seats, instructor)
        values (new.class_nbr, new.observed_at, new.seats_available, new.instructor_name);
    end if;
    return null;
end $$;
create trigger chaos_note after insert or update on pickmyclass.section_checks
    for each row when (new.observed_at is not null) execute function chaos.note();
-- A claim is dated by the database's clock, a look by the run's, which is another one here: as in life, it shall be
-- as old as the look that it tells of.
create function chaos.date_claim() returns trigger language plpgsql security definer set search_path = '' as $$
begin
    select max(e.observed_at) into new.sent_at from pickmyclass.section_events e
    join public.class_watches w on w.term = e.term and w.class_nbr = e.class_nbr where w.id = new.class_watch_id;
    return new;
end $$;
create trigger chaos_date before insert or update on public.notifications_sent
    for each row execute function chaos.date_claim();
"""
_UNATTEMPTED = """
select d.class_nbr from pickmyclass.our_sections(%(slot)s) d
left join pickmyclass.checks_seen() c on c.class_nbr = d.class_nbr and c.attempt_slot >= %(slot)s
where pickmyclass.slot_of(d.class_nbr, %(slot)s) = %(slot)s and c.class_nbr is null order by 1
"""
_COMMITS = "select class_nbr, observed_at, seats, instructor, committed_at from chaos.commits order by id"
_BASELINES = """
select c.class_nbr, c.seats_available as seats, c.instructor_name as instructor
from pickmyclass.our_sections(%(slot)s) d join pickmyclass.section_checks c using (term, class_nbr)
where c.observed_at is not null
"""
_LIVING = "select worker_name from pickmyclass.workers where status <> 'offline' order by 1"
_OUTBOX = """
select o.id, o.class_nbr, o.notification_type as kind, e.observed_at, u.email, o.status, o.message_id, o.last_error,
       exists (select from pickmyclass.section_events f where f.class_nbr = o.class_nbr and f.kind = 'seats_filled'
               and f.id > o.event_id) as filled_later,
       extract(epoch from o.sent_at - e.created_at)::float8 as delay
from pickmyclass.outbox o join pickmyclass.section_events e on e.id = o.event_id
left join auth.users u on u.id = o.user_id order by o.id
"""
_STUCK = """
select (select count(*) from pickmyclass.outbox where status = 'pending' and not held) as "mail pending",
       (select count(*) from pickmyclass.outbox where status = 'pending' and held) as "mail held",
       (select count(*) from pickmyclass.outbox where status = 'sending') as "mail sending",
       (select count(*) from pickmyclass.mail_batches where outcome is null) as "batches unsettled"
"""
_PATIENCE = 60.0
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Commit:
    """One committed check: what it saw, when its scrape began (the run's clock) and when it was committed (ours)."""

    class_nbr: str
    observed_at: datetime
    seats: int | None
    instructor: str | None
    committed_at: datetime


class Records:
    """Looks into the database, through its restarts. For one thread."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def begin(self) -> None:
        """Let the commits be written down from now on."""
        self._ask(lambda connection: connection.execute(_TRIGGER))

    def unattempted(self, slot: datetime) -> list[str]:
        """The sections due in `slot` (its half's latest) whose attempt has not ended."""
        return [row["class_nbr"] for row in self._rows(_UNATTEMPTED, slot=slot)]

    def commits(self) -> list[Commit]:
        """Every committed check, in the order of the commits of each section."""
        return [Commit(**row) for row in self._rows(_COMMITS)]

    def baselines(self, slot: datetime) -> list[dict[str, Any]]:
        """What is known of each section that somebody may still be told of: seats and instructor."""
        return self._rows(_BASELINES, slot=slot)

    def outbox(self) -> list[dict[str, Any]]:
        """Every email that the product thinks it owed, with what became of it."""
        return self._rows(_OUTBOX)

    def unsettled(self) -> dict[str, int]:
        """What has not come to its end, by kind; kinds with none are left out."""
        return {name: count for name, count in self._rows(_STUCK)[0].items() if count}

    def living_workers(self) -> list[str]:
        """The names of the consumers that the registry does not call offline."""
        return [row["worker_name"] for row in self._rows(_LIVING)]

    def close(self) -> None:
        """Close the connection."""
        if self._connection:
            self._connection.close()

    def _rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        return self._ask(lambda connection: connection.execute(statement.encode(), values).fetchall())

    def _ask(self, question: Callable[[psycopg.Connection[dict[str, Any]]], T]) -> T:
        """Ask, and ask again while the server is down."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(
                        self._url, autocommit=True, connect_timeout=5, row_factory=dict_row
                    )
                return question(self._connection)
            except psycopg.OperationalError:
                self.close()
                self._connection = None
                if time.monotonic() > deadline:
                    raise
                with suppress(InterruptedError):
                    time.sleep(0.1)
