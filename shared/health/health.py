"""Health: what is asked, of whom, and how the answer is put together.

health = Health(parts)
health.full()     everything at once, for operators: each dependency asked in parallel, two seconds at most
health.summary()  for anyone: no Redis command, computed at most once a minute
health.ready()    database and Redis only
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.health.beats import NOBODY_KNOWS, consumers_told, side_of_beats
from shared.health.check import Check, Unreadable, whole_seconds
from shared.health.checks_looks import (
    LooksCheck,
    SourceSeen,
    sources_asked,
    sources_of_beats,
    unknown_sources,
    with_calls_of,
)
from shared.health.checks_mail import MailCheck
from shared.health.checks_stores import BreakerCheck, ConfigurationCheck, DatabaseCheck, LockCheck, RedisCheck
from shared.health.checks_work import FreshnessCheck, QueueCheck, QueueFigures, SchedulerCheck
from shared.health.checks_workers import WorkersCheck, beats_of_the_living, living
from shared.health.faults import NO_WRITES, fault_of
from shared.health.probes import Answer, Probes
from shared.health.report import Report
from shared.lock import LockStatus
from shared.parts import Parts
from shared.redis import Writes
from shared.schedule import next_tick
from shared.source.breaker import BreakerStatus

log = logging.getLogger(__name__)

SUMMARY_SECONDS = 60.0
READY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether database and Redis answer and take writes."""

    database: bool
    redis: bool

    @property
    def ready(self) -> bool:
        """Both do."""
        return self.database and self.redis


