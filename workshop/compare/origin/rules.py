"""What the old Workers made of an answer of the scraper: their rules in the plainest code, each defect a switch.

Nothing of `shared` may be imported here: a rule that both sides took from one place could not differ.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

SEAT, FILLED = "seat_available", "seats_filled"
NAMED, RENAMED, UNNAMED = "instructor_assigned", "instructor_changed", "instructor_unassigned"

Defects = frozenset[str]
NONE: Defects = frozenset()


class Failed(Exception):  # noqa: N818 - the scraper failed, not we
    """The scraper did not answer with data; worth another try."""


class NotFound(Exception):  # noqa: N818 - an answer
    """The scraper says that there is no such section."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A section as it was seen: the columns of `class_states`."""

    subject: str
    catalog_nbr: str
    title: str | None
    instructor_name: str | None
    seats_available: int | None
    seats_capacity: int | None
    non_reserved_seats: int | None
    location: str | None
    meeting_times: str | None

    def row(self) -> dict[str, Any]:
        """The columns by name."""
        return asdict(self)


def read(status: int, body: bytes, defects: Defects) -> Seen:
    """The data of an answer. Raises `Failed` or `NotFound`; with O7 everything that is no data has failed."""
    try:
        answer = json.loads(body)
        data = answer["data"] if answer.get("success") is True and status == 200 else None
    except (ValueError, KeyError, AttributeError) as error:
        raise Failed("no JSON object with data") from error
    if not isinstance(data, dict):
        if "not found" in str(answer.get("error", "")).lower() and "O7" not in defects:
            raise NotFound
        raise Failed(f"status {status}")
    capacity = _seats(data.get("seats_capacity"), None, defects)
    return Seen(
        data["subject"],
        data["catalog_nbr"],
        data.get("title"),
        data.get("instructor"),
        _seats(_over(data.get("seats_available")), capacity, defects),
        capacity,
        None if data.get("non_reserved_seats") is None else _seats(data["non_reserved_seats"], capacity, defects),
        data.get("location"),
        data.get("meeting_times"),
    )


@dataclass(slots=True)
class Kept:
    """What is remembered of a section beside its row; the old code had nothing of the kind."""

    last: str | None = None  # who taught before nobody did
    unsaid: bool = False  # all seats were reserved, and the last look said nothing of that


def compare(before: Seen, now: Seen, defects: Defects, kept: Kept) -> tuple[list[str], Seen]:
    """What happened between two looks, and what to remember: unknown values keep what was known."""
    events = []
    reserved = before.non_reserved_seats == 0 and before.seats_available != 0 and now.non_reserved_seats is None
    if "O30" in defects:  # each look by whatever it has
        old, new, by_all = _either(before), _either(now), False
    else:
        by_all = before.non_reserved_seats is None or now.non_reserved_seats is None
        old = before.seats_available if by_all else before.non_reserved_seats
        new = now.seats_available if by_all else now.non_reserved_seats
        if reserved and kept.unsaid and new:
            old = 0  # nothing was said twice: they are set free
    edge = old is not None and new is not None and (old == 0) != (new == 0)
    if edge:
        events.append(SEAT if old == 0 else FILLED)
    was, is_now = _named(before.instructor_name, defects), _named(now.instructor_name, defects)
    if not was and is_now and ("O34" in defects or kept.last != now.instructor_name):
        events.append(NAMED)
    elif was and not is_now:
        events.append(UNNAMED)
    elif was and before.instructor_name != now.instructor_name:
        events.append(RENAMED)
    kept.unsaid = reserved and not edge
    kept.last = before.instructor_name if was else kept.last
    old_values = {name: value for name, value in before.row().items() if getattr(now, name) is None}
    if "O30" in defects or (edge and by_all):
        old_values.pop("non_reserved_seats", None)  # the old number says nothing about this side of the edge
    return events, replace(now, **old_values | {"instructor_name": now.instructor_name})


def _either(seen: Seen) -> int | None:
    return seen.seats_available if seen.non_reserved_seats is None else seen.non_reserved_seats


def _named(instructor: str | None, defects: Defects) -> bool:
    """Whether somebody is named. The old code knew one word for nobody (O34)."""
    if "O34" in defects:
        return instructor != "Staff"
    parts = (instructor or "").replace("/", ";").replace(",", ";").lower().split(";")
    return any(part.strip(" .()-") not in ("", "staff", "tba", "tbd", "to be announced") for part in parts)


def _over(value: Any) -> Any:
    """Seats left where more are enrolled than there is room for: none."""
    return 0 if type(value) is int and value < 0 else value


def _seats(value: Any, capacity: int | None, defects: Defects) -> int | None:
    """A number of seats. What is none was 0 to the old code (O29)."""
    good = type(value) is int and value >= 0 and (capacity is None or value <= 2 * capacity)
    return value if good else 0 if "O29" in defects else None
