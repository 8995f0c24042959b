"""Looks by the real consumer at a catalog over HTTP: one listing from answer to mail, and what a whole day costs."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import requests

from shared.checks.look import Looker
from shared.checks.tick import TickOrder
from shared.sections.recorded import COLUMNS
from shared.sections.slots import SLOT, group_at
from shared.source.answers import Listing
from workshop.bench.measure_month import IN_A_SUBJECT, SECTIONS, SUBJECTS, CountedDatabase, written
from workshop.bench.meters import Commands, cpu_seconds, pss_mb
from workshop.bench.report import Report
from workshop.bench.site import Site, site, wait_until

LISTED, WATCHED, TIMES = 283, 40, 15
"""Sections of one subject, those of them that somebody watches, and how often each thing is done."""
QUIET, WITH_TICK = 360.0, 420.0
"""Seconds that are counted: without a tick, and with one, whose 150 listings take six minutes at 27 calls a minute."""
TICKS_A_DAY = 48
LISTING = f"one listing of {LISTED} sections, {WATCHED} of them watched"
DAY = f"a day with the catalog: {SECTIONS:,} sections in {SUBJECTS} subjects, 30 calls a minute"


def measure(report: Report) -> None:
    """Calls, rows, bytes and ms of a look without news; ms from the catalog's answer to the mail; a day in Redis."""
    with tempfile.TemporaryDirectory() as folder:
        one, many = Path(folder, "one.csv"), Path(folder, "many.csv")
        _write_tape(one, {"CSE": LISTED})
        with site(one, replay=False, settings={"SOURCE": "asu", "LOOKS_PER_MINUTE": "0"}) as place:
            _listing(report, place)
        _wait_for_a_young_slot()
        _write_tape(many, {f"S{chr(65 + n // 26)}{chr(65 + n % 26)}": IN_A_SUBJECT for n in range(SUBJECTS)})
        with site(many, replay=False, settings={"SOURCE": "asu", "CRON_SCHEDULE": _later()}) as place:
            _day(report, place)


def _later() -> str:
    """A schedule whose next tick comes when all is measured: the floor is ticked by hand."""
    minute = (datetime.now(UTC).minute + 20) % 30
    return f"{minute},{minute + 30} * * * *"


def _wait_for_a_young_slot() -> None:
    """A slot that begins while all is measured would be the rescue's, for nobody ticks it."""
    left = SLOT.total_seconds() - time.time() % SLOT.total_seconds()
    if left < WITH_TICK + WITH_TICK + QUIET + 60:
        time.sleep(left)


def _write_tape(path: Path, subjects: Mapping[str, int]) -> None:
    """A campus on which nothing happens by itself: every section is full."""
    lines = [",".join(COLUMNS)]
    for of_subject in range(max(subjects.values())):  # the first sections are of all subjects: those are watched
        for place, (subject, count) in enumerate(subjects.items()):
            if of_subject < count:
                number = (
                    10_000 + (SUBJECTS + 1) * of_subject + place
                )  # odd steps: a subject has sections of both halves
                lines.append(f"{time.time_ns() // 1_000_000},{number},{subject} 110,A,Ada Lovelace,0,30")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _listing(report: Report, place: Site) -> None:
    place.watch(WATCHED)
    place.tick()
    with psycopg.connect(place.stack.postgres.url(), autocommit=True) as session:
        wait_until(lambda: session.execute("select count(*) from class_states").fetchone() == (WATCHED,))
    _unchanged(report, place)
    delays = [_open_one(place, number, count) for count, number in enumerate(place.class_nbrs[:TIMES], start=1)]
    report.add(LISTING, "catalog's answer to the mail at Resend, median", 1000 * statistics.median(delays), "ms")
    report.add(LISTING, f"the longest of {TIMES}", 1000 * max(delays), "ms")


