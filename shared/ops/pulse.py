"""What a consumer knows of itself, for its beat and its watchdog."""

from __future__ import annotations

import time
from typing import Any

from redis import RedisError

from shared.ops.beats import beat_figures
from shared.stores.queue.consumer import LeasedConsumer
from shared.wiring import Wiring

COUNT_EVERY = 900.0
"""Seconds between two looks at the dead letters when none has come: each look is a Redis command."""
HUNG_AFTER = 150.0
"""Seconds: longer than a scrape with its commit and its mail can take."""


class Pulse:
    """Looks at one consumer. Costs no Redis command, save for counting the dead letters now and then."""

    def __init__(self, parts: Wiring, consumer: LeasedConsumer) -> None:
        self._parts, self._consumer = parts, consumer
        self._dead, self._counted_at, self._failed = 0, float("-inf"), 0

    @property
    def current_jobs(self) -> int:
        """How many jobs run now."""
        return len(self._consumer.snapshot().running)

    def figures(self) -> dict[str, Any]:
        """The figures of a beat, as health reads them."""
        seen = self._consumer.snapshot()
        self._count_dead(seen.failed)
        return beat_figures(
            now=self._parts.clock(),
            connected=seen.redis_connected,
            breaker=self._parts.breaker.last_seen,
            lock=self._parts.lock.last_seen,
            waiting=seen.waiting or 0,
            active=len(seen.running) + seen.buffered,
            delayed=seen.delayed,
            dead=self._dead,
            oldest_waiting_seconds=None,
            completed=seen.completed,
            failed=seen.failed,
        )

    def hung(self) -> str | None:
        """What hangs, for the watchdog; `None` when the work goes on."""
        seen = self._consumer.snapshot()
        if not seen.threads_alive:
            return "a thread of the consumer has ended"
        longest = max(seen.running.values(), default=0.0)
        return f"a check has been running for {longest:.0f} s" if longest > HUNG_AFTER else None

    def _count_dead(self, failed: int) -> None:
        """Count the dead letters when a job failed since, and every quarter of an hour (others bury and resolve)."""
        now = time.monotonic()
        if failed == self._failed and now - self._counted_at < COUNT_EVERY:
            return
        try:
            self._dead = self._parts.huey.dead_letters.count()
        except RedisError:
            return
        self._failed, self._counted_at = failed, now
