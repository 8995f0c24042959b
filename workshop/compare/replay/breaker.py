"""A breaker in memory on a handed-in clock, for both sides of a replay: the real one lives in Redis, by Redis' time.

CLOSED -10 failures in a row-> OPEN -120 s-> HALF_OPEN -3 successes-> CLOSED; a failure in HALF_OPEN opens it again.
A replay asks for one section after the other, so that only one probe is ever on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from shared.source.breaker import Refused, Unknown
from shared.source.permit import Permit

FAILURES, SUCCESSES, OPEN_MS = 10, 3, 120_000


@dataclass(slots=True)
class MemoryBreaker:
    """`clock` gives epoch milliseconds of the replay."""

    clock: Callable[[], int]
    failures: int = 0
    successes: int = 0
    opened_ms: int | None = None

    def wait_ms(self) -> int:
        """How long the scraper must not be asked; 0: ask."""
        return 0 if self.opened_ms is None else max(0, self.opened_ms + OPEN_MS - self.clock())

    def succeeded(self) -> None:
        """The scraper answered."""
        self.failures = 0
        if self.opened_ms is not None:
            self.successes += 1
            if self.successes >= SUCCESSES:
                self.opened_ms, self.successes = None, 0

    def failed(self) -> None:
        """The scraper did not."""
        self.failures += 1
        if self.opened_ms is not None or self.failures >= FAILURES:
            self.opened_ms, self.successes = self.clock(), 0


@dataclass(frozen=True, slots=True)
class MemoryGate:
    """The breaker as our checks see it."""

    breaker: MemoryBreaker

    def allow(self) -> Permit | Refused | Unknown:
        """Leave to ask, or for how long not."""
        wait = self.breaker.wait_ms()
        return Refused(wait / 1000) if wait else Permit()

    def record_success(self, permit: Permit) -> None:  # noqa: ARG002 - part of the interface
        """The service answered."""
        self.breaker.succeeded()

    def record_failure(self, permit: Permit) -> None:  # noqa: ARG002 - part of the interface
        """The service failed."""
        self.breaker.failed()

    def return_permit(self, permit: Permit) -> None:
        """Nothing was learned."""
