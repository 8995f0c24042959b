"""Who must be told what: computed from the campus alone, by the plainest code that can say it.

It shares no rule with the product: nothing from `shared` may be imported here. Where the two agree, two people
read the same promise and wrote it down twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from workshop.campus.sections import HALF_HOUR_MS, Timeline, Values

SEAT = "seat_available"
NAME = "instructor_assigned"
_FULL = "full again"
_DAY_MS = 48 * HALF_HOUR_MS


@dataclass(frozen=True, slots=True, order=True)
class Owed:
    """One email that somebody must get: for what was seen at `seen_ms`."""

    seen_ms: int
    class_nbr: str
    kind: str
    recipient: str


@dataclass(frozen=True, slots=True)
class Watcher:
    """Somebody who is to be told about a section from a moment on (epoch ms)."""

    recipient: str
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class Look:
    """At `at_ms` the campus was asked at one of its doors ("scraper" or "asu"), and told of these sections."""

    at_ms: int
    class_nbrs: Collection[str]
    door: str = "scraper"


@dataclass(slots=True)
class Verdict:
    """What a season of looks comes to. `seen` are its openings: section and epoch ms."""

    checks: int = 0
    namings: int = 0
    seen: list[tuple[str, int]] = field(default_factory=list)
    owed: set[Owed] = field(default_factory=set)

    @property
    def openings(self) -> int:
        """How often an opening was seen."""
        return len(self.seen)


def judge(timelines: Iterable[Timeline], watchers: Mapping[str, Iterable[Watcher]], slots_ms: Iterable[int]) -> Verdict:
    """Judge a season of ticks alone, its slots' starts in epoch ms: a section is looked at in the slots of its half."""
    timelines = list(timelines)
    return judge_looks(timelines, watchers, looks_of_ticks(timelines, slots_ms))


