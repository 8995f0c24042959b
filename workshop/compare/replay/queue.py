"""A queue and a lock for one process that has no Redis: a list, and a lock that nobody else wants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shared.lock import Busy, Held, Unavailable
from shared.queue.jobs import Delivery, Job, PushResult


class ListQueue:
    """Keeps what is pushed until it is taken."""

    def __init__(self) -> None:
        self._waiting: list[Delivery] = []

    def push(self, jobs: Sequence[Job], now_ms: int) -> PushResult:
        """Take jobs in."""
        self._waiting += [Delivery.of(job, f"job-{number}", now_ms) for number, job in enumerate(jobs)]
        return PushResult(len(jobs), 0, frozenset(job.key for job in jobs))

    def take(self) -> list[Delivery]:
        """Hand all of them out."""
        taken, self._waiting = self._waiting, []
        return taken


class FreeLock:
    """Always free."""

    def acquire(self, holder: str) -> Held | Busy | Unavailable:  # noqa: ARG002 - part of the interface
        """Ours."""
        return Held()

    def acquire_patiently(self, holder: str, sleep: Callable[[float], bool]) -> Held | Busy | Unavailable:  # noqa: ARG002
        """Ours."""
        return Held()

    def release(self, holder: str) -> bool:  # noqa: ARG002 - part of the interface
        """Free again."""
        return True
