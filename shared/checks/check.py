"""One section check: breaker, baseline, look, compare, commit.

The HTTP function and the queued task run this same function; they differ only in what they do with its report
and its errors. A check that ends well has left its mark in the database before this returns; one that raises has
left nothing half-written and may be run again.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from shared.clock import Clock
from shared.database import DatabaseCalls, DatabaseError
from shared.sections.changes import Changes, EventKind, detect
from shared.sections.section import Facts, Known, Observation, Section, known_from_json
from shared.sections.slots import group_of, latest_slot
from shared.sections.text import is_staff
from shared.source import breaker
from shared.source.answers import Answer, Broken, Found, Listing, ListingAnswer, NotFound, Refused, Throttled
from shared.source.breaker import Permit
from shared.source.sources import Leave, Sources

log = logging.getLogger(__name__)
MAX_CONFLICTS = 5
INLINE_MAIL = 100


class Outcome(StrEnum):
    """How a check ended. All of them end the section's attempt for its slot."""

    COMMITTED = "committed"
    SUPERSEDED = "superseded"
    NOT_OWNED = "not_owned"
    NOT_FOUND = "not_found"
    RETIRED = "retired"


class CheckError(Exception):
    """The check did not come to its end. `retry`: whether trying again can help. The message is for people, `code` for
    programs: `source`, `token` (the source refuses ours), `request`, `database`."""

    def __init__(self, reason: str, *, retry: bool, code: str = "source") -> None:
        super().__init__(reason)
        self.retry, self.code = retry, code


class BreakerOpenError(CheckError):
    """The breaker is open; it may be asked again in `retry_after` seconds. No attempt is spent."""

    def __init__(self, retry_after: float) -> None:
        super().__init__("circuit breaker is open", retry=True)
        self.retry_after = retry_after


class BreakerUnknownError(CheckError):
    """Nobody knows whether a source may be asked, so nobody asks (O25). No attempt is spent."""

    def __init__(self) -> None:
        super().__init__("circuit breaker is unavailable", retry=True)


class UnreachedError(CheckError):
    """The source cannot be reached, which may be so from this server alone. No attempt is spent."""


class ThrottledError(CheckError):
    """The source asked everybody to wait `seconds`; no attempt is spent."""

    def __init__(self, seconds: float) -> None:
        super().__init__("scraper asked us to slow down", retry=True)
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class CheckOrder:
    """What to check. `known` rides along with a queued job; without it the baseline is read first.

    `timeout` bounds the look, in seconds. `now` is set in a replay and stands for every clock; `lease_to` names the
    caller who will send the mail that this check owes himself, instead of leaving it to the mailer, and keeps it from
    the mailers for `lease_seconds`; a queued job brings its `permit` along, everybody else asks the breaker. Without
    `touch` (a look between the ticks) the dashboard is left alone while nothing has changed.
    """

    section: Section
    timeout: float
    known: Known | None = None
    tick_id: str | None = None
    now: datetime | None = None
    lease_to: str | None = None
    lease_seconds: float = 0.0
    permit: Permit | None = None
    touch: bool = True


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How the check ended, what it saw, and how many emails it owes (`leased` of them to the caller)."""

    outcome: Outcome
    events: tuple[EventKind, ...] = ()
    first_observation: bool = False
    emails_queued: int = 0
    emails_leased: int = 0
    facts: Facts | None = None


@dataclass(frozen=True, slots=True)
class Checker:
    """Runs checks with the stores and clients it was built with; safe to share between threads."""

    database: DatabaseCalls
    sources: Sources
    clock: Clock

    def check(self, order: CheckOrder) -> CheckReport:
        """Check one section.

        1. Ask for leave, unless a permit came along: `BreakerOpenError` or `BreakerUnknownError` when there is none.
        2. Take the baseline that came along, or read it. A failing read is an error, never "first sight" (O4).
        3. Look. The observation's time is the start of the look, so that a slow one cannot pass for new (O41).
        4. Compare, and commit baseline and owed mail together.

        Raises `ThrottledError` on 429 and `CheckError` for everything that did not come to an end.
        """
        with leave_of(self.sources.leave(order.permit)) as leave:
            known = order.known or self._read(order)
            if known is None:
                return CheckReport(Outcome.NOT_OWNED)
            observed_at = order.now or self.clock()
            answer = leave.look_up(order.section, order.timeout)
        return self._settle(order, known, observed_at, answer)

    def look_up(self, section: Section, timeout: float) -> Facts | None:
        """What the source says of a section now, within `timeout` seconds; `None` when it knows none. Writes nothing.

        Raises as `check` does.
        """
        with leave_of(self.sources.leave()) as leave:
            answer = leave.look_up(section, timeout)
        if isinstance(answer, Found):
            return answer.facts
        if isinstance(answer, NotFound):
            return None
        raise failed(answer)

    def read_listing(self, listing: Listing, timeout: float, permit: Permit | None) -> ListingAnswer:
        """What the source says of a listing. Raises `BreakerOpenError` and `BreakerUnknownError`."""
        with leave_of(self.sources.leave_to_read(permit)) as leave:
            return leave.read(listing, timeout)

    def strike(self, section: Section, observed_at: datetime, tick_id: str | None, now: datetime | None) -> int:
        """Record that the source does not know the section; how many emails that owes. Raises `CheckError`."""
        return self._strike(section, observed_at, tick_id, now).emails_queued

    def give_up(self, section: Section, began: datetime, why: CheckError) -> None:
        """Record that the attempt for the slot of `began` has ended without an observation, and why."""
        self._call(
            "pmc_end_attempt",
            p_term=section.term,
            p_class_nbr=section.class_nbr,
            p_slot=_slot(section, began),
            p_error=str(why),
            p_code=why.code,
            p_now=began,
        )

    def _settle(self, order: CheckOrder, known: Known, observed_at: datetime, answer: Answer) -> CheckReport:
        """What each answer means for the section: the table of outcomes, after the breaker had its share."""
        match answer:
            case Found(facts, source, says_instructor):
                return self._commit(order, known, Observation(observed_at, facts, source, says_instructor))
            case NotFound():
                return self._strike(order.section, observed_at, order.tick_id, order.now)
            case Refused(reason):
                log.error("check refused", extra={"reason": reason})
                refused = failed(answer)
                self.give_up(order.section, observed_at, refused)
                raise refused
            case Throttled() | Broken():
                raise failed(answer)

    def _read(self, order: CheckOrder) -> Known | None:
        """The baseline from the database; `None` when the section is not ours to check."""
        answer = self._call(
            "pmc_read_section", p_term=order.section.term, p_class_nbr=order.section.class_nbr, p_now=order.now
        )
        return known_from_json(answer) if answer["owner"] == "server" else None

    def _commit(self, order: CheckOrder, known: Known, seen: Observation) -> CheckReport:
        """Compare and commit; on a conflict compare again with the fresh baseline, without scraping again."""
        for _ in range(MAX_CONFLICTS + 1):
            changes = detect(known, seen)
            answer = self._call("pmc_commit_check", p_check=_check_json(order, known, seen, changes), p_now=order.now)
            if answer["result"] == "doubted":
                raise CheckError("the source shows other courses under many numbers at once", retry=True)
            if answer["result"] != "conflict":
                return _report(answer, changes)
            known = known_from_json(answer)
        raise CheckError("the section kept changing while its check was committed", retry=True, code="database")

    def _strike(
        self, section: Section, observed_at: datetime, tick_id: str | None, now: datetime | None
    ) -> CheckReport:
        """The source does not know the section: a strike, and after enough of them it is retired."""
        answer = self._call(
            "pmc_strike_section",
            p_term=section.term,
            p_class_nbr=section.class_nbr,
            p_slot=_slot(section, observed_at),
            p_observed_at=observed_at,
            p_tick_id=tick_id,
            p_now=now,
        )
        result = answer["result"]
        log.info("section not found", extra={"strike": result, "strikes": answer.get("strikes")})
        if result in (Outcome.RETIRED, Outcome.SUPERSEDED, Outcome.NOT_OWNED):
            return CheckReport(Outcome(result), emails_queued=answer.get("emails_queued", 0))
        return CheckReport(Outcome.NOT_FOUND)

    def _call(self, function: str, **arguments: Any) -> Any:
        try:
            return self.database.call(function, **arguments)
        except DatabaseError as error:
            raise CheckError("database failed", retry=True, code="database") from error


def leave_of(answer: Leave | breaker.NotNow | breaker.Unknown) -> Leave:
    """The leave in the gate's answer. Raises `BreakerOpenError` and `BreakerUnknownError` when there is none."""
    match answer:
        case breaker.NotNow(retry_after):
            raise BreakerOpenError(retry_after)
        case breaker.Unknown():
            raise BreakerUnknownError
        case Leave() as leave:
            return leave


