"""Who asked the campus for what, and when: the record that budgets and delays are measured by."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_MOST = 20_000


class Calls:
    """The latest calls. For any thread."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        """`now_ms` tells the campus's time."""
        self._now_ms = now_ms
        self._calls: deque[dict[str, Any]] = deque(maxlen=_MOST)
        self.asked = 0
        self._at_once = self._most_at_once = 0
        self._lock = threading.Lock()

    @contextmanager
    def note(self, source: str, agent: str, **asked: str) -> Iterator[None]:
        """Around the answer to one call at a door of the campus (`source`), for what was `asked`."""
        call: dict[str, Any] = {"source": source, "at": time.time(), "now_ms": self._now_ms(), "agent": agent, **asked}
        with self._lock:
            self.asked += 1
            self._at_once += 1
            self._most_at_once = max(self._most_at_once, self._at_once)
            call = {"number": self.asked, **call}
            self._calls.append(call)
        try:
            yield
        finally:
            with self._lock:
                self._at_once -= 1
                call["answered_at"] = time.time()

    def as_json(self, after: int) -> dict[str, Any]:
        """The calls after number `after`, of the latest 20,000: for what, and when (epoch s, and the campus's ms).

        The answer was ready at `answered_at`; a call without is being answered.
        """
        with self._lock:
            calls = [dict(call) for call in self._calls if call["number"] > after]
            return {"asked": self.asked, "most_at_once": self._most_at_once, "calls": calls}
