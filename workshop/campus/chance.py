"""A campus by chance: the same seed gives the same sections and the same season, on every machine.

Popular sections are full nearly all the time and open for minutes or hours; the others drift. Seats kept for a
programme make `non_reserved_seats` known, sometimes only now and then; a seat count is missing once in a while;
"Staff" becomes a name, seldom the other way. In a season of a day or more one department raises its capacities
at once, as departments do.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace

from workshop.campus.catalog import (
    BUILDINGS,
    CAPACITIES,
    COURSES,
    DAYS,
    FIRST_NAMES,
    LAST_NAMES,
    STARTS,
)
from workshop.campus.sections import HALF_HOUR_MS, Course, Timeline, Values

MOST_SECTIONS = 50_000
_MINUTE = 60_000
_DAY = 48 * HALF_HOUR_MS
_SIZES = [8, *[1] * (len(COURSES) - 1)]
"""How large the departments are: one outgrew the others, as computing did."""


@dataclass(frozen=True, slots=True)
class _Nature:
    """How a section behaves."""

    popular: bool
    reserved: int  # seats kept for a programme
    tells_reserved: float  # how often the catalog says how many seats are unreserved


def make_campus(seed: int, sections: int, start_ms: int, length_ms: int) -> list[Timeline]:
    """`sections` timelines (1 to 50,000) from `start_ms` on, for `length_ms` ms."""
    if not 1 <= sections <= MOST_SECTIONS:
        raise ValueError(f"a campus has 1 to {MOST_SECTIONS} sections")
    chance = random.Random(seed)
    numbers = sorted(chance.sample(range(10_000, 100_000), sections))
    courses = [_course(chance) for _ in numbers]
    department = Counter(course.subject for course in courses).most_common(1)[0][0]
    raised_at = start_ms + int(length_ms * 0.6) if length_ms >= _DAY else None
    timelines = []
    for number, course in zip(numbers, courses, strict=True):
        own = random.Random(f"{seed}:{number}")  # of its own: a section is the same in a larger campus
        raise_at = raised_at if course.subject == department else None
        points = _season(own, start_ms, start_ms + length_ms, raise_at)
        timelines.append(Timeline(str(number), course, points))
    return timelines


def _course(chance: random.Random) -> Course:
    subject = chance.choices(list(COURSES), _SIZES)[0]
    number, title = chance.choice(COURSES[subject])
    if chance.random() < 0.15:
        return Course(subject, number, title, "Internet", None)
    room = f"{chance.choice(BUILDINGS)} {chance.randint(1, 4)}{chance.randint(0, 49):02d}"
    return Course(subject, number, title, room, f"{chance.choice(DAYS)} {chance.choice(STARTS)}")


def _season(chance: random.Random, start: int, end: int, raise_at: int | None) -> list[tuple[int, Values]]:
    """The points of one section: what changes, at times that look like people."""
    reserves = chance.random() < 0.25
    capacity = chance.choice(CAPACITIES)
    nature = _Nature(
        popular=chance.random() < 0.6,
        reserved=max(1, capacity // 10) if reserves else 0,
        tells_reserved=chance.choice((1.0, 0.7)) if reserves else 0.0,
    )
    seats = 0 if nature.popular else chance.randint(1, capacity)
    name = _name(chance) if chance.random() < 0.7 else "Staff"
    points = [(start, _values(chance, nature, name, seats, capacity))]
    now = start
    while True:
        wait = chance.expovariate(1 / (60 if nature.popular and seats else 240)) + 1
        now += int(wait * _MINUTE)
        if raise_at is not None and now >= raise_at:
            extra = max(2, capacity // 8)
            seats, capacity = seats + extra, capacity + extra
            points.append((raise_at, _values(chance, nature, name, seats, capacity)))
            now, raise_at = raise_at, None
            continue
        if now >= end:
            return points
        if chance.random() < 0.12:
            name = _next_name(chance, name)
        else:
            seats = _next_seats(chance, nature, seats, capacity)
        points.append((now, _values(chance, nature, name, seats, capacity)))


def _values(chance: random.Random, nature: _Nature, name: str, seats: int, capacity: int) -> Values:
    """The values as the catalog shows them: now and then it leaves something out."""
    values = Values(None if name == "Staff" and chance.random() < 0.2 else name, seats, capacity)
    if nature.reserved and chance.random() < nature.tells_reserved:
        values = replace(values, non_reserved_seats=max(0, seats - nature.reserved))
    return replace(values, seats_available=None) if chance.random() < 0.01 else values


def _next_seats(chance: random.Random, nature: _Nature, seats: int, capacity: int) -> int:
    if nature.popular:
        return 0 if seats else min(capacity, chance.choice((1, 1, 1, 2, 3, 5)))
    return min(capacity, max(0, seats + chance.choice((-6, -4, -3, -2, -1, 1, 2, 4))))


def _next_name(chance: random.Random, name: str) -> str:
    if name == "Staff":
        return _name(chance)
    return "Staff" if chance.random() < 0.3 else _name(chance)


def _name(chance: random.Random) -> str:
    return f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"
