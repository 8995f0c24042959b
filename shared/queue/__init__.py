"""A leased queue under Huey: at-least-once delivery at a few Redis commands per batch.

huey = LeasedHuey(redis_url="redis://localhost", prefix="pickmyclass:", timezone="America/Phoenix")

@huey.task(name="process_section", context=True)
def process_section(term, class_nbr, task): ...    # may raise RetryLater, Park, PauseQueue, GiveUp; has task.delivery

@huey.periodic_task(crontab(minute="0,30"))
def tick(turn): ...                                # in a control thread; turn.scheduled_at, turn.wait(seconds)

@huey.control(every=30.0, stops_last=True)
def beat(turn): ...                                # woken early by huey.wake("beat")

huey.push([Job("process_section", "2261:12345", {"term": "2261", "class_nbr": "12345"})], now_ms)
huey.create_consumer(workers=4, worker_id="web-1-7f3a").run()      # until SIGTERM
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from typing import Any
from zoneinfo import ZoneInfo

from shared.lean import absent

with absent("psycopg"):  # Huey loads it, 5 MB, for a storage of its own; the gateway loads it when it is wanted
    from huey import Huey, signals
    from huey.exceptions import ConfigurationError, HueyException
    from huey.registry import Registry

from shared.backoff import retry_delay
from shared.durations import Durations
from shared.lock import Lock
from shared.queue.consumer import LeasedConsumer
from shared.queue.controls import Control, Turn
from shared.queue.dead_letters import DeadLetters, letter_for
from shared.queue.holdings import Ending
from shared.queue.jobs import (
    Delivery,
    GiveUp,
    HandOn,
    Job,
    Park,
    PauseQueue,
    PushResult,
    RetryLater,
    Snapshot,
)
from shared.queue.storage import Counts, QueueStorage
from shared.redis import RedisError, wall_clock
from shared.source.breaker import Breaker

__all__ = [
    "Counts",
    "GiveUp",
    "Job",
    "LeasedHuey",
    "Park",
    "PauseQueue",
    "PushResult",
    "RetryLater",
    "Snapshot",
    "Turn",
]

_log = logging.getLogger(__name__)


def _words(error: BaseException) -> str:
    """An unexpected error in words, even if it has none."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


class _NamedRegistry(Registry):  # type: ignore[misc]  # huey has no types
    """Tasks by their bare name, so that a job outlives a move of its function."""

    def task_to_string(self, task_class: Any) -> str:
        return str(task_class.__name__)


