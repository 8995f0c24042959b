"""What the first page tells of how soon people hear, measured on our own mail of the last week."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.students.told import count, long

KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Figures:
    """In words; `median` is empty when nothing was measured."""

    sections: str
    mails: str
    median: str
    p95: str


@dataclass(slots=True)
class Front:
    """Asks the database at most once a minute, however many look at the page. Safe to share between threads."""

    database: DatabaseCalls
    clock: Clock
    monotonic: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _kept: tuple[float, Figures] | None = None

    def figures(self) -> Figures:
        """The figures as of this minute. Raises `DatabaseError`."""
        with self._lock:
            if self._kept is None or self.monotonic() - self._kept[0] > KEPT_SECONDS:
                self._kept = (self.monotonic(), self._ask())
            return self._kept[1]

    def _ask(self) -> Figures:
        told = self.database.call("pmc_read_front", p_now=self.clock())
        return Figures(
            sections=count(told["sections"], "section"),
            mails=count(told["mails"], "mail"),
            median=_short(told["median"]) if told["mails"] else "",
            p95=_short(told["p95"]) if told["mails"] else "",
        )


def _short(seconds: float) -> str:
    if seconds < 60:
        return count(max(1, round(seconds)), "second")
    return long(timedelta(seconds=seconds))
