"""What changed between what was known and what was seen: the rule the whole product turns on."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

from shared.sections.section import Facts, Known, Memory, Observation
from shared.sections.text import people_in

TWO_LOOKS = timedelta(minutes=2)
"""Looks that are closer together than this count as one when they do not say how many seats are reserved."""


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
    """The outcome of a comparison: the events seen, the baseline to keep, whether it had been full.

    `replaced`: the number means another course now. That is a first sight, and the end of the section it meant.
    """

    events: tuple[EventKind, ...]
    facts: Facts
    memory: Memory
    was_full: bool
    first_observation: bool
    replaced: bool = False

    def saw(self, kind: EventKind) -> bool:
        """Whether `kind` is among the events."""
        return kind in self.events

    def baseline_json(self) -> dict[str, Any]:
        """The new baseline as the commit takes it: the facts, and in them the memory."""
        return self.facts.as_json() | {"memory": asdict(self.memory)}

    def events_json(self, known: Known) -> list[dict[str, Any]]:
        """The events as the commit takes them: kind, facts before, facts after."""
        before = known.facts.as_json() if known.facts else None
        return [{"kind": kind.value, "before": before, "after": self.facts.as_json()} for kind in self.events]


def detect(known: Known, observation: Observation) -> Changes:
    """Compare an observation with the baseline it was read against.

    First sight is a baseline and nothing else: nobody is told. Otherwise seats and instructor are compared,
    each on its own; the merged facts keep the old value where the new one is unknown.
    """
    before, seen = known.facts, observation.facts
    if before is None or _is_another_course(before, seen):
        memory = Memory(instructor_unsaid=not observation.says_instructor)
        return Changes((), seen, memory, was_full=False, first_observation=True, replaced=before is not None)
    across = known.source is not None and observation.source is not None and known.source != observation.source
    told = as_the_other_would_tell(before) if across else before
    seats = _compare_seats(told, seen, set_free=_is_set_free(known, told, observation))
    instructor = _compare_instructors(before.instructor_name, known.memory, observation)
    if across and not is_news_across(before, instructor.event == EventKind.INSTRUCTOR_ASSIGNED):
        instructor = replace(instructor, event=None)
    memory = Memory(
        instructor_unsaid=known.memory.instructor_unsaid and not observation.says_instructor,
        last_instructor=instructor.last,
        reserved_unsaid=seats.event is None and _all_reserved(told) and seen.non_reserved_seats is None,
    )
    events = tuple(event for event in (seats.event, instructor.event) if event)
    facts = replace(_merge(told, seen, seats), instructor_name=instructor.name)
    return Changes(events, facts, memory, seats.was_full, first_observation=False)


def _is_another_course(before: Facts, seen: Facts) -> bool:
    """Whether both sides say which course it is, and not the same one."""
    sides = [[_plain(facts.subject), _plain(facts.catalog_nbr)] for facts in (before, seen)]
    return all(map(all, sides)) and sides[0] != sides[1]


def _plain(word: str | None) -> str:
    return re.sub(r"[\W_]+", "", word or "").casefold()


def _all_reserved(facts: Facts) -> bool:
    return facts.non_reserved_seats == 0 and facts.seats_available != 0


def _is_set_free(known: Known, before: Facts, observation: Observation) -> bool:
    """Whether all open seats were reserved, and two looks in a row no longer say so: the reservation has ended.

    One look alone may have failed to read it.
    """
    seen = observation.facts
    unsaid = known.memory.reserved_unsaid and seen.non_reserved_seats is None
    if not (unsaid and _all_reserved(before) and seen.seats_available):
        return False
    return known.observed_at is None or observation.observed_at - known.observed_at >= TWO_LOOKS


@dataclass(frozen=True, slots=True)
class _Seats:
    """The seat edge, whether the section was full, and whether unreserved seats decided that."""

    event: EventKind | None
    was_full: bool
    by_unreserved: bool


def _compare_seats(before: Facts, seen: Facts, *, set_free: bool) -> _Seats:
    """Like with like (O30): unreserved seats where both sides know them, else all seats.

    Except where reserved seats were `set_free`: for everybody else it was full, and all its seats are news.
    """
    by_unreserved = before.non_reserved_seats is not None and seen.non_reserved_seats is not None
    old = before.non_reserved_seats if by_unreserved or set_free else before.seats_available
    new = seen.non_reserved_seats if by_unreserved else seen.seats_available
    if old is None or new is None:
        return _Seats(None, was_full=False, by_unreserved=by_unreserved)
    if old == 0 and new > 0:
        return _Seats(EventKind.SEAT_AVAILABLE, was_full=True, by_unreserved=by_unreserved)
    if old > 0 and new == 0:
        return _Seats(EventKind.SEATS_FILLED, was_full=False, by_unreserved=by_unreserved)
    return _Seats(None, old == 0, by_unreserved)


@dataclass(frozen=True, slots=True)
class _Instructor:
    """The instructor's edge, the line to keep, and who was named last where nobody is now."""

    event: EventKind | None
    name: str | None
    last: str | None


def _compare_instructors(before: str | None, memory: Memory, observation: Observation) -> _Instructor:
    """No name is an answer, the same as "Staff": nobody yet (O34). Not to speak of the instructor is none.

    A name that comes back after a while of nobody is no news: a reading that failed for once looks just so.
    """
    if not observation.says_instructor:
        return _Instructor(None, before, memory.last_instructor)
    seen = observation.facts.instructor_name
    was, now = people_in(before), people_in(seen)
    if not now:
        gone = EventKind.INSTRUCTOR_UNASSIGNED if was else None
        return _Instructor(gone, seen, before if was else memory.last_instructor)
    if was:
        return _Instructor(EventKind.INSTRUCTOR_CHANGED if was != now else None, seen, None)
    is_news = not memory.instructor_unsaid and not now <= people_in(memory.last_instructor)
    return _Instructor(EventKind.INSTRUCTOR_ASSIGNED if is_news else None, seen, None)


def _merge(before: Facts, seen: Facts, seats: _Seats) -> Facts:
    """The new baseline: what was seen, and what was known wherever the source did not say.

    One exception. When an edge was decided on all seats, the old number of unreserved seats belongs to the other side
    of that edge, so it becomes unknown.
    """
    kept = {name: value for name, value in before.as_json().items() if getattr(seen, name) is None}
    merged = replace(seen, **kept)
    if seats.event and not seats.by_unreserved and seen.non_reserved_seats is None:
        return replace(merged, non_reserved_seats=None)
    return merged


def as_the_other_would_tell(before: Facts) -> Facts:
    """What one source told of the seats, as far as it can be compared: on all that are free, so the unreserved ones
    count as unknown."""
    return replace(before, non_reserved_seats=None)


def is_news_across(before: Facts, assigned: bool) -> bool:
    """Whether another source's word on the instructor is news: only of an assignment, and only where the old source
    said that nobody was named. A name stands against a name that is written differently, and where the old source
    said nothing at all it may not have known.
    """
    return assigned and before.instructor_name is not None
