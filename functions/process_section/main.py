"""POST /api/queue/process-section: check one section now, and mail who is owed.

    curl -X POST -H "Authorization: Bearer $CRON_SECRET" -H "Content-Type: application/json" \\
         -d '{"class_nbr": "12431", "term": "2257"}' localhost:8080/api/queue/process-section
"""

import math
import time
from typing import Annotated, Any

import functions_framework
from flask import Request, Response
from pydantic import BaseModel, Field

from shared.checks.check import BreakerOpenError, BreakerUnknownError, CheckError, CheckReport, Outcome
from shared.logs import bind
from shared.sections.changes import EventKind
from shared.sections.section import Section
from shared.web.auth import require_operator
from shared.web.doors import door, read_json
from shared.web.outputs import ChangesDetected, Checked, CheckFailed
from shared.web.replies import ReplyError, failure, reply
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
    with bind(term=section.term, class_nbr=section.class_nbr):
        try:
            checked = parts.check_now(section, parts.durations.scrape)
        except BreakerOpenError as error:
            wait = max(1, math.ceil(error.retry_after))
            retry = {"Retry-After": str(wait)}
            raise failure(f"Circuit breaker is OPEN. Retry in {wait}s", 503, retry) from None
        except BreakerUnknownError:
            raise failure("Circuit breaker unavailable", 503, {"Retry-After": "30"}) from None
        except CheckError as error:
            failed = CheckFailed(success=False, error=str(error), processing_time_ms=since(started))
            raise ReplyError(500, failed) from None
    return reply(answer(section, checked.report, checked.emails_sent, since(started)))


def answer(section: Section, report: CheckReport, sent: int, took_ms: int) -> Checked:
    """The body for a check that came to its end. `emails_sent`: accepted by Resend during this call."""
    changes = ChangesDetected(
        seat_became_available=EventKind.SEAT_AVAILABLE in report.events,
        instructor_assigned=EventKind.INSTRUCTOR_ASSIGNED in report.events,
        seats_filled=EventKind.SEATS_FILLED in report.events,
    )
    unusual = report.outcome in (Outcome.NOT_FOUND, Outcome.RETIRED, Outcome.NOT_OWNED)
    status: dict[str, Any] = {"section_status": report.outcome.value} if unusual else {}
    return Checked(
        success=True,
        class_nbr=section.class_nbr,
        term=section.term,
        changes_detected=changes,
        emails_sent=sent,
        emails_queued=report.emails_queued,
        first_observation=report.first_observation,
        processing_time_ms=took_ms,
        **status,
    )


def since(started: float) -> int:
    """Whole milliseconds since `started` (monotonic)."""
    return int((time.monotonic() - started) * 1000)
