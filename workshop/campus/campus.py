"""The campus as it stands: its sections, its clock, what was changed by hand, and how often it was asked."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Timeline, Values
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
        self._by_hand: dict[str, dict[str, Any]] = {}
        self._gone: set[str] = set()
        self._lock = threading.Lock()

    def look_up(self, class_nbr: str, term: str) -> dict[str, Any] | None:
        """What the scraper says of a section at this moment; `None` when there is none such in `term`."""
        with self._lock:
            self.lookups[class_nbr] += 1
            found = term == self.term and class_nbr in self._timelines and class_nbr not in self._gone
        return self._data(class_nbr) if found else None

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
        timeline = self._timelines[class_nbr]
        with self._lock:
            changes = dict(self._by_hand.get(class_nbr, {}))
        values: Values = replace(timeline.at(self.clock.now_ms()), **changes)
        data = {**asdict(timeline.course), **asdict(values)}
        if values.seats_available is None:
            del data["seats_available"]
        return data


def _checked(name: str, value: Any) -> Any:
    if name not in _BY_HAND:
        raise BadRequest(f"{name:.40} cannot be set; {', '.join(_BY_HAND)}, missing and reset can")
    if value is not None and type(value) is not _BY_HAND[name]:
        raise BadRequest(f"{name} must be a {_BY_HAND[name].__name__} or null")
    return value
