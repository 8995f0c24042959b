"""The world of a replay: one campus for both sides, its people, and what goes wrong in it.

Both sides ask the same scene at the same times and are hit by the same faults; neither knows of the other.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workshop.campus.sections import Timeline, Values
from workshop.compare.replay.decisions import Key
from workshop.demo.students import Student

OUTAGE_MS = 100_000
"""How long after a slot's start the scraper is down in a slot with an outage: shorter than the breaker stays open."""

STATE_READ, WATCHER_READ = "the state is read", "the watchers are read"


@dataclass(frozen=True, slots=True)
class Addition:
    """A student adds a watch during a slot, through the API."""

    student: Student
    section: Key


@dataclass(slots=True)
class Clock:
    """The replay's time in epoch ms: the slot being played, and how far into it the play is."""

    slot_ms: int = 0
    offset_ms: int = 0

    def begin(self, slot_ms: int) -> None:
        """Go to the start of a slot."""
        self.slot_ms, self.offset_ms = slot_ms, 0

    def __call__(self) -> int:
        return self.slot_ms + self.offset_ms


@dataclass(frozen=True, slots=True)
class Reply:
    """What the scraper answers over HTTP."""

    status: int
    body: bytes


@dataclass(slots=True)
class Scene:
    """Everything that is true of the world; slots are named by their starts in epoch ms."""

    slots_ms: Sequence[int]
    timelines: dict[Key, Timeline] = field(default_factory=dict)
    students: list[Student] = field(default_factory=list)
    joining: dict[int, list[tuple[Student, Key]]] = field(default_factory=lambda: defaultdict(list))
    leaving: dict[int, list[Key]] = field(default_factory=lambda: defaultdict(list))
    additions: dict[int, list[Addition]] = field(default_factory=lambda: defaultdict(list))
    unseen: set[tuple[int, Key]] = field(default_factory=set)  # the scraper does not find it
    garbled: dict[tuple[int, Key], dict[str, Any]] = field(default_factory=dict)  # fields that it sends otherwise
    outages: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)  # the tick of this slot runs in the next one
    slow: set[tuple[int, Key]] = field(default_factory=set)  # a scrape lands after a newer one
    database_faults: dict[tuple[int, Key], str] = field(default_factory=dict)  # the first try fails there
    resend_faults: set[tuple[int, Key]] = field(default_factory=set)  # the first send fails

    def answer(self, section: Key, clock: Clock, *, stale: bool = False) -> Reply:
        """What the scraper says of a section now. `stale`: a scrape that began before the slot did."""
        term, class_nbr = section
        timeline = self.timelines.get(section)
        if clock.slot_ms in self.outages and clock.offset_ms < OUTAGE_MS:
            return Reply(500, b'{"success": false, "error": "Navigation timeout exceeded"}')
        if timeline is None or (clock.slot_ms, section) in self.unseen:
            words = {"success": False, "error": f"Section {class_nbr} not found for term {term}"}
            return Reply(500, json.dumps(words).encode())
        values: Values = timeline.at(clock.slot_ms - (1 if stale else 0))
        data = {**asdict(timeline.course), **asdict(values), **self.garbled.get((clock.slot_ms, section), {})}
        return Reply(200, json.dumps({"success": True, "data": data}).encode())

    def watched_in_two_terms(self) -> set[str]:
        """The numbers that mean one class here and another there."""
        terms: dict[str, set[str]] = defaultdict(set)
        for watches in self.joining.values():
            for _, (term, class_nbr) in watches:
                terms[class_nbr].add(term)
        return {class_nbr for class_nbr, found in terms.items() if len(found) > 1}

    def refusing(self, reason: str) -> set[str]:
        """Addresses of the people who must not be mailed for this reason."""
        return {one.email for one in self.students if one.refuses == reason}


class Once:
    """Faults that hit a side once each."""

    def __init__(self) -> None:
        self._hit: set[object] = set()

    def __call__(self, fault: object) -> bool:
        """Whether this fault hits now."""
        if fault in self._hit:
            return False
        self._hit.add(fault)
        return True
