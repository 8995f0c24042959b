"""The planner on a real campus, recorded over a season: how late openings are seen, against looking once an hour."""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import pytest

from shared.checks.planner import Candidate, Watched, calls_by_hour, plan
from shared.sections.section import Section
from shared.source.answers import Listing
from workshop.campus.sections import Timeline
from workshop.campus.tape import read_tape

TAPE = Path(__file__).parents[3] / "shared" / "data" / "campus-2022-summer1.csv.gz"
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
TERM = "2264"

pytestmark = pytest.mark.skipif(not TAPE.exists(), reason="the recorded season is not here")


@dataclass(frozen=True)
class Outcome:
    """Minutes from each opening to the look that saw it, and how many were gone before anyone looked."""

    delays: list[float]
    missed: int


def openings(timeline: Timeline, start: int, end: int) -> list[tuple[int, int]]:
    """When it opened, and when it was full again, in ms."""
    found, opened = [], None
    for before, after, later in zip(timeline.values, timeline.values[1:], timeline.times[1:], strict=False):
        if not before.seats_available and after.seats_available and start <= later < end:
            opened = later
        elif before.seats_available and not after.seats_available and opened is not None:
            found.append((opened, later))
            opened = None
    return found + ([(opened, end)] if opened is not None else [])


def outcome(timelines: list[Timeline], looks: dict[str, list[int]], start: int, end: int) -> Outcome:
    delays, missed = [], 0
    for timeline in timelines:
        times = sorted(looks[timeline.class_nbr])
        for opened, filled in openings(timeline, start, end):
            place = bisect.bisect_left(times, opened)
            if place < len(times) and times[place] < filled:
                delays.append((times[place] - opened) / MINUTE)
            else:
                missed += 1
    return Outcome(delays, missed)


def floor(timelines: Iterable[Timeline], start: int, end: int) -> dict[str, list[int]]:
    """Each section once an hour, even numbers at the full hour and odd ones at the half."""
    return {
        one.class_nbr: list(range(start + (int(one.class_nbr[-1]) % 2) * 30 * MINUTE, end, HOUR)) for one in timelines
    }


class Play:
    """The floor's looks and the planner's, which knows what the looks have shown."""

    def __init__(self, timelines: list[Timeline], start: int, end: int, *, by_subject: bool) -> None:
        self.start, self.end = start, end
        self.looks = floor(timelines, start, end)
        self.due: dict[int, list[str]] = {}
        for number, times in self.looks.items():
            for time in times:
                self.due.setdefault(time, []).append(number)
        self.by_number = {one.class_nbr: one for one in timelines}
        since = start / 1000
        self.watched = {
            number: Watched(Section(TERM, number), 1, one.at(start).seats_available, None, since, since)
            for number, one in self.by_number.items()
        }
        self.groups: dict[Listing | Section, list[str]] = {}
        for one in timelines:
            what = Listing(TERM, one.course.subject) if by_subject else Section(TERM, one.class_nbr)
            self.groups.setdefault(what, []).append(one.class_nbr)
        self.openings = [0] * 24

    def see(self, numbers: Iterable[str], now: int) -> None:
        for number in numbers:
            before, seats = self.watched[number], self.by_number[number].at(now).seats_available
            moved = before.open_seats is not None and bool(before.open_seats) != bool(seats)
            self.openings[now // HOUR % 24] += bool(moved and seats)
            self.watched[number] = replace(
                before,
                open_seats=seats,
                moved_at=now / 1000 if moved else before.moved_at,
                looked_at=now / 1000,
            )

    def run(self, a_day: float) -> dict[str, list[int]]:
        allowed, rates = 0.0, [0.0] * 24
        for now in range(self.start, self.end, MINUTE):
            self.see(self.due.get(now, ()), now)
            if now % HOUR == 0:
                rates = calls_by_hour(self.openings, a_day, 10 * a_day / 1440)
            rate = rates[now // HOUR % 24]
            allowed = min(allowed + rate, max(rate, 1))
            candidates = [
                Candidate(what, tuple(self.watched[one] for one in numbers)) for what, numbers in self.groups.items()
            ]
            for pick in plan(candidates, now / 1000, rate, allowed):
                allowed -= pick.calls
                numbers = [one.section.class_nbr for one in pick.sections]
                self.see(numbers, now)
                for number in numbers:
                    self.looks[number].append(now)
        return self.looks


@pytest.fixture(scope="module")
def season() -> tuple[list[Timeline], int, int]:
    """The recorded sections and the four days with the most openings."""
    timelines = read_tape(TAPE)
    first, last = min(one.times[0] for one in timelines), max(one.times[-1] for one in timelines)
    start = max(
        range(first // DAY * DAY, last - 4 * DAY, DAY),
        key=lambda day: sum(len(openings(one, day, day + 4 * DAY)) for one in timelines),
    )
    return timelines, start, start + 4 * DAY


def test_whole_subjects_every_five_minutes_are_seen_in_minutes(season: tuple[list[Timeline], int, int]) -> None:
    timelines, start, end = season
    subjects = len({one.course.subject for one in timelines})
    before = outcome(timelines, floor(timelines, start, end), start, end)
    after = outcome(timelines, Play(timelines, start, end, by_subject=True).run(subjects / 5 * 1440), start, end)
    assert median(after.delays) <= 3
    assert sorted(after.delays)[int(0.95 * len(after.delays))] <= 6
    assert after.missed <= 0.1 * before.missed


def test_twice_as_many_single_looks_more_than_halve_the_delay(season: tuple[list[Timeline], int, int]) -> None:
    timelines, start, end = season
    before = outcome(timelines, floor(timelines, start, end), start, end)
    after = outcome(timelines, Play(timelines, start, end, by_subject=False).run(24 * len(timelines)), start, end)
    assert median(after.delays) <= 0.45 * median(before.delays)
    assert after.missed <= 0.6 * before.missed
