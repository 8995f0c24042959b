"""The campus as it stands: its sections, its clock, what was changed by hand, and how often it was asked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Course, Timeline, Values
from workshop.parts.web import BadRequest

_BY_HAND: Mapping[str, type] = {
    "instructor": str,
    "seats_available": int,
    "seats_capacity": int,
    "non_reserved_seats": int,
}


class Campus:
    """The sections of one term. For any thread."""

    def __init__(self, term: str, timelines: Sequence[Timeline], clock: VirtualClock) -> None:
        self.term = term
        self.clock = clock
        self.lookups: Counter[str] = Counter()
        self._timelines = {timeline.class_nbr: timeline for timeline in timelines}
        timelines = sorted(timelines, key=lambda one: (one.course.subject, one.course.catalog_nbr, one.class_nbr))
        self._in_order = [timeline.class_nbr for timeline in timelines]
        self._by_subject: dict[str, list[str]] = {}
        for timeline in timelines:
            self._by_subject.setdefault(timeline.course.subject, []).append(timeline.class_nbr)
        self._by_hand: dict[str, dict[str, Any]] = {}
        self._gone: set[str] = set()
        self._lock = threading.Lock()

    def look_up(self, class_nbr: str, term: str) -> dict[str, Any] | None:
        """What the scraper says of a section at this moment; `None` when there is none such in `term`."""
        with self._lock:
            self.lookups[class_nbr] += 1
            found = term == self.term and class_nbr in self._timelines and class_nbr not in self._gone
        return self._data(class_nbr) if found else None

    def find(self, term: str, *, class_nbr: str = "", subject: str = "", catalog_nbr: str = "") -> list[str]:
        """The numbers of the sections that are as asked, in the catalog's order: by course, then by number.

        What is empty is not asked for; a `catalog_nbr` is a beginning, as it is in the catalog's own search.
        """
        if term != self.term:
            return []
        if class_nbr:
            numbers = [class_nbr] if class_nbr in self._timelines else []
        else:
            numbers = self._by_subject.get(subject, []) if subject else self._in_order
        courses = ((number, self._timelines[number].course) for number in numbers)
        with self._lock:
            return [
                number
                for number, course in courses
                if number not in self._gone
                and subject in ("", course.subject)
                and course.catalog_nbr.startswith(catalog_nbr)
            ]

    def show(self, class_nbr: str, ago_ms: int = 0) -> tuple[Course, Values]:
        """A section of this campus now, or as it was `ago_ms` before now, when no hand had touched it."""
        timeline = self._timelines[class_nbr]
        if ago_ms:
            return timeline.course, timeline.at(self.clock.now_ms() - ago_ms)
        with self._lock:
            changes = dict(self._by_hand.get(class_nbr, {}))
        return timeline.course, replace(timeline.at(self.clock.now_ms()), **changes)

    def set_by_hand(self, class_nbr: str, wanted: Mapping[str, Any]) -> None:
        """Let a section show `wanted` values from now on, be `missing`, or follow its timeline again (`reset`).

        Seats without a word about unreserved ones make those unknown. Raises `BadRequest` naming what is wrong.
        """
        if class_nbr not in self._timelines:
            raise BadRequest(f"there is no section {class_nbr!r:.20}")
        changes = {name: _checked(name, value) for name, value in wanted.items() if name not in ("missing", "reset")}
        if "seats_available" in changes:
            changes.setdefault("non_reserved_seats", None)
        with self._lock:
            if wanted.get("reset"):
                self._by_hand.pop(class_nbr, None)
                self._gone.discard(class_nbr)
            if "missing" in wanted:
                (self._gone.add if wanted["missing"] else self._gone.discard)(class_nbr)
            if changes:
                self._by_hand.setdefault(class_nbr, {}).update(changes)

    def section_json(self, class_nbr: str) -> dict[str, Any]:
        """Everything about one section now, for `/control/`; raises `BadRequest` when there is none such."""
        if class_nbr not in self._timelines:
            raise BadRequest(f"there is no section {class_nbr!r:.20}")
        with self._lock:
            extra = {
                "class_nbr": class_nbr,
                "term": self.term,
                "missing": class_nbr in self._gone,
                "by_hand": class_nbr in self._by_hand,
                "lookups": self.lookups[class_nbr],
            }
        return {**extra, **self._data(class_nbr)}

    def sections_json(self) -> list[dict[str, Any]]:
        """`section_json` of every section, in the order of their numbers."""
        return [self.section_json(class_nbr) for class_nbr in sorted(self._timelines)]

    def _data(self, class_nbr: str) -> dict[str, Any]:
        course, values = self.show(class_nbr)
        data = {**asdict(course), **asdict(values)}
        if values.seats_available is None:
            del data["seats_available"]
        return data


def _checked(name: str, value: Any) -> Any:
    if name not in _BY_HAND:
        raise BadRequest(f"{name:.40} cannot be set; {', '.join(_BY_HAND)}, missing and reset can")
    if value is not None and type(value) is not _BY_HAND[name]:
        raise BadRequest(f"{name} must be a {_BY_HAND[name].__name__} or null")
    return value
