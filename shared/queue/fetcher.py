"""The two threads between a consumer's workers and Redis.

The fetcher takes jobs in batches and blocks on the doorbell while there are none; the keeper writes what has ended,
gives signs of life, wakes delayed jobs and finds Redis again. What is held is in `holdings.py`, what Redis knows
of it in `lease.py`. The lock is never held during a round trip; `lease.turn` is, and is taken first.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

from shared.queue.holdings import Holdings
from shared.queue.intake import Intake, Taken, Wish
from shared.queue.jobs import Delivery
from shared.queue.lease import LONGEST_NAP, Lease
from shared.queue.storage import QueueStorage
from shared.redis import ANSWER_SECONDS, RedisError, wall_clock
from shared.source.breaker import Breaker, BreakerStatus

_SHORTEST_HOLD = 0.05  # seconds: whatever closes the gate, it is not asked again faster


class Fetcher:
    """Takes jobs for `workers` threads of the consumer `worker_id` and gives account of them."""

    def __init__(self, storage: QueueStorage, breaker: Breaker, *, workers: int, worker_id: str) -> None:
        self.holdings = Holdings(workers)
        self.intake = Intake()
        self.lease = Lease(storage, worker_id)
        self.lock = threading.Lock()
        self.stopping = self.finished = False
        self.moved_at = time.monotonic()
        self._storage = storage
        self._breaker = breaker
        self._startable = threading.Condition(self.lock)  # workers wait for jobs
        self._wanted = threading.Condition(self.lock)  # the fetcher waits until jobs are wanted
        self._chores = threading.Condition(self.lock)  # the keeper waits for something to do
        self._doorbell = storage.open_doorbell()
        breaker.on_change = self._observe

    def next(self) -> Delivery | None:
        """Wait for a job, see that Redis knows it as running, and hand it out. None when the consumer stops."""
        while True:
            with self.lock:
                while not self.stopping and not self._can_start():
                    self._startable.wait(LONGEST_NAP)
                if self.stopping:
                    return None
                if self.holdings.ready[0].entry in self.holdings.marked:
                    job = self.holdings.start()
                    self.moved_at = time.monotonic()
                    if self._wants_jobs():
                        self._wanted.notify()
                    break
            self._mark_more()
        job.permit = job.permit or self._breaker.permit_now()
        return job

    @property
    def stalled_for(self) -> float:
        """Seconds in which jobs were held that could run, and none was started. Call it under the lock."""
        held = self.holdings
        stands_still = held.ready and not held.running and self.lease.connected and not self.stopping
        return time.monotonic() - self.moved_at if stands_still else 0.0

    def settle(self, change: Callable[[Holdings], None], *, hold_for: float = 0.0) -> None:
        """A job has ended, as `change` tells the holdings. `hold_for` seconds nothing is started or taken."""
        with self.lock:
            change(self.holdings)
            self.holdings.ended_at = self.moved_at = time.monotonic()
            if hold_for:
                self._close_gate(hold_for)
            if self._wants_jobs():
                self._wanted.notify()
            if self.holdings.settled.is_urgent or not self.holdings.ready:
                self._chores.notify()
            self._startable.notify()

    def pause(self, paused: bool) -> None:
        """Stop or go on taking jobs; what runs goes on, what does not goes back."""
        with self.lock:
            if paused == self.intake.is_paused:
                return
            self.intake.is_paused, self.intake.left = paused, None
            self._wake()
        if paused:
            self.hand_back(Holdings.give_back_all)

    def hand_back(self, which: Callable[[Holdings], int], *, for_good: bool = False) -> int:
        """Give jobs back to the queue at once, as `which` tells the holdings; `for_good`: and take no more."""
        with self.lock:
            self.stopping |= for_good
            count = which(self.holdings)
            self._wake()
        self._doorbell.interrupt()
        self.write()
        return count

    def write(self, keys: set[str] | None = None) -> None:
        """Write now what has ended (when given: only if it is about one of `keys`), unless Redis is gone."""
        with self.lock:
            settled = self.holdings.settled
            wanted = bool(settled) if keys is None else any(job.key in keys for job in settled.acked)
        if wanted and self.lease.connected:
            self._exchange(Wish(), unless_lost=True)

    def leave(self, seconds: float = math.inf) -> bool:
        """Write what is left to write, and say goodbye; false when Redis still counts jobs as ours.

        A Redis that did not answer is not asked again where `seconds` are fewer than its answer may take.
        """
        ends_at = time.monotonic() + seconds
        for _ in range(3):  # jobs that Redis had forgotten, or given us without our knowing, need more than one
            if not self.lease.connected and time.monotonic() + ANSWER_SECONDS > ends_at:
                break
            if self.holdings.settled or not self.lease.is_empty:
                self._exchange(Wish())
            if not self.lease.connected:
                break
        with self.lease.turn, self.lock:
            self.finished = True
            self._wake()
        self._doorbell.close()
        return not self.holdings and self.lease.end()

    def fetch(self) -> None:
        """One turn of the fetcher: wait until jobs are wanted, then take some or listen for the doorbell."""
        with self.lock:
            while not self.stopping and not self._wants_jobs():
                self._wanted.wait(LONGEST_NAP)
            if self.stopping:
                return
            listens = self.intake.must_listen(time.monotonic())
        if listens:
            self._listen()
        else:
            self._exchange(None)

    def _listen(self) -> None:
        """Block until the doorbell rings, or until it is time to ask anyway."""
        refused, longest = self.intake.ask_at - time.monotonic(), self._storage.durations.doorbell
        try:
            rang = self._doorbell.wait(min(refused if refused > 0 else longest, longest))
        except (RedisError, OSError):
            with self.lock:
                self.lease.lose()
                self.intake.left = None  # a ring may be lost with it, whoever finds Redis again
                self._chores.notify()
            return
        with self.lock:
            self.intake.listened(rang=rang, in_vain=refused <= 0)

    def keep(self) -> None:
        """One turn of the keeper: wait until something is due, then do it."""
        with self.lock:
            while not self.finished and (wait := self.lease.until_chore(self.holdings)) > 0:
                if self.lease.connected and self._should_flush():
                    break
                self._chores.wait(wait)
            if self.finished:
                return
            may_start = self.intake.is_open and not self.stopping and not self.intake.is_paused
            self._startable.notify(self.holdings.wake_due(wall_clock(), gate_open=may_start))
            flush, renew = self._should_flush(), bool(self.holdings) and self.lease.must_renew
        if flush:
            self._exchange(Wish())
        elif renew:
            self.lease.renew()

    def _should_flush(self) -> bool:
        must_ask = not self.lease.connected or self.lease.has_homeless
        take_is_near = self._wants_jobs() and self.intake.left != 0
        return must_ask or self.holdings.should_flush(time.monotonic(), take_is_near=take_is_near)

    def _mark_more(self) -> None:
        """Have Redis know which jobs may be running soon, beside those it knows. One command, if it is sure of us."""
        with self.lease.turn:
            with self.lock:
                held = self.holdings
                if self.finished or not held.ready or held.ready[0].entry in held.marked:
                    return
                marked = held.with_more_marked(held.stride)
                more, done = marked - held.marked, list(held.settled.acked)
            known = self.lease.mark(more, done)
            with self.lock:
                if known:
                    held.mark(marked)
                self._chores.notify()
        if not known and self.lease.connected:
            self._exchange(Wish())

    def _exchange(self, wish: Wish | None, *, unless_lost: bool = False) -> None:
        """One round trip; without a wish, for jobs. `unless_lost`: not if whoever had the turn before got no answer."""
        with self.lease.turn:
            with self.lock:
                if self.finished or (unless_lost and not self.lease.connected):
                    return
                held = self.holdings
                marked = held.marked
                settled = held.take_settled()
                if wish is None:
                    # Marks are made ahead only where jobs flow: of slow ones, exactly the running are known.
                    flows = len(settled.acked) >= held.workers
                    wish = self.intake.wish(held, flows=flows)
                    marked = held.with_more_marked(len(held.ready) if flows else held.free)
                holding = held.text(marked)
            was_connected = self.lease.connected
            taken = self.lease.exchange(holding, settled, wish)
            with self.lock:
                if taken is None:
                    held.put_back(settled)
                    self._chores.notify()
                    return
                try:
                    held.mark(marked)
                    self.lease.rehouse(held.disown(taken.lost, settled))
                    if not was_connected:
                        self.intake.left = None  # a ring may have been lost meanwhile
                        self.moved_at = time.monotonic()
                        self._wake()
                    if wish.jobs:
                        self._accept(taken)
                except Exception:
                    self.lease.lose()  # whatever it was: what Redis counts as ours has to be compared
                    self._chores.notify()
                    raise
                self._wanted.notify()

    def _accept(self, taken: Taken) -> None:
        """Take note of what was taken, or of why nothing was."""
        self.intake.note(taken)
        self._breaker.saw(taken.breaker, taken.wait if taken.reason == "breaker" else 0.0)
        if taken.reason == "probe":
            taken.deliveries[0].permit = self._breaker.permit_now(taken.probe)
            self._close_gate(self._storage.durations.probe_lease)
        elif taken.wait > 0 or self._breaker.last_seen.state != "CLOSED":
            self._close_gate(taken.wait)
        elif self.intake.open():
            self._wake()
        if not self.holdings.ready:
            self.moved_at = time.monotonic()
        self.holdings.accept(taken.deliveries, taken.marked, wall_clock())
        if self.stopping or self.intake.is_paused:
            self.holdings.give_back_all()
        elif not self.intake.is_open:
            self.holdings.give_back_ready()  # behind a closed gate nothing is held: it would keep us from asking
        self._startable.notify(len(taken.deliveries))
        self._chores.notify()

    def _can_start(self) -> bool:
        is_open = self.intake.is_open
        job = self.lease.connected and self.holdings.first_ready(self._storage.clock(), gate_open=is_open)
        if self.holdings.settled.dropped:
            self._chores.notify()
        return bool(job)

    def _observe(self, status: BreakerStatus) -> None:
        """The breaker was asked or told something: open or close the gate for the jobs in hand."""
        with self.lock:
            if status.state != "CLOSED":
                self._close_gate(status.retry_after)
            elif self.intake.open():
                self._wake()

    def _wants_jobs(self) -> bool:
        return self.lease.connected and self.intake.wants_jobs(self.holdings)

    def _close_gate(self, seconds: float) -> None:
        self.intake.close(time.monotonic() + max(seconds, _SHORTEST_HOLD))
        self.holdings.give_back_ready()
        self._wake()

    def _wake(self) -> None:
        self._startable.notify_all()
        self._wanted.notify_all()
        self._chores.notify_all()
