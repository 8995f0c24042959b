"""A breaker in memory on a handed-in clock, for both sides of a replay: the real one lives in Redis, by Redis' time.

CLOSED -10 failures in a row-> OPEN -120 s-> HALF_OPEN -3 successes-> CLOSED; a failure in HALF_OPEN opens it again.
A replay asks for one section after the other, so that only one probe is ever on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from shared.sections.section import Section
from shared.source.answers import Answer, Listing, ListingAnswer, Refused
from shared.source.asu import catalog_page
from shared.source.breaker import NotNow, Permit, Unknown
from shared.source.sources import Guarded, Sources

FAILURES, SUCCESSES, OPEN_MS = 10, 3, 120_000


class LooksUp(Protocol):
    """Who is asked about one section at a time."""

    def look_up(self, section: Section, timeout: float) -> Answer: ...


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

    def allow(self) -> Permit | NotNow | Unknown:
        """Leave to ask, or for how long not."""
        wait = self.breaker.wait_ms()
        return NotNow(wait / 1000) if wait else Permit()

    def record_success(self, permit: Permit) -> None:  # noqa: ARG002 - part of the interface
        """The service answered."""
        self.breaker.succeeded()

    def record_failure(self, permit: Permit) -> None:  # noqa: ARG002 - part of the interface
        """The service failed."""
        self.breaker.failed()

    def return_permit(self, permit: Permit) -> None:
        """Nothing was learned."""


@dataclass(frozen=True, slots=True)
class _OneByOne:
    """A source that tells of one section at a time."""

    scraper: LooksUp
    name: str = "scraper"

    def look_up(self, section: Section, timeout: float) -> Answer:
        return self.scraper.look_up(section, timeout)

    def listing_of(self, section: Section, subject: str | None) -> None:
        pass

    def read(self, listing: Listing, timeout: float) -> ListingAnswer:  # noqa: ARG002 - part of the interface
        return Refused(f"no listing {listing.key}", token=False)

    def page_of(self, section: Section) -> str:
        return catalog_page(section)


def behind(breaker: MemoryBreaker, scraper: LooksUp) -> Sources:
    """The one source of a comparison, as our checks see it."""
    return Sources(Guarded(_OneByOne(scraper), MemoryGate(breaker)))
