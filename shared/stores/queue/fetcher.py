"""The two threads that stand between a consumer's workers and Redis.

The fetcher takes jobs in batches and blocks on the doorbell while there are none. The keeper renews the lease, writes
what has ended, wakes delayed jobs and reconnects. Both, and a worker that needs a mark, make their round trips one at
a time, because each rewrites the one text that Redis stores of this consumer (`core/holdings.py`). The answer tells
when that text was not what this consumer wrote before: then an answer was lost, its jobs were given to others, or
Redis was emptied, and `lua/take.lua` puts both sides right.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from contextlib import suppress
from dataclasses import replace

from shared.core.holdings import Holdings
from shared.core.jobs import Delivery
from shared.stores.breaker import Breaker, BreakerStatus
from shared.stores.dead_letters import letter_for
from shared.stores.queue.storage import QueueStorage, Taken, Wish
from shared.stores.redis import RedisError

_log = logging.getLogger(__name__)
_UNSURE = "?"  # what the stored text never is: makes the script compare
_FLUSH_AFTER = 1.0  # seconds that finished jobs wait for others when no round trip is due anyway
_PEEK_EVERY = 32  # silent doorbells; whoever loses a ring makes up for it, so this is a last resort
_LONGEST_BACKOFF = 5.0


class Fetcher:
    """Takes jobs for `workers` threads of the consumer `worker_id` and gives account of them."""

    def __init__(self, storage: QueueStorage, breaker: Breaker, *, workers: int, worker_id: str) -> None:
        self.holdings = Holdings(workers)
        self.stopping = False
        self.finished = False
        self.paused = False
        self.connected = True
        self.left: int | None = None  # how many wait in Redis; None when that is not known
        self.lock = threading.Lock()
        self._storage = storage
        self._breaker = breaker
        self._worker_id = worker_id
        self._durations = storage.durations
        self._trip = threading.Lock()
        self._startable = threading.Condition(self.lock)  # workers wait for jobs
        self._wanted = threading.Condition(self.lock)  # the fetcher waits until jobs are wanted
        self._chores = threading.Condition(self.lock)  # the keeper waits for something to do
        self._gate_open = True
        self._ask_at = 0.0  # when the breaker or a pause may let jobs through again
        self._reconnect_at = 0.0
        self._failures = 0
        self._waits_to_be_empty = False  # a job that must run alone is next
        self._has_rung = False
        self._silences = 0
        self._written = ""
        self._renewed_at = float("-inf")
        self._settled_at = 0.0
        self._homeless: list[Delivery] = []
        self._doorbell = storage.open_doorbell()
        breaker.on_change = self.observe

    # ---- for the workers

    def next(self) -> Delivery | None:
        """Wait for a job, mark it as running and hand it out. None when the consumer stops."""
        while True:
            with self.lock:
                while not self.stopping and not self._can_start():
                    self._startable.wait()
                if self.stopping:
                    return None
                if self.holdings.ready[0].entry in self.holdings.marked:
                    job = self.holdings.start()
                    if self._wants_jobs():
                        self._wanted.notify()
                    break
            self._mark_more()
        job.permit = job.permit or self._breaker.permit_now()
        return job

    def acknowledge(self, job: Delivery) -> None:
        """It succeeded."""
        with self.lock:
            if self.holdings.finish(job):
                self.holdings.settled.acked.append(job)
            self._after()

    def retry(self, job: Delivery, delay: float) -> None:
        """It failed: run it again in `delay` seconds, here or, should this consumer die, anywhere."""
        again = replace(job, attempts=job.attempts + 1, due=self._storage.clock() + round(delay * 1000))
        again.permit, again.alone = None, False
        with self.lock:
            if self.holdings.finish(job):
                self.holdings.delay(again)
                self.holdings.settled.stored.append((again, again.as_json()))
            self._after()

    def park(self, job: Delivery, seconds: float) -> None:
        """It could not be tried: back to the front of the queue, and nothing starts here for `seconds`."""
        job.permit = None
        with self.lock:
            if self.holdings.finish(job):
                self.holdings.settled.front.append(job)
            self._close_gate(seconds)
            self._after()

    def bury(self, job: Delivery, reason: str, error: str) -> None:
        """It was given up."""
        letter = letter_for(job, reason, error, self._storage.clock())
        with self.lock:
            if self.holdings.finish(job):
                self.holdings.settled.buried.append((job, letter))
            self._after()

    # ---- for the consumer

    def observe(self, status: BreakerStatus) -> None:
        """The breaker was asked or told something: open or close the gate for the jobs in hand."""
        with self.lock:
            if status.state == "CLOSED":
                self._open_gate()
            else:
                self._close_gate(status.retry_after)

    def pause(self, paused: bool) -> None:
        """Stop or go on taking jobs, by an operator's wish; what runs goes on."""
        with self.lock:
            self.paused = paused
            if paused:
                self.holdings.give_back_ready()
            self._wake()
        if paused:
            self._doorbell.interrupt()

    def stop_taking(self) -> None:
        """Hand back at once what has not started. Running jobs go on."""
        with self.lock:
            self.stopping = True
            self.holdings.give_back_all()
            self._wake()
        self._doorbell.interrupt()
        self.flush()

    def give_back_running(self) -> int:
        """Hand back what still runs; returns how many jobs that were."""
        with self.lock:
            count = len(self.holdings.give_back_running())
        self.flush()
        return count

    def leave(self) -> None:
        """Write what is left to write, and say goodbye."""
        self.flush()
        with self.lock:
            self.finished = True
            self._wake()
        with suppress(RedisError):
            if not self.holdings:
                self._storage.leave(self._worker_id)
        self._doorbell.close()

    def flush(self) -> None:
        """Write now what has ended. What cannot be written stays leased, for the survivors."""
        with suppress(RedisError):
            if self.holdings.settled:
                self._round_trip(wants_jobs=False)

    # ---- the fetcher

    def fetch(self) -> None:
        """One turn of the fetcher: wait until jobs are wanted, then take some or listen for the doorbell."""
        with self.lock:
            while not self.stopping and not self._wants_jobs():
                self._wanted.wait()
            if self.stopping:
                return
            listens = self.left == 0 or time.monotonic() < self._ask_at
        if listens:
            self._listen()
        else:
            with suppress(RedisError):
                self._round_trip(wants_jobs=True)

    def _wants_jobs(self) -> bool:
        held = self.holdings
        if not self.connected or self.paused or held.is_alone or (self._waits_to_be_empty and held.can_run):
            return False
        return len(held.ready) <= held.workers

    def _listen(self) -> None:
        """Block until the doorbell rings, or until it is time to ask anyway."""
        refused, longest = self._ask_at - time.monotonic(), self._durations.doorbell
        try:
            rang = self._doorbell.wait(min(refused, longest) if refused > 0 else longest)
        except (RedisError, OSError):
            with self.lock:
                self._lose_redis()
            return
        with self.lock:
            self._silences += 1
            if rang or refused > 0 or self._silences % _PEEK_EVERY == 0:
                self.left, self._ask_at, self._has_rung, self._silences = None, 0.0, False, 0

    # ---- the keeper

    def keep(self) -> None:
        """One turn of the keeper: wait until something is due, then do it."""
        with self.lock:
            while not self.finished and (wait := self._until_chore()) > 0:
                self._chores.wait(wait)
            if self.finished:
                return
            gate_open = self._gate_open and not self.stopping
            self._startable.notify(self.holdings.wake_due(self._storage.clock(), gate_open=gate_open))
            flush, renew = self._should_flush(), bool(self.holdings) and self._must_renew()
        with suppress(RedisError):
            if flush:
                self._round_trip(wants_jobs=False)
            elif renew:
                self._renew()

    def _until_chore(self) -> float:
        """Seconds until the keeper has something to do."""
        now, held = time.monotonic(), self.holdings
        if not self.connected:
            return self._reconnect_at - now
        waits = [60.0]
        if self._should_flush():
            return 0.0
        if held.settled and not held.ready:
            waits.append(self._settled_at + _FLUSH_AFTER - now)
        if held:
            waits.append(self._renewed_at + self._durations.lease_renewal - now)
        if (due := held.next_due()) is not None:
            waits.append((due - self._storage.clock()) / 1000)
        return min(waits)

    def _should_flush(self) -> bool:
        """Whether what has ended should be written now, rather than with the next take."""
        held = self.holdings
        if not self.connected or self._homeless or held.settled.is_urgent:
            return True
        if not held.settled or held.ready:
            return False
        if time.monotonic() >= self._settled_at + _FLUSH_AFTER:
            return True
        return not held.running and (self.left == 0 or not self._wants_jobs())

    def _must_renew(self) -> bool:
        return time.monotonic() >= self._renewed_at + self._durations.lease_renewal

    def _renew(self) -> None:
        try:
            self._storage.renew_lease(self._worker_id)
        except RedisError:
            with self.lock:
                self._lose_redis()
            raise
        self._renewed_at = time.monotonic()

    # ---- round trips

    def _mark_more(self) -> None:
        """Have Redis know which jobs may be running soon, beside those it knows. One command."""
        with self._trip:
            with self.lock:
                held = self.holdings
                if not held.ready or held.ready[0].entry in held.marked:
                    return
                before = set(held.marked)
                held.mark(held.stride)
                text = held.text()
            try:
                known = self._storage.mark(self._worker_id, text)
            except RedisError:
                with self.lock:
                    held.marked = before
                    self._lose_redis()
                return
            with self.lock:
                self._written = text if known else _UNSURE
                if not known:
                    held.marked = before
        if not known:
            with suppress(RedisError):
                self._round_trip(wants_jobs=False)

    def _round_trip(self, *, wants_jobs: bool) -> Taken:
        with self._trip:
            with self.lock:
                wish = self._wish(wants_jobs)
                settled = self.holdings.take_settled()
                holding, expected = self.holdings.text(), self._written
            try:
                if self._homeless:
                    self._storage.push_again(self._homeless, self._storage.clock())
                    self._homeless = []
                taken = self._storage.take(self._worker_id, expected, holding, settled, wish)
            except RedisError:
                with self.lock:
                    self.holdings.put_back(settled)
                    self._lose_redis()
                raise
            with self.lock:
                self._homeless += self.holdings.disown(taken.lost, settled)
                self._accept(taken, wish)
            return taken

    def _wish(self, wants_jobs: bool) -> Wish:
        held = self.holdings
        if not wants_jobs:
            return Wish(renew_lease=bool(held) and self._must_renew())
        held.mark(len(held.ready) if held.running else held.workers)
        return Wish(
            jobs=-1,
            may_start=max(held.workers - held.can_run, 0),
            least=held.workers,
            is_streaming=bool(held.running),
            is_empty=not held.can_run,
            ring_rest=not self._has_rung,
            renew_lease=self._must_renew(),
        )

    def _accept(self, taken: Taken, wish: Wish) -> None:
        """Take note of the answer to `wish`."""
        self._written = taken.held
        if wish.renew_lease and taken.held:
            self._renewed_at = time.monotonic()
        if not self.connected:
            self.connected, self._failures = True, 0
            self._wake()
        if not wish.jobs:
            return
        self.left = taken.left
        self._has_rung = self._has_rung or bool(taken.deliveries and taken.left != 0)
        self._waits_to_be_empty = taken.reason == "alone" and not taken.deliveries
        self._breaker.saw(taken.breaker, taken.wait)
        if taken.reason == "probe":
            taken.deliveries[0].permit = self._breaker.permit_now(taken.probe)
            self._close_gate(self._durations.probe_lease)
        elif taken.wait > 0:
            self._close_gate(taken.wait)
        else:
            self._open_gate()
        self.holdings.accept(taken.deliveries, taken.marked, self._storage.clock())
        self._startable.notify(len(taken.deliveries))
        self._chores.notify()

    # ---- small things, all under the lock

    def _can_start(self) -> bool:
        if not self.connected:
            return False
        dropped = len(self.holdings.settled.dropped)
        job = self.holdings.first_ready(self._storage.clock(), gate_open=self._gate_open)
        if len(self.holdings.settled.dropped) > dropped:
            self._chores.notify()
        return job is not None

    def _after(self) -> None:
        """A job has ended."""
        held = self.holdings
        self._settled_at = time.monotonic()
        if self._wants_jobs():
            self._wanted.notify()
        if held.settled.is_urgent or held.next_due() or not held.ready:
            self._chores.notify()
        if held.ready:
            self._startable.notify()

    def _open_gate(self) -> None:
        self._ask_at = 0.0
        if not self._gate_open:
            self._gate_open = True
            self._wake()

    def _close_gate(self, seconds: float) -> None:
        self._gate_open = False
        self._ask_at = time.monotonic() + seconds
        self.holdings.give_back_ready()
        self._wake()

    def _lose_redis(self) -> None:
        """Start nothing more; the keeper tries again, ever more slowly, and then Redis and we compare."""
        self._written = _UNSURE
        if self.connected:
            _log.warning("queue: Redis does not answer")
        self.connected = False
        self._failures = min(self._failures + 1, 10)
        delay = min(0.05 * 2**self._failures, _LONGEST_BACKOFF)
        self._reconnect_at = time.monotonic() + random.uniform(delay / 2, delay)  # noqa: S311 (no secret)
        self._chores.notify()

    def _wake(self) -> None:
        self._startable.notify_all()
        self._wanted.notify_all()
        self._chores.notify_all()
