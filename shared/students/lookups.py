"""A student's look-up at the scraper: how many may run at once, and how one that failed is told.

In words, and without stub data (O32).
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from shared.checks.check import BreakerOpenError, BreakerUnknownError, CheckError
from shared.students.users import refusal
from shared.students.watches import SectionNotFoundError

log = logging.getLogger(__name__)

AT_ONCE = 5
"""Look-ups that one process runs for students at the same time. Each may keep a thread for a minute when the scraper
hangs, and the host has eight: health, webhooks and everybody else need one too."""

WAIT_SECONDS = 1.0
_FAILED = "Failed to fetch class details. Please verify the section number and try again."
_BUSY = "Class search is busy. Please try again in 5 seconds."
_CLOSED = "Class search is not available right now. Please try again in {} seconds."


def room_for_lookups() -> threading.BoundedSemaphore:
    """What the look-ups of one process for students share."""
    return threading.BoundedSemaphore(AT_ONCE)


@contextmanager
def told_to_students(room: threading.BoundedSemaphore) -> Iterator[None]:
    """Turn what a check or a look-up raises inside the block into its answer: 404, 503 with `Retry-After`, 500.

    503 too when none of the others' look-ups in this `room` ends soon.
    """
    if not room.acquire(timeout=WAIT_SECONDS):
        log.warning("no room for another look-up", extra={"running": AT_ONCE})
        raise refusal(_BUSY, 503, {"Retry-After": "5"})
    try:
        yield
    except SectionNotFoundError:
        raise refusal("Class section not found", 404) from None
    except BreakerOpenError as error:
        raise _closed(max(1, math.ceil(error.retry_after))) from None
    except BreakerUnknownError:
        raise _closed(30) from None
    except CheckError as error:
        log.warning("section could not be looked up", extra={"reason": str(error)})
        raise refusal(_FAILED, 500) from None
    finally:
        room.release()


def _closed(seconds: int) -> Exception:
    return refusal(_CLOSED.format(seconds), 503, {"Retry-After": str(seconds)})
