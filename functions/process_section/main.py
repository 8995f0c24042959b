"""POST /api/queue/process-section: check one section now, and mail who is owed.

    curl -X POST -H "Authorization: Bearer $CRON_SECRET" -H "Content-Type: application/json" \\
         -d '{"class_nbr": "12431", "term": "2257"}' localhost:8080/api/queue/process-section
"""

import math
import time
import uuid
from contextlib import suppress
from typing import Annotated, Any

import functions_framework
from flask import Request, Response
from pydantic import BaseModel, Field
from redis import RedisError

from shared.checks.check import (
    BreakerOpenError,
    BreakerUnknownError,
    CheckError,
    CheckOrder,
    CheckReport,
    Outcome,
)
from shared.durations import Durations
from shared.logs import bind
from shared.mail.send import send_own_mail
from shared.queue import LeasedHuey
from shared.sections.changes import EventKind
from shared.sections.section import Section
from shared.web.auth import require_operator
from shared.web.doors import door, read_json
from shared.web.replies import failure, reply
from shared.wiring import wiring


class Body(BaseModel):
    """Which section. `enqueued_at` and `stagger_group`, which the old queue sent along, decide nothing."""

    class_nbr: Annotated[str, Field(strict=True, pattern=r"^[0-9]{5}$")]
    term: Annotated[str, Field(strict=True, pattern=r"^[0-9]{4}$")]


@functions_framework.http
@door("POST")
def process_section(request: Request) -> Response:
    """Authorise, check the section, send the mail that this check owes, answer what was seen."""
    started, parts = time.monotonic(), wiring()
    require_operator(request, parts.settings)
    body = read_json(request, Body)
    section = Section(body.term, body.class_nbr)
    # Without a key nothing is leased: a lease would only keep the rows from the mailer later.
    caller = f"http:{uuid.uuid4()}" if parts.mail.resend else None
    with bind(term=section.term, class_nbr=section.class_nbr):
        try:
            report = parts.checker.check(order(section, caller, parts.durations))
        except BreakerOpenError as error:
            wait = max(1, math.ceil(error.retry_after))
            retry = {"Retry-After": str(wait)}
            raise failure(f"Circuit breaker is OPEN. Retry in {wait}s", 503, retry) from None
        except BreakerUnknownError:
            raise failure("Circuit breaker unavailable", 503, {"Retry-After": "30"}) from None
        except CheckError as error:
            raise failure(str(error), 500, processing_time_ms=since(started)) from None
        resolve_dead_letter(parts.huey, section)
        sent = send_own_mail(parts.mail, caller) if caller and report.emails_leased else 0
    return reply(answer(section, report, sent, since(started)))


def order(section: Section, caller: str | None, durations: Durations) -> CheckOrder:
    """The check that this call asks for."""
    return CheckOrder(section, lease_to=caller, lease_seconds=durations.mail_lease, timeout=durations.scrape)


def resolve_dead_letter(huey: LeasedHuey, section: Section) -> None:
    """A success makes the section's dead letter history; without Redis the next queued success does."""
    with suppress(RedisError):
        huey.dead_letters.resolve(section.key)


def answer(section: Section, report: CheckReport, sent: int, took_ms: int) -> dict[str, Any]:
    """The body for a check that came to its end. `emails_sent`: accepted by Resend during this call."""
    body: dict[str, Any] = {
        "success": True,
        "class_nbr": section.class_nbr,
        "term": section.term,
        "changes_detected": {
            "seat_became_available": EventKind.SEAT_AVAILABLE in report.events,
            "instructor_assigned": EventKind.INSTRUCTOR_ASSIGNED in report.events,
            "seats_filled": EventKind.SEATS_FILLED in report.events,
        },
        "emails_sent": sent,
        "emails_queued": report.emails_queued,
        "first_observation": report.first_observation,
        "processing_time_ms": took_ms,
    }
    if report.outcome in (Outcome.NOT_FOUND, Outcome.RETIRED, Outcome.NOT_OWNED):
        body["section_status"] = report.outcome.value
    return body


def since(started: float) -> int:
    """Whole milliseconds since `started` (monotonic)."""
    return int((time.monotonic() - started) * 1000)
