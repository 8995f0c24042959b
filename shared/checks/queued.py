"""A queued check: the same check as over HTTP, and what its errors mean for the job that carried it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.backoff import retry_delay
from shared.checks.check import (
    BreakerOpenError,
    BreakerUnknownError,
    Checker,
    CheckError,
    CheckOrder,
    CheckReport,
    ThrottledError,
    UnreachedError,
)
from shared.checks.look import Looker
from shared.durations import Durations
from shared.logs import bind
from shared.queue.jobs import Delivery, GiveUp, HandOn, Park, PauseQueue, RetryLater
from shared.sections.section import Section, known_from_json
from shared.source.answers import Listing

log = logging.getLogger(__name__)


MOST_ALONE = 20
"""So many sections that a look did not find are looked up alone; more of them mean that the look is to be repeated."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What the floor's look at a listing did: emails owed, the sections it spoke for, and those to look up alone."""

    emails: int
    seen: list[Section]
    alone: list[Section]


def check_queued(
    checker: Checker,
    delivery: Delivery,
    durations: Durations,
    pick: Callable[[float, float], float] = random.uniform,
) -> CheckReport:
    """Run the check that `delivery` carries.

    Raises `Park` while the breaker forbids it, `PauseQueue` on 429 and `HandOn` where the source cannot be reached,
    which spend no attempt; `RetryLater` for what may go away, `GiveUp` for what will not. The end of the last attempt
    is recorded on the section.
    """
    section, payload = Section.from_key(delivery.key), delivery.payload
    now = _now_of(delivery)
    order = CheckOrder(
        section,
        durations.scrape,
        known=known_from_json(payload) if "version" in payload else None,
        tick_id=payload.get("tick_id"),
        now=now,
        permit=delivery.permit,
    )
    with bind(tick_id=order.tick_id, term=section.term, class_nbr=section.class_nbr):
        began = now or checker.clock()
        with _heard_by_the_queue(checker, delivery, durations, pick, [section], began):
            return checker.check(order)


def look_queued(
    checker: Checker,
    looker: Looker,
    delivery: Delivery,
    durations: Durations,
    pick: Callable[[float, float], float] = random.uniform,
) -> Looked:
    """Run the floor's look at a listing that `delivery` carries.

    To be looked up alone is who is due and of whom the look says nothing: not in it, a row that cannot be read, or the
    listing's source may not be asked while another one stands in, which knows single sections only. Raises as
    `check_queued`; the end of the last attempt is recorded on each section that was due.
    """
    payload, now = delivery.payload, _now_of(delivery)
    listing, tick_id = Listing(*payload["listing"]), payload["tick_id"]
    due = [Section(listing.term, class_nbr) for class_nbr in payload["sections"]]
    with bind(tick_id=tick_id, listing=listing.key):
        began = now or checker.clock()
        with _heard_by_the_queue(checker, delivery, durations, pick, due, began):
            looker.refresh([listing], now)
            try:
                look = looker.look(listing, durations.scrape, delivery.permit, now)
            except CheckError as error:
                if checker.sources.is_one or isinstance(error, BreakerUnknownError):
                    raise
                log.warning("listing not read; its sections are looked up alone", extra={"error": str(error)})
                return Looked(0, [], due)
            [report] = looker.commit([look], tick_id=tick_id, touch=True, now=now)
            alone = [one for one in due if one.class_nbr not in report.covered | report.gone]
            if len(alone) > MOST_ALONE and not look.reading.is_complete:
                raise CheckError("the listing came without many of its sections", retry=True)
    log.info("listing looked at", extra={"sections": len(report.covered), "alone": len(alone)})
    seen = [Section(listing.term, class_nbr) for class_nbr in sorted(report.covered)]
    return Looked(report.emails_queued, seen, alone)


@contextmanager
def _heard_by_the_queue(
    checker: Checker,
    delivery: Delivery,
    durations: Durations,
    pick: Callable[[float, float], float],
    sections: Sequence[Section],
    began: datetime,
) -> Iterator[None]:
    """Say what an error means for the job; the end of the last attempt is recorded on each of `sections`."""
    try:
        yield
    except BreakerOpenError as error:
        if checker.sources.is_one:
            raise Park from error
        raise PauseQueue(error.retry_after) from error  # the queue's gate knows nothing of several breakers
    except BreakerUnknownError as error:
        raise Park from error
    except ThrottledError as error:
        log.warning("source asks everybody to wait", extra={"seconds": error.seconds})
        raise PauseQueue(error.seconds) from error
    except UnreachedError as error:
        log.warning("source not reached; left to the other servers", extra={"error": str(error)})
        raise HandOn from error
    except CheckError as error:
        log.warning("check failed", extra={"attempt": delivery.attempt, "error": str(error)})
        if not error.retry:
            if len(sections) > 1:  # a section alone has it on record already
                _record_end(checker, sections, began, error)
            raise GiveUp("refused", str(error)) from error
        if delivery.is_last_attempt:
            _record_end(checker, sections, began, error)
        delay = retry_delay(delivery.attempt, pick, base=durations.retry_base, cap=durations.retry_cap)
        raise RetryLater(delay, str(error)) from error


def _record_end(checker: Checker, sections: Sequence[Section], began: datetime, why: CheckError) -> None:
    """Record the end of the attempt; without a database the rescue queues the sections again instead."""
    try:
        for section in sections:
            checker.give_up(section, began, why)
    except CheckError:
        log.error("end of the attempt not recorded")


def _now_of(delivery: Delivery) -> datetime | None:
    """The time of the replay that queued it, if one did."""
    return datetime.fromtimestamp(delivery.now / 1000, UTC) if delivery.now is not None else None
