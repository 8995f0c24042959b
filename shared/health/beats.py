"""What consumers say of Redis with their beat, and what the public summary makes of it.

A public probe must not cost a Redis command, so `redis`, `circuit_breaker`, `cron_lock` and `queue` come from the
living consumers' last beats: they notice a lost Redis by their blocked connection, and see the breaker and the queue
with the work that they do anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shared.health import checks
from shared.health.checks import ALIVE_SECONDS, HEALTHY, Check
from shared.lock import LockStatus
from shared.source.breaker import BreakerStatus

if TYPE_CHECKING:
    from shared.queue import Snapshot
    from shared.wiring import Wiring

FROM_BEATS = ("redis", "circuit_breaker", "cron_lock", "queue")


def beat_figures(parts: Wiring, seen: Snapshot) -> dict[str, Any]:
    """The `figures` of this consumer's beat, from what it has seen last: costs no Redis command.

    How many dead letters there are and how long the oldest job waits it cannot know without asking; the summary
    tells that by the sections themselves, which Postgres knows.
    """
    breaker, lock = parts.breaker.last_seen, parts.lock.last_seen
    if not seen.redis_connected:
        breaker, lock = BreakerStatus(state="UNKNOWN"), LockStatus(known=False)
    queue = checks.queue_check(
        waiting=seen.waiting,
        active=len(seen.running) + seen.buffered,
        delayed=seen.delayed,
        dead=0,
        oldest_waiting_seconds=None,
        completed=seen.completed,
        failed=seen.failed,
    )
    return {
        "redis": checks.redis_check(seen.redis_connected, None),
        "circuit_breaker": checks.breaker_check(breaker),
        "cron_lock": checks.lock_check(lock, parts.clock()),
        "queue": queue,
        "measures": parts.measures.as_json() | {"database_calls": parts.database.calls},
    }


def checks_from_beats(figures: Mapping[str, Any]) -> dict[str, Check]:
    """The four checks as the living consumers know them together; without any, nothing is known.

    `figures` is the answer of `pmc_read_health`. A section whose last attempt was given up stands for its dead
    letter: both end with its next success.
    """
    workers = figures["workers"]
    alive = [
        worker
        for worker in sorted(workers, key=lambda worker: float(worker["heartbeat_age_seconds"]))
        if worker["status"] != "offline"
        and worker["heartbeat_age_seconds"] <= ALIVE_SECONDS
        and all(name in worker["figures"] for name in FROM_BEATS)
    ]
    if not alive:
        return nothing_known()
    told: list[dict[str, Check]] = [worker["figures"] for worker in alive]  # the freshest beat first
    return {
        # One consumer that has lost Redis does not work, so that is what the summary says.
        "redis": max((one["redis"] for one in told), key=lambda check: checks.RANK.get(check["status"], 0)),
        # An idle consumer may not have seen the latest change; whoever knows the latest one is right.
        "circuit_breaker": max(
            (one["circuit_breaker"] for one in told), key=lambda check: check["last_state_change"] or ""
        ),
        # Only the one that ticks knows of its lock.
        "cron_lock": max((one["cron_lock"] for one in told), key=lambda c: (c["locked"], c["status"] == HEALTHY)),
        "queue": _queue(told, int(figures["freshness"]["failed_sections"])),
    }


def nothing_known() -> dict[str, Check]:
    """The four checks when nobody can tell."""
    return {
        "redis": {"status": checks.UNKNOWN},
        "circuit_breaker": checks.breaker_check(BreakerStatus(state="UNKNOWN")),
        "cron_lock": {"status": checks.UNKNOWN, "type": "redis", "locked": False},
        "queue": {"status": checks.UNKNOWN, "type": "huey"},
    }


def ended_jobs(workers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many jobs the living consumers have completed and failed since they started."""
    figures = (worker["figures"].get("queue", {}) for worker in workers if worker["status"] != "offline")
    return _counted(figures)


def _queue(told: list[dict[str, Check]], dead: int) -> Check:
    newest = told[0]["queue"] | _counted(one["queue"] for one in told)
    return newest | {"dead": dead, "status": checks.DEGRADED if dead else newest["status"]}


def _counted(queues: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    told = list(queues)
    return {name: sum(int(one.get(name) or 0) for one in told) for name in ("completed", "failed")}
