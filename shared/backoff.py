"""How long to wait before trying again: exponential with full jitter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from shared.durations import DEFAULT

MAX_ATTEMPTS = 3
LONGEST_PAUSE_SECONDS = 3600.0


def retry_delay(
    attempt: int,
    pick: Callable[[float, float], float],
    *,
    base: float = DEFAULT.retry_base,
    cap: float = DEFAULT.retry_cap,
) -> float:
    """Seconds to wait after the failed attempt number `attempt` (the first is 1).

    `pick(low, high)` chooses within the bounds (`random.uniform` in production), so that many sections
    that failed together do not come back together.
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    return pick(0.0, min(cap, base * 2 ** (attempt - 1)))


def retry_after(value: str | None) -> float:
    """Seconds to wait by a `Retry-After` header (RFC 9110: seconds or a date), 60 when it says nothing useful.

    What is asked for, not what is done: 0 and dates in the past are answers too, and whoever waits has a floor.
    """
    if value and value.strip().isdecimal():
        return min(LONGEST_PAUSE_SECONDS, float(value))
    try:
        wait = (parsedate_to_datetime(value or "") - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return DEFAULT.pause
    return min(LONGEST_PAUSE_SECONDS, max(0.0, wait))
