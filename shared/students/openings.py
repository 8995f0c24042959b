"""When a section was open: the edges that checks saw, as spans of time, and what can be said of them in words.

Pure: times are handed in, aware; nothing here looks at a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from statistics import median
from typing import Any

LEAST_OPENINGS = 3
"""Fewer say nothing about a habit."""

WINDOW = timedelta(days=30)
_MOST_OF_THEM = 0.6


@dataclass(frozen=True, slots=True)
class Opening:
    """The section was open from `start` to `end` (`None`: it still is). `seats` as of the start, when known."""

    start: datetime
    end: datetime | None
    seats: int | None

    def lasted(self, now: datetime) -> timedelta:
        """How long it was open, up to now at most."""
        return (self.end or now) - self.start


@dataclass(frozen=True, slots=True)
class Habit:
    """What the openings of the last thirty days have in common. `hours`: between which of the day most began."""

    times: int
    median: timedelta
    hours: tuple[int, int] | None


def openings_of(edges: Sequence[dict[str, Any]]) -> list[Opening]:
    """The spans between edges `{"at", "open", "seats", "all_seats"}`, which come in the order of their times.

    An edge that repeats the one before (its other side was never seen) changes nothing.
    """
    found: list[Opening] = []
    for edge in edges:
        at = datetime.fromisoformat(edge["at"])
        is_open = bool(found) and found[-1].end is None
        if edge["open"] and not is_open:
            seats = edge.get("seats")
            found.append(Opening(at, None, edge.get("all_seats") if seats is None else seats))
        elif not edge["open"] and is_open:
            found[-1] = Opening(found[-1].start, at, found[-1].seats)
    return found


def habit_of(openings: Sequence[Opening], now: datetime, zone: tzinfo) -> Habit | None:
    """What can be said of the last thirty days; `None` when too little happened in them."""
    recent = [one for one in openings if one.start > now - WINDOW]
    if len(recent) < LEAST_OPENINGS:
        return None
    middle = timedelta(seconds=median(one.lasted(now).total_seconds() for one in recent))
    return Habit(len(recent), middle, _hours([one.start.astimezone(zone).hour for one in recent]))


def _hours(begun: Sequence[int]) -> tuple[int, int] | None:
    """The narrowest stretch of two to four hours in which most began; `None` when they are spread over the day."""
    for width in (2, 3, 4):
        counts = {start: sum(start <= hour < start + width for hour in begun) for start in range(25 - width)}
        best = max(counts, key=lambda start: (counts[start], -start))
        if counts[best] >= _MOST_OF_THEM * len(begun):
            return best, best + width
    return None


def strip_of(openings: Sequence[Opening], start: datetime, now: datetime) -> list[tuple[float, float]]:
    """Where the openings lie on a line from `start` to `now`: place and length in percent, each at least visible."""
    whole = max((now - start).total_seconds(), 1.0)
    pieces = []
    for one in openings:
        begin = max((one.start - start).total_seconds(), 0.0) / whole * 100
        end = ((one.end or now) - start).total_seconds() / whole * 100
        if end >= 0:
            begin = min(begin, 99.4)
            pieces.append((round(begin, 2), round(max(min(end, 100.0) - begin, 0.6), 2)))
    return pieces
