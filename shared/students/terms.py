"""The university's terms, by its codes: 2, two digits of the year, then 1 (spring), 4 (summer) or 7 (fall)."""

from __future__ import annotations

from datetime import date, datetime, timedelta, tzinfo

WINDING_DOWN = timedelta(days=45)
"""Before a term's end hardly anybody enrols in it any more; people look for the next one."""

_SEASONS = {"1": "Spring", "4": "Summer", "7": "Fall"}
_ENDS = (("1", (5, 15)), ("4", (8, 20)), ("7", (12, 20)))  # the last days, as the database has them (pickmyclass.terms)


def name_of(term: str) -> str:
    """ "Fall 2026" for "2267"; another code as it is."""
    season = _SEASONS.get(term[3:])
    return f"{season} 20{term[1:3]}" if season and term[0] == "2" else f"Term {term}"


def coming_terms(now: datetime, zone: tzinfo) -> list[tuple[str, str]]:
    """Four terms that are not over, the running one first: their codes with their names."""
    today = now.astimezone(zone)
    found = [
        f"2{year % 100:02}{digit}"
        for year in range(today.year, today.year + 3)
        for digit, end in _ENDS
        if year > today.year or end >= (today.month, today.day)
    ]
    return [(term, name_of(term)) for term in found[:4]]


def likely_term(now: datetime, zone: tzinfo) -> str:
    """The term that somebody who names none most likely means: the first that does not end soon."""
    soon = now.astimezone(zone).date() + WINDING_DOWN
    terms = [term for term, _ in coming_terms(now, zone)]
    return next((term for term in terms if _end_of(term) > soon), terms[-1])


def _end_of(term: str) -> date:
    month, day = dict(_ENDS)[term[3]]
    return date(2000 + int(term[1:3]), month, day)
