"""Times, spans and counts in the words that pages use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo


@dataclass(frozen=True, slots=True)
class Moment:
    """A time as a page shows it: `iso` for machines, `exact` in the university's zone, `ago` as of now."""

    iso: str
    exact: str
    ago: str


def moment(at: datetime, now: datetime, zone: tzinfo) -> Moment:
    """`at` in words, as of `now`; later ones are told as "in …"."""
    local = at.astimezone(zone)
    day = f"{local:%a, %b} {local.day}"
    exact = f"{day}, {local:%I:%M %p}".replace(", 0", ", ")
    span = long(abs(now - at))
    if abs(now - at) < timedelta(minutes=1):
        words = "just now" if at <= now else "in a moment"
    else:
        words = f"{span} ago" if at <= now else f"in {span}"
    return Moment(at.isoformat(), exact, words)


def long(span: timedelta) -> str:
    """A span in the two largest units that matter: "3 min", "2 h 10 min", "5 days"."""
    minutes = round(span.total_seconds() / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    days = round(hours / 24)
    return f"{days} day{'' if days == 1 else 's'}"


def hour(number: int) -> str:
    """An hour of the day: "9 AM", "noon"."""
    names = {0: "midnight", 12: "noon", 24: "midnight"}
    return names.get(number) or f"{(number - 1) % 12 + 1} {'AM' if number < 12 else 'PM'}"


def count(number: int, noun: str) -> str:
    """A number with its noun: "1 seat", "3 seats"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
