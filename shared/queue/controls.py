"""Control work: functions that a consumer calls on time, in threads of their own, never through the queue."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

_log = logging.getLogger(__name__)
_LOOK_AHEAD_MINUTES = 32 * 24 * 60
_LONGEST_NAP = 60.0  # so that a clock that was set, or a machine that slept, is noticed


@dataclass(frozen=True, slots=True)
class Turn:
    """One call of a control function. `scheduled_at` is the minute it was due at, for periodic tasks."""

    stop: threading.Event
    scheduled_at: datetime | None = None

    @property
    def is_stopping(self) -> bool:
        """Whether the consumer wants to stop: return soon."""
        return self.stop.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait; true when the consumer wants to stop, and then at once."""
        return self.stop.wait(seconds)


@dataclass(slots=True)
class Control:
    """A control function: called `every` so many seconds, or in the minutes that `is_due` names (local time)."""

    name: str
    function: Callable[[Turn], float | None]
    every: float = 0.0
    is_due: Callable[[datetime], bool] | None = None
    timezone: tzinfo = UTC
    stops_last: bool = False
    woken: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def periodic(cls, task_class: Any, timezone: tzinfo) -> Control:
        """A periodic task of Huey's: its body is called with a `Turn`."""

        def run(turn: Turn) -> None:
            task_class((turn,)).execute()

        return cls(task_class.__name__, run, is_due=task_class().validate_datetime, timezone=timezone)

    def fresh(self) -> Control:
        """The same function for another consumer of this process."""
        return replace(self, stop=threading.Event())

    def halt(self) -> None:
        """Ask it to stop; a wait ends at once."""
        self.stop.set()
        self.woken.set()

    def loop(self) -> None:
        """Call the function until asked to stop. What it raises is logged, and does not end it."""
        scheduled_at = self._wait_for_minute() if self.is_due else None
        while not self.stop.is_set():
            wait = self._call(Turn(self.stop, scheduled_at))
            if self.is_due:
                scheduled_at = self._wait_for_minute()
            else:
                self.woken.wait(self.every if wait is None else wait)
                self.woken.clear()

    def _call(self, turn: Turn) -> float | None:
        try:
            return self.function(turn)
        except Exception:
            _log.exception("control function %s failed", self.name)
            return None

    def _wait_for_minute(self) -> datetime | None:
        """Sleep until the next due minute, and return it even when it was overslept; None when stopping."""
        due = self.next_due(datetime.now(UTC))
        while not self.stop.is_set():
            left = due.timestamp() - time.time() if due else _LONGEST_NAP
            if left <= 0:
                return due
            self.stop.wait(min(left, _LONGEST_NAP))
        return None

    def next_due(self, after: datetime) -> datetime | None:
        """The first due minute that begins after `after`, in UTC; None when there is none within a month."""
        if self.is_due is None:
            return None
        minute = after.astimezone(UTC).replace(second=0, microsecond=0)
        for _ in range(_LOOK_AHEAD_MINUTES):
            minute += timedelta(minutes=1)
            if self.is_due(minute.astimezone(self.timezone).replace(tzinfo=None)):
                return minute
        return None