class LeasedHuey(Huey):  # type: ignore[misc]  # huey has no types
    """A Huey whose jobs are leased, not popped; no results, no revocations, no pickle, no schedule in Redis."""

    storage: QueueStorage

    def __init__(
        self,
        *,
        redis_url: str,
        prefix: str = "pickmyclass:",
        name: str = "class-check",
        timezone: str = "UTC",
        durations: Durations | None = None,
        clock: Callable[[], int] = wall_clock,
        gate: str = "scraper",
    ) -> None:
        """Connects at first use. `clock` (epoch milliseconds) judges expiry; `timezone` is the periodic tasks' own.

        `gate` names the source whose breaker holds jobs back.
        """
        self.durations = durations or Durations()
        self.timezone = ZoneInfo(timezone)
        super().__init__(
            name,
            results=False,
            storage_class=QueueStorage,
            url=redis_url,
            prefix=prefix,
            durations=self.durations,
            clock=clock,
            gate=gate,
        )
        self._registry = _NamedRegistry()
        self.controls: list[Control] = []
        self.found_lost = 0
        self.before_push: Callable[[set[str]], None] = lambda _: None
        self.dead_letters = DeadLetters(self.storage)
        self.breaker = Breaker(self.storage.client, prefix, self.storage.doorbell, self.durations, gate)
        self.lock = Lock(self.storage.client, prefix, self.durations, clock)

    def push(self, jobs: Iterable[Job], now_ms: int) -> PushResult:
        """Queue those jobs that are not queued yet, in as few round trips as their size allows.

        `now_ms` (epoch milliseconds, the clock of the slots) decides which queued ones have expired and are
        replaced. Raises `RedisError`; then it may be repeated without harm.
        """
        jobs = list(jobs)
        self.before_push({job.key for job in jobs})  # a job that has finished here must not count as queued
        return self.storage.push(jobs, now_ms)

    def enqueue(self, task: Any) -> None:
        """Huey's way to queue a call: never a duplicate of another, expires never. Keyword arguments only."""
        if task.args or task.eta or task.on_complete or task.on_error:
            raise ConfigurationError("a leased job takes keyword arguments only, no delay and no pipeline")
        job = Job(task.name, str(task.id), task.kwargs, urgent=bool(task.priority))
        self.push([job], self.storage.clock())

    def execute(self, job: Delivery, timestamp: object = None) -> Ending:  # noqa: ARG002 (Huey's signature)
        """Run one job; its ending is what it raised. Nothing it raises goes further, not even SystemExit."""
        if not job.task:
            return self._buried(job, "unreadable", "the message is not one of ours")
        try:
            task = self._registry.string_to_task(job.task)((), job.payload, id=job.id)
        except HueyException:
            return self._buried(job, "unknown task", f"no task is called {job.task[:100]!r}")
        task.delivery = job
        self._emit(signals.SIGNAL_EXECUTING, task)
        try:
            task.execute()
        except Park:
            return self._parked(job, max(self.breaker.last_seen.retry_after, self.durations.retry_base))
        except HandOn:
            return Ending(lambda held: held.hand_on(job), hold_for=self.durations.hand_on)
        except PauseQueue as pause:
            self._share(pause)
            return self._parked(job, pause.seconds)
        except GiveUp as error:
            self._emit(signals.SIGNAL_ERROR, task, error)
            return self._buried(job, error.reason, error.error)
        except RetryLater as error:
            return self._retried(job, task, error)
        except BaseException as error:
            _log.exception("task %s failed", job.task, extra={"job_key": job.key})
            base, cap = self.durations.retry_base, self.durations.retry_cap
            delay = retry_delay(job.attempt, random.uniform, base=base, cap=cap)
            return self._retried(job, task, RetryLater(delay, _words(error)))
        finally:
            # A probe that told the breaker nothing gives its lease back, so that the next may try.
            if job.permit:
                self.breaker.return_permit(job.permit)
        self._emit(signals.SIGNAL_COMPLETE, task)
        return Ending(lambda held: held.acknowledge(job), succeeded=True)

    def _emit(self, signal: str, task: Any, *details: Any) -> None:
        """Tell Huey's listeners; what they raise is theirs and does not change how a job ended."""
        try:
            super()._emit(signal, task, *details)
        except Exception:
            _log.exception("a listener of %s failed", signal)

    def _retried(self, job: Delivery, task: Any, error: RetryLater) -> Ending:
        if job.is_last_attempt:
            self._emit(signals.SIGNAL_ERROR, task, error)
            return self._buried(job, "attempts", error.error)
        self._emit(signals.SIGNAL_RETRYING, task)
        due = wall_clock() + round(error.delay * 1000)
        return Ending(lambda held: held.retry(job, due))

    def _parked(self, job: Delivery, seconds: float) -> Ending:
        return Ending(lambda held: held.park(job), hold_for=seconds)

    def _buried(self, job: Delivery, reason: str, error: str) -> Ending:
        _log.error("job given up: %s", reason, extra={"job_key": job.key, "error": error})
        letter = letter_for(job, reason, error, self.storage.clock())
        return Ending(lambda held: held.bury(job, letter))

    def _share(self, pause: PauseQueue) -> None:
        try:
            self.storage.pause(pause.seconds)
        except RedisError:
            _log.warning("queue: the pause could not be shared")

    def counts(self) -> Counts:
        """How much there is; asks Redis about ten commands. Raises `RedisError`."""
        return self.storage.counts()

    def take_over(self, worker_id: str) -> tuple[int, int, int] | None:
        """Give the jobs of a consumer whose beat is old to the others; None while its lease stands.

        Returns how many went back, how many will run alone, how many were buried. Raises `RedisError`.
        """
        return self.storage.take_over(worker_id)

    def known_consumers(self) -> set[str]:
        """Consumers that hold jobs or died; those that the database does not know are dead too."""
        return self.storage.known_consumers()

    def find_lost(self) -> set[str]:
        """Put jobs back that the queue knows and nobody has; answers `known_consumers`. Raises `RedisError`."""
        found, workers = self.storage.find_lost()
        if found:
            self.found_lost += found
            _log.error(
                "queue: jobs were in nobody's hands and are put back; this is a fault of ours", extra={"jobs": found}
            )
        return workers

    def control(
        self, *, every: float, stops_last: bool = False
    ) -> Callable[[Callable[[Turn], float | None]], Callable[[Turn], float | None]]:
        """Declare a function that a consumer calls in a thread of its own, `every` so many seconds.

        It may return the seconds until its next turn. With `stops_last` it goes on until the workers have finished.
        """

        def declare(function: Callable[[Turn], float | None]) -> Callable[[Turn], float | None]:
            self.controls.append(Control(function.__name__, function, every, stops_last=stops_last))
            return function

        return declare

    def wake(self, name: str) -> None:
        """Let the control function `name` of this process run at once."""
        for control in self.controls:
            if control.name == name:
                control.woken.set()

    def create_consumer(self, *, workers: int = 4, worker_id: str) -> LeasedConsumer:
        """The consumer of this process; `worker_id` must be new with every start. Run it with `run()`."""
        return LeasedConsumer(self, workers=workers, worker_id=worker_id)

    def close(self) -> None:
        """Close the connections."""
        self.storage.close()
