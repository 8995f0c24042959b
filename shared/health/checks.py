"""The checks of the health answer, each built from what was learned, by rules alone: no store, no clock.

The health function builds them from what it asks now; a consumer builds those of Redis from what it knows and sends
them with its beat. `EFFECTS` says what a check's status means for the whole, which only ever escalates (O17).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from shared.lock import LockStatus
from shared.sections.slots import SLOT
from shared.source.breaker import BreakerStatus

Check = dict[str, Any]

HEALTHY, DEGRADED, UNHEALTHY, UNKNOWN = "healthy", "degraded", "unhealthy", "unknown"
NOT_CONFIGURED = "not_configured"
RANK = {HEALTHY: 0, DEGRADED: 1, UNHEALTHY: 2}

MAIL_WAITS_SECONDS = 15 * 60.0
ALIVE_SECONDS = 90.0
TICK_IS_OLD = 2 * SLOT

EFFECTS: Mapping[str, Mapping[str, str]] = {
    "database": {UNHEALTHY: UNHEALTHY},
    "redis": {UNHEALTHY: UNHEALTHY},
    "circuit_breaker": {UNHEALTHY: DEGRADED},
    "cron_lock": {UNKNOWN: DEGRADED},
    "configuration": {UNHEALTHY: UNHEALTHY},
    "email": {DEGRADED: DEGRADED},
    "queue": {DEGRADED: DEGRADED},
    "scheduler": {DEGRADED: DEGRADED},
    "workers": {UNHEALTHY: UNHEALTHY},
    "freshness": {DEGRADED: DEGRADED},
}
"""What a check's status makes of the whole. A breaker that is HALF_OPEN is degraded and leaves the whole as it is."""


def whole(checks: Mapping[str, Check]) -> str:
    """The status of everything: the worst that any check makes of it."""
    return max(
        (EFFECTS[name].get(check["status"], HEALTHY) for name, check in checks.items()),
        key=RANK.__getitem__,
        default=HEALTHY,
    )


def database_check(latency_ms: int, error: str | None) -> Check:
    """Whether Postgres answered the one question that all figures come from."""
    return {"status": UNHEALTHY, "error": error} if error else {"status": HEALTHY, "latency_ms": latency_ms}


def redis_check(connected: bool, latency_ms: int | None, error: str | None = None) -> Check:
    """Whether Redis answered; `latency_ms` is None where no question was asked."""
    if connected:
        return {"status": HEALTHY, "connected": True, "latency_ms": latency_ms}
    return {"status": UNHEALTHY, "connected": False, "latency_ms": None, "error": error or "Redis does not answer"}


_LOOKING_SINCE = time.time_ns() // 1_000_000


def breaker_check(breaker: BreakerStatus) -> Check:
    """The state of the breaker; one that nobody can read is as bad as an open one (O25).

    One that has never changed is closed since this process began to look, as the old one was since it was made.
    """
    changed = breaker.last_state_change
    if changed is None and breaker.state == "CLOSED":
        changed = _LOOKING_SINCE
    return {
        "status": {"CLOSED": HEALTHY, "HALF_OPEN": DEGRADED}.get(breaker.state, UNHEALTHY),
        "type": "redis",
        "state": breaker.state,
        "failure_count": breaker.failure_count,
        "success_count": breaker.success_count,
        "last_failure": _iso(breaker.last_failure),
        "last_state_change": _iso(changed),
    }


def lock_check(lock: LockStatus, now: datetime) -> Check:
    """Who holds the cron lock. A held one is healthy; one that nobody can read is not known."""
    now_ms = int(now.timestamp() * 1000)
    expires_in = lock.expires_in_ms
    return {
        "status": HEALTHY if lock.known else UNKNOWN,
        "type": "redis",
        "locked": lock.locked,
        "lock_holder": lock.holder,
        "time_held_ms": max(0, now_ms - lock.acquired_at) if lock.locked and lock.acquired_at else None,
        "lock_acquired_at": _iso(lock.acquired_at) if lock.locked else None,
        "expires_at": _iso(now_ms + expires_in) if lock.locked and expires_in else None,
    }


def queue_check(
    *,
    waiting: int | None,
    active: int,
    delayed: int,
    dead: int,
    oldest_waiting_seconds: float | None,
    completed: int = 0,
    failed: int = 0,
    paused_for: float = 0.0,
) -> Check:
    """How much work there is. `completed` and `failed` count since the living consumers started.

    `waiting` is None where it has changed since it was last seen.
    """
    too_old = (oldest_waiting_seconds or 0.0) > SLOT.total_seconds()
    return {
        "status": DEGRADED if dead or too_old else HEALTHY,
        "type": "huey",
        "waiting": waiting,
        "active": active,
        "delayed": delayed,
        "completed": completed,
        "failed": failed,
        "dead": dead,
        "oldest_waiting_seconds": _whole_seconds(oldest_waiting_seconds),
        "paused_seconds": _whole_seconds(paused_for),
    }


