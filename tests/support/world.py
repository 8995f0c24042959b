"""Students, watches and checks for tests of the database, in as few words as possible."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from shared.database import Database
from shared.sections.changes import detect
from shared.sections.section import Facts, Known, Observation, Section, known_from_json
from shared.sections.slots import group_of, latest_slot
from shared.sections.text import is_staff

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
"""The hour at which most tests play; its term (2267) ends a month later."""

SECTION = Section("2267", "12431")
_numbers = itertools.count(1)


def facts(seats: int | None = 0, instructor: str | None = "Staff", unreserved: int | None = None) -> Facts:
    """Facts of the section that the tests watch, with these seats and this instructor."""
    return Facts("CSE", "110", "Principles of Programming", instructor, seats, 30, unreserved, "BYAC 110", "MWF 9:00")


@dataclass(slots=True)
class World:
    """A database seen from outside: what students, the old Workers and an operator do to it."""

    postgres: psycopg.Connection[Any]
    users: list[str] = field(default_factory=list)

    def add_user(self, **profile: Any) -> str:
        """A student with a profile; keywords are its columns. Returns the user id."""
        email = f"student{next(_numbers)}@example.edu"
        user = str(self.one("insert into auth.users (email) values (%s) returning id", email))
        for column, value in profile.items():
            self.postgres.execute(f"update user_profiles set {column} = %s where user_id = %s", [value, user])
        self.users.append(user)
        return user

    def add_watch(self, section: Section = SECTION, user: str | None = None, since: datetime = NOON) -> str:
        """A watch of `section` by `user` (default: a new student). Returns the watch id."""
        statement = (
            "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr, created_at)"
            " values (%s, %s, 'CSE', '110', %s, %s) returning id"
        )
        return str(self.one(statement, user or self.add_user(), section.term, section.class_nbr, since))

    def add_watchers(self, count: int, section: Section = SECTION) -> None:
        """Many students at once, each with a watch."""
        self.postgres.execute(
            "with people as (insert into auth.users (email) select 'crowd' || i || '@' || %s || '.edu'"
            " from generate_series(1, %s) i returning id)"
            " insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
            " select id, %s, 'CSE', '110', %s from people",
            [next(_numbers), count, section.term, section.class_nbr],
        )

    def one(self, statement: str, *values: Any) -> Any:
        """The only value that a statement gives."""
        row = self.postgres.execute(statement, values).fetchone()
        return row[0] if row else None

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """All rows that a statement gives."""
        return self.postgres.execute(statement, values).fetchall()

    def outbox(self, section: Section = SECTION) -> list[tuple[str, str, str]]:
        """The mail of a section in the order of events and watchers: type, watch id, status."""
        found = self.rows(
            "select notification_type, watch_id::text, status from pickmyclass.outbox"
            " where term = %s and class_nbr = %s order by event_id, watched_since, watch_id",
            section.term,
            section.class_nbr,
        )
        return [(kind, watch, status) for kind, watch, status in found]

    def baseline(self, section: Section = SECTION) -> dict[str, Any]:
        """The row of `section_checks`, or an empty dict."""
        found = self.one(
            "select to_jsonb(c) from pickmyclass.section_checks c where term = %s and class_nbr = %s",
            section.term,
            section.class_nbr,
        )
        return dict(found) if found else {}

    def state(self, class_nbr: str = SECTION.class_nbr) -> dict[str, Any]:
        """The row of `class_states` with this number, or an empty dict."""
        found = self.one("select to_jsonb(s) from class_states s where class_nbr = %s", class_nbr)
        return dict(found) if found else {}

    def claims(self) -> set[tuple[str, str]]:
        """Who has a claim to what: watch id, type."""
        return {
            (str(w), kind) for w, kind in self.rows("select class_watch_id, notification_type from notifications_sent")
        }

    def wait_until_blocked(self) -> None:
        """Return when some other session of this database waits for a lock."""
        for _ in range(2000):
            if self.one(
                "select exists (select from pg_stat_activity where datname = current_database()"
                " and wait_event_type = 'Lock' and pid <> pg_backend_pid())"
            ):
                return
            self.postgres.execute("select pg_sleep(0.01)")
        raise AssertionError("nobody waits for a lock")

    def old_upsert(self, section: Section, seen: Facts, checked_at: datetime | None = None) -> None:
        """What the old Workers send after a check of theirs."""
        self.postgres.execute(
            "insert into class_states (term, subject, catalog_nbr, class_nbr, title, instructor_name,"
            " seats_available, seats_capacity, non_reserved_seats, location, meeting_times, last_checked_at)"
            " values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, coalesce(%s, now()))"
            " on conflict (class_nbr) do update set term = excluded.term, subject = excluded.subject,"
            " catalog_nbr = excluded.catalog_nbr, title = excluded.title,"
            " instructor_name = excluded.instructor_name, seats_available = excluded.seats_available,"
            " seats_capacity = excluded.seats_capacity, non_reserved_seats = excluded.non_reserved_seats,"
            " location = excluded.location, meeting_times = excluded.meeting_times,"
            " last_checked_at = excluded.last_checked_at",
            [
                *(section.term, seen.subject, seen.catalog_nbr, section.class_nbr, seen.title, seen.instructor_name),
                *(seen.seats_available, seen.seats_capacity, seen.non_reserved_seats, seen.location),
                *(seen.meeting_times, checked_at),
            ],
        )


known_of = known_from_json


def read(database: Database, section: Section = SECTION, now: datetime | None = NOON) -> Known:
    """The baseline of a section."""
    return known_of(database.call("pmc_read_section", p_term=section.term, p_class_nbr=section.class_nbr, p_now=now))


def check_json(known: Known, seen: Observation, section: Section = SECTION, **more: Any) -> dict[str, Any]:
    """A check as the commit takes it: `seen` compared with `known`; `more` replaces or adds keys."""
    changes = detect(known, seen)
    return {
        "term": section.term,
        "class_nbr": section.class_nbr,
        "version": known.version,
        "observed_at": seen.observed_at.isoformat(),
        "slot": latest_slot(group_of(section.class_nbr), seen.observed_at).isoformat(),
        "tick_id": "tick",
        "facts": changes.baseline_json(),
        "events": changes.events_json(known),
        "was_full": changes.was_full,
        "was_named": known.facts is not None and not is_staff(known.facts.instructor_name),
        "named": not is_staff(changes.facts.instructor_name),
        "replaced": changes.replaced,
        "lease_to": None,
        "lease_limit": 0,
    } | more


def see(
    database: Database,
    seen: Facts,
    at: datetime = NOON,
    *,
    section: Section = SECTION,
    known: Known | None = None,
    now: datetime | None = None,
    **more: Any,
) -> dict[str, Any]:
    """One whole check of `section` that saw `seen` at `at`; conflicts are compared again, as the flow does."""
    known = known or read(database, section, at)
    for _ in range(50):
        check = check_json(known, Observation(at, seen), section, **more)
        answer: dict[str, Any] = database.call("pmc_commit_check", p_check=check, p_now=now or at)
        if answer["result"] != "conflict":
            return answer
        known = known_of(answer)
    raise AssertionError("fifty conflicts in a row")


def minutes(count: float) -> timedelta:
    """A short word for a timedelta."""
    return timedelta(minutes=count)
