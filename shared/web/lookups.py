"""How a look-up that failed is told to a student: in words, and without stub data (O32)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager

from shared.flows.check import BreakerOpenError, BreakerUnknownError, CheckError
from shared.flows.watches import SectionNotFoundError
from shared.web.users import refusal

log = logging.getLogger(__name__)

_FAILED = "Failed to fetch class details. Please verify the section number and try again."
_CLOSED = "Class search is not available right now. Please try again in {} seconds."


@contextmanager
def told_to_students() -> Iterator[None]:
    """Turn what a check or a look-up raises inside the block into its answer: 404, 503 with `Retry-After`, 500."""
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


def _closed(seconds: int) -> Exception:
    return refusal(_CLOSED.format(seconds), 503, {"Retry-After": str(seconds)})
