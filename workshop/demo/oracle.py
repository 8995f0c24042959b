"""Who must be told what: computed from the campus alone, by the plainest code that can say it.

It shares no rule with the product: nothing from `shared` may be imported here. Where the two agree, two people
read the same promise and wrote it down twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from workshop.campus.sections import HALF_HOUR_MS, Timeline, Values

SEAT = "seat_available"
NAME = "instructor_assigned"
_FULL = "full again"
_DAY_MS = 48 * HALF_HOUR_MS


@dataclass(frozen=True, slots=True, order=True)
class Owed:
    """One email that somebody must get: for what was seen in the slot that began at `slot_ms`."""

    slot_ms: int
    class_nbr: str
    kind: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Watcher:
    """Somebody who is to be told about a section from a moment on (epoch ms)."""

    recipient: str
    since_ms: int = 0


@dataclass(slots=True)
class Verdict:
    """What a season of ticks comes to."""

    checks: int = 0
    openings: int = 0
    namings: int = 0
    owed: set[Owed] = field(default_factory=set)


def judge(timelines: Iterable[Timeline], watchers: Mapping[str, Iterable[Watcher]], slots_ms: Iterable[int]) -> Verdict:
    """Walk through the slots (their starts in epoch ms) and note every email owed.

    A section is looked at in the slots of its half, once it has a watcher; the first look only remembers.
    Whoever began to watch after a slot's start is not owed what was seen in it. Whoever was told of an opening is
    not told of another until the section was seen full again, or a day has passed: seats kept for a programme that
    come and go in the catalog would otherwise be told over and over.
    """
    verdict = Verdict()
    by_half: dict[int, list[Timeline]] = defaultdict(list)
    for timeline in timelines:
        by_half[int(timeline.class_nbr) % 2].append(timeline)
    memories: dict[str, _Memory] = {}
    told_ms: dict[str, dict[str, int]] = defaultdict(dict)  # section -> person -> when last told of an opening
    for slot in slots_ms:
        odd_half = (slot // HALF_HOUR_MS) % 2
        for timeline in by_half[odd_half]:
            present = [one for one in watchers.get(timeline.class_nbr, ()) if one.since_ms <= slot]
            if not present:
                continue
            verdict.checks += 1
            kinds = memories.setdefault(timeline.class_nbr, _Memory()).look(timeline.at(slot))
            verdict.openings += SEAT in kinds
            verdict.namings += NAME in kinds
            told = told_ms[timeline.class_nbr]
            if _FULL in kinds:
                told.clear()
            for one in present:
                if NAME in kinds:
                    verdict.owed.add(Owed(slot, timeline.class_nbr, NAME, one.recipient))
                if SEAT in kinds and told.get(one.recipient, -_DAY_MS) + _DAY_MS <= slot:
                    told[one.recipient] = slot
                    verdict.owed.add(Owed(slot, timeline.class_nbr, SEAT, one.recipient))
    return verdict


class _Memory:
    """What was last known of one section."""

    def __init__(self) -> None:
        self.seen = False
        self.seats: int | None = None
        self.free: int | None = None  # seats kept for nobody
        self.named = False

    def look(self, values: Values) -> list[str]:
        """Remember the values; say what happened since the look before."""
        seats, free = _believable(values.seats_available, values), _believable(values.non_reserved_seats, values)
        named = (values.instructor or "").strip().lower() not in ("", "staff")
        if not self.seen:
            self.seen, self.seats, self.free, self.named = True, seats, free, named
            return []
        kinds = []
        by_all = self.free is None or free is None  # like is compared with like
        before, now = (self.seats, seats) if by_all else (self.free, free)
        known = before is not None and now is not None
        edge = known and (before == 0) != (now == 0)
        if edge:
            kinds.append(SEAT if before == 0 else _FULL)
        if named and not self.named:
            kinds.append(NAME)
        if seats is not None:
            self.seats = seats
        if free is not None:
            self.free = free
        elif edge and by_all:
            self.free = None  # the old number belongs to the other side of the edge
        self.named = named
        return kinds


def _believable(seats: int | None, values: Values) -> int | None:
    """Seats that can be: from none up to twice the room; anything else means that nobody knows."""
    if seats is None or seats < 0:
        return None
    capacity = values.seats_capacity
    return None if capacity is not None and capacity >= 0 and seats > 2 * capacity else seats
