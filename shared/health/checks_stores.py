"""The checks of what everything stands on: database, Redis with breaker and lock, settings.

The health function builds them from what it asks now. A consumer builds those of Redis from what it knows anyway and
sends them with its beat; `from_json` reads them there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.health.check import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN, Check, Trouble, only, since_epoch
from shared.health.faults import KEY_REFUSED, NO_ANSWER, NO_WRITES, Fault
from shared.health.words import clock_time
from shared.lock import LockStatus
from shared.source.breaker import BreakerStatus


@dataclass(frozen=True, slots=True)
class DatabaseCheck(Check):
    """Whether Postgres answered the one question that all figures come from, and takes writes."""

    name, title = "database", "Database"
    latency_ms: int
    fault: Fault | None = None

    @classmethod
    def of(cls, latency_ms: int, fault: Fault | None, figures: Mapping[str, Any] | None) -> DatabaseCheck:
        """From the database's answer, or from the fault in its place."""
        if figures is not None and not figures["takes_writes"]:
            fault = Fault(NO_WRITES, "it is read-only")
        return cls(latency_ms, fault)

    def facts(self) -> dict[str, Any]:
        return self.fault.as_json() if self.fault else {"latency_ms": self.latency_ms}

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        yield self.fault.words if self.fault else f"answers in {self.latency_ms} ms"

    def troubles(self) -> Iterator[Trouble]:
        if self.fault is None:
            return
        if self.fault.code == NO_WRITES:
            yield Trouble(
                "database takes no writes",
                UNHEALTHY,
                "The database answers and takes no writes: nothing that is checked can be kept",
                "Supabase makes a project read-only when its disk is full: Database, Settings, disk size; make room or "
                "enlarge it. Elsewhere: DATABASE_URL leads to a replica. Work goes on by itself when it is over.",
            )
        elif self.fault.code == KEY_REFUSED:
            yield Trouble(
                "database key",
                UNHEALTHY,
                f"Supabase refuses our key: {self.fault.words}",
                "It does not pass by itself. Take the project's secret key (Project settings, API keys; the old "
                "service-role keys are being switched off) into SUPABASE_SERVICE_ROLE_KEY and restart both services. "
                "Status 402: the project is restricted for a bill or a quota.",
                for_anyone="The database refuses us",
            )
        else:
            yield Trouble(
                "database",
                UNHEALTHY,
                f"The database does not answer: {self.fault.words}",
                "Look at the Supabase project's status, or at the Postgres service. Nothing is lost: work goes on by "
                "itself when it is back.",
                alert_after=120,
                for_anyone="The database does not answer",
            )


@dataclass(frozen=True, slots=True)
class RedisCheck(Check):
    """Whether Redis answers and takes writes. `connected` is None when nobody asked; `latency_ms` is, where no question
    was asked."""

    name, title = "redis", "Redis"
    connected: bool | None = None
    latency_ms: int | None = None
    fault: Fault | None = None

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> RedisCheck:
        """As a beat tells it."""
        words = told.get("error")
        fault = Fault(told.get("code") or NO_ANSWER, words) if words else None
        return cls(bool(told.get("connected")), told.get("latency_ms"), fault)

    @property
    def status(self) -> str:
        return UNKNOWN if self.connected is None else self.verdict

    def facts(self) -> dict[str, Any]:
        if self.connected is None:
            return {}
        return {
            "connected": self.connected,
            "latency_ms": self.latency_ms,
            **(self.fault.as_json() if self.fault else {}),
        }

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        if self.fault:
            yield self.fault.words
        elif self.latency_ms is not None:
            yield f"answers in {self.latency_ms} ms"

    def troubles(self) -> Iterator[Trouble]:
        if self.fault and self.fault.code == NO_WRITES:
            yield Trouble(
                "redis takes no writes",
                UNHEALTHY,
                f"Redis answers and takes no writes: {self.fault.words}",
                "Out of memory: `redis-cli info memory`, then raise `maxmemory` or the plan. A replica: REDIS_URL must "
                "lead to the master. Nothing is queued meanwhile; the rescue queues what is missing when it is over.",
                for_anyone="Redis takes no writes",
            )
        elif self.fault:
            yield Trouble(
                "redis",
                UNHEALTHY,
                f"Redis does not answer: {self.fault.words}",
                "`systemctl status redis-server`, or the provider's status page. Nothing that matters is only in "
                "Redis: the rescue queues what is missing when it is back.",
                alert_after=120,
                for_anyone="Redis does not answer",
            )