def failed(answer: Throttled | Refused | Broken) -> CheckError:
    """What an answer without data means for whoever asked."""
    match answer:
        case Throttled(seconds):
            return ThrottledError(seconds)
        case Refused(reason, token):
            return CheckError(reason, retry=False, code="token" if token else "request")
        case Broken(reason, is_reached):
            return (CheckError if is_reached else UnreachedError)(reason, retry=True)


def finding_json(class_nbr: str, known: Known, seen: Observation, changes: Changes) -> dict[str, Any]:
    """What a look found of one section, as every commit takes it."""
    return {
        "class_nbr": class_nbr,
        "version": known.version,
        "facts": changes.baseline_json(),
        "events": changes.events_json(known),
        "was_full": changes.was_full,
        "is_full": seen.facts.open_seats == 0,
        "was_named": known.facts is not None and not is_staff(known.facts.instructor_name),
        "named": not is_staff(changes.facts.instructor_name),
        "replaced": changes.replaced,
    }


def _slot(section: Section, moment: datetime) -> datetime:
    return latest_slot(group_of(section.class_nbr), moment)


def _check_json(order: CheckOrder, known: Known, seen: Observation, changes: Changes) -> dict[str, Any]:
    return finding_json(order.section.class_nbr, known, seen, changes) | {
        "term": order.section.term,
        "observed_at": seen.observed_at.isoformat(),
        "source": seen.source,
        "slot": _slot(order.section, seen.observed_at).isoformat(),
        "tick_id": order.tick_id,
        "touch": order.touch,
        "lease_to": order.lease_to,
        "lease_limit": INLINE_MAIL if order.lease_to else 0,
        "lease_seconds": order.lease_seconds,
    }


def _report(answer: dict[str, Any], changes: Changes) -> CheckReport:
    outcome = Outcome(answer["result"])
    if outcome is not Outcome.COMMITTED:
        return CheckReport(outcome)
    if answer["name_kept"]:
        log.warning("the instructor's name is kept: unusually many are lost at once")
    if changes.events:
        words = {"events": [event.value for event in changes.events], "emails": answer["emails_queued"]}
        log.info("change committed", extra=words)
    return CheckReport(
        outcome,
        events=changes.events,
        first_observation=changes.first_observation,
        emails_queued=answer["emails_queued"],
        emails_leased=answer["leased"],
        facts=changes.facts,
    )
