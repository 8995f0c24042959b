"""One row of ASU's catalog: which section it is, and what it says of it.

The interface is undocumented; what is read here was seen in captured answers (docs/sources.md). A row that does not say
which section it is of, or whether that is held at all, is `Unreadable`. Everything else may be missing, and is unknown
then: a number of seats that is missing or no number is never 0.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from shared.sections.section import Facts
from shared.sections.text import one_line
from shared.source.answers import Found, Gone, Row, Unreadable

NAME = "asu"
MAX_SEATS = 100_000
ACTIVE = "A"
_CLASS_NBR = re.compile(r"[0-9]{5}")
_NUMBER = re.compile(r"[0-9]{1,9}")
_TAG = re.compile(r"<[^<>]*>")
_DASH = re.compile(r"\s*-[\s-]*")


def _text(value: object) -> str:
    """A text on one line, without the HTML that some fields hold; "" for everything that is no text."""
    if not isinstance(value, str):
        return ""
    return one_line(html.unescape(_TAG.sub(" ", value)) if "<" in value or "&" in value else value)


def _count(value: object) -> int | None:
    """A believable number of seats, told as an int or, by the index, in digits; else `None`: unknown."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_SEATS:
        return None
    return value


def _texts(value: object) -> object:
    return tuple(_text(item) for item in value) if isinstance(value, list) else ()


def _names(value: object) -> object:
    return (
        tuple(_text(item["NAME"]) for item in value if isinstance(item, dict) and "NAME" in item)
        if (isinstance(value, list))
        else ()
    )


def _mapping(value: object) -> object:
    return value if isinstance(value, dict) else {}


Text = Annotated[str, BeforeValidator(_text)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Count = Annotated[int | None, BeforeValidator(_count)]


class _Seats(BaseModel):
    """How many may enrol and how many have, of a section or of a reserved group of it."""

    model_config = ConfigDict(hide_input_in_errors=True)

    capacity: Count = Field(None, alias="ENRL_CAP")
    enrolled: Count = Field(None, alias="ENRL_TOT")

    @property
    def left(self) -> int | None:
        """Seats left; more people than seats means none, and one number without the other says nothing."""
        if self.capacity is None or self.enrolled is None:
            return None
        return max(0, self.capacity - self.enrolled)


class _Class(BaseModel):
    """What the index holds of a section; numbers are strings there."""

    model_config = ConfigDict(hide_input_in_errors=True)

    subject: Annotated[str, BeforeValidator(_text), Field(min_length=1)] = Field(alias="SUBJECT")
    catalog_nbr: Annotated[str, BeforeValidator(_text), Field(min_length=1)] = Field(alias="CATALOGNBR")
    status: Annotated[str, BeforeValidator(_text), Field(min_length=1)] = Field(alias="CLASSSTAT")
    flag: Text = Field("", alias="ENRLSTAT")
    has_reserved: Text = Field("", alias="HASACTIVERESERVEDSEATS")
    long_title: Text = Field("", alias="COURSETITLELONG")
    title: Text = Field("", alias="TITLE")
    topic: Text = Field("", alias="DESCR50")
    instructors: Texts = Field((), alias="INSTRUCTORSLIST")
    sort_name: Text = Field("", alias="INSTRUCTORSLASTNAMELISTFORSORTING")
    starts: Texts = Field((), alias="STARTTIMES")
    ends: Texts = Field((), alias="ENDTIMES")

    def instructor(self) -> str | None:
        """Names joined; "Staff" where the catalog says that nobody is named; `None` where it says nothing."""
        names = ", ".join(name for name in self.instructors if name)
        if names:
            return one_line(names)
        told = "instructors" in self.model_fields_set
        return "Staff" if told and self.sort_name.upper() == "STAFF" else None

    def full_title(self) -> str | None:
        """The title, with the topic of a section of "Special Topics"."""
        title = self.long_title or self.title
        return (f"{title}: {self.topic}" if title and self.topic else title or self.topic) or None


class _Row(BaseModel):
    """One element of `classes`."""

    model_config = ConfigDict(hide_input_in_errors=True)

    told: _Class = Field(alias="CLAS")
    seats: Annotated[_Seats, BeforeValidator(_mapping)]
    days: Texts = Field((), alias="DAYLIST")
    places: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field((), alias="LOCATIONBUILDING")
    reserved: object = Field(None, alias="reservedSeatsInfo")

    def facts(self) -> Facts:
        told = self.told
        return Facts(
            subject=told.subject,
            catalog_nbr=told.catalog_nbr,
            title=told.full_title(),
            instructor_name=told.instructor(),
            seats_available=self.seats.left,
            seats_capacity=self.seats.capacity,
            non_reserved_seats=self.unreserved(),
            location=one_line(", ".join(dict.fromkeys(filter(None, self.places)))) or None,
            meeting_times=one_line(", ".join(filter(None, self._meetings()))) or None,
        )

    def unreserved(self) -> int | None:
        """Seats that anybody may take, INFERRED: what is left beyond the places that reserved groups have left.

        Unknown where nothing is reserved, where a group cannot be read, and where the registrar's flag contradicts: 0
        of a section that is called open, or some of one that is not.
        """
        if self.told.has_reserved != "Y" or not isinstance(self.reserved, list) or not self.reserved:
            return None
        kept = [_Seats.model_validate(_mapping(group)).left for group in self.reserved]
        if self.seats.left is None or None in kept:
            return None
        seats = max(0, self.seats.left - sum(filter(None, kept)))
        return seats if self.told.flag and (seats > 0) == (self.told.flag == "O") else None

    def _meetings(self) -> Iterable[str]:
        """Each pattern as "M W 4:30 PM-5:45 PM"; a section without times has none."""
        for place, days in enumerate(self.days):
            start, end = (_at(times, place) for times in (self.told.starts, self.told.ends))
            times = _DASH.sub("-", f"{start}-{end}" if end and not start.endswith(end) else start).strip("-")
            yield f"{days} {times}".strip()


def class_nbr_of(raw: object) -> str | None:
    """The number that a row names, however little else of it can be read."""
    told = raw.get("CLAS") if isinstance(raw, dict) else None
    number = told.get("CLASSNBR") if isinstance(told, dict) else None
    return number if isinstance(number, str) and _CLASS_NBR.fullmatch(number) else None


def read_row(raw: object, term: str) -> Row:
    """What a row of the answer for `term` says of its section."""
    if not isinstance(raw, dict) or not isinstance(told := raw.get("CLAS"), dict) or told.get("STRM") != term:
        return Unreadable()
    try:
        row = _Row.model_validate({**raw, "seats": _seats(raw, told)})
    except ValidationError:
        return Unreadable()
    if row.told.status != ACTIVE:
        return Gone()
    facts = row.facts()
    return Found(facts, NAME, says_instructor=facts.instructor_name is not None)


def _seats(raw: dict[str, Any], told: dict[str, Any]) -> object:
    """The live numbers, which the catalog's page shows; only where there are none, the index's own, a little older."""
    if raw.get("seatInfo") is not None:
        return raw["seatInfo"]
    return {"ENRL_CAP": told.get("ENRLCAP"), "ENRL_TOT": told.get("ENRLTOT")}


def _at(texts: tuple[str, ...], place: int) -> str:
    return texts[place] if place < len(texts) else ""
