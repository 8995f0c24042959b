"""Health: what is asked, of whom, and how the answer is put together.

health = Health(parts)
health.full()     everything at once, for operators: each dependency asked in parallel, two seconds at most
health.summary()  for anyone: no Redis command, computed at most once a minute
health.ready()    database and Redis only
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.health import checks
from shared.health.beats import checks_from_beats, ended_jobs, nothing_known
from shared.health.checks import Check
from shared.health.probes import Answer, Probes
from shared.lock import LockStatus
from shared.schedule import next_tick
from shared.settings import SettingsError
from shared.source.breaker import BreakerStatus

if TYPE_CHECKING:
    from shared.wiring import Wiring

SUMMARY_SECONDS = 60.0
READY_SECONDS = 10.0
CODES = {checks.HEALTHY: 200, checks.DEGRADED: 503, checks.UNHEALTHY: 500}


@dataclass(frozen=True, slots=True)
class Report:
    """A health answer. `figures` and `history` are what Postgres said, for the page; None when it said nothing."""

    timestamp: datetime
    status: str
    checks: dict[str, Check]
    response_time_ms: int
    figures: dict[str, Any] | None = field(default=None, repr=False)
    history: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def code(self) -> int:
        """The HTTP status: healthy 200, degraded 503, unhealthy 500."""
        return CODES[self.status]

    def details(self) -> dict[str, Any]:
        """The body for operators."""
        listed = {name: check["workers"] if name == "workers" else check for name, check in self.checks.items()}
        return self._body(listed)

    def outline(self) -> dict[str, Any]:
        """The body for anyone: no figures, no error texts, no names."""
        return self._body({name: {"status": check["status"]} for name, check in self.checks.items()})

    def _body(self, shown: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "timestamp": self.timestamp.isoformat(),
            "status": self.status,
            "checks": shown,
            "response_time_ms": self.response_time_ms,
        }


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether database and Redis answer."""

    database: bool
    redis: bool

    @property
    def ready(self) -> bool:
        """Both do."""
        return self.database and self.redis


