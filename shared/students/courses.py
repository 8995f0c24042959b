"""What a student looks for when adding: a section by its number, or a course with all of its sections."""

from __future__ import annotations

import re
from dataclasses import dataclass

from shared.source.answers import Found, Listing, Reading
from shared.source.sources import Leave, Sources

LISTING_SECONDS = 20.0
MOST = 60
"""Sections of one course that a page shows."""

_NUMBER = re.compile(r"[0-9]{5}")
_COURSE = re.compile(r"([A-Z]{2,4})[ -]*([0-9]{3})")


class CourseUnknownError(Exception):
    """The source lists no such course in that term."""


class ListingFailedError(Exception):
    """The source did not tell of the course now."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was typed: a `class_nbr`, or a course."""

    class_nbr: str | None = None
    subject: str = ""
    catalog_nbr: str = ""


def read_question(text: str) -> Wanted | None:
    """What was typed, understood: "12431", "CSE 110", "cse110"; `None` for anything else."""
    text = text.strip().upper()
    if _NUMBER.fullmatch(text):
        return Wanted(class_nbr=text)
    course = _COURSE.fullmatch(text)
    return Wanted(None, course[1], course[2]) if course else None


def sections_of(sources: Sources, term: str, wanted: Wanted) -> dict[str, Found]:
    """The sections of a course by their numbers, as the first source lists them now.

    Raises `CourseUnknownError` and `ListingFailedError`.
    """
    leave = sources.leave_to_read()
    if not isinstance(leave, Leave):
        raise ListingFailedError("the source must not be asked now")
    with leave:
        answer = leave.read(Listing(term, wanted.subject), LISTING_SECONDS)
    if not isinstance(answer, Reading):
        raise ListingFailedError(type(answer).__name__)
    found = {
        class_nbr: row
        for class_nbr, row in sorted(answer.rows.items())
        if isinstance(row, Found) and row.facts.catalog_nbr == wanted.catalog_nbr
    }
    if not found and not answer.is_complete:
        raise ListingFailedError("not read to its end")
    if not found:
        raise CourseUnknownError
    return dict(list(found.items())[:MOST])
