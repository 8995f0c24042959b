"""The campus's own time, in epoch milliseconds: standing still until told, or running at a rate."""

from __future__ import annotations

import threading
import time


class VirtualClock:
    """Virtual time. `rate` 0 stands still, 1 runs like ours, 60 makes a minute of an hour. For any thread."""

    def __init__(self, now_ms: int, rate: float = 0.0) -> None:
        """Begin at `now_ms`."""
        self._lock = threading.Lock()
        self.set(now_ms, rate)

    @property
    def rate(self) -> float:
        """How many virtual seconds pass in one of ours."""
        return self._rate

    def now_ms(self) -> int:
        """The virtual time."""
        with self._lock:
            return self._set_to + int((time.monotonic() - self._set_at) * 1000 * self._rate)

    def set(self, now_ms: int, rate: float | None = None) -> None:
        """Jump to `now_ms`; keep the rate unless given another."""
        with self._lock:
            self._set_to, self._set_at = now_ms, time.monotonic()
            if rate is not None:
                self._rate = rate
