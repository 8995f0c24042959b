"""What is played: a restless campus by chance, or a recorded one with its quiet hours skipped."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from workshop.campus.catalog import COURSES, FIRST_NAMES, LAST_NAMES
from workshop.campus.sections import HALF_HOUR_MS, Course, Timeline, Values
from workshop.campus.tape import COLUMNS, read_tape, term_of
from workshop.demo.students import Watch, make_students

SECTIONS = 80  # enough that a half has twenty full ones, as the mass-event guard asks
_SLOTS = 400  # more than a run gets through; a longer one stays at the last values
_SECONDS_A_SLOT = 2.5  # what a slot takes about; only how far a tape is skipped depends on it
_START = datetime(2026, 9, 7, tzinfo=UTC)
_CAPACITY = 40
_RESTLESS_MS = 4000  # about as long as the looks of a slot take


@dataclass(frozen=True, slots=True)
class Season:
    """A campus on a tape, the starts of its slots (epoch ms), who watches what."""

    tape: Path
    term: str
    timelines: Sequence[Timeline]
    slots_ms: Sequence[int]
    watches: Sequence[Watch]
    rate: int = 0
    """How fast the campus's clock runs within a slot: not at all, or (1) like the product's."""


def by_chance(seed: int, folder: Path, *, restless: bool = False) -> Season:
    """A campus where much happens: seats come and go every other hour, and once or twice a department opens at once.

    It changes between slots; a `restless` one in their first seconds, while it is being looked at.
    """
    chance = random.Random(f"campus {seed}")
    start = int(_START.timestamp() * 1000)
    slots = [start + number * HALF_HOUR_MS for number in range(_SLOTS)]
    mass = {chance.randrange(3, 9), chance.randrange(12, 30)}
    numbers = sorted(chance.sample(range(10_000, 100_000), SECTIONS))
    timelines = [_timeline(chance, number, slots, mass, restless) for number in numbers]
    season = _season(_write_tape(timelines, folder / "tape.csv"), timelines, slots, seed)
    return replace(season, rate=int(restless))


def from_tape(seed: int, path: Path, minutes: float) -> Season:
    """The recorded campus at `path`: as many slots as fit into `minutes`, spread over the whole season."""
    timelines = read_tape(path)
    first = min(timeline.times[0] for timeline in timelines) // (2 * HALF_HOUR_MS)
    last = max(timeline.times[-1] for timeline in timelines) // (2 * HALF_HOUR_MS)
    rounds = max(2, int(minutes * 60 / _SECONDS_A_SLOT / 2))
    step = max(1, (last - first) // rounds)
    hours = range(first, last + 2, step)
    slots = [2 * hour * HALF_HOUR_MS + half for hour in hours for half in (0, HALF_HOUR_MS)]
    return _season(path.resolve(), timelines, slots, seed)


def _season(tape: Path, timelines: Sequence[Timeline], slots: Sequence[int], seed: int) -> Season:
    watches = make_students(seed, [timeline.class_nbr for timeline in timelines], slots[:1])
    return Season(tape, term_of(list(timelines)), timelines, slots, watches)


def _timeline(chance: random.Random, number: int, slots: Sequence[int], mass: set[int], restless: bool) -> Timeline:
    """One section. It changes a little before each slot, or (`restless`) in its first seconds."""
    subject = chance.choice(list(COURSES))
    catalog_nbr, _ = chance.choice(COURSES[subject])
    name = "Staff" if chance.random() < 0.5 else _name(chance)
    seats = 0 if chance.random() < 0.7 else chance.randint(1, _CAPACITY)
    joins = chance.random() < 0.7  # of the sections that open in a mass event
    points = [(slots[0], Values(name, seats, _CAPACITY))]
    for index, slot in enumerate(slots[1:], 1):
        if index in mass and joins:
            seats = seats or 5
        elif chance.random() < (0.4 if seats else 0.1):
            seats = chance.choice((0, 0, 0, 3)) if seats else chance.choice((1, 2, 5))
        if chance.random() < 0.08:
            name = _name(chance) if name == "Staff" or chance.random() < 0.6 else "Staff"
        changed = slot + chance.randrange(50, _RESTLESS_MS) if restless else slot - 1000
        points.append((changed, Values(name, seats, _CAPACITY)))
    return Timeline(str(number), Course(subject, catalog_nbr, f"{subject} {catalog_nbr} A00"), points)


def _name(chance: random.Random) -> str:
    return f"{chance.choice(FIRST_NAMES)} {chance.choice(LAST_NAMES)}"


def _write_tape(timelines: Sequence[Timeline], path: Path) -> Path:
    """As a tape, which is how the campus gets it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for line in timelines:
            course = f"{line.course.subject} {line.course.catalog_nbr}"
            for time, now in zip(line.times, line.values, strict=True):
                row = [time, line.class_nbr, course, "A00", now.instructor, now.seats_available, now.seats_capacity]
                table.writerow(row)
    return path
