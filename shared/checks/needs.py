"""What a check and a tick need of the stores and clients, as narrow protocols: tests hand in less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from shared.lock import Busy, Held, Unavailable
from shared.queue.jobs import Job, PushResult
from shared.sections.section import Section
from shared.source.answers import Answer


class LooksUp(Protocol):
    """Who is asked about one section at a time."""

    def look_up(self, section: Section, timeout: float) -> Answer: ...


class Pushes(Protocol):
    """The queue as a producer sees it. Raises `redis.RedisError` when it cannot be reached."""

    def push(self, jobs: Sequence[Job], now_ms: int) -> PushResult: ...


class Locks(Protocol):
    """The cron lock. `sleep(seconds)` answers whether the wait was interrupted."""

    def acquire(self, holder: str) -> Held | Busy | Unavailable: ...

    def acquire_patiently(self, holder: str, sleep: Callable[[float], bool]) -> Held | Busy | Unavailable: ...

    def release(self, holder: str) -> bool: ...