def configuration_check(missing: Sequence[str]) -> Check:
    """Whether every setting that production needs is there."""
    return {"status": UNHEALTHY, "missing_vars": list(missing)} if missing else {"status": HEALTHY}


def email_check(configured: bool, figures: Mapping[str, Any] | None) -> Check:
    """Mail: what waits and since when, what was given up. Without a key mail waits by intention."""
    if figures is None:
        return {"status": UNKNOWN if configured else NOT_CONFIGURED, "configured": configured}
    mail, delay = figures["email"], figures["email_delay"]
    waits = (mail["oldest_pending_seconds"] or 0.0) > MAIL_WAITS_SECONDS
    status = DEGRADED if waits or mail["dead"] else HEALTHY
    check: Check = {
        "status": status if configured else NOT_CONFIGURED,
        "configured": configured,
        "pending": mail["pending"],
        "oldest_pending_seconds": _whole_seconds(mail["oldest_pending_seconds"]),
        "dead": mail["dead"],
        "sending": mail["sending"],
        "held_by_guard": mail["held"],
        "delay_p50_seconds": delay["p50_seconds"],
        "delay_p95_seconds": delay["p95_seconds"],
    }
    tap = mail["hold"]
    parked = bool(tap["parked_until"]) and _time(tap["parked_until"]) > _time(figures["server_time"])
    return check | {
        "held": tap["held"],
        "held_reason": tap["held_reason"],
        "parked_until": tap["parked_until"] if parked else None,
        "park_reason": tap["park_reason"] if parked else None,
    }


def scheduler_check(
    schedule: str, timezone: str, figures: Mapping[str, Any], now: datetime, due: datetime | None
) -> Check:
    """The last tick of any source, and whether it is older than two slots. `due`: the next one by the schedule."""
    last = figures["last_tick"]
    ticks = [tick for tick in (last, *figures["ticks"].values()) if tick and not tick["error"]]
    latest = max((_time(tick["slot"]) for tick in ticks), default=None)
    late = latest is None or now - latest > TICK_IS_OLD
    return {
        "status": DEGRADED if late else HEALTHY,
        "running": due is not None and any(worker["alive"] for worker in living(figures["workers"])),
        "schedule": schedule,
        "timezone": timezone,
        "last_tick_at": last["started_at"] if last else None,
        "last_tick": {name: last[name] for name in ("group", "enqueued", "checked", "failed")} if last else None,
        "last_tick_error": last["error"] if last else None,
        "next_tick_at": due.astimezone(UTC).isoformat() if due else None,
    }


def living(workers: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The consumers that have not said goodbye, as the answer lists them; `alive`: a beat at most 90 s old."""
    return [
        {
            "worker_id": worker["worker_id"],
            "worker_name": worker["worker_name"],
            "host": worker["host"],
            "status": worker["status"],
            "alive": worker["heartbeat_age_seconds"] <= ALIVE_SECONDS,
            "last_heartbeat": worker["last_heartbeat"],
            "current_jobs": worker["current_jobs"],
            "max_concurrent_jobs": worker["max_concurrent_jobs"],
        }
        for worker in workers
        if worker["status"] != "offline"
    ]


def workers_check(workers: Iterable[Mapping[str, Any]]) -> Check:
    """Whether any consumer is alive."""
    listed = living(workers)
    return {"status": HEALTHY if any(worker["alive"] for worker in listed) else UNHEALTHY, "workers": listed}


def freshness_check(figures: Mapping[str, Any]) -> Check:
    """How long ago sections were checked: this is what proves that work is done, not only connected."""
    fresh = figures["freshness"]
    broken = bool(figures["source_looks_broken"])
    return {
        "status": DEGRADED if fresh["overdue_sections"] or broken else HEALTHY,
        "watched_sections": fresh["watched_sections"],
        "overdue_sections": fresh["overdue_sections"],
        "oldest_check_seconds": _whole_seconds(fresh["oldest_check_seconds"]),
        "last_completed_check_at": fresh["last_completed_check_at"],
        "failed_sections": fresh["failed_sections"],
        "struck_sections": fresh["struck_sections"],
        "source_looks_broken": broken,
        "failures": figures["failures"],
    }


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value)


def _iso(epoch_ms: int | None) -> str | None:
    if epoch_ms is None:
        return None
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=epoch_ms)).isoformat()


def _whole_seconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
