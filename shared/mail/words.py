"""What an email says, in words: the facts of a section put the way a student reads them. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from shared.sections.section import Facts, Section
from shared.sections.text import is_staff, one_line

STALE = timedelta(hours=24)
"""A baseline older than this is named in the mail: the opening may be as old as that."""

HURRY = "Seats like this go quickly. If it is taken by the time you look, we tell you of the next one."
STALE_NOTE = "We had last seen this section on {before}, so it may have changed at any time since then."
_REMOVED = "The catalog has not listed this section for more than a day, so it was taken off your list. "
_REPLACED = "The catalog now lists {course} under this number, so your section was taken off your list. "
_COMES_BACK = "If it comes back, add it again and we watch it as before."

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SEASONS = {"1": "Spring", "4": "Summer", "7": "Fall"}


def course(facts: Facts) -> str:
    """`CSE 110`, or `Class` when neither part is known."""
    return f"{one_line(facts.subject, 12)} {one_line(facts.catalog_nbr, 12)}".strip() or "Class"


def season(section: Section) -> str:
    """`Spring 2026` for term 2261; the bare code for one of another pattern."""
    term = section.term
    if term[0] != "2" or term[3] not in _SEASONS:
        return f"term {term}"
    return f"{_SEASONS[term[3]]} 20{term[1:3]}"


def instructor(facts: Facts) -> str:
    """The instructor's name, or that nobody is named yet."""
    return "Not named yet (Staff)" if is_staff(facts.instructor_name) else one_line(facts.instructor_name, 120)


def seats(facts: Facts) -> str:
    """`3 of 25 open`; nothing when the number of open seats is not known."""
    if facts.seats_available is None:
        return ""
    of = f" of {facts.seats_capacity}" if facts.seats_capacity is not None else ""
    return f"{facts.seats_available}{of} open"


def open_words(facts: Facts) -> str:
    """What follows the number of open seats: `open seats of 25`."""
    if facts.seats_available is None:
        return "Seats are open"
    of = f" of {facts.seats_capacity}" if facts.seats_capacity is not None else ""
    return f"open {'seat' if facts.seats_available == 1 else 'seats'}{of}"


def reserved(facts: Facts) -> str:
    """Whether the open seats are for everybody."""
    unreserved, available = facts.non_reserved_seats, facts.seats_available
    if unreserved is None:
        return "Some may be reserved for certain students; the catalog shows it"
    if unreserved == 0:
        return "All of them reserved for certain students"
    if available is None or unreserved >= available:
        return "Unreserved: open to everybody"
    return f"{unreserved} unreserved, {available - unreserved} reserved for certain students"


def removed(replaced_by: Facts | None) -> str:
    """Why a section was taken off the list; `replaced_by`: the course that its number means now."""
    return (_REPLACED.format(course=course(replaced_by)) if replaced_by else _REMOVED) + _COMES_BACK


def preview(kind: str, facts: Facts, replaced_by: Facts | None = None) -> str:
    """The line that a mailbox shows beside the subject."""
    if kind == "seat_available":
        return f"{seats(facts) or 'Seats are open'}. {reserved(facts)}."
    if kind == "instructor_assigned":
        return f"Now taught by {instructor(facts)}."
    return removed(replaced_by)


def why(kind: str, course_name: str, section: Section) -> str:
    """Why this person gets this email, and what comes next."""
    if kind == "section_removed":
        return f"You get this because you watched section {section.class_nbr} of {course_name} on PickMyClass."
    return (
        f"You get this because you watch section {section.class_nbr} of {course_name} on PickMyClass. "
        "We write once, and again only when it has changed back and happens anew."
    )


def moment(time: datetime, zone: ZoneInfo) -> str:
    """`Tue, Mar 3, 2026 at 10:02 AM MST`, by the clock on the campus."""
    local = time.astimezone(zone)
    day, month = _DAYS[local.weekday()], _MONTHS[local.month - 1]
    return f"{day}, {month} {local.day}, {local.year} at {_clock(local)} {local.tzname()}"


def between(first: datetime, last: datetime, zone: ZoneInfo) -> str:
    """`between 3:26 PM and 3:30 PM MST`; with its day where the first is of another one than the last."""
    begin, end = first.astimezone(zone), last.astimezone(zone)
    day = "" if begin.date() == end.date() else f"{_MONTHS[begin.month - 1]} {begin.day} at "
    other = f"{_MONTHS[end.month - 1]} {end.day} at " if day else ""
    return f"between {day}{_clock(begin)} and {other}{_clock(end)} {end.tzname()}"


def _clock(local: datetime) -> str:
    return f"{local.hour % 12 or 12}:{local.minute:02} {'AM' if local.hour < 12 else 'PM'}"


def is_stale(seen_at: datetime, seen_before: datetime) -> bool:
    """Whether the look before this one is so old that the mail must say so."""
    return seen_at - seen_before > STALE
