"""GET /api/cron: queue the sections that are due now.

curl -H "Authorization: Bearer $CRON_SECRET" localhost:8080/api/cron
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Literal

import functions_framework
from flask import Request, Response
from pydantic import BaseModel
from redis import RedisError

from shared.checks.tick import LockBusyError, LockUnavailableError, TickOrder
from shared.database import DatabaseError
from shared.sections.slots import group_at
from shared.web.auth import require_operator
from shared.web.doors import door, read_query
from shared.web.outputs import LockHeld, Tick, TickFailed
from shared.web.replies import ReplyError, invalid_input, reply
from shared.wiring import wiring

EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)


class Query(BaseModel):
    """`?group=` forces a group, for operators."""

    group: Literal["even", "odd", "all"] | None = None


@functions_framework.http
@door("GET")
def cron_tick(request: Request) -> Response:
    """Authorise, take the lock once, queue the due half, answer how many."""
    started, parts = time.monotonic(), wiring()
    require_operator(request, parts.settings, "Unauthorized - this endpoint requires authentication")
    scheduled = scheduled_time(request, parts.clock())
    group = read_query(request, Query).group or group_at(scheduled)
    try:
        report = parts.ticker.tick(TickOrder(scheduled, group, "http", parts.name, parts.replay))
    except LockBusyError as busy:
        error = "Another cron job is already running"
        held = LockHeld(success=False, error=error, details=str(busy), current_holder=busy.holder)
        raise ReplyError(409, held) from None
    except LockUnavailableError:
        raise failed("Lock store unavailable", 503, started, {"Retry-After": "30"}) from None
    except DatabaseError:
        raise failed("Database unavailable or failing; nothing is lost, try again", 500, started) from None
    except RedisError:
        raise failed("Queue store unavailable; nothing is lost, try again", 500, started) from None
    nothing_due = {} if report.enqueued + report.already_queued else {"message": "No sections to check"}
    queued = Tick(
        success=True,
        sections_enqueued=report.enqueued,
        stagger_group=group,
        duration=since(started),
        already_queued=report.already_queued,
        tick_id=report.tick_id,
        **nothing_due,
    )
    return reply(queued)


def scheduled_time(request: Request, now: datetime) -> datetime:
    """When the tick was meant to run: the header `X-Cron-Scheduled-Time` (epoch ms) when sent, else `now`.

    A late run still checks the right half (O28). Raises the 400 answer for anything but a believable time.
    """
    given = request.headers.get("X-Cron-Scheduled-Time")
    if given is None:
        return now
    latest = now + timedelta(days=1)
    if given.isascii() and given.isdecimal() and len(given) <= 15:
        milliseconds = int(given)
        if EARLIEST.timestamp() * 1000 <= milliseconds <= latest.timestamp() * 1000:
            return EARLIEST + timedelta(milliseconds=milliseconds - EARLIEST.timestamp() * 1000)
    limits = "must be whole milliseconds since 1970, between 2020-01-01 and one day ahead"
    raise invalid_input([("X-Cron-Scheduled-Time", limits)])


def failed(error: str, status: int, started: float, headers: dict[str, str] | None = None) -> ReplyError:
    """An error with the time it took, as this endpoint has always reported it."""
    return ReplyError(status, TickFailed(success=False, error=error, duration=since(started)), headers)


def since(started: float) -> int:
    """Whole milliseconds since `started` (monotonic)."""
    return int((time.monotonic() - started) * 1000)
