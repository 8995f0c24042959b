"""A look at a listing: all watched sections of a subject, read in one call and committed in one.

The floor's jobs and the looks between the ticks use it; a single section is looked up by `check.py`. What the answer
means for each section is decided by the same rule and committed by the same SQL; only what a look saw unchanged is said
for all of them in a word.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

from shared.checks.check import MAX_CONFLICTS, CheckError, failed, finding_json
from shared.clock import Clock
from shared.database import DatabaseCalls, DatabaseError
from shared.sections.changes import Changes, EventKind, detect
from shared.sections.section import Known, Observation, Section, known_from_json
from shared.source.answers import Found, Gone, Listing, ListingAnswer, Reading, Refused
from shared.source.breaker import Permit

log = logging.getLogger(__name__)


class Strikes(Protocol):
    """Says that the source does not know a section; returns how many emails that owes. Raises `CheckError`."""

    def __call__(self, section: Section, observed_at: datetime, tick_id: str | None, now: datetime | None) -> int: ...


Reads = Callable[[Listing, float, Permit | None], ListingAnswer]
"""Asks the source for a listing within so many seconds. Raises `BreakerOpenError` and `BreakerUnknownError`."""


@dataclass(frozen=True, slots=True)
class Baselines:
    """What is known of a listing's watched sections, by class_nbr, and the word by which a change of it is noticed."""

    version: str = ""
    known: Mapping[str, Known] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Look:
    """What a source said of a listing at `observed_at`, the start of the look."""

    listing: Listing
    observed_at: datetime
    reading: Reading


@dataclass(slots=True)
class LookReport:
    """What came of a look: the sections it spoke for, those that it did not find, the edges and the mail owed."""

    look: Look
    covered: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    events: list[tuple[str, EventKind]] = field(default_factory=list)
    emails_queued: int = 0