_LOOKING_SINCE = since_epoch(time.time_ns() // 1_000_000)


@dataclass(frozen=True, slots=True)
class BreakerCheck(Check):
    """The state of the breaker; one that nobody can read is as bad as an open one (O25).

    HALF_OPEN is degraded and leaves the whole as it is: it is on its way back.
    """

    name, title = "circuit_breaker", "Breaker"
    state: str
    failure_count: int = 0
    success_count: int = 0
    last_failure: str | None = None
    last_state_change: str | None = None

    @classmethod
    def of(cls, seen: BreakerStatus) -> BreakerCheck:
        """As it was seen. One that has never changed is closed since this process began to look, as the old one was
        since it was made."""
        changed = since_epoch(seen.last_state_change)
        if seen.last_state_change is None and seen.state == "CLOSED":
            changed = _LOOKING_SINCE
        return cls(seen.state, seen.failure_count, seen.success_count, since_epoch(seen.last_failure), changed)

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> BreakerCheck:
        """As a beat tells it."""
        times = only(("last_failure", "last_state_change"), told)
        failures, successes = (int(told.get(name) or 0) for name in ("failure_count", "success_count"))
        return cls(told.get("state") or "UNKNOWN", failures, successes, **times)

    @property
    def status(self) -> str:
        return {"CLOSED": HEALTHY, "HALF_OPEN": DEGRADED}.get(self.state, UNHEALTHY)

    def facts(self) -> dict[str, Any]:
        return {"type": "redis", **asdict(self)}

    def words(self, zone: ZoneInfo) -> Iterator[str]:
        yield self.state.lower().replace("_", " ")
        if self.failure_count:
            yield f"{self.failure_count} failures in a row"
        if self.state != "CLOSED" and self.last_state_change:
            yield f"since {clock_time(self.last_state_change, zone)}"

    def troubles(self) -> Iterator[Trouble]:
        if self.state == "UNKNOWN":
            yield Trouble(
                "redis",
                DEGRADED,
                "Redis does not tell the state of the breaker, so that nothing is looked up",
                "Look again in a minute; if it stays so, `./run.sh ops doctor`.",
                alert_after=120,
            )
        if self.state in ("UNKNOWN", "CLOSED"):
            return
        half = self.status == DEGRADED
        yield Trouble(
            "breaker",
            HEALTHY if half else DEGRADED,
            f"The scraper fails: {'it is being tried with one call at a time' if half else 'calls are held back'}",
            "See whether the scraper answers (`./run.sh ops doctor`). Queued checks wait and go on by themselves; "
            "`./run.sh ops breaker reset` closes the breaker at once.",
            alert_after=600,
        )


@dataclass(frozen=True, slots=True)
class LockCheck(Check):
    """Who holds the cron lock. A held one is healthy; one that nobody can read is not known."""

    name, title = "cron_lock", "Cron lock"
    known: bool
    locked: bool = False
    lock_holder: str | None = None
    time_held_ms: int | None = None
    lock_acquired_at: str | None = None
    expires_at: str | None = None

    @classmethod
    def of(cls, seen: LockStatus, now: datetime) -> LockCheck:
        """As it was seen."""
        if not seen.locked:
            return cls(seen.known)
        now_ms = int(now.timestamp() * 1000)
        since = since_epoch(seen.acquired_at)
        return cls(
            seen.known,
            locked=True,
            lock_holder=seen.holder,
            time_held_ms=max(0, now_ms - seen.acquired_at) if since and seen.acquired_at else None,
            lock_acquired_at=since,
            expires_at=since_epoch(now_ms + seen.expires_in_ms) if seen.expires_in_ms else None,
        )

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> LockCheck:
        """As a beat tells it."""
        times = only(("time_held_ms", "lock_acquired_at", "expires_at"), told)
        return cls(told.get("status") == HEALTHY, bool(told.get("locked")), told.get("lock_holder"), **times)

    @property
    def status(self) -> str:
        return HEALTHY if self.known else UNKNOWN

    def facts(self) -> dict[str, Any]:
        figures = asdict(self)
        del figures["known"]
        return {"type": "redis", **figures}

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        if self.known:
            yield f"held by {self.lock_holder}" if self.locked else "free"

    def troubles(self) -> Iterator[Trouble]:
        if not self.known:
            yield Trouble(
                "redis",
                DEGRADED,
                "Redis does not tell who holds the cron lock",
                "Look again in a minute; if it stays so, `./run.sh ops doctor`.",
                alert_after=120,
            )


@dataclass(frozen=True, slots=True)
class ConfigurationCheck(Check):
    """Whether every setting that production needs is there."""

    name, title = "configuration", "Configuration"
    missing: tuple[str, ...] = ()

    def facts(self) -> dict[str, Any]:
        return {"missing_vars": list(self.missing)} if self.missing else {}

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        if self.missing:
            yield "missing: " + ", ".join(self.missing)

    def troubles(self) -> Iterator[Trouble]:
        if self.missing:
            yield Trouble(
                "configuration",
                UNHEALTHY,
                f"Settings are missing: {', '.join(self.missing)}",
                "Set them in .env (.env.example explains each) and restart both services; `./run.sh ops doctor` "
                "tells what is right.",
                for_anyone="Settings are missing",
            )