class Health:
    """Asks and remembers; one per process, safe to share between threads."""

    def __init__(self, parts: Parts, *, timer: Callable[[], float] = time.monotonic) -> None:
        """`timer` (seconds) says how old a kept answer is; the time in the answer is that of `parts.clock`."""
        self.parts, self._timer = parts, timer
        self._probes = Probes()
        self._summing = threading.Lock()  # held while a summary is made, so that one is made for all who ask
        self._kept: tuple[float, Report] | None = None
        self._kept_ready: tuple[float, Readiness] | None = None

    def full(self, *, history: bool = False) -> Report:
        """Ask everything at once. With `history` also what the page draws."""
        parts, began = self.parts, self._timer()
        questions: dict[str, Callable[[], Any]] = {
            "database": self._read_figures,
            "redis": self._try_redis,
            "breaker": lambda: parts.breaker.status(),
            "lock": lambda: parts.lock.status(),
            "sources": lambda: sources_asked(parts),
            "queue": lambda: parts.huey.counts(),
        }
        if history:
            questions["history"] = lambda: parts.database.call("pmc_read_history", p_now=parts.clock())
        answers = self._probes.ask(questions)
        asked: dict[type[Check], Callable[[], Check]] = {
            RedisCheck: lambda: _redis_check(answers["redis"]),
            BreakerCheck: lambda: BreakerCheck.of(answers["breaker"].value or BreakerStatus(state="UNKNOWN")),
            LockCheck: lambda: LockCheck.of(answers["lock"].value or LockStatus(known=False), parts.clock()),
            QueueCheck: lambda: _queue_check(answers["queue"], answers["database"].value),
            LooksCheck: lambda: self._looks_check(answers["sources"].value, answers["database"].value),
        }
        return self._report(began, answers["database"], asked, answers["history"].value if history else None)

    def summary(self) -> Report:
        """What anyone may know, at most a minute old. Costs no Redis command, and one of Postgres a minute."""
        with self._summing:
            if self._kept is None or self._timer() - self._kept[0] >= SUMMARY_SECONDS:
                began = self._timer()
                database = self._probes.ask({"database": self._read_figures})["database"]
                side = NOBODY_KNOWS if database.fault else side_of_beats(database.value)
                told: dict[type[Check], Callable[[], Check]] = {
                    RedisCheck: lambda: side.redis,
                    BreakerCheck: lambda: side.breaker,
                    LockCheck: lambda: side.lock,
                    QueueCheck: lambda: side.queue,
                    LooksCheck: lambda: self._looks_told(database.value),
                }
                self._kept = (self._timer(), self._report(began, database, told))
            return self._kept[1]

    def ready(self) -> Readiness:
        """Ask database and Redis. A good answer is kept for ten seconds, so that anyone may ask often."""
        kept = self._kept_ready
        if kept and self._timer() - kept[0] < READY_SECONDS:
            return kept[1]
        parts = self.parts
        answers = self._probes.ask(
            {
                "ready": lambda: parts.database.call("pmc_ready"),
                "redis": self._try_redis,
            }
        )
        database = answers["ready"].value
        answer = Readiness(database is not None and database["takes_writes"], answers["redis"].fault is None)
        self._kept_ready = (self._timer(), answer) if answer.ready else None
        return answer

    def _try_redis(self) -> None:
        Writes().try_one(self.parts.redis, self.parts.settings.redis_prefix)

    def _read_figures(self) -> Any:
        return self.parts.database.call("pmc_read_health", p_now=self.parts.clock())

    def _looks_check(self, sources: tuple[SourceSeen, ...] | None, figures: Any) -> LooksCheck:
        """The sources as Redis told them now, with the calls of all processes."""
        seen = with_calls_of(beats_of_the_living(figures), sources or unknown_sources(self.parts))
        return LooksCheck.of(seen, self.parts.settings.calls_a_minute, figures)

    def _looks_told(self, figures: Any) -> LooksCheck:
        """The sources as the living consumers told them."""
        seen = sources_of_beats(self.parts, beats_of_the_living(figures))
        return LooksCheck.of(seen, self.parts.settings.calls_a_minute, figures)

    def _report(
        self,
        began: float,
        database: Answer,
        of_redis: Mapping[type[Check], Callable[[], Check]],
        history: dict[str, Any] | None = None,
    ) -> Report:
        """The checks in the order in which they are shown, each made on its own."""
        parts, settings, figures = self.parts, self.parts.settings, database.value
        schedule, zone, now = settings.cron_schedule, settings.cron_timezone, parts.clock()
        made: dict[type[Check], Callable[[], Check]] = {
            DatabaseCheck: lambda: DatabaseCheck.of(database.latency_ms, database.fault, figures),
            **{kind: of_redis[kind] for kind in (RedisCheck, BreakerCheck, LockCheck)},
            ConfigurationCheck: lambda: ConfigurationCheck(tuple(settings.missing())),
            MailCheck: lambda: MailCheck.of(settings.resend_api_key is not None, figures),
            QueueCheck: of_redis[QueueCheck],
            SchedulerCheck: lambda: SchedulerCheck.of(schedule, zone, figures, now, next_tick(schedule, zone, now)),
            WorkersCheck: lambda: WorkersCheck(living(figures["workers"]) if figures is not None else None),
            FreshnessCheck: lambda: FreshnessCheck.of(figures),
            LooksCheck: of_redis[LooksCheck],
        }
        found = tuple(_stand_alone(made))
        return Report(now, found, round((self._timer() - began) * 1000), figures, history)


def _stand_alone(made: Mapping[type[Check], Callable[[], Check]]) -> Iterator[Check]:
    """Each check; in the place of one whose figures cannot be read, that word."""
    for kind, make in made.items():
        try:
            yield make()
        except (ArithmeticError, LookupError, TypeError, ValueError) as problem:
            log.error("figures cannot be read", extra={"check": kind.name}, exc_info=problem)
            yield Unreadable(kind.name, kind.title, fault_of(problem))


def _redis_check(answer: Answer) -> RedisCheck:
    answers = answer.fault is None or answer.fault.code == NO_WRITES
    return RedisCheck(answers, answer.latency_ms if answers else None, answer.fault)


def _queue_check(answer: Answer, figures: Mapping[str, Any] | None) -> QueueCheck:
    """What Redis counted now, and what the living consumers counted."""
    counts = answer.value
    if counts is None:
        return QueueCheck(None, answer.fault)
    seen = QueueFigures(
        waiting=counts.waiting,
        active=counts.leased,
        delayed=counts.delayed,
        dead=counts.dead,
        oldest_waiting_seconds=whole_seconds(counts.oldest_waiting_seconds),
        paused_seconds=whole_seconds(counts.paused_for),
        limbo=counts.limbo,
        **consumers_told(figures["workers"] if figures else ()),
    )
    return QueueCheck(seen)