def looks_of_ticks(timelines: Iterable[Timeline], slots_ms: Iterable[int]) -> list[Look]:
    """The looks of ticks alone."""
    by_half: dict[int, list[str]] = defaultdict(list)
    for timeline in timelines:
        by_half[int(timeline.class_nbr) % 2].append(timeline.class_nbr)
    return [Look(slot, by_half[(slot // HALF_HOUR_MS) % 2]) for slot in slots_ms]


def judge_looks(
    timelines: Iterable[Timeline], watchers: Mapping[str, Iterable[Watcher]], looks: Iterable[Look]
) -> Verdict:
    """Walk through the looks in the order of their times and note every email owed.

    What a section's first look with a watcher shows is only remembered. Whoever began to watch after a look is not
    owed what was seen in it. Whoever was told of an opening is not told of another until the section was seen full
    again, or a day has passed: seats kept for a programme that come and go in the catalog would otherwise be told
    over and over.
    """
    verdict = Verdict()
    campus = {timeline.class_nbr: timeline for timeline in timelines}
    memories: dict[str, _Memory] = defaultdict(_Memory)
    told_ms: dict[str, dict[str, int]] = defaultdict(dict)  # section -> person -> when last told of an opening
    for look in looks:
        for class_nbr in look.class_nbrs:
            present = [one for one in watchers.get(class_nbr, ()) if one.since_ms <= look.at_ms]
            if not present:
                continue
            verdict.checks += 1
            shown = show(campus[class_nbr].at(look.at_ms), look.door)
            kinds = memories[class_nbr].look(shown, look.door)
            verdict.namings += NAME in kinds
            if SEAT in kinds:
                verdict.seen.append((class_nbr, look.at_ms))
            told = told_ms[class_nbr]
            if _FULL in kinds or shown.seats_available == 0:
                told.clear()
            for one in present:
                if NAME in kinds:
                    verdict.owed.add(Owed(look.at_ms, class_nbr, NAME, one.recipient))
                if SEAT in kinds and told.get(one.recipient, -_DAY_MS) + _DAY_MS <= look.at_ms:
                    told[one.recipient] = look.at_ms
                    verdict.owed.add(Owed(look.at_ms, class_nbr, SEAT, one.recipient))
    return verdict


def openings_of(timeline: Timeline, door: str) -> list[tuple[int, int | None]]:
    """Each opening as somebody saw it who looked all the time: when it came, and when it was gone (`None`: never).

    The season's first values are no opening.
    """
    memory, since = _Memory(), None
    found: list[tuple[int, int | None]] = []
    for time, values in zip(timeline.times, timeline.values, strict=True):
        shown = show(values, door)
        kinds = memory.look(shown, door)
        if SEAT in kinds or _FULL in kinds:
            if since is not None:
                found.append((since, time))
            since = time if SEAT in kinds else None
    return found if since is None else [*found, (since, None)]


def show(values: Values, door: str) -> Values:
    """What can be read of `values` at one of the campus's doors.

    The scraper tells everything as it is. The catalog tells people and places: more people than places mean no seat,
    fewer than none mean nothing, and either without the other tells nothing of seats. Its own word for "open" belongs
    to all seats: where it says so and none is left for everybody, or the other way round, nobody knows about those.
    """
    if door == "scraper":
        return values
    told = replace(values, instructor=values.instructor or "Staff", seats_available=None, non_reserved_seats=None)
    seats, free = values.seats_available, values.non_reserved_seats
    if seats is None or values.seats_capacity is None or seats > values.seats_capacity:
        return told
    seats = max(0, seats)
    if free is not None and (free == 0) != (seats == 0):
        free = None
    return replace(told, seats_available=seats, non_reserved_seats=free)


class _Memory:
    """What was last known of one section."""

    def __init__(self) -> None:
        self.seen = False
        self.seats: int | None = None
        self.free: int | None = None  # seats kept for nobody
        self.unsaid = False  # all were kept for somebody, and the last look did not say whether they still are
        self.people: set[str] = set()  # who teaches
        self.last: set[str] = set()  # who taught before nobody did
        self.said = ""  # the line that told so
        self.door = ""  # where all this was seen

    def look(self, values: Values, door: str) -> list[str]:
        """Remember the values; say what happened since the look before.

        What another door told is compared only as far as both tell alike: all seats, and a name where there it had been
        said that nobody was named.
        """
        seats = _believable(values.seats_available, values, least=-100_000)
        free = _believable(values.non_reserved_seats, values)
        people = _people(values.instructor)
        is_comparable = door == self.door or bool(self.said)
        if door != self.door:
            self.door, self.free = door, None
        self.said = (values.instructor or "").strip()
        if not self.seen:
            self.seen, self.seats, self.free, self.people = True, seats, free, people
            return []
        kinds = []
        by_all = self.free is None or free is None  # like is compared with like
        before, now = (self.seats, seats) if by_all else (self.free, free)
        kept = self.free == 0 and self.seats != 0 and free is None
        if kept and self.unsaid and seats:
            before = 0  # for two looks nothing was said of them: they are everybody's now
        known = before is not None and now is not None
        edge = known and (before == 0) != (now == 0)
        if edge:
            kinds.append(SEAT if before == 0 else _FULL)
        if people and not self.people and not people <= self.last and is_comparable:
            kinds.append(NAME)
        if seats is not None:
            self.seats = seats
        if free is not None:
            self.free = free
        elif edge and by_all:
            self.free = None  # the old number belongs to the other side of the edge
        self.unsaid = kept and not edge
        if not people and self.people:
            self.last = self.people
        self.people = people
        return kinds


_NOBODY = {"staff", "tba", "tbd", "to be announced", "to be determined", "instructor", "faculty", "none", "n a"}


def _people(line: str | None) -> set[str]:
    """Who is named in a line of the catalog, be it one or many; the catalog's words for nobody are nobody."""
    names = (" ".join("".join(c if c.isalnum() else " " for c in part).lower().split()) for part in _parts(line or ""))
    return {name for name in names if name and name not in _NOBODY}


def _parts(line: str) -> list[str]:
    for mark in (",", "/", "&", " and "):
        line = line.replace(mark, ";")
    return line.split(";")


def _believable(seats: int | None, values: Values, *, least: int = 0) -> int | None:
    """Seats that can be: up to twice the room, fewer than none being none; else nobody knows."""
    if seats is None or seats < least:
        return None
    seats = max(0, seats)
    capacity = values.seats_capacity
    return None if capacity is not None and capacity >= 0 and seats > 2 * capacity else seats
