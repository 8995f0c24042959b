"""Adding watches from the page: what was asked for, what may be ticked, and what became of what was ticked."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from shared.checks.check import Checker
from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.sections.section import Section
from shared.source.answers import Answer, Broken, Found, Listing, ListingAnswer
from shared.source.breaker import Permit
from shared.source.sources import Guarded, Sources
from shared.students.cards import Card, card_of
from shared.students.courses import CourseUnknownError, ListingFailedError, Wanted, sections_of
from shared.students.lookups import told_to_students
from shared.students.terms import name_of
from shared.students.watches import AlreadyWatchingError, Watches, WatchLimitError
from shared.web.replies import ReplyError

log = logging.getLogger(__name__)

Note = tuple[str, str]
"""How good the news is ("good", "fair", "bad"), and its words."""

SOURCE_DOWN: Note = (
    "fair",
    "The university's list does not answer right now. Below is what we know; what you add is looked up soon.",
)


@dataclass(frozen=True, slots=True)
class Sought:
    """What a question found: facts by `class_nbr` as the source lists them now, and what there is to say of it."""

    term: str
    wanted: Wanted | None
    listed: Mapping[str, Found] = field(default_factory=dict)
    notes: Sequence[Note] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of ticked sections: numbers that are watched now, and what there is to say of the others."""

    added: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Adding:
    """Finds and adds; safe to share between threads."""

    database: DatabaseCalls
    watches: Watches
    sources: Sources
    clock: Clock
    room: threading.BoundedSemaphore

    @property
    def by_course(self) -> bool:
        """Whether the first source lists whole courses; otherwise it goes by number only."""
        return self.sources.listing_of(Section("0000", "00000"), "CSE") is not None

    def find(self, term: str, wanted: Wanted | None) -> Sought:
        """What the source lists of a course. A number is not looked up before it is added: one look does for both."""
        if wanted is None or wanted.class_nbr or not self.by_course:
            return Sought(term, wanted)
        try:
            return Sought(term, wanted, sections_of(self.sources, term, wanted))
        except CourseUnknownError:
            words = f"There is no {wanted.subject} {wanted.catalog_nbr} in {name_of(term)}."
            return Sought(term, wanted, notes=[("bad", words)])
        except ListingFailedError as error:
            log.warning("course could not be listed", extra={"reason": str(error)})
            return Sought(term, wanted, notes=[SOURCE_DOWN])

    def choices(self, sought: Sought, told: Mapping[str, Any], now: datetime, zone: tzinfo) -> list[Card]:
        """What may be ticked: what is listed, else what is known, else the bare number. `told`: `pmc_read_adding`."""
        wanted = sought.wanted
        rows: dict[str, dict[str, Any]] = {number: row.facts.as_json() for number, row in sought.listed.items()}
        rows = rows or dict(told["known"])
        if wanted and wanted.class_nbr:
            rows = rows or {wanted.class_nbr: {}}
        return [card_of({**row, "term": sought.term, "class_nbr": number}, now, zone) for number, row in rows.items()]

    def add(self, user_id: str, term: str, class_nbrs: Sequence[str], wanted: Wanted | None) -> Result:
        """Watch each of these sections.

        Of a course the source is asked once for all of them; a section by its number is looked up by itself. Either
        way the look is committed like any other before the watch is added (O5). A section that cannot be looked up
        now, but was seen before, is watched all the same.
        """
        result = Result()
        began = self.clock()
        listed = self.find(term, wanted).listed
        for number in class_nbrs:
            row = listed.get(number)
            watches = self.watches if row is None else self._by_listing(row)
            if not self._add_one(result, user_id, Section(term, number), watches, None if row is None else began):
                break
        return result

    def _add_one(
        self, result: Result, user_id: str, section: Section, watches: Watches, seen_at: datetime | None
    ) -> bool:
        """Whether the next one may be tried."""
        number = section.class_nbr
        try:
            with told_to_students(self.room):
                watches.add(user_id, section, seen_at=seen_at)
            result.added.append(number)
        except AlreadyWatchingError:
            result.added.append(number)
        except WatchLimitError as error:
            result.notes.append(("bad", f"{number} was not added: you may watch {error.most} sections."))
            return False
        except ReplyError as error:
            self._add_known(result, user_id, section, error)
        return True

    def _add_known(self, result: Result, user_id: str, section: Section, error: ReplyError) -> None:
        number = section.class_nbr
        if error.status == 404:
            result.notes.append(("bad", f"The university knows no section {number} in {name_of(section.term)}."))
            return
        answer = self.database.call("pmc_add_known_watch", p_user_id=user_id, p_term=section.term, p_class_nbr=number)
        if answer["result"] in ("added", "exists"):
            result.added.append(number)
            result.notes.append(("fair", f"{number} is watched; it could not be looked up just now and will be soon."))
        elif answer["result"] == "limit":
            result.notes.append(("bad", f"{number} was not added: you may watch {answer['max_watches']} sections."))
        else:
            words = "could not be looked up right now, and nobody has seen it yet, so it was not added. Try again soon."
            result.notes.append(("bad", f"{number} {words}"))

    def _by_listing(self, row: Found) -> Watches:
        """Watches whose look is this row, which was read already."""
        checker = Checker(self.database, Sources(Guarded(_Listed(row), _Open())), self.clock)
        check_now = dataclasses.replace(self.watches.check_now, checker=checker)
        return dataclasses.replace(self.watches, check_now=check_now)


class _Open:
    """The gate before a look that asks nobody."""

    def allow(self) -> Permit:
        return Permit()

    def record_success(self, permit: Permit) -> None: ...

    def record_failure(self, permit: Permit) -> None: ...

    def return_permit(self, permit: Permit) -> None: ...


@dataclass(frozen=True, slots=True)
class _Listed:
    """A source that knows one row, which was read already."""

    row: Found
    name: str = "listing"

    def look_up(self, _section: Section, _timeout: float) -> Answer:
        return self.row

    def listing_of(self, _section: Section, _subject: str | None) -> Listing | None:
        return None

    def read(self, _listing: Listing, _timeout: float) -> ListingAnswer:
        return Broken("it knows one row")

    def page_of(self, _section: Section) -> str:
        return ""
