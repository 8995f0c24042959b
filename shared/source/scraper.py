"""The scraper service: one question, and an answer that says what it means for the section and the breaker.

The service answers 500 for everything that is not a success, also for "this section does not exist"; here that
is told apart (O7), and seats that cannot be believed are unknown, never zero (O29).
"""

from __future__ import annotations

import re
import threading
from typing import Annotated, Any

import requests
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from shared.backoff import retry_after
from shared.exchange import TooLongError, UnreachableError, bounded_session
from shared.sections.section import Facts, Section
from shared.sections.text import one_line
from shared.source.answers import Answer, Broken, Found, Listing, ListingAnswer, NotFound, Refused, Throttled, object_in
from shared.source.asu import catalog_page

NAME = "scraper"
MAX_ANSWER_BYTES = 256 * 1024
MAX_TEXT = 300
MAX_SEATS = 100_000
_CANCELLED = re.compile(r"[\W_]*(?:class |course |section )?cancell?ed(?:[\W_]*$| ?[-\u2013\u2014*)\]])", re.IGNORECASE)
_NOT_FOUND = re.compile(r"\bsection\s+[0-9]{5}\s+(was\s+)?not\s+found\b", re.IGNORECASE)


def _text(value: object) -> object:
    return one_line(value, MAX_TEXT) or None if isinstance(value, str) else value


def _count(value: object) -> int | None:
    """A believable number of seats, else `None`: missing, negative, fractional and textual ones are unknown."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        return None
    return int(value) if 0 <= value <= MAX_SEATS and value == int(value) else None


def _open_seats(value: object) -> int | None:
    """Like `_count`, but fewer than none, as more students than seats show, certainly means that none is open."""
    return 0 if type(value) is int and -MAX_SEATS <= value < 0 else _count(value)


Text = Annotated[str | None, BeforeValidator(_text)]
RequiredText = Annotated[str, BeforeValidator(_text)]
Count = Annotated[int | None, BeforeValidator(_count)]
OpenSeats = Annotated[int | None, BeforeValidator(_open_seats)]


class _Data(BaseModel):
    """The `data` of a successful answer. Extra fields are the scraper's business."""

    model_config = ConfigDict(hide_input_in_errors=True)

    subject: RequiredText
    catalog_nbr: RequiredText
    title: Text = None
    instructor: Text = None
    seats_available: OpenSeats = None
    seats_capacity: Count = None
    non_reserved_seats: Count = None
    location: Text = None
    meeting_times: Text = None
    status: Text = None

    def is_cancelled(self) -> bool:
        """Whether the catalog marks it as cancelled, wherever it does: then its seats all look open and are none."""
        said = (self.status, self.title, self.instructor, self.location, self.meeting_times)
        return any(_CANCELLED.match(text) for text in said if text)

    def facts(self) -> Facts:
        """The facts, with seats above twice the capacity taken for a misreading, that is unknown."""
        limit = MAX_SEATS if self.seats_capacity is None else 2 * self.seats_capacity
        return Facts(
            subject=self.subject,
            catalog_nbr=self.catalog_nbr,
            title=self.title,
            instructor_name=self.instructor,
            seats_available=self.seats_available if (self.seats_available or 0) <= limit else None,
            seats_capacity=self.seats_capacity,
            non_reserved_seats=self.non_reserved_seats if (self.non_reserved_seats or 0) <= limit else None,
            location=self.location,
            meeting_times=self.meeting_times,
        )


class Scraper:
    """Asks the scraper service; safe to share between threads.

    A session is kept per thread, because `requests` does not promise that one may be shared.
    """

    name = NAME

    def __init__(self, url: str, token: str) -> None:
        self._url = f"{url}/scrape"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._local = threading.local()

    def look_up(self, section: Section, timeout: float) -> Answer:
        """What the source says of `section` within `timeout` seconds in all. Never raises for what came back."""
        return self.show(section, timeout)[1]

    def show(self, section: Section, timeout: float) -> tuple[Any, Answer]:
        """The JSON object that came (`None`: there is none), and what it is read as."""
        try:
            response = self._session().post(
                self._url,
                json={"sectionNumber": section.class_nbr, "term": section.term},
                headers=self._headers,
                timeout=timeout,
                allow_redirects=False,
            )
            if response.status_code == 429:
                return None, Throttled(retry_after(response.headers.get("Retry-After")))
            return object_in(response.content), classify(response.status_code, response.content)
        except TooLongError:
            return None, Broken("scraper sent too much")
        except requests.Timeout:
            return None, Broken(f"scraper did not answer within {timeout:g} s")
        except UnreachableError:
            return None, Broken("scraper cannot be reached", is_reached=False)
        except requests.RequestException:
            return None, Broken("scraper cut the connection")

    def listing_of(self, section: Section, subject: str | None) -> None:
        """None: it reads one page of the catalog a section."""

    def read(self, listing: Listing, timeout: float) -> ListingAnswer:  # noqa: ARG002 - part of the interface
        """Refused, for there are no listings here."""
        return Refused(f"the scraper knows no listing {listing.key}", token=False)

    page_of = staticmethod(catalog_page)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = bounded_session(MAX_ANSWER_BYTES)
        return session


def classify(status: int, body: bytes) -> Answer:
    """The meaning of an answer with `status` (not 429) and `body`: the table of outcomes, row by row."""
    if status in (401, 403):
        return Refused(f"scraper refused our token (status {status}); check SCRAPER_SECRET_TOKEN", token=True)
    if 400 <= status < 500:
        return Refused(f"scraper refused our request (status {status})", token=False)
    answer = object_in(body)
    if answer is None:
        return Broken(f"scraper sent something that is not a JSON object (status {status})")
    if answer.get("success") is not True:
        error = answer.get("error")
        if status in (200, 500) and isinstance(error, str) and _NOT_FOUND.search(error):
            return NotFound()
        return Broken(f"scraper failed (status {status})")
    if status != 200:
        return Broken(f"scraper claims success with status {status}")
    try:
        data = _Data.model_validate(answer.get("data"))
    except ValidationError as error:
        fields = sorted({str(problem["loc"][0]) if problem["loc"] else "data" for problem in error.errors()})
        return Broken(f"scraper sent wrong types: {', '.join(fields)}")
    if data.is_cancelled():
        return NotFound()
    return Found(data.facts(), NAME, says_instructor="instructor" in data.model_fields_set)
