"""How much one account may send: requests a second, and emails a day."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable


class Limits:
    """Counts as Resend does and says so in the headers of every answer. For any thread."""

    def __init__(self, rate: int, daily_quota: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """`rate` requests in each second; `daily_quota` emails a day (`None`: a plan without one)."""
        self.rate, self.daily_quota, self._clock = rate, daily_quota, clock
        self._window, self._asked, self._sent = math.floor(clock()), 0, 0
        self._lock = threading.Lock()

    def take_request(self) -> tuple[bool, dict[str, str]]:
        """Count one request: whether it is within the rate, and the headers that tell."""
        with self._lock:
            now = self._clock()
            if math.floor(now) != self._window:
                self._window, self._asked = math.floor(now), 0
            allowed = self._asked < self.rate
            self._asked += allowed
            reset = str(math.ceil(self._window + 1 - now))
            headers = {
                "ratelimit-limit": str(self.rate),
                "ratelimit-remaining": str(self.rate - self._asked),
                "ratelimit-reset": reset,
                "ratelimit-policy": f"{self.rate};w=1",
            }
            if self.daily_quota is not None:
                headers["x-resend-daily-quota"] = str(self._sent)
            return allowed, headers if allowed else {**headers, "retry-after": reset}

    def take_emails(self, count: int) -> bool:
        """Count `count` emails if the day's quota has room for all of them; whether it had."""
        with self._lock:
            if self.daily_quota is not None and self._sent + count > self.daily_quota:
                return False
            self._sent += count
            return True

    def start_a_day(self) -> None:
        """Midnight: the quota is whole again."""
        with self._lock:
            self._sent = 0
