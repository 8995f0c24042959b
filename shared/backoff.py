"""How long to wait before trying again: exponential with full jitter."""

from __future__ import annotations

from collections.abc import Callable

MAX_ATTEMPTS = 3


def retry_delay(attempt: int, pick: Callable[[float, float], float], *, base: float = 1.0, cap: float = 60.0) -> float:
    """Seconds to wait after the failed attempt number `attempt` (the first is 1).

    `pick(low, high)` chooses within the bounds (`random.uniform` in production), so that many sections
    that failed together do not come back together.
    """
    if attempt < 1:
        raise ValueError("attempts are counted from 1")
    return pick(0.0, min(cap, base * 2 ** (attempt - 1)))
