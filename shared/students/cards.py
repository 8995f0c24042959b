"""A watched section as a page shows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from shared.sections.slots import group_of, next_slot
from shared.students.openings import Opening, openings_of, strip_of
from shared.students.told import Moment, count, long, moment

PICTURED = timedelta(days=120)
"""What a card's picture goes back to at most: a term."""

STATES = {"open": "open now", "full": "full", "unknown": "not known yet", "gone": "not in the catalog"}
_ORDER = list(STATES)


@dataclass(frozen=True, slots=True)
class Card:
    """One section. `open_seats`: those that anyone may take, as far as known. `full`: when an open one was last seen
    full. `due`: when it is looked at again at the latest. `strip`: its openings on 100 units."""

    id: str
    term: str
    class_nbr: str
    course: str
    title: str
    instructor: str
    place: str
    state: str
    open_seats: int | None
    seats_note: str
    seen: Moment | None
    full: Moment | None
    due: Moment
    last_open: str
    strip: Sequence[tuple[float, float]]
    strip_words: str
    facts: Mapping[str, Any]

    @property
    def state_words(self) -> str:
        """Its state as people read it."""
        return STATES[self.state]

    @property
    def said(self) -> str:
        """One sentence for those who hear the page."""
        seats = f", {self.seats_note}" if self.state in ("open", "full") and self.seats_note else ""
        number = f": {count(self.open_seats, 'open seat')}" if self.state == "open" and self.open_seats else ""
        return f"{self.course}, section {self.class_nbr}, is {self.state_words}{number}{seats}."

    @property
    def fingerprint(self) -> str:
        """Of what would change its look, so that a page tells what is new of two looks at it."""
        said = json.dumps([self.state, dict(self.facts), self.last_open[:4]], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:12]


def cards_of(rows: Sequence[dict[str, Any]], now: datetime, zone: tzinfo) -> list[Card]:
    """The cards of `pmc_read_dashboard`: open ones first, each kind in the order of the rows."""
    cards = [card_of(row, now, zone) for row in rows]
    return sorted(cards, key=lambda card: _ORDER.index(card.state))


def card_of(row: dict[str, Any], now: datetime, zone: tzinfo) -> Card:
    """One card, of a section's facts and edges as the database tells them."""
    openings = openings_of(row.get("edges", []))
    open_seats = open_seats_of(row)
    state = _state(row, open_seats)
    seen, full = (
        moment(datetime.fromisoformat(row[name]), now, zone) if row.get(name) else None
        for name in ("seen_at", "full_at")
    )
    begin = _begin(row, openings, now)
    names = ("seats_available", "seats_capacity", "non_reserved_seats", "instructor_name")
    return Card(
        id=row.get("id", ""),
        term=row["term"],
        class_nbr=row["class_nbr"],
        course=course_of(row),
        title=row.get("title") or "",
        instructor=row.get("instructor_name") or "Instructor not named yet",
        place=" · ".join(one for one in (row.get("meeting_times"), row.get("location")) if one),
        state=state,
        open_seats=open_seats,
        seats_note=seats_note(row),
        seen=seen,
        full=full if state == "open" else None,
        due=moment(next_slot(group_of(row["class_nbr"]), now), now, zone),
        last_open=_last_open(openings, state, now, zone),
        strip=strip_of(openings, begin, now),
        strip_words=f"{count(len(openings), 'opening')} seen since {moment(begin, now, zone).exact}",
        facts={name: row.get(name) for name in names},
    )


def course_of(row: Mapping[str, Any]) -> str:
    """Its course, or its number where the course is not known yet."""
    return f"{row.get('subject') or ''} {row.get('catalog_nbr') or ''}".strip() or f"Section {row['class_nbr']}"


def open_seats_of(facts: Mapping[str, Any]) -> int | None:
    """The seats that anyone may take where the source tells, else all open seats (O30)."""
    unreserved: int | None = facts.get("non_reserved_seats")
    return facts.get("seats_available") if unreserved is None else unreserved


def seats_note(facts: Mapping[str, Any]) -> str:
    """What the number of open seats is to be measured by."""
    capacity, available = facts.get("seats_capacity"), facts.get("seats_available")
    words = [f"of {capacity}"] if capacity else []
    if facts.get("non_reserved_seats") is None:
        words += ["some may be reserved"] if available else []
    elif available is not None and available > facts["non_reserved_seats"]:
        words.append(f"{available - facts['non_reserved_seats']} more are reserved")
    elif available:
        words.append("not reserved")
    return ", ".join(words)


def _state(row: Mapping[str, Any], open_seats: int | None) -> str:
    if row.get("strikes"):
        return "gone"
    if open_seats is None:
        return "unknown"
    return "open" if open_seats else "full"


def _begin(row: Mapping[str, Any], openings: Sequence[Opening], now: datetime) -> datetime:
    since = datetime.fromisoformat(row["since"]) if row.get("since") else now - timedelta(days=1)
    earliest = min([since, *(one.start for one in openings)])
    return max(earliest, now - PICTURED)


def _last_open(openings: Sequence[Opening], state: str, now: datetime, zone: tzinfo) -> str:
    if not openings:
        return "" if state == "open" else "No opening seen yet"
    last = openings[-1]
    if last.end is None:
        return f"Open for {long(last.lasted(now))}" if state == "open" else ""
    before = "Before that open" if state == "open" else "Last open"
    return f"{before} {moment(last.start, now, zone).exact}, for {long(last.lasted(now))}"
