"""A queued check: the same check as over HTTP, and what its errors mean for the job that carried it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
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
    known_from_json,
)
from shared.durations import Durations
from shared.logs import bind
from shared.queue.jobs import Delivery, GiveUp, Park, Pause, RetryLater
from shared.sections.section import Section

log = logging.getLogger(__name__)


def check_queued(
    checker: Checker,
    delivery: Delivery,
    durations: Durations,
    pick: Callable[[float, float], float] = random.uniform,
) -> CheckReport:
    """Run the check that `delivery` carries.

    Raises `Park` while the breaker forbids it and `Pause` on 429, which spend no attempt; `RetryLater` for what may
    go away, `GiveUp` for what will not. The end of the last attempt is recorded on the section.
    """
    section, payload = Section.from_key(delivery.key), delivery.payload
    now = datetime.fromtimestamp(delivery.now / 1000, UTC) if delivery.now is not None else None
    order = CheckOrder(
        section,
        known=known_from_json(payload) if "version" in payload else None,
        tick_id=payload.get("tick_id"),
        now=now,
        timeout=durations.scrape,
        permit=delivery.permit,
    )
    with bind(tick_id=order.tick_id, term=section.term, class_nbr=section.class_nbr):
        began = now or checker.clock()
        try:
            return checker.check(order)
        except BreakerOpenError as error:
            if checker.sources.is_one:
                raise Park from error
            raise Pause(error.retry_after) from error  # the queue's gate knows nothing of several breakers
        except BreakerUnknownError as error:
            raise Park from error
        except ThrottledError as error:
            log.warning("source asks everybody to wait", extra={"seconds": error.seconds})
            raise Pause(error.seconds) from error
        except CheckError as error:
            log.warning("check failed", extra={"attempt": delivery.attempt, "error": str(error)})
            if not error.retry:
                raise GiveUp("refused", str(error)) from error
            if delivery.is_last_attempt:
                _record_end(checker, section, began, error)
            delay = retry_delay(delivery.attempt, pick, base=durations.retry_base, cap=durations.retry_cap)
            raise RetryLater(delay, str(error)) from error


def _record_end(checker: Checker, section: Section, began: datetime, why: CheckError) -> None:
    """Record the end of the attempt; without a database the rescue queues the section again instead."""
    try:
        checker.give_up(section, began, why)
    except CheckError:
        log.error("end of the attempt not recorded")
