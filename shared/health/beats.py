"""What consumers say of Redis with their beat, and what the public summary makes of it.

A public probe must not cost a Redis command, so `redis`, `circuit_breaker`, `cron_lock` and `queue` come from the
living consumers' last beats: they notice a lost Redis by their blocked connection, and see the breaker and the queue
with the work that they do anyway.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from shared.health.checks_looks import sources_known
from shared.health.checks_stores import BreakerCheck, LockCheck, RedisCheck
from shared.health.checks_work import QueueCheck, QueueFigures
from shared.health.checks_workers import beats_of_the_living
from shared.health.faults import NO_ANSWER, NO_WRITES, Fault
from shared.lock import LockStatus
from shared.parts import Parts
from shared.queue import Snapshot
from shared.source.breaker import BreakerStatus


@dataclass(frozen=True, slots=True)
class RedisSide:
    """The four checks that only Redis can tell."""

    redis: RedisCheck
    breaker: BreakerCheck
    lock: LockCheck
    queue: QueueCheck

    def as_json(self) -> dict[str, Any]:
        """As it travels with a beat."""
        return {check.name: check.as_json() for check in (self.redis, self.breaker, self.lock, self.queue)}

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> RedisSide | None:
        """As a beat tells it; None when it tells nothing that can be read."""
        try:
            return cls(
                RedisCheck.from_json(told[RedisCheck.name]),
                BreakerCheck.from_json(told[BreakerCheck.name]),
                LockCheck.from_json(told[LockCheck.name]),
                QueueCheck.from_json(told[QueueCheck.name]),
            )
        except (AttributeError, LookupError, TypeError, ValueError):
            return None


NOBODY_KNOWS = RedisSide(RedisCheck(), BreakerCheck("UNKNOWN"), LockCheck(known=False), QueueCheck(None))


def beat_figures(parts: Parts, seen: Snapshot) -> dict[str, Any]:
    """The `figures` of this consumer's beat, from what it has seen last: costs no Redis command, while all is well.

    How many dead letters there are and how long the oldest job waits it cannot know without asking; the summary
    tells that by the sections themselves, which Postgres knows.
    """
    breaker, lock = parts.breaker.last_seen, parts.lock.last_seen
    if not seen.redis_connected:
        breaker, lock = BreakerStatus(state="UNKNOWN"), LockStatus(known=False)
    fault = None if seen.redis_connected else Fault(NO_ANSWER, "a consumer has lost it")
    if not parts.huey.storage.takes_writes():
        fault = Fault(NO_WRITES, "a consumer was refused")
    queue = QueueFigures(
        waiting=seen.waiting,
        active=len(seen.running) + seen.buffered,
        delayed=seen.delayed,
        completed=seen.completed,
        failed=seen.failed,
        dead=0,
        found_lost=seen.found_lost,
        stalled_seconds=round(seen.stalled_for),
    )
    side = RedisSide(
        RedisCheck(seen.redis_connected, None, fault),
        BreakerCheck.of(breaker),
        LockCheck.of(lock, parts.clock()),
        QueueCheck(queue),
    )
    measures = parts.measures.as_json() | {"database_calls": parts.database.calls}
    return side.as_json() | {"measures": measures, "sources": sources_known(parts)}


def side_of_beats(figures: Mapping[str, Any]) -> RedisSide:
    """What the living consumers know together; without any, nothing is known.

    `figures` is the answer of `pmc_read_health`. A section whose last attempt was given up stands for its dead
    letter: both end with its next success.
    """
    read = (RedisSide.from_json(worker["figures"]) for worker in beats_of_the_living(figures))
    told = [side for side in read if side is not None]  # the freshest beat first
    if not told:
        return NOBODY_KNOWS
    newest = told[0].queue.seen
    dead = int(figures["freshness"]["failed_sections"])
    return RedisSide(
        # One consumer that has lost Redis does not work, so that is what the summary says.
        redis=next((one.redis for one in told if one.redis.fault), told[0].redis),
        # An idle consumer may not have seen the latest change; whoever knows the latest one is right.
        breaker=max((one.breaker for one in told), key=lambda check: check.last_state_change or ""),
        # Only the one that ticks knows of its lock.
        lock=max((one.lock for one in told), key=lambda check: (check.locked, check.known)),
        queue=QueueCheck(replace(newest, dead=dead, **_together(told)) if newest else None),
    )


def consumers_told(workers: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """What the living consumers tell of jobs, for `QueueFigures`: sums, and the longest that one stands still."""
    living = (RedisSide.from_json(worker["figures"]) for worker in workers if worker["status"] != "offline")
    return _together(side for side in living if side is not None)


def _together(sides: Iterable[RedisSide]) -> dict[str, int]:
    known = [side.queue.seen for side in sides if side.queue.seen]
    return {
        "completed": sum(one.completed for one in known),
        "failed": sum(one.failed for one in known),
        "found_lost": sum(one.found_lost for one in known),
        "stalled_seconds": max((one.stalled_seconds for one in known), default=0),
    }
