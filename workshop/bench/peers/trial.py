"""What the trials of the queues in Python share: what is noted when, and what is printed at the end."""

from __future__ import annotations

import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

WARM_UP = 100
"""Jobs of a drain that are not measured: threads start, connections open, scripts are sent."""
_GAP = 0.05  # seconds between two jobs for an idle worker


class Queue(Protocol):
    """A queue under trial. Its task calls `Notes.began` with its number, then naps, then `Notes.ended`."""

    def enqueue(self, count: int, nap: float) -> None: ...

    def enqueue_one(self, number: int, *, fails_once: bool = False) -> None: ...

    def work(self) -> None:
        """Start four workers, in threads."""

    def is_empty(self) -> bool: ...


class Notes:
    """When jobs began and ended, by the clock that all processes of a machine share."""

    def __init__(self) -> None:
        self.begun: dict[int, list[float]] = {}
        self.last_end = 0.0
        self.first_measured = self.cpu_then = 0.0
        self._count = 0
        self._ended = 0
        self._lock = threading.Lock()
        self.done = threading.Semaphore(0)

    def began(self, number: int) -> int:
        """A job begins; returns how often it has begun."""
        with self._lock:
            self._count += 1
            if self._count == WARM_UP + 1:
                self.first_measured, self.cpu_then = time.monotonic(), time.process_time()
            times = self.begun.setdefault(number, [])
            times.append(time.monotonic())
            return len(times)

    def ended(self) -> None:
        """A job ends."""
        with self._lock:
            self.last_end = time.monotonic()
            self._ended += 1
        self.done.release()

    def wait_for(self, count: int, timeout: float = 300.0) -> None:
        """Until so many more jobs have ended."""
        deadline = time.monotonic() + timeout
        for _ in range(count):
            if not self.done.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
                raise TimeoutError(f"only {self._ended} jobs have ended after {timeout:g} s")


def run(make: Callable[[str, Notes], Queue]) -> None:
    """The verb of the command line, for the queue that `make(url, notes)` gives."""
    verb, url, count, *rest = sys.argv[1:]
    notes = Notes()
    queue = make(url, notes)
    figures = _VERBS[verb](queue, notes, int(count), *(float(word) for word in rest))
    sys.stdout.write(json.dumps(figures) + "\n")
    sys.stdout.flush()


def _enqueue(queue: Queue, _notes: Notes, count: int, nap: float = 0.0) -> dict[str, float]:
    began, cpu = time.monotonic(), time.process_time()
    queue.enqueue(count, nap)
    return {"seconds": time.monotonic() - began, "cpu": time.process_time() - cpu}


def _drain(queue: Queue, notes: Notes, count: int) -> dict[str, float]:
    queue.work()
    notes.wait_for(count)
    while not queue.is_empty():
        time.sleep(0.01)
    return {
        "jobs": count - WARM_UP,
        "seconds": notes.last_end - notes.first_measured,
        "cpu": time.process_time() - notes.cpu_then,
    }


def _pickup(queue: Queue, notes: Notes, count: int) -> dict[str, float]:
    queue.work()
    time.sleep(1.5)
    delays = []
    for number in range(count):
        pushed = time.monotonic()
        queue.enqueue_one(number)
        notes.wait_for(1)
        delays.append(notes.begun[number][0] - pushed)
        time.sleep(_GAP)
    return _of(delays)


def _retry(queue: Queue, notes: Notes, count: int) -> dict[str, float]:
    queue.work()
    time.sleep(0.5)
    delays = []
    for number in range(count):
        queue.enqueue_one(number, fails_once=True)
        notes.wait_for(2)
        first, second = notes.begun[number]
        delays.append(second - first)
    return _of(delays)


def _of(delays: list[float]) -> dict[str, float]:
    return {"median": statistics.median(delays), "worst": max(delays)}


_VERBS: dict[str, Callable[..., dict[str, float]]] = {
    "enqueue": _enqueue,
    "drain": _drain,
    "pickup": _pickup,
    "retry": _retry,
}