class Looker:
    """Looks at listings, with the stores and the source it was built with; safe to share between threads."""

    def __init__(self, database: DatabaseCalls, read: Reads, strike: Strikes, clock: Clock) -> None:
        self._database, self._read, self._strike, self._clock = database, read, strike, clock
        self._kept: dict[Listing, Baselines] = {}
        self._keeping = threading.Lock()

    def refresh(self, listings: Sequence[Listing], now: datetime | None = None) -> None:
        """Read what is known of `listings` in one call; of those that have not changed here that costs a few bytes.

        Raises `CheckError`.
        """
        asked = [
            {"term": one.term, "subject": one.subject, "version": self._baselines(one).version} for one in listings
        ]
        for answer in self._call("pmc_read_listings", p_listings=asked, p_now=now):
            self._keep(answer)

    def look(
        self,
        listing: Listing,
        timeout: float,
        permit: Permit | None = None,
        now: datetime | None = None,
    ) -> Look:
        """Ask the source. Raises `ThrottledError` and `CheckError` for everything that is no reading."""
        observed_at = now or self._clock()
        match self._read(listing, timeout, permit):
            case Reading() as reading:
                return Look(listing, observed_at, reading)
            case answer:
                if isinstance(answer, Refused):
                    log.error("look refused", extra={"reason": answer.reason})
                raise failed(answer)

    def has_news(self, look: Look) -> bool:
        """Whether a commit of the look would say more than that nothing has changed, as far as is known here."""
        told = _compare(look, self._baselines(look.listing), None)
        return bool(told.json["checks"] or told.json["unseen"])

    def commit(
        self,
        looks: Sequence[Look],
        *,
        tick_id: str | None = None,
        touch: bool = False,
        now: datetime | None = None,
    ) -> list[LookReport]:
        """Compare and commit all of `looks` in one call; what conflicts is compared again without another look.

        `touch`: show the time of the look on the dashboard even where nothing changed (the floor). Baselines must have
        been read (`refresh`). Raises `CheckError`; then everything may be done once more without harm.
        """
        reports = {look.listing: LookReport(look) for look in looks}
        waiting = list(reports.values())
        for _ in range(MAX_CONFLICTS + 1):
            told = {one.look.listing: _compare(one.look, self._baselines(one.look.listing), tick_id) for one in waiting}
            answers = self._call(
                "pmc_commit_looks", p_looks=[one.json | {"touch": touch} for one in told.values()], p_now=now
            )
            again = []
            for answer in answers:
                report = reports[Listing(answer["term"], answer["subject"])]
                if not self._settle(report, told[report.look.listing], answer):
                    again.append(report)
            waiting = again
            if not waiting:
                break
            self.refresh([one.look.listing for one in waiting], now)
        else:
            raise CheckError("the listing kept changing while its look was committed", retry=True, code="database")
        for report in reports.values():
            self._strike_gone(report, tick_id, now)
        return list(reports.values())

    def known(self, listing: Listing) -> Mapping[str, Known]:
        """What is known of the watched sections of a listing, as it was last read or committed here."""
        return self._baselines(listing).known

    def _settle(self, report: LookReport, told: _Told, answer: dict[str, Any]) -> bool:
        """Note what became of one look; whether nothing of it is left to commit."""
        known = dict(self._baselines(report.look.listing).known)
        conflicts, is_as_told = answer["result"] == "conflict", True
        doubted: set[str] = set()
        for class_nbr, one in answer["sections"].items():
            if one["result"] == "conflict":
                conflicts = True
                continue
            if one["result"] == "doubted":
                log.error("the source shows other courses under many numbers at once")
                doubted.add(class_nbr)
                continue
            report.covered.add(class_nbr)
            if one["result"] == "committed" and class_nbr in told.found:
                changes = told.found[class_nbr]
                report.events += [(class_nbr, kind) for kind in changes.events]
                report.emails_queued += one["emails_queued"]
                known[class_nbr] = Known(one["version"], None, changes.facts, memory=changes.memory)
                is_as_told = is_as_told and not one["name_kept"]
        if conflicts:
            self._forget(report.look.listing)
            return False
        source = report.look.reading.source
        report.covered |= told.seen - doubted
        if not is_as_told:  # the database kept names that many sections lost: what it knows is read anew
            self._forget(report.look.listing)
            return True
        at = report.look.observed_at
        baselines = {
            nbr: replace(one, source=source, observed_at=at) if nbr in told.seen else one for nbr, one in known.items()
        }
        with self._keeping:
            self._kept[report.look.listing] = Baselines(answer["version"], baselines)
        return True

    def _strike_gone(self, report: LookReport, tick_id: str | None, now: datetime | None) -> None:
        """A row that says cancelled is as if the section had not been found alone."""
        look = report.look
        for class_nbr in sorted(self.known(look.listing)):
            if isinstance(look.reading.rows.get(class_nbr), Gone):
                section = Section(look.listing.term, class_nbr)
                report.emails_queued += self._strike(section, look.observed_at, tick_id, now)
                report.gone.add(class_nbr)

    def _baselines(self, listing: Listing) -> Baselines:
        with self._keeping:
            return self._kept.get(listing, Baselines())

    def _keep(self, answer: dict[str, Any]) -> None:
        """Keep what the database told of a listing; nothing but the version means that nothing has changed."""
        if "sections" in answer:
            known = {one["class_nbr"]: known_from_json(one) for one in answer["sections"]}
            with self._keeping:
                self._kept[Listing(answer["term"], answer["subject"])] = Baselines(answer["version"], known)

    def _forget(self, listing: Listing) -> None:
        with self._keeping:
            self._kept.pop(listing, None)

    def _call(self, function: str, **arguments: Any) -> Any:
        try:
            return self._database.call(function, **arguments)
        except DatabaseError as error:
            raise CheckError("database failed", retry=True, code="database") from error


@dataclass(frozen=True, slots=True)
class _Told:
    """A look as the commit takes it: what is new of whom, and whom it speaks for."""

    json: dict[str, Any]
    seen: frozenset[str]
    found: Mapping[str, Changes]


def _compare(look: Look, baselines: Baselines, tick_id: str | None) -> _Told:
    """Each watched section by the one rule. Of what was not found or cannot be read the look says nothing."""
    checks, unseen, found = [], [], {}
    for class_nbr, known in baselines.known.items():
        row = look.reading.rows.get(class_nbr)
        if not isinstance(row, Found):
            unseen.append(class_nbr)
            continue
        seen = Observation(look.observed_at, row.facts, row.source, row.says_instructor)
        changes = detect(known, seen)
        is_same = changes.facts == known.facts and changes.memory == known.memory
        if changes.events or not is_same or row.facts.open_seats is None:
            checks.append(finding_json(class_nbr, known, seen, changes))
            found[class_nbr] = changes
    return _Told(
        {
            "term": look.listing.term,
            "subject": look.listing.subject,
            "version": baselines.version,
            "observed_at": look.observed_at.isoformat(),
            "source": look.reading.source,
            "tick_id": tick_id,
            "checks": checks,
            "unseen": unseen,
        },
        frozenset(baselines.known) - frozenset(unseen),
        found,
    )
