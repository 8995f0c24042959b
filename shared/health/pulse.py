"""What a consumer knows of itself, for its beat and its watchdog. Costs no Redis command."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from shared.health.beats import beat_figures
from shared.parts import Parts
from shared.queue.consumer import LeasedConsumer

HUNG_AFTER = 150.0
"""Seconds: longer than a scrape with its commit can take."""


class Pulse:
    """Looks at one consumer."""

    def __init__(self, parts: Parts, consumer: LeasedConsumer, errors: LastError | None = None) -> None:
        self._parts, self._consumer, self._errors = parts, consumer, errors

    @property
    def current_jobs(self) -> int:
        """How many jobs run now."""
        return len(self._consumer.snapshot().running)

    def figures(self) -> dict[str, Any]:
        """The figures of a beat, as health reads them."""
        figures = beat_figures(self._parts, self._consumer.snapshot())
        return figures | {"last_error": self._errors.as_json() if self._errors else None}

    def hung(self) -> str | None:
        """What hangs, for the watchdog; `None` when the work goes on."""
        seen = self._consumer.snapshot()
        if not seen.threads_alive:
            return "a thread of the consumer has ended"
        longest = max(seen.running.values(), default=0.0)
        return f"a check has been running for {longest:.0f} s" if longest > HUNG_AFTER else None


_LONGEST = 200


class LastError(logging.Handler):
    """Remembers the words of the last error and when it was; what belongs to it stays in the log."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(logging.ERROR)
        self._clock = clock
        self._last: dict[str, str] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self._last = {"at": self._clock().isoformat(), "words": record.getMessage()[:_LONGEST]}

    def as_json(self) -> dict[str, str] | None:
        """`at` and `words`; `None` when there was none."""
        return self._last
