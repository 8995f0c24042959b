"""The checks of the work itself: queue, scheduler, freshness. All but the queue's stand in Postgres.

Where Postgres does not answer nothing is known of them, and they say so. `figures` is the answer of `pmc_read_health`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.health.check import DEGRADED, UNKNOWN, Check, Trouble, only, whole_seconds
from shared.health.checks_workers import living
from shared.health.faults import Fault
from shared.health.words import clock_time, span
from shared.sections.slots import SLOT

STALLED_SECONDS = 60
TICK_IS_OLD = 2 * SLOT
_CATCHING_UP = 300.0
"""Seconds in which a server that was away catches up by itself."""

Figures = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """How much work there is. `completed`, `failed` and `found_lost` count since the living consumers started.

    `waiting` is None where it has changed since it was last seen. `limbo`: jobs that Redis knows and nobody has;
    `found_lost`: such that were put back. `stalled_seconds`: how long a consumer has held jobs and started none.
    """

    waiting: int | None
    active: int
    delayed: int
    completed: int
    failed: int
    dead: int
    oldest_waiting_seconds: int | None = None
    paused_seconds: int | None = None
    limbo: int = 0
    found_lost: int = 0
    stalled_seconds: int = 0


@dataclass(frozen=True, slots=True)
class QueueCheck(Check):
    """Work that waits, and work that was given up."""

    name, title = "queue", "Queue"
    seen: QueueFigures | None
    fault: Fault | None = None

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> QueueCheck:
        """As a beat tells it."""
        counts = only((field.name for field in fields(QueueFigures)), told)
        optional = ("waiting", "oldest_waiting_seconds", "paused_seconds")
        needed = {name: int(count or 0) for name, count in counts.items() if name not in optional}
        return cls(QueueFigures(**counts | needed))

    @property
    def status(self) -> str:
        return self.verdict if self.seen else UNKNOWN

    def facts(self) -> dict[str, Any]:
        known = asdict(self.seen) if self.seen else {}
        return {"type": "huey", **known, **(self.fault.as_json() if self.fault else {})}

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        if self.fault:
            yield self.fault.words
        if self.seen is None:
            return
        yield f"{self.seen.waiting if self.seen.waiting is not None else 'some'} waiting"
        yield f"{self.seen.active} active"
        if self.seen.delayed:
            yield f"{self.seen.delayed} to be retried"
        if self.seen.dead:
            yield f"{self.seen.dead} given up"
        if self.seen.paused_seconds:
            yield f"paused for {span(self.seen.paused_seconds)}"

    def troubles(self) -> Iterator[Trouble]:
        if self.seen is None:
            return
        if self.seen.dead:
            yield Trouble(
                "dead letters",
                DEGRADED,
                f"{_sections(self.seen.dead)} could not be checked",
                "`./run.sh ops dead list` tells why; `ops dead requeue` tries again. Each is resolved by its "
                "section's next successful check.",
                for_anyone="Some sections could not be checked",
            )
        if (self.seen.oldest_waiting_seconds or 0) > SLOT.total_seconds():
            yield Trouble(
                "slow queue",
                DEGRADED,
                f"A job has waited for {span(self.seen.oldest_waiting_seconds)}",
                "Too little is checked for what is due: look at the scraper's speed, raise WORKERS, or add a consumer.",
                for_anyone="Work waits too long",
            )
        if self.seen.stalled_seconds >= STALLED_SECONDS:
            yield Trouble(
                "stalled worker",
                DEGRADED,
                f"A consumer holds checks and has started none for {span(self.seen.stalled_seconds)}",
                "`./run.sh ops breaker reset` opens the way for held checks; if none starts within a minute, restart "
                "the consumer: it hands them back.",
                for_anyone="Work that is held does not begin",
            )


@dataclass(frozen=True, slots=True)
class SchedulerCheck(Check):
    """The last tick of any source, and whether it is older than two slots. `known` is false without the database."""

    name, title = "scheduler", "Scheduler"
    schedule: str
    timezone: str
    known: bool = False
    is_late: bool = False
    running: bool = False
    last_tick_at: str | None = None
    last_tick: Mapping[str, Any] | None = None
    last_tick_error: str | None = None
    next_tick_at: str | None = None

    @classmethod
    def of(
        cls, schedule: str, timezone: str, figures: Figures | None, now: datetime, due: datetime | None
    ) -> SchedulerCheck:
        """`due`: the next tick by the schedule."""
        if figures is None:
            return cls(schedule, timezone)
        last = figures["last_tick"]
        ticks = [tick for tick in (last, *figures["ticks"].values()) if tick and not tick["error"]]
        latest = max((datetime.fromisoformat(tick["slot"]) for tick in ticks), default=None)
        return cls(
            schedule,
            timezone,
            known=True,
            is_late=latest is None or now - latest > TICK_IS_OLD,
            running=due is not None and any(worker.alive for worker in living(figures["workers"])),
            last_tick_at=last["started_at"] if last else None,
            last_tick=only(("group", "enqueued", "checked", "failed"), last) if last else None,
            last_tick_error=last["error"] if last else None,
            next_tick_at=due.astimezone(UTC).isoformat() if due else None,
        )

    @property
    def status(self) -> str:
        return self.verdict if self.known else UNKNOWN

    def facts(self) -> dict[str, Any]:
        given = {"schedule": self.schedule, "timezone": self.timezone}
        if not self.known:
            return given
        told = ("last_tick_at", "last_tick", "last_tick_error", "next_tick_at")
        return {"running": self.running, **given, **{name: getattr(self, name) for name in told}}

    def words(self, zone: ZoneInfo) -> Iterator[str]:
        if self.known:
            yield f"last tick {clock_time(self.last_tick_at, zone, '%H:%M') or 'never'}"
            yield f"next {clock_time(self.next_tick_at, zone, '%H:%M') or 'never'}"

    def troubles(self) -> Iterator[Trouble]:
        if self.is_late:
            late = "The last tick is older than two slots"
            yield Trouble(
                "scheduler",
                DEGRADED,
                f"{late}: {self.last_tick_error}" if self.last_tick_error else late,
                "A living consumer ticks unless CRON_SCHEDULE is off; `./run.sh ops tick` ticks now, "
                "`ops lock status` tells whether a tick hangs.",
                alert_after=_CATCHING_UP,
                for_anyone=late,
            )


@dataclass(frozen=True, slots=True)
class FreshnessFigures:
    """How long ago sections were checked, and why some could not be: `failures` as the database counts them."""

    watched_sections: int
    overdue_sections: int
    oldest_check_seconds: int | None
    last_completed_check_at: str | None
    failed_sections: int
    struck_sections: int
    source_looks_broken: bool
    failures: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class FreshnessCheck(Check):
    """How long ago sections were checked: this is what proves that work is done, not only connected."""

    name, title = "freshness", "Freshness"
    seen: FreshnessFigures | None

    @classmethod
    def of(cls, figures: Figures | None) -> FreshnessCheck:
        """From the database's answer."""
        if figures is None:
            return cls(None)
        told = only((field.name for field in fields(FreshnessFigures)), {**figures, **figures["freshness"]})
        oldest = whole_seconds(told["oldest_check_seconds"])
        return cls(FreshnessFigures(**told | {"oldest_check_seconds": oldest}))

    @property
    def status(self) -> str:
        return self.verdict if self.seen else UNKNOWN

    def facts(self) -> dict[str, Any]:
        return asdict(self.seen) if self.seen else {}

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        if self.seen is None:
            return
        yield f"{self.seen.watched_sections:,} watched"
        if self.seen.overdue_sections:
            yield f"{self.seen.overdue_sections:,} overdue"
        if self.seen.oldest_check_seconds is not None:
            yield f"oldest check {span(self.seen.oldest_check_seconds)} ago"

    def troubles(self) -> Iterator[Trouble]:
        seen = self.seen
        if seen is None:
            return
        if seen.source_looks_broken:
            yield Trouble(
                "source broken",
                DEGRADED,
                f"The source does not know {seen.struck_sections} of {seen.watched_sections} watched sections",
                "Look a few of them up in the catalog by hand. If they are there, the scraper reads it wrongly: mend "
                "the scraper. No section is retired meanwhile.",
                for_anyone="The source does not know many of the watched sections",
            )
        if overdue := seen.overdue_sections:
            noun = "1 section has" if overdue == 1 else f"{overdue} sections have"
            yield Trouble(
                "overdue",
                DEGRADED,
                f"{noun} not been checked for longer than a slot",
                "What was lost is queued again within minutes. If a consumer is alive and the breaker closed, a "
                "slot's checks take longer than a slot: look at the scraper's speed, raise WORKERS, or add a consumer.",
                alert_after=_CATCHING_UP,
                for_anyone="Sections have not been checked for longer than a slot",
            )
        for cause, remedy in (
            ("scraper token", "Put the scraper's current token into SCRAPER_SECRET_TOKEN and restart the consumer."),
            ("catalog refuses", "docs/sources.md: when it refuses us. The scraper can stand in: SOURCE=asu,scraper."),
        ):
            refused = [
                one
                for one in seen.failures
                if one["code"] == "token" and one["error"].startswith("asu") == (cause == "catalog refuses")
            ]
            if refused:
                who = "The catalog refuses us" if cause == "catalog refuses" else "The scraper refuses our token"
                number = sum(one["sections"] for one in refused)
                yield Trouble(
                    cause,
                    DEGRADED,
                    f"{who} ({_sections(number)})",
                    remedy,
                    for_anyone=who.replace("our token", "us"),
                )


def _sections(count: int) -> str:
    return "1 section" if count == 1 else f"{count} sections"
