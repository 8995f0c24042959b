"""What explains a difference between decisions: evidence from the world itself.

An id is named only when the old side has that defect, the world held what it needs at this section and in this slot,
and the difference is of a kind that the register expects of it. Until the rows of a section agree again, its further
differences follow from the first, and so does its mail while a claim of then stands.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from workshop.campus.sections import HALF_HOUR_MS
from workshop.compare.origin.rules import Defects
from workshop.compare.register import BY_ID
from workshop.compare.replay.decisions import EXTRA_MAIL, MISSING_MAIL, Disagreement, Key, Slot, differences
from workshop.compare.replay.scene import OUTAGE_MS, STATE_READ, WATCHER_READ, Clock, Scene

MANY_FAILURES = 10  # open the breaker
CLAIM_MS = 24 * 2 * HALF_HOUR_MS
_ROWS = 1000  # PostgREST's limit


@dataclass(slots=True)
class World:
    """What could be seen of the world up to the slot being explained."""

    scene: Scene
    old: Slot = field(default_factory=lambda: Slot(0))
    answers: dict[Key, dict[str, Any] | None] = field(default_factory=dict)  # in this slot
    before: dict[Key, dict[str, Any]] = field(default_factory=dict)  # the last data of each section before it
    taught: dict[Key, set[str]] = field(default_factory=lambda: defaultdict(set))  # by whom so far
    told: set[tuple[Key, str, str]] = field(default_factory=set)  # by the old side, earlier
    shared: set[str] = field(default_factory=set)
    due: list[Key] = field(default_factory=list)

    def begin(self, old: Slot, new: Slot) -> None:
        """Look at the next slot."""
        self.before.update({key: data for key, data in self.answers.items() if data})
        for key, data in self.answers.items():
            self.taught[key].add((data or {}).get("instructor") or "")
        self.old, clock = old, Clock(old.start_ms, OUTAGE_MS)
        asked = old.checked | new.checked
        self.answers = {key: _data(self.scene.answer(key, clock).body) for key in asked}
        self.due = sorted(asked, key=lambda key: key[::-1])

    def end(self) -> None:
        """Remember whom the old side told."""
        self.told |= {(mail.section, mail.kind, mail.recipient) for mail in self.old.mails}
        filled = {key for key, kind in self.old.events if kind == "seats_filled"}
        self.told = {one for one in self.told if not (one[0] in filled and one[1] == "seat_available")}

    def not_found(self) -> int:
        """How many sections the scraper did not find in this slot."""
        return sum(data is None for data in self.answers.values())

    def value(self, key: Key, name: str) -> tuple[Any, Any]:
        """A field as answered before, and now."""
        return self.before.get(key, {}).get(name), (self.answers.get(key) or {}).get(name)


def _data(body: bytes) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(body).get("data")
    return found


Holds = Callable[[World, Disagreement], bool]


def _unchecked(world: World, one: Disagreement) -> bool:
    return one.section not in world.old.checked


def _capped(world: World, one: Disagreement) -> bool:
    return len(world.due) > _ROWS and one.section in world.due[_ROWS:] and _unchecked(world, one)


def _late(world: World, one: Disagreement) -> bool:
    """The half of the late tick was not checked in its slot."""
    return one.slot_ms - HALF_HOUR_MS in world.scene.late and _unchecked(world, one)


def _flapped(world: World, one: Disagreement) -> bool:
    before, now = world.value(one.section, "non_reserved_seats")
    return one.section in world.before and (before is None) != (now is None)


def _unreadable(world: World, one: Disagreement) -> bool:
    data = world.answers.get(one.section) or {"seats_available": 0}
    seats, capacity = data.get("seats_available"), data.get("seats_capacity")
    return type(seats) is not int or seats < 0 or (type(capacity) is int and seats > 2 * capacity)


def _nobody(world: World, one: Disagreement) -> bool:
    """Nobody who may be told watches it, or its term is over."""
    told = any(
        key == one.section and not student.refuses
        for slot_ms, watches in world.scene.joining.items()
        if slot_ms <= one.slot_ms
        for student, key in watches
    )
    year = f"{datetime.fromtimestamp(one.slot_ms / 1000, UTC):%y}"
    return not told or one.section[0][1:3] < year


def _unnamed(world: World, one: Disagreement) -> bool:
    if "instructor" not in one.subject + one.old or one.section not in world.before:
        return False
    before, now = world.value(one.section, "instructor")
    came_back = before == "Staff" and now in world.taught[one.section]
    return came_back or any(name in (None, "") for name in (before, now))


def _fault(world: World, one: Disagreement) -> str | None:
    return world.scene.database_faults.get((one.slot_ms, one.section))


# In the order of asking: what hits many sections at once first.
EVIDENCE: dict[str, Holds] = {
    "O28": _late,
    "O14": _capped,
    "O8": lambda world, one: one.slot_ms in world.scene.outages and _unchecked(world, one),
    "O7": lambda world, one: world.not_found() >= MANY_FAILURES and _unchecked(world, one),
    "O4": lambda world, one: _fault(world, one) == STATE_READ,
    "O3": lambda world, one: _fault(world, one) == WATCHER_READ,
    "O2": lambda world, one: (one.slot_ms, one.section) in world.scene.resend_faults,
    "O5": lambda world, one: any(a.section == one.section for a in world.scene.additions.get(one.slot_ms, ())),
    "O41": lambda world, one: (one.slot_ms, one.section) in world.scene.slow,
    "O16": _nobody,
    "O35": lambda world, one: one.what == EXTRA_MAIL and one.recipient in world.scene.refusing("disabled"),
    "O29": _unreadable,
    "O30": _flapped,
    "O34": _unnamed,
    "O6": lambda world, one: one.section[1] in world.shared,
    "O1": lambda world, one: one.what == MISSING_MAIL and (one.section, one.subject, one.recipient) in world.told,
}


@dataclass(frozen=True, slots=True)
class Explained:
    """A difference and the id that explains it (`None`: nothing does)."""

    difference: Disagreement
    id: str | None


def explain(
    scene: Scene, old: Sequence[Slot], new: Sequence[Slot], defects: Defects = frozenset(EVIDENCE)
) -> Iterable[Explained]:
    """Every difference between two records of one scene, with the one of `defects` that explains it."""
    world = World(scene, shared=scene.watched_in_two_terms())
    blamed: dict[Key, str] = defaultdict(str)
    claimed: dict[Key, tuple[str, int]] = {}
    for before, after, found, apart in differences(old, new):
        world.begin(before, after)
        for one in found:
            name = blamed.get(one.section) or _first(world, one, defects) or _of_claim(claimed, one)
            if name:
                blamed[one.section] = name
                claimed[one.section] = (name, one.slot_ms)
            yield Explained(one, name)
        blamed = {key: name for key, name in blamed.items() if key in apart}
        world.end()


def _of_claim(claimed: dict[Key, tuple[str, int]], one: Disagreement) -> str | None:
    """Mail that differs because an earlier difference took or freed the right to tell, which stands for a day."""
    name, since_ms = claimed.get(one.section, (None, 0))
    return name if one.what in (MISSING_MAIL, EXTRA_MAIL) and one.slot_ms - since_ms <= CLAIM_MS else None


def _first(world: World, one: Disagreement, defects: Defects) -> str | None:
    for name, holds in EVIDENCE.items():
        if name in defects and one.what in BY_ID[name].decisions and holds(world, one):
            return name
    return None
