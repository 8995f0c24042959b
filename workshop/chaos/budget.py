"""Whether the product kept its word to the catalog: so many calls a minute, over all its processes, and no more."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

LOOKS = 60
"""LOOKS_PER_MINUTE of a run."""


def find_excesses(calls: Sequence[float], seconds: float, redis_losses: Sequence[tuple[float, float]]) -> list[str]:
    """The minutes of `seconds` that hold more than `LOOKS` of the `calls` (epoch s, in their order).

    Turns are kept in Redis. What a Redis that was emptied or killed had counted is lost with it, and its next minute
    begins at nothing: minutes that touch one of `redis_losses` (begin and end, epoch s) are not judged.
    """
    found = []
    for first, begin in enumerate(calls):
        many = bisect_right(calls, begin + seconds) - first
        excused = any(begin - seconds <= lost_until and lost <= begin + seconds for lost, lost_until in redis_losses)
        if many > LOOKS and not excused:
            found.append(f"{many} calls within the minute that began at {begin:.2f}")
    return found
