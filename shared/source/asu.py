"""ASU's catalog, asked as its own page asks: a search that tells up to 200 sections a call.

An undocumented interface; docs/sources.md tells what is known of it, how, and with what manners it is asked.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import requests

from shared.backoff import retry_after
from shared.durations import DEFAULT
from shared.exchange import TooLongError, UnreachableError, bounded_session
from shared.sections.section import Section
from shared.source.answers import (
    Answer,
    Broken,
    Found,
    Gone,
    Listing,
    ListingAnswer,
    NotFound,
    Reading,
    Refused,
    Row,
    Throttled,
    Unreadable,
    object_in,
)
from shared.source.asu_rows import NAME, class_nbr_of, read_row

MAX_ANSWER_BYTES = 8 * 1024 * 1024
"""Six times what 200 rows take (6 kB each)."""
MAX_PAGES = 25
"""Five thousand sections: five times the largest subject."""
FEW, SHARE = 5, 0.2
"""So many rows without seats that can be read, and such a part of all, and nothing of the answer is believed."""
_SUBJECT = re.compile(r"[A-Z]{1,8}")
_FIXED = {
    "refine": "Y",
    "campusOrOnlineSelection": "A",
    "honors": "F",
    "promod": "F",
    "searchType": "all",
    "pageSize": "200",
}
"""What the catalog's page sends with every search: no filter but term and subject or number."""


@dataclass(frozen=True, slots=True)
class _Page:
    """One answer: its rows as they came, the number of all rows as far as it is told, and where the next page is."""

    rows: list[Any]
    total: int | None
    scroll_id: str | None


Turn = Callable[[float], AbstractContextManager[None]]
"""Around one call: waits for its turn, for so many seconds at most."""


def catalog_page(section: Section) -> str:
    """ASU's own page, searched for the section; digits are all of it that comes from us."""
    search = {
        "campusOrOnlineSelection": "A",
        "honors": "F",
        "keywords": section.class_nbr,
        "promod": "F",
        "searchType": "all",
        "term": section.term,
    }
    return f"https://catalog.apps.asu.edu/catalog/classes/classlist?{urlencode(search)}"


class Asu:
    """Asks the catalog; safe to share between threads, each of which keeps a connection of its own."""

    name = NAME

    def __init__(
        self, url: str, contact: str, turn: Turn = lambda _: nullcontext(), *, call_seconds: float = DEFAULT.call
    ) -> None:
        """`url` is the interface's base up to `/api/v1`; `contact` is the operator's address, told with every call.

        Published calls took half a second, the slowest one second; one of ours may take `call_seconds`.
        """
        self._url = f"{url}/search/classes"
        self._headers = {
            # The page sends "Bearer " and what its session storage holds for a visitor: null. Any other word is 401.
            "Authorization": "Bearer null",
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "User-Agent": f"PickMyClass (+mailto:{contact})",
        }
        self._turn, self._call_seconds = turn, call_seconds
        self._local = threading.local()

    def look_up(self, section: Section, timeout: float) -> Answer:
        """What the catalog says of `section` within `timeout` seconds in all, asked by its number alone."""
        return self.show(section, timeout)[1]

    def show(self, section: Section, timeout: float) -> tuple[Any, Answer]:
        """The section's row as it came (`None`: there is none), and what it is read as."""
        page = self._ask({"term": section.term, "classNbr": section.class_nbr}, time.monotonic() + timeout)
        if not isinstance(page, _Page):
            return None, page
        raw = _row_of(section, page)
        if isinstance(raw, NotFound | Broken):
            return None, raw
        return raw, _alone(read_row(raw, section.term))

    def listing_of(self, section: Section, subject: str | None) -> Listing | None:
        """The listing of its subject; none while the subject is not known."""
        return Listing(section.term, subject) if subject and _SUBJECT.fullmatch(subject) else None

    def read(self, listing: Listing, timeout: float) -> ListingAnswer:
        """Every section of the subject, page after page, within `timeout` seconds in all.

        A page that fails fails the reading. One that brings nothing new ends it, whatever its scroll id says: an id may
        stay the same from page to page, and may lead in a circle.
        """
        ends_at, query = time.monotonic() + timeout, {"term": listing.term, "subject": listing.subject}
        pages = _Pages(listing.term)
        while pages.calls < MAX_PAGES:
            page = self._ask(query, ends_at)
            if not isinstance(page, _Page):
                return page
            if not pages.add(page) or page.scroll_id is None:
                break
            query["scrollId"] = page.scroll_id
        return pages.reading()

    page_of = staticmethod(catalog_page)

    def _ask(self, query: dict[str, str], ends_at: float) -> _Page | Refused | Throttled | Broken:
        """One call, begun when it is its turn; all of it is over at `ends_at` by the monotonic clock.

        Raises what waiting for the turn raises.
        """
        try:
            with self._turn(ends_at - time.monotonic()):
                seconds = min(self._call_seconds, max(0.1, ends_at - time.monotonic()))
                response = self._session().get(
                    self._url, params=_FIXED | query, headers=self._headers, timeout=seconds, allow_redirects=False
                )
                return _classify(response.status_code, response.content, response.headers.get("Retry-After"))
        except TooLongError:
            return Broken("asu sent too much")
        except requests.Timeout:
            return Broken(f"asu did not answer within {seconds:.0f} s")
        except UnreachableError:
            return Broken("asu cannot be reached", is_reached=False)
        except requests.RequestException:
            return Broken("asu cut the connection")

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = bounded_session(MAX_ANSWER_BYTES)
        return session