class Health:
    """Asks and remembers; one per process, safe to share between threads."""

    def __init__(self, parts: Wiring, *, timer: Callable[[], float] = time.monotonic) -> None:
        """`timer` (seconds) says how old a kept answer is; the time in the answer is that of `parts.clock`."""
        self.parts, self._timer = parts, timer
        self._probes = Probes()
        self._keeping = threading.Lock()
        self._kept: tuple[float, Report] | None = None
        self._keeping_ready = threading.Lock()
        self._kept_ready: tuple[float, Readiness] | None = None

    def full(self, *, history: bool = False) -> Report:
        """Ask everything at once. With `history` also what the page draws."""
        parts, began = self.parts, self._timer()
        questions: dict[str, Callable[[], Any]] = {
            "database": self._read_figures,
            "redis": lambda: parts.redis.ping(),
            "breaker": lambda: parts.breaker.status(),
            "lock": lambda: parts.lock.status(),
            "queue": lambda: parts.huey.counts(),
        }
        if history:
            questions["history"] = lambda: parts.database.call("pmc_read_history", p_now=parts.clock())
        answers = self._probes.ask(questions)
        figures, drawn = answers["database"].value, answers["history"].value if history else None
        return self._report(began, answers["database"], self._redis_checks(answers, figures), drawn)

    def summary(self) -> Report:
        """What anyone may know, at most a minute old. Costs no Redis command, and one of Postgres a minute."""
        with self._keeping_ready:
            if self._kept is None or self._timer() - self._kept[0] >= SUMMARY_SECONDS:
                began = self._timer()
                database = self._probes.ask({"database": self._read_figures})["database"]
                beats = nothing_known() if database.failed else checks_from_beats(database.value)
                self._kept = (self._timer(), self._report(began, database, beats))
            return self._kept[1]

    def ready(self) -> Readiness:
        """Ask database and Redis. A good answer is kept for ten seconds, so that anyone may ask often."""
        with self._keeping_ready:
            if self._kept_ready and self._timer() - self._kept_ready[0] < READY_SECONDS:
                return self._kept_ready[1]
        parts = self.parts
        answers = self._probes.ask(
            {
                "ready": lambda: parts.database.call("pmc_latest_ticks", p_now=parts.clock()),
                "redis": lambda: parts.redis.ping(),
            }
        )
        answer = Readiness(not answers["ready"].failed, not answers["redis"].failed)
        with self._keeping_ready:
            self._kept_ready = (self._timer(), answer) if answer.ready else None
        return answer

    def _read_figures(self) -> Any:
        return self.parts.database.call("pmc_read_health", p_now=self.parts.clock())

    def _report(
        self, began: float, database: Answer, from_redis: Mapping[str, Check], history: dict[str, Any] | None = None
    ) -> Report:
        settings, figures = self.parts.settings, database.value
        found = {
            "database": checks.database_check(database.latency_ms, database.error),
            **from_redis,
            "configuration": checks.configuration_check(settings.missing()),
            "email": checks.email_check(settings.resend_api_key is not None, figures),
            **self._figure_checks(figures),
        }
        ordered = {name: found[name] for name in checks.EFFECTS}
        took = round((self._timer() - began) * 1000)
        return Report(self.parts.clock(), checks.whole(ordered), ordered, took, figures, history)

    def _figure_checks(self, figures: dict[str, Any] | None) -> dict[str, Check]:
        """The checks that only Postgres can tell; unknown while it does not answer."""
        settings, now = self.parts.settings, self.parts.clock()
        schedule, zone = settings.cron_schedule, settings.cron_timezone
        if figures is None:
            unknown: Check = {"status": checks.UNKNOWN}
            scheduler = unknown | {"schedule": schedule, "timezone": zone}
            return {"scheduler": scheduler, "workers": unknown | {"workers": []}, "freshness": dict(unknown)}
        due = next_tick(schedule, zone, now)
        return {
            "scheduler": checks.scheduler_check(schedule, zone, figures, now, due),
            "workers": checks.workers_check(figures["workers"]),
            "freshness": checks.freshness_check(figures),
        }

    def _redis_checks(self, answers: Mapping[str, Answer], figures: dict[str, Any] | None) -> dict[str, Check]:
        """The four checks that Redis was asked for now."""
        redis, counts = answers["redis"], answers["queue"].value
        ended = ended_jobs(figures["workers"]) if figures else {}
        queue: Check = {"status": checks.UNKNOWN, "type": "huey", "error": answers["queue"].error}
        if counts is not None:
            queue = checks.queue_check(
                waiting=counts.waiting,
                active=counts.leased,
                delayed=counts.delayed,
                dead=counts.dead,
                oldest_waiting_seconds=counts.oldest_waiting_seconds,
                paused_for=counts.paused_for,
                **ended,
            )
        return {
            "redis": checks.redis_check(not redis.failed, redis.latency_ms, redis.error),
            "circuit_breaker": checks.breaker_check(answers["breaker"].value or BreakerStatus(state="UNKNOWN")),
            "cron_lock": checks.lock_check(answers["lock"].value or LockStatus(known=False), self.parts.clock()),
            "queue": queue,
        }


def misconfigured(error: SettingsError, now: datetime) -> Report:
    """The answer of a process whose settings cannot be read at all: nothing else can be asked."""
    found: Check = {"status": checks.UNHEALTHY, "missing_vars": [problem.name for problem in error.problems]}
    return Report(now, checks.UNHEALTHY, {"configuration": found}, 0)


_current: Health | None = None
_making = threading.Lock()


def health_of(parts: Wiring) -> Health:
    """The one `Health` of a process's parts, so that kept answers and hanging questions are shared by all requests."""
    global _current
    with _making:
        if _current is None or _current.parts is not parts:
            _current = Health(parts)
        return _current
