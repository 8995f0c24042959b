"""The time, handed in: a replay owns it from the tick to the SQL (docs/decisions/time-is-handed-in.md)."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time, aware."""

    def __call__(self) -> datetime: ...


def now() -> datetime:
    """The time of this machine, aware, in UTC."""
    return datetime.now(UTC)


def in_milliseconds(clock: Clock) -> Callable[[], int]:
    """The same clock in epoch milliseconds, as the queue counts time."""
    return lambda: int(clock().timestamp() * 1000)


class DatabaseClock:
    """The database's time, learned from its answers; before the first one, this machine's.

    So all servers have one clock: what one of them saw is ordered rightly among what others saw (O41), however wrong
    its own clock is. An answer says only between which times its own moment lies, and the clock is moved no more than
    that needs: a slow answer moves nothing. For any thread.
    """

    def __init__(self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = time.monotonic) -> None:
        """`wall` gives epoch seconds; `steady` seconds that nobody sets back."""
        self.steady = steady
        self._ahead = wall() - steady()

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.steady() + self._ahead, UTC)

    def heard(self, sent: float, earliest: float, latest: float) -> None:
        """An answer just came to what was asked at `sent` (of `steady`): in between it was `earliest` to `latest`
        (epoch seconds) there.
        """
        self._ahead = max(earliest - self.steady(), min(self._ahead, latest - sent))