class _Pages:
    """The pages of a listing as they come in."""

    def __init__(self, term: str) -> None:
        self.calls = 0
        self._term = term
        self._rows: dict[str, Row] = {}
        self._nameless = 0
        self._totals: list[int | None] = []

    def add(self, page: _Page) -> bool:
        """Read a page; whether another one may bring more."""
        self.calls += 1
        self._totals.append(page.total)
        known = len(self._rows)
        for raw in page.rows:
            if (number := class_nbr_of(raw)) is None:
                self._nameless += 1
            else:
                self._rows.setdefault(number, read_row(raw, self._term))
        return not self._is_complete and len(self._rows) > known

    @property
    def _is_complete(self) -> bool:
        """Whether as many sections are held as the largest total told; one page without a total leaves it open."""
        return all(total is not None and total <= len(self._rows) for total in self._totals)

    def reading(self) -> Reading | Broken:
        """All of them together, unless too many of their rows make no sense."""
        every = len(self._rows) + self._nameless
        unreadable = self._nameless + sum(not _says_seats(row) for row in self._rows.values())
        if unreadable >= max(FEW, every * SHARE):
            return Broken(f"asu sent {unreadable} of {every} rows that cannot be read")
        return Reading(self._rows, self._is_complete, self.calls, NAME)


def _classify(status: int, body: bytes, wait: str | None) -> _Page | Refused | Throttled | Broken:
    """The meaning of an answer. Its status says little by itself: whatever stands before the service answers too."""
    if status == 429:
        return Throttled(retry_after(wait))
    if status == 401:
        return Refused("asu takes no visitors any more (status 401); see docs/sources.md", token=True)
    if status == 403:
        return Refused("asu does not let this server's address in (status 403); see docs/sources.md", token=True)
    answer = object_in(body)
    if status == 200 and answer is None and (not body.strip() or body.lstrip()[:1] == b"<"):
        return Throttled(retry_after(wait))  # nothing at all, or a page that wants a browser: a wall against machines
    if status == 400 and answer is not None:
        return Refused("asu refused our request (status 400)", token=False)
    if status != 200 or answer is None:
        return Broken(f"asu failed (status {status})")
    return _page(answer)


def _page(answer: dict[str, Any]) -> _Page | Broken:
    """An answer that is recognisably the catalog's: rows, and a total or a scroll id beside them."""
    rows, scroll_id, total = answer.get("classes"), answer.get("scrollId"), answer.get("total")
    number = total.get("value") if isinstance(total, dict) and total.get("relation", "eq") == "eq" else None
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        number = None
    if not isinstance(rows, list) or (number is None and not isinstance(scroll_id, str)):
        return Broken("asu sent something that is not an answer of its catalog")
    return _Page(rows, number, scroll_id if isinstance(scroll_id, str) and scroll_id else None)


def _row_of(section: Section, page: _Page) -> Any | NotFound | Broken:
    """The row of the section among those of its page; that there is none must be certain."""
    numbers = [class_nbr_of(raw) for raw in page.rows]
    if section.class_nbr in numbers:
        return page.rows[numbers.index(section.class_nbr)]
    if None in numbers or len(numbers) < (page.total or 0):
        return Broken("asu's answer does not tell whether the section is there")
    return NotFound()


def _says_seats(row: Row) -> bool:
    return isinstance(row, Gone) or (isinstance(row, Found) and row.facts.seats_available is not None)


def _alone(row: Row) -> Answer:
    """What a row means for a section that was asked for alone."""
    match row:
        case Found():
            return row
        case Gone():
            return NotFound()
        case Unreadable():
            return Broken("asu sent a row that cannot be read")
