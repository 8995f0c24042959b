"""Huey's consumer with leased jobs: workers that settle what they run, control threads, and an orderly stop."""

from __future__ import annotations

import logging
import queue
import random
import signal
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from huey import signals
from huey.consumer import BaseProcess, Consumer, ConsumerStopped, Worker
from huey.exceptions import HueyException

from shared.controls import Control, Turn
from shared.core.backoff import retry_delay
from shared.core.jobs import Delivery, GiveUp, Park, Pause, RetryLater, set_current_delivery
from shared.stores.dead_letters import letter_for
from shared.stores.queue.fetcher import Fetcher
from shared.stores.redis import RedisError

if TYPE_CHECKING:
    from shared.stores.queue import LeasedHuey

_log = logging.getLogger(__name__)
_HEALTH_CHECK = 5.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a consumer knows of itself without asking anyone: for its beat, its watchdog and the health check.

    `running` has key and age in seconds of each job; `waiting` is what Redis said last (None: it has changed since).
    """

    running: dict[str, float]
    buffered: int
    delayed: int
    waiting: int | None
    completed: int
    failed: int
    last_completed_at: float | None
    threads_alive: bool
    redis_connected: bool
    stopping: bool


class _LeasedWorker(Worker):  # type: ignore[misc]  # huey has no types
    """A worker thread: runs what the fetcher hands out."""

    consumer: LeasedConsumer

    def initialize(self) -> None:
        """Start-up hooks run once per consumer, not once per thread."""

    def shutdown(self) -> None:
        """Neither do the others."""

    def loop(self, now: Any = None) -> None:  # noqa: ARG002 (Huey's signature)
        self.consumer.work()


class _FetcherThread(BaseProcess):  # type: ignore[misc]  # huey has no types
    """The thread that takes jobs."""

    process_name = "Fetcher"
    consumer: LeasedConsumer

    def loop(self, now: Any = None) -> None:  # noqa: ARG002 (Huey's signature)
        if self.consumer.fetcher.stopping:
            self.stop_flag.wait()
        else:
            self.consumer.fetcher.fetch()


class LeasedConsumer(Consumer):  # type: ignore[misc]  # huey has no types
    """`workers` threads under the incarnation `worker_id`. `run()` returns after SIGTERM or `stop()`."""

    worker_class = _LeasedWorker

    def __init__(self, huey: LeasedHuey, *, workers: int, worker_id: str) -> None:
        self.worker_id = worker_id
        self.fetcher = Fetcher(huey.storage, huey.breaker, workers=workers, worker_id=worker_id)
        self.durations = huey.durations
        self.left_cleanly = False  # after run(): Redis counts nothing as ours any more
        self._started: dict[str, tuple[str, float]] = {}
        self._completed = 0
        self._failed = 0
        self._last_completed_at: float | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._stop_asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.controls = [
            *(control.fresh() for control in huey.controls),
            *(_periodic(huey, task) for task in huey._registry._periodic_tasks),
        ]
        super().__init__(huey, workers=workers, periodic=False, health_check_interval=_HEALTH_CHECK)

    # ---- running jobs

    def work(self) -> None:
        """One turn of a worker thread: wait for a job, run it, settle it."""
        job = self.fetcher.next()
        if job is None:
            self.stop_flag.wait()
            return
        self._started[job.entry] = (job.key, time.monotonic())
        set_current_delivery(job)
        try:
            succeeded = self._run(job)
        finally:
            set_current_delivery(None)
            self._started.pop(job.entry, None)
        self._completed += succeeded
        self._failed += not succeeded
        self._last_completed_at = time.time()

    def _run(self, job: Delivery) -> bool:
        """Run one job and settle it by what it raised. Nothing it raises ends the thread, not even SystemExit."""
        if not job.task:
            return self._give_up(job, "unreadable", "the message is not one of ours")
        try:
            task = self.huey._registry.string_to_task(job.task)((), job.payload, id=job.id)
        except HueyException:
            return self._give_up(job, "unknown task", f"no task is called {job.task[:100]!r}")
        self.huey._emit(signals.SIGNAL_EXECUTING, task)
        try:
            task.execute()
        except RetryLater as error:
            return self._try_again(job, task, error.delay, error.error)
        except Park:
            return self._park(job, max(self.huey.breaker.last_seen.retry_after, 1.0))
        except Pause as pause:
            self._pause(pause.seconds)
            return self._park(job, pause.seconds)
        except GiveUp as error:
            self.huey._emit(signals.SIGNAL_ERROR, task, error)
            return self._give_up(job, error.reason, error.error)
        except BaseException as error:
            _log.exception("task %s failed", job.task, extra={"job_key": job.key})
            delay = retry_delay(
                job.attempt, random.uniform, base=self.durations.retry_base, cap=self.durations.retry_cap
            )
            return self._try_again(job, task, delay, f"{type(error).__name__}: {error}")
        self._return_probe(job)
        self.fetcher.settle(lambda held: held.acknowledge(job))
        self.huey._emit(signals.SIGNAL_COMPLETE, task)
        return True

    def _park(self, job: Delivery, seconds: float) -> bool:
        self._return_probe(job)
        job.permit = None
        self.fetcher.settle(lambda held: held.park(job), hold_for=seconds)
        return False

    def _try_again(self, job: Delivery, task: Any, delay: float, error: str) -> bool:
        if job.is_last_attempt:
            self.huey._emit(signals.SIGNAL_ERROR, task, error)
            return self._give_up(job, "attempts", error)
        self._return_probe(job)
        due = self.huey.storage.clock() + round(delay * 1000)
        self.fetcher.settle(lambda held: held.retry(job, due))
        self.huey._emit(signals.SIGNAL_RETRYING, task)
        return False

    def _give_up(self, job: Delivery, reason: str, error: str) -> bool:
        self._return_probe(job)
        letter = letter_for(job, reason, error, self.huey.storage.clock())
        self.fetcher.settle(lambda held: held.bury(job, letter))
        _log.error("job given up: %s", reason, extra={"job_key": job.key, "error": error})
        return False

    def _return_probe(self, job: Delivery) -> None:
        """A probe that told the breaker nothing gives its lease back, so that the next may try."""
        if job.permit and job.permit.probe:
            self.huey.breaker.return_permit(job.permit)

    def _pause(self, seconds: float) -> None:
        try:
            self.huey.storage.pause(seconds)
        except RedisError:
            _log.warning("queue: the pause could not be shared")

    # ---- being looked at

    def snapshot(self) -> Snapshot:
        """See `Snapshot`."""
        now = time.monotonic()
        running = dict(self._started)
        with self.fetcher.lock:
            held = self.fetcher.holdings
            buffered, delayed, waiting = len(held.ready), held.delayed, self.fetcher.left
        return Snapshot(
            running={key: now - since for key, since in running.values()},
            buffered=buffered,
            delayed=delayed,
            waiting=waiting,
            completed=self._completed,
            failed=self._failed,
            last_completed_at=self._last_completed_at,
            threads_alive=self.scheduler.is_alive() and all(thread.is_alive() for thread in self._threads.values()),
            redis_connected=self.fetcher.lease.connected,
            stopping=self.fetcher.stopping,
        )

    def pause(self) -> None:
        """Take no more jobs, by an operator's wish; what runs goes on."""
        self.fetcher.pause(True)

    def resume(self) -> None:
        """Take jobs again."""
        self.fetcher.pause(False)

    # ---- life

    def start(self) -> None:
        """Start every thread; signals are listened to when this is the main thread."""
        self._set_signal_handlers()
        for hook in self.huey._startup.values():
            hook()
        for name, loop in (("keeper", self._keep), *((control.name, control.loop) for control in self.controls)):
            self._threads[name] = threading.Thread(target=loop, name=name, daemon=True)
            self._threads[name].start()
        super().start()

    def loop(self, health_check_ts: Any = None) -> Any:
        """One turn of the main thread: wait until asked to stop, and see that the threads live."""
        try:
            self._stop_asked.get(timeout=_HEALTH_CHECK)
        except queue.Empty:
            self.check_worker_health()
            return health_check_ts
        self.stop(graceful=True)
        raise ConsumerStopped

    def request_stop(self) -> None:
        """Ask for an orderly stop, from any thread; asking again changes nothing."""
        self._stop_asked.put(None)

    def stop(self, graceful: bool = True) -> None:  # noqa: ARG002 (it always is; Huey's signature)
        """The order of a stop: no new ticks; jobs not started go back at once; running ones get `drain` seconds, then
        they go back too; the mail in flight settles; goodbye. After `stop` seconds nothing is waited for."""
        began = time.monotonic()
        for control in self.controls:
            if not control.stops_last:
                control.halt()
        self.fetcher.stop_taking()
        while self._started and time.monotonic() < began + self.durations.drain:
            time.sleep(0.02)
        if unfinished := self.fetcher.give_back_running():
            _log.warning("consumer: running jobs handed back", extra={"jobs": unfinished})
        for control in self.controls:
            control.halt()
        for control in self.controls:
            left = began + (self.durations.drain + self.durations.stop) / 2 - time.monotonic()
            self._threads[control.name].join(max(left, 0.0))
        for hook in self.huey._shutdown.values():
            hook()
        self.left_cleanly = self.fetcher.leave()
        self.stop_flag.set()
        self._threads["keeper"].join(1.0)
        _log.info("consumer stopped", extra={"worker_id": self.worker_id, "cleanly": self.left_cleanly})

    def _keep(self) -> None:
        while not self.fetcher.finished:
            try:
                self.fetcher.keep()
            except Exception:
                _log.exception("keeper failed")
                time.sleep(1.0)

    def _create_worker(self) -> Worker:
        worker = super()._create_worker()
        worker.consumer = self
        return worker

    def _create_scheduler(self) -> BaseProcess:
        """Where plain Huey has its scheduler, the fetcher runs: the same care keeps it alive."""
        fetcher = _FetcherThread(self.huey, self.stop_flag)
        fetcher.consumer = self
        return fetcher

    def _set_signal_handlers(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGTERM, signal.SIGINT):
                signal.signal(signum, self._handle_signal)

    def _handle_signal(self, signum: int, frame: Any) -> None:  # noqa: ARG002 (the signal module's signature)
        """Only takes note, and that in a way that may interrupt anything; a second signal changes nothing."""
        self._stop_asked.put(None)


def _periodic(huey: LeasedHuey, task_class: Any) -> Control:
    """A periodic task as a control function: its body is called with a `Turn`."""

    def run(turn: Turn) -> None:
        task_class((turn,)).execute()

    return Control(task_class.__name__, run, is_due=task_class().validate_datetime, timezone=huey.timezone)
