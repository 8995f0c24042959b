"""What a check of health is: an object that knows its status, its JSON, its words, and what is wrong with what to do.

One list of troubles serves the page, `ops status` and the alerts, and the verdict is the worst of them: nothing can be
warned of under a heading that says that all is well. docs/operate.md has a paragraph for each cause.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, Literal
from zoneinfo import ZoneInfo

from shared.health.faults import Fault

HEALTHY: Final = "healthy"
DEGRADED: Final = "degraded"
UNHEALTHY: Final = "unhealthy"
UNKNOWN, NOT_CONFIGURED = "unknown", "not_configured"
Verdict = Literal["healthy", "degraded", "unhealthy"]
WORST_FIRST: tuple[Verdict, ...] = (UNHEALTHY, DEGRADED, HEALTHY)


def worst(statuses: Iterable[str]) -> Verdict:
    """The worst of them; what is neither degraded nor unhealthy does not count."""
    found = set(statuses)
    return next((verdict for verdict in WORST_FIRST if verdict in found), HEALTHY)


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong.

    `cause` names it for good: an operator who was told of it is told once more when it is over. `status` is what it
    makes of the whole; one that is `healthy` is worth a look and nothing more. `alert_after`: seconds it must last
    before the operator is told by mail. `for_anyone` says it without figures and names, where `what` has some.
    """

    cause: str
    status: Verdict
    what: str
    remedy: str
    alert_after: float = 0.0
    for_anyone: str = ""


class Check(ABC):
    """One check. Operators get `as_json`, anyone gets `status` alone."""

    name: ClassVar[str]
    title: ClassVar[str]

    @property
    def verdict(self) -> str:
        """What it makes of the whole."""
        return worst(trouble.status for trouble in self.troubles())

    @property
    def status(self) -> str:
        """How it is with this alone."""
        return self.verdict

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """The figures behind the status, by the names that the contract gives them."""

    def as_json(self) -> Any:
        """The check as operators get it."""
        return {"status": self.status, **self.facts()}

    @abstractmethod
    def words(self, zone: ZoneInfo) -> Iterator[str]:
        """What is worth saying, the most important first; times as `zone` knows them."""

    def described(self, zone: ZoneInfo) -> str:
        """Those words as one line; empty when there is nothing to say."""
        return ", ".join(self.words(zone))

    @abstractmethod
    def troubles(self) -> Iterator[Trouble]:
        """What is wrong; nothing of what is not known."""


@dataclass(frozen=True, slots=True)
class Unreadable(Check):
    """In the place of a check whose figures nobody could make sense of: it alone is lost, not the whole answer."""

    name: str  # type: ignore[misc]  # each stands for another check
    title: str  # type: ignore[misc]
    fault: Fault

    @property
    def status(self) -> str:
        return UNKNOWN

    def facts(self) -> dict[str, Any]:
        return self.fault.as_json()

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        yield self.fault.words

    def troubles(self) -> Iterator[Trouble]:
        yield Trouble(
            "unreadable figures",
            DEGRADED,
            f"Nobody can read the figures of: {self.title}",
            "The log of the functions has the reason. Something else than PickMyClass may have written them.",
            for_anyone="Some figures cannot be read",
        )


def since_epoch(milliseconds: object) -> str | None:
    """Epoch milliseconds as ISO 8601; None for what is no time that a date can hold: others write to Redis, too."""
    if not isinstance(milliseconds, int | float):
        return None
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)).isoformat()
    except (OverflowError, ValueError):
        return None


def whole_seconds(seconds: float | None) -> int | None:
    """Rounded, where there are any."""
    return None if seconds is None else round(seconds)


def only(fields: Iterable[str], told: Mapping[str, Any]) -> dict[str, Any]:
    """These fields of a JSON object, None where one is missing: another release may have written it."""
    return {name: told.get(name) for name in fields}
