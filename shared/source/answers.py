"""What a source can be asked, and what it answers, whichever source it is.

A look asks either for one section (`look_up`) or for a listing: all sections of a subject in a term, as far as one
source tells them together. Answers say what they mean for the section and for the breaker; nothing here raises for
what came back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from shared.sections.section import Facts, Section


@dataclass(frozen=True, slots=True)
class Found:
    """The section as the source of this name (see `Source`) shows it now.

    `says_instructor`: whether it spoke of who teaches at all; without that no name means nothing.
    """

    facts: Facts
    source: str
    says_instructor: bool = True


@dataclass(frozen=True, slots=True)
class NotFound:
    """The source answered that there is no such section: a strike, and a success for the breaker."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Our request (400) or our token (401, 403) is wrong: trying again cannot help, and says nothing of the source."""

    reason: str
    token: bool


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too many requests: everybody waits `seconds`."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The service failed, timed out or sent nonsense: worth another try, and a failure for the breaker.

    `is_reached`: whether it had a part in that. Else the fault may be this server's network alone.
    """

    reason: str
    is_reached: bool = True


Answer = Found | NotFound | Refused | Throttled | Broken


@dataclass(frozen=True, slots=True, order=True)
class Listing:
    """All sections of a subject in a term ("2267", "CSE"): what one look, with its further pages, can tell."""

    term: str
    subject: str

    @property
    def key(self) -> str:
        """Term and subject as one word, for queue and log."""
        return f"{self.term}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Gone:
    """The listing has a row for the section that says it is cancelled or closed: as if it were not there."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """The listing has a row for the section, and nobody can make sense of it: nothing is known of the section."""


Row = Found | Gone | Unreadable


@dataclass(frozen=True, slots=True)
class Reading:
    """A listing as the source of this name told it: a row for each `class_nbr`, and how many calls that took.

    `is_complete`: every page is held and the source's own total was reached. Only then does a missing `class_nbr`
    mean anything, and then only that the section should be looked up alone.
    """

    rows: Mapping[str, Row]
    is_complete: bool
    calls: int
    source: str


ListingAnswer = Reading | Refused | Throttled | Broken


class Source(Protocol):
    """Somebody who knows about seats. Safe to share between threads. `timeout` is in seconds, for all calls of a look.

    `name` is the word of the `SOURCE` setting, under which its breaker, its pause and its baselines are kept.
    """

    @property
    def name(self) -> str: ...

    def look_up(self, section: Section, timeout: float) -> Answer:
        """What it says of one section."""
        ...

    def listing_of(self, section: Section, subject: str | None) -> Listing | None:
        """Which listing tells of the section, whose subject is `subject` as far as known; none: look it up alone."""
        ...

    def read(self, listing: Listing, timeout: float) -> ListingAnswer:
        """Every section of a listing."""
        ...

    def page_of(self, section: Section) -> str:
        """The address of the page where a student finds the section."""
        ...


def object_in(body: bytes) -> dict[str, Any] | None:
    """The JSON object that a source sent; None for anything else."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None
