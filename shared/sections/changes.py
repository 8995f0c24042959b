"""What changed between what was known and what was seen: the rule the whole product turns on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from shared.sections.across import as_the_other_would_tell
from shared.sections.section import Facts, Known, Observation


class EventKind(StrEnum):
    """The edges that are recorded. Only the first two and `RETIRED` are mailed."""

    SEAT_AVAILABLE = "seat_available"
    INSTRUCTOR_ASSIGNED = "instructor_assigned"
    SEATS_FILLED = "seats_filled"
    INSTRUCTOR_CHANGED = "instructor_changed"
    INSTRUCTOR_UNASSIGNED = "instructor_unassigned"
    NOT_FOUND = "not_found"
    RETIRED = "retired"


@dataclass(frozen=True, slots=True)
class Changes:
    """The outcome of a comparison: the events seen, the baseline to keep, whether it had been full."""

    events: tuple[EventKind, ...]
    facts: Facts
    was_full: bool
    first_observation: bool

    def saw(self, kind: EventKind) -> bool:
        """Whether `kind` is among the events."""
        return kind in self.events

    def events_json(self, known: Known) -> list[dict[str, Any]]:
        """The events as the commit takes them: kind, facts before, facts after."""
        before = known.facts.as_json() if known.facts else None
        return [{"kind": kind.value, "before": before, "after": self.facts.as_json()} for kind in self.events]


def detect(known: Known, observation: Observation) -> Changes:
    """Compare an observation with the baseline it was read against.

    First sight is a baseline and nothing else: nobody is told. Otherwise seats and instructor are compared,
    each on its own; the merged facts keep the old value where the new one is unknown.
    """
    if known.facts is None:
        return Changes((), observation.facts, was_full=False, first_observation=True)
    before, seen = known.facts, observation.facts
    if known.source and observation.source and known.source != observation.source:
        before = as_the_other_would_tell(before, seen)
    seats, was_full, by_unreserved = _compare_seats(before, seen)
    instructor = _compare_instructors(before.instructor_name, seen.instructor_name)
    events = tuple(event for event in (seats, instructor) if event)
    return Changes(events, _merge(before, seen, seats, by_unreserved), was_full, first_observation=False)


def is_staff(name: str | None) -> bool:
    """Whether nobody is named yet: nothing at all and "Staff" mean the same (O34)."""
    return name is None or name.strip().casefold() in ("", "staff")


def _compare_seats(before: Facts, seen: Facts) -> tuple[EventKind | None, bool, bool]:
    """The seat edge, whether the section was full, and whether unreserved seats decided it.

    Like with like (O30): unreserved seats where both sides know them, else all seats.
    """
    by_unreserved = before.non_reserved_seats is not None and seen.non_reserved_seats is not None
    old = before.non_reserved_seats if by_unreserved else before.seats_available
    new = seen.non_reserved_seats if by_unreserved else seen.seats_available
    if old is None or new is None:
        return None, False, by_unreserved
    if old == 0 and new > 0:
        return EventKind.SEAT_AVAILABLE, True, by_unreserved
    if old > 0 and new == 0:
        return EventKind.SEATS_FILLED, False, by_unreserved
    return None, old == 0, by_unreserved


def _compare_instructors(before: str | None, seen: str | None) -> EventKind | None:
    """The instructor edge. No name is an answer, the same as "Staff": nobody yet (O34)."""
    if is_staff(before):
        return None if is_staff(seen) else EventKind.INSTRUCTOR_ASSIGNED
    if is_staff(seen):
        return EventKind.INSTRUCTOR_UNASSIGNED
    return EventKind.INSTRUCTOR_CHANGED if before != seen else None


def _merge(before: Facts, seen: Facts, seats: EventKind | None, by_unreserved: bool) -> Facts:
    """The new baseline: what was seen, and what was known wherever the scraper did not say.

    Two exceptions. No instructor is an answer (O34). And when an edge was decided on all seats, the old number
    of unreserved seats belongs to the other side of that edge, so it becomes unknown.
    """
    kept = {name: value for name, value in before.as_json().items() if getattr(seen, name) is None}
    merged = replace(seen, **kept | {"instructor_name": seen.instructor_name})
    if seats and not by_unreserved and seen.non_reserved_seats is None:
        return replace(merged, non_reserved_seats=None)
    return merged
