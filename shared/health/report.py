"""A health answer: the checks, the verdict over all of them, and the shapes in which it leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from shared.health.check import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN, WORST_FIRST, Check, Trouble, Verdict, worst
from shared.health.checks_stores import ConfigurationCheck, RedisCheck
from shared.settings import SettingsError
from shared.web.outputs import HealthReport

CODES = {HEALTHY: 200, DEGRADED: 503, UNHEALTHY: 500}

Kind = TypeVar("Kind", bound=Check)


@dataclass(frozen=True, slots=True)
class Report:
    """A health answer. `figures` and `history` are what Postgres said, for the page; None when it said nothing."""

    timestamp: datetime
    checks: tuple[Check, ...]
    response_time_ms: int
    figures: dict[str, Any] | None = field(default=None, repr=False)
    history: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def status(self) -> Verdict:
        """The verdict: the worst of everything that is wrong. It only escalates, whatever the order (O17)."""
        return worst(trouble.status for trouble in self.troubles())

    @property
    def code(self) -> int:
        """The HTTP status: healthy 200, degraded 503, unhealthy 500."""
        return CODES[self.status]

    def troubles(self) -> list[Trouble]:
        """Everything that is wrong, the worst first; of one cause its worst.

        What Redis does not tell is no trouble of its own where Redis itself is one, or nobody lives who could ask it.
        Nobody's beat can be kept in a database that takes no writes, so there nobody is missed.
        """
        redis = self.find(RedisCheck)
        is_said = redis is not None and redis.status in (UNHEALTHY, UNKNOWN)
        found: dict[str, Trouble] = {}
        told = (trouble for check in self.checks for trouble in check.troubles())
        for trouble in sorted(told, key=lambda trouble: WORST_FIRST.index(trouble.status)):
            if not (is_said and (trouble.cause, trouble.status) == ("redis", DEGRADED)):
                found.setdefault(trouble.cause, trouble)
        if "database takes no writes" in found:
            found = {cause: trouble for cause, trouble in found.items() if cause not in ("workers", "lost worker")}
        return list(found.values())

    def find(self, kind: type[Kind]) -> Kind | None:
        """The check of this kind, if its figures could be read."""
        return next((check for check in self.checks if isinstance(check, kind)), None)

    def details(self) -> HealthReport:
        """The body for operators."""
        return self._body({check.name: check.as_json() for check in self.checks})

    def outline(self) -> HealthReport:
        """The body for anyone: no figures, no error texts, no names."""
        return self._body({check.name: {"status": check.status} for check in self.checks})

    def _body(self, shown: dict[str, Any]) -> HealthReport:
        return HealthReport(
            timestamp=self.timestamp.isoformat(),
            status=self.status,
            checks=shown,
            response_time_ms=self.response_time_ms,
        )


def misconfigured(error: SettingsError, now: datetime) -> Report:
    """The answer of a process whose settings cannot be read at all: nothing else can be asked."""
    return Report(now, (ConfigurationCheck(tuple(problem.name for problem in error.problems)),), 0)