def _unchanged(report: Report, place: Site) -> None:
    """Looks without news, made here, with the parts that the consumer has."""
    counted = CountedDatabase(place.parts.database)
    looker = Looker(counted, place.parts.checker.read_listing, place.parts.checker.strike, place.parts.clock)
    listing = Listing(place.term, "CSE")
    looker.refresh([listing])
    took: dict[str, list[float]] = {"reading what is known": [], "asking and reading": [], "committing": []}
    with psycopg.connect(place.stack.postgres.url(), autocommit=True) as session:
        before, asked = written(session), place.campus("GET", "/control/calls?after=1000000")["asked"]
        counted.calls = counted.bytes = 0
        for _ in range(TIMES):
            _timed(took["reading what is known"], lambda: looker.refresh([listing]))
            look = _timed(took["asking and reading"], lambda: looker.look(listing, 60))
            _timed(took["committing"], partial(looker.commit, [look]))
        asked = place.campus("GET", "/control/calls?after=1000000")["asked"] - asked
        rows = written(session) - before
    report.add(LISTING, "nothing changed: calls to the catalog", asked / TIMES)
    report.add(LISTING, "nothing changed: calls to the database", counted.calls / TIMES)
    report.add(LISTING, "nothing changed: rows written", rows / TIMES, bound=10)
    report.add(LISTING, "nothing changed: answers of the database with headers", counted.bytes / TIMES, "bytes")
    for what, seconds in took.items():
        note = "two calls, two seconds apart" if what.startswith("asking") else ""
        report.add(LISTING, f"nothing changed: {what}, median", 1000 * statistics.median(seconds), "ms", note=note)


def _timed(seconds: list[float], step: Callable[[], Any]) -> Any:
    began = time.perf_counter()
    made = step()
    seconds.append(time.perf_counter() - began)
    return made


def _open_one(place: Site, class_nbr: str, count: int) -> float:
    """Seconds from the catalog's last answer before the mail until Resend had accepted it."""
    place.campus("POST", "/control/section", {"class_nbr": class_nbr, "seats_available": 3})
    place.tick()
    url = f"{place.stack.inbox_url}/control/emails?after={count - 1}"
    wait_until(lambda: requests.get(url, timeout=10).json()["found"] > 0, step=0.1)
    received = datetime.fromisoformat(requests.get(url, timeout=10).json()["emails"][0]["received_at"]).timestamp()
    calls = place.campus("GET", "/control/calls")["calls"]
    answers: list[float] = [one["answered_at"] for one in calls if "answered_at" in one]
    return received - max(at for at in answers if at <= received)


def _day(report: Report, place: Site) -> None:
    place.watch(SECTIONS)
    assert len({place.subjects[one] for one in place.class_nbrs[:SECTIONS]}) == SUBJECTS
    now = datetime.now(UTC)
    for at in (now - SLOT, now):  # first sights; and without the slots' own ticks the consumer would make up for them
        place.parts.ticker.tick(TickOrder(at, group_at(at), "scheduler", "bench"))
    place.wait_until_settled()
    consumer, functions = (place.part(name).child.pid for name in ("consumer", "functions"))
    with place.meter() as meter:

        def during(seconds: float, *, ticked: bool = False) -> tuple[Commands, float, int]:
            before, worked, asked = meter.read(), cpu_seconds(consumer), _asked(place)
            if ticked:
                place.tick(group_at(now))
            _ask_for_health(place, seconds)
            return meter.read().since(before), cpu_seconds(consumer) - worked, _asked(place) - asked

        floor, _, _ = during(WITH_TICK, ticked=True)
        quiet, worked, asked = during(QUIET)
    a_day = TICKS_A_DAY * (floor.total + quiet.total * (SLOT.total_seconds() - WITH_TICK) / QUIET)
    report.add(DAY, "calls a minute without a tick", asked * 60 / QUIET)
    report.add(DAY, "Redis commands", a_day, bound=10_000, note="floor and health once a minute included")
    report.add(DAY, "of which for the floor", TICKS_A_DAY * (floor.total - quiet.total * WITH_TICK / QUIET))
    report.add(DAY, "CPU of the consumer, of one core", 100 * worked / QUIET, "%", bound=5)
    report.add(DAY, "PSS of the consumer", pss_mb(consumer), "MB")
    report.add(DAY, "PSS of the functions", pss_mb(functions), "MB")


def _asked(place: Site) -> int:
    return int(place.campus("GET", "/control/calls?after=1000000")["asked"])


def _ask_for_health(place: Site, seconds: float) -> None:
    """Let so much time pass, while a monitor asks once a minute."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        with suppress(requests.ConnectionError):
            requests.get(f"{place.stack.functions_url}/api/monitoring/health", timeout=10)
        time.sleep(min(left, 60.0))
