"""Huey's consumer with leased jobs: workers that settle what they run, control threads, and an orderly stop."""

from __future__ import annotations

import logging
import queue
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from huey.consumer import BaseProcess, Consumer, ConsumerStopped, Worker

from shared.queue.controls import Control
from shared.queue.fetcher import Fetcher
from shared.queue.holdings import Holdings
from shared.queue.jobs import Snapshot

if TYPE_CHECKING:
    from shared.queue import LeasedHuey

_log = logging.getLogger(__name__)
_AFTER_A_FAULT = 1.0  # seconds until a thread goes on after an error that nobody foresaw
_HEALTH_CHECK = 1.0  # seconds; also the longest that a signal which just missed the wait goes unnoticed


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
            return
        try:
            self.consumer.fetcher.fetch()
        except Exception:
            _log.exception("fetcher failed")
            self.stop_flag.wait(_AFTER_A_FAULT)


class LeasedConsumer(Consumer):  # type: ignore[misc]  # huey has no types
    """`workers` threads under the incarnation `worker_id`. `run()` returns after SIGTERM or `stop()`."""

    worker_class = _LeasedWorker

    def __init__(self, huey: LeasedHuey, *, workers: int, worker_id: str) -> None:
        self.worker_id = worker_id
        self.fetcher = Fetcher(huey.storage, huey.breaker, workers=workers, worker_id=worker_id)
        huey.before_push = self.fetcher.write
        self.durations = huey.durations
        self.left_cleanly = False  # after run(): Redis counts nothing as ours any more
        self._is_up = False
        self._started: dict[str, tuple[str, float]] = {}
        self._completed = 0
        self._failed = 0
        self._last_completed_at: float | None = None
        self._threads: dict[str, threading.Thread] = {}
        self._stop_asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self.controls = [
            *(control.fresh() for control in huey.controls),
            *(Control.periodic(task, huey.timezone) for task in huey._registry._periodic_tasks),
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
        try:
            ending = self.huey.execute(job)
        finally:
            self._started.pop(job.entry, None)
        self.fetcher.settle(ending.settle, hold_for=ending.hold_for)
        self._completed += ending.succeeded
        self._failed += not ending.succeeded
        self._last_completed_at = time.time()

    # ---- being looked at

    def snapshot(self) -> Snapshot:
        """See `Snapshot`."""
        now = time.monotonic()
        running = dict(self._started)
        with self.fetcher.lock:
            held = self.fetcher.holdings
            buffered, delayed, waiting = len(held.ready), held.delayed, self.fetcher.intake.left
            stalled_for = self.fetcher.stalled_for
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
            stalled_for=stalled_for,
            found_lost=self.huey.found_lost,
        )

    def pause(self) -> None:
        """Take no more jobs; what runs goes on, what does not goes back."""
        self.fetcher.pause(True)

    def resume(self, share: float) -> None:
        """Take jobs: `share` of what waits at once."""
        self.fetcher.intake.share = share
        self.fetcher.pause(False)

    # ---- life

    def start(self) -> None:
        """Start every thread; signals are listened to when this is the main thread."""
        self._set_signal_handlers()
        for hook in self.huey._startup.values():
            hook()
        self._is_up = True
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
        self.fetcher.hand_back(Holdings.give_back_all, for_good=True)
        while self.fetcher.holdings.running and time.monotonic() < began + self.durations.drain:
            time.sleep(0.02)
        if unfinished := self.fetcher.hand_back(Holdings.give_back_running):
            _log.warning("consumer: running jobs handed back", extra={"jobs": unfinished})
        for control in self.controls:
            control.halt()
        for control in self.controls:
            left = began + (self.durations.drain + self.durations.stop) / 2 - time.monotonic()
            self._threads[control.name].join(max(left, 0.0))
        self.left_cleanly = self.fetcher.leave(began + self.durations.stop - time.monotonic())
        for hook in self.huey._shutdown.values():
            hook()
        self.stop_flag.set()
        self._threads["keeper"].join(1.0)
        _log.info("consumer stopped", extra={"worker_id": self.worker_id, "cleanly": self.left_cleanly})

    def _keep(self) -> None:
        while not self.fetcher.finished:
            try:
                self.fetcher.keep()
            except Exception:
                _log.exception("keeper failed")
                time.sleep(_AFTER_A_FAULT)

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
        """Only takes note, and that in a way that may interrupt anything; a second signal changes nothing.

        While the start-up hooks run nothing has been taken yet: then it is the end.
        """
        if not self._is_up:
            raise SystemExit(0)
        self._stop_asked.put(None)
