"""A month on the free tiers: what whole subjects every five minutes cost, at 2,000 sections in 150 subjects.

The looks are real ones, from the plan to the commit, on a clock that skips the waiting; nothing changes in the catalog,
as in most minutes of a year. What the catalog says is made by the simulated campus and read as its real answers are.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from shared.checks.look import Looker
from shared.checks.looks import Looks, Pace
from shared.database import Database, connect_postgres
from shared.durations import Durations
from shared.migrations import migrate
from shared.redis import connect_redis
from shared.source.answers import Listing, Reading, Row
from shared.source.asu_rows import read_row
from shared.source.turns import Pause, Turns
from workshop.bench.report import Report
from workshop.campus.asu_rows import make_row
from workshop.campus.sections import Course, Values
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.redis import EmbeddedRedis

SUBJECTS, SECTIONS, IN_A_SUBJECT = 150, 2000, 60
TERM, CALLS_A_MINUTE, MINUTES, MONTH = "2267", 30, 30, 30 * 24 * 60
HEADERS = 400
"""Bytes that an answer of Supabase takes beside its body."""
_OUR_OWN = ("cmdstat_info", "cmdstat_config|resetstat")
GROUP = "a month on the free tiers: 2,000 sections in 150 subjects, a round every five minutes"


class CountedDatabase:
    """A gateway whose calls and answers are counted."""

    def __init__(self, database: Database) -> None:
        self._database, self.calls, self.bytes = database, 0, 0

    def call(self, function: str, **arguments: Any) -> Any:
        answer = self._database.call(function, **arguments)
        self.calls += 1
        self.bytes += len(json.dumps(answer, separators=(",", ":"))) + HEADERS
        return answer


class _Catalog:
    """Every subject as the catalog would send it, and what reading one costs."""

    def __init__(self, numbers: Mapping[str, list[str]]) -> None:
        full = Values("Staff", 0, 30)
        self._texts = {
            subject: json.dumps(
                [make_row(TERM, one, Course(subject, "110", "T", "X 1", "M 9"), full, full, 0) for one in own]
            )
            for subject, own in numbers.items()
        }

    def read(self, listing: Listing, *_: Any) -> Reading:
        rows: dict[str, Row] = {
            raw["CLAS"]["CLASSNBR"]: read_row(raw, TERM) for raw in json.loads(self._texts[listing.subject])
        }
        return Reading(rows, is_complete=True, calls=1, source="asu")


def measure(report: Report) -> None:
    """The database's calls, rows and bytes, this process's work, and Redis's commands."""
    numbers = {
        f"S{chr(65 + n // 26)}{chr(65 + n % 26)}": [f"{10000 + n * 100 + i}" for i in range(IN_A_SUBJECT)]
        for n in range(SUBJECTS)
    }
    with _database(numbers) as (database, session):
        counted, clock = CountedDatabase(database), _Clock()
        looker = Looker(counted, _Catalog(numbers).read, lambda *_: 0, clock)
        looks = Looks(
            counted, looker, _Nobody(), listing_of=lambda section, subject: Listing(section.term, subject or ""),
            pace=lambda: Pace(CALLS_A_MINUTE * 24 * 60, CALLS_A_MINUTE), worker="bench", timezone="UTC", clock=clock,
            durations=Durations(), replay=True,
        )  # fmt: skip
        for _ in range(2 * SUBJECTS // CALLS_A_MINUTE):
            _minute(looks, clock)
        before, calls, told, worked = written(session), counted.calls, counted.bytes, time.process_time()
        done = sum(_minute(looks, clock) for _ in range(MINUTES))
        worked = time.process_time() - worked
        rows = written(session) - before
        calls, told = counted.calls - calls, counted.bytes - told
    report.add(GROUP, "looks a minute", done / MINUTES)
    report.add(GROUP, "database calls per section looked at", calls / (done * SECTIONS / SUBJECTS), bound=0.05)
    report.add(GROUP, "rows written per unchanged listing", rows / done, bound=10)
    report.add(GROUP, "Supabase egress", told / MINUTES * MONTH / 1e9, "GB", bound=1)
    report.add(GROUP, "CPU, of one core", worked / (MINUTES * 60) * 100, "%", bound=5, note="60 sections a subject")
    report.add(GROUP, "Redis commands a day for turns", _turns() * 24 * 60, bound=10_000)


class _Clock:
    def __init__(self) -> None:
        self.at = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.at


class _Nobody:
    def check(self, _order: object) -> Any:
        raise AssertionError("every section is in a listing")


def _minute(looks: Looks, clock: _Clock) -> int:
    clock.at += timedelta(minutes=1)
    return looks.minute(lambda: False, lambda: None)


@contextmanager
def _database(numbers: Mapping[str, list[str]]) -> Iterator[tuple[Database, psycopg.Connection[Any]]]:
    """A database in which 200 people watch ten sections each."""
    watched = [
        (subject, number) for n in range(IN_A_SUBJECT) for subject, own in numbers.items() for number in [own[n]]
    ]
    with EmbeddedPostgres() as server:
        migrate(server.url(), max_watches=10)
        database = connect_postgres(server.url())
        with psycopg.connect(server.url(), autocommit=True) as session:
            for place in range(0, SECTIONS, 10):
                session.execute(
                    "with one as (insert into auth.users (email) values (%s) returning id)"
                    " insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
                    " select one.id, %s, w ->> 0, '110', w ->> 1 from one, jsonb_array_elements(%s) w",
                    [f"student{place}@example.edu", TERM, json.dumps(watched[place : place + 10])],
                )
            try:
                yield database, session
            finally:
                database.close()


def written(session: psycopg.Connection[Any]) -> int:
    """Rows written so far, by all sessions; a session's counts are told when it has been idle for a moment."""
    time.sleep(11)
    row = session.execute("select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables").fetchone()
    return int(row[0]) if row else 0


def _turns() -> float:
    """Redis commands a minute that calls at their full pace take for their turns, once they are given in advance."""
    with EmbeddedRedis() as server, connect_redis(server.url) as client:
        durations = Durations()
        pause = Pause(client, "bench:circuit:asu", durations)
        turns = Turns(client, pause, lane="queue", holder="bench", calls_a_minute=CALLS_A_MINUTE, durations=durations)
        for rounds in (1, 2):
            client.config_resetstat()
            began = time.monotonic()
            for _ in range(rounds):
                turns.expect(CALLS_A_MINUTE)
                for _ in range(CALLS_A_MINUTE):
                    with turns.turn(60):
                        pass
        minutes = (time.monotonic() - began) / 60
        stats = client.info("commandstats")
        return float(sum(one["calls"] for name, one in stats.items() if name not in _OUR_OWN)) / minutes
