"""What one consumer has in its hands: jobs ready to start, running, waiting for a retry, and ended ones to report.

Pure bookkeeping without clock, threads or Redis; `fetcher.py` locks it and talks to Redis about it.

Redis stores the holdings of a consumer as one text with a line "T key id" per job: R may be running, B is buffered,
Z waits for its retry, F has finished; lines "M key id" and "D key id" behind them tell of more that may be running or
are done since. A job may start only when it is marked there, so that the survivors of a crash know which to run alone.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass, field, replace

from shared.queue.jobs import Delivery

_LONGEST_DELAY_MS = 3_600_000  # longer than any retry waits: what is due later was damaged, and runs now
FLUSH_AFTER = 5.0
"""Seconds that finished jobs wait for those that still run, when no round trip is due anyway."""


@dataclass(slots=True)
class Settlement:
    """What has ended since the last round trip. `stored` and `buried` carry the text to write with the job."""

    acked: list[Delivery] = field(default_factory=list)
    dropped: list[Delivery] = field(default_factory=list)
    stored: list[tuple[Delivery, str]] = field(default_factory=list)
    front: list[Delivery] = field(default_factory=list)
    back: list[Delivery] = field(default_factory=list)
    buried: list[tuple[Delivery, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.acked or self.is_urgent)

    @property
    def is_urgent(self) -> bool:
        """Whether anything beside finished jobs should be written at once."""
        return bool(self.dropped or self.stored or self.front or self.back or self.buried)

    def without(self, lost: Container[str]) -> Settlement:
        """What is left when the entries `lost` are not ours to settle."""
        return Settlement(
            [job for job in self.acked if job.entry not in lost],
            [job for job in self.dropped if job.entry not in lost],
            [(job, body) for job, body in self.stored if job.entry not in lost],
            [job for job in self.front if job.entry not in lost],
            [job for job in self.back if job.entry not in lost],
            [(job, letter) for job, letter in self.buried if job.entry not in lost],
        )

    def followed_by(self, later: Settlement) -> Settlement:
        """Both, this one first."""
        return Settlement(
            self.acked + later.acked,
            self.dropped + later.dropped,
            self.stored + later.stored,
            self.front + later.front,
            self.back + later.back,
            self.buried + later.buried,
        )


@dataclass(frozen=True, slots=True)
class Ending:
    """How a job ended: `settle` tells the holdings; then nothing is started or taken for `hold_for` seconds."""

    settle: Callable[[Holdings], None]
    hold_for: float = 0.0
    succeeded: bool = False


class Holdings:
    """The jobs of a consumer with `workers` threads."""

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self.ready: deque[Delivery] = deque()
        self.marked: set[str] = set()
        """Entries that Redis knows as possibly running; among the ready ones, those that may start."""
        self.running: dict[str, Delivery] = {}
        self.settled = Settlement()
        self.is_wary = False
        """Whether what ran last had to be handed on."""
        self.ended_at = 0.0
        """When a job ended last, in seconds of the clock that `should_flush` is told."""
        self._disowned: set[str] = set()
        self._delayed: list[tuple[int, int, Delivery]] = []
        self._order = itertools.count()
        self._batch = 0

    @property
    def can_run(self) -> int:
        """How many jobs it holds that run or could start now."""
        return len(self.ready) + len(self.running)

    @property
    def free(self) -> int:
        """How many threads have nothing to run."""
        return max(self.workers - len(self.running), 0)

    @property
    def delayed(self) -> int:
        """How many wait for a retry."""
        return len(self._delayed)

    @property
    def is_alone(self) -> bool:
        """Whether it holds a job that no other may run beside."""
        return any(job.alone for job in (*itertools.islice(self.ready, 1), *self.running.values()))

    def __bool__(self) -> bool:
        return bool(self.ready or self.running or self._delayed or self.settled)

    def text(self, marked: set[str] | None = None) -> str:
        """What Redis should store: the jobs still held, and those that finished but are not settled there.

        `marked` are the ready ones that it shall know as possibly running (default: those it does know).
        """
        marked = self.marked if marked is None else marked
        lines = [f"R {entry}\n" for entry in self.running if entry not in self._disowned]
        lines += [f"{'R' if job.entry in marked else 'B'} {job.entry}\n" for job in self.ready]
        lines += [f"Z {job.entry}\n" for _, _, job in sorted(self._delayed)]
        lines += [f"F {job.entry}\n" for job in self.settled.acked]
        others = (*self.settled.dropped, *self.settled.front, *self.settled.back)
        lines += [f"B {job.entry}\n" for job in (*others, *(job for job, _ in self.settled.buried))]
        return "".join(lines)

    def with_more_marked(self, count: int) -> set[str]:
        """The marks, and with them the first `count` ready jobs. They count from `mark` on, when Redis knows."""
        return self.marked | {job.entry for job in itertools.islice(self.ready, count)}

    def mark(self, entries: set[str]) -> None:
        """Redis knows these as possibly running."""
        self.marked = {job.entry for job in self.ready if job.entry in entries}

    @property
    def stride(self) -> int:
        """How many jobs to mark at a time: a third of the batch, so that marks cost two commands a batch."""
        return max(1, -(-self._batch // 3))

    def accept(self, taken: Iterable[Delivery], may_start: int, now_ms: int) -> None:
        """Put what was taken behind what is ready; the first `may_start` are marked in Redis already.

        One that still runs here, though it was somebody else's in between, is this consumer's again.
        """
        self._batch = 0
        for number, job in enumerate(taken):
            self._batch += 1
            if job.entry in self.running:
                self._disowned.discard(job.entry)
                continue
            if now_ms < job.due <= now_ms + _LONGEST_DELAY_MS:
                self._delay(job)
                continue
            self.ready.append(job)
            if number < may_start:
                self.marked.add(job.entry)

    def first_ready(self, clock_ms: int, *, gate_open: bool) -> Delivery | None:
        """The job that should start next, if any; expired ones are dropped on the way. A probe passes the gate."""
        while self.ready and self.ready[0].has_expired(clock_ms):
            self.settled.dropped.append(self._unready())
        if not self.ready or not (gate_open or self.ready[0].is_probe):
            return None
        job = self.ready[0]
        if self.running and (job.alone or any(other.alone for other in self.running.values())):
            return None
        return job

    def start(self) -> Delivery:
        """Begin the first ready job."""
        job = self._unready()
        self.running[job.entry] = job
        return job

    def acknowledge(self, job: Delivery) -> None:
        """It succeeded."""
        self.is_wary = False
        if self._finish(job):
            self.settled.acked.append(job)

    def retry(self, job: Delivery, due: int) -> None:
        """It failed: run it again at `due` (epoch milliseconds), here or, should this consumer die, anywhere."""
        if self._finish(job):
            again = replace(job, attempts=job.attempts + 1, due=due, permit=None, alone=False)
            self._delay(again)
            self.settled.stored.append((again, again.as_json()))

    def park(self, job: Delivery) -> None:
        """It could not be tried: back to the front of the queue."""
        if self._finish(job):
            self.settled.front.append(replace(job, permit=None))

    def hand_on(self, job: Delivery) -> None:
        """It can be done elsewhere only: to the back of the queue, and one job at a time until one succeeds here."""
        self.is_wary = True
        if self._finish(job):
            self.settled.back.append(replace(job, permit=None))

    def bury(self, job: Delivery, letter: str) -> None:
        """It was given up; `letter` goes to the dead letters."""
        if self._finish(job):
            self.settled.buried.append((job, letter))

    def _finish(self, job: Delivery) -> bool:
        """A job has ended; false when it is not this consumer's to settle any more."""
        if self.running.pop(job.entry, None) is None:
            return False
        owned = job.entry not in self._disowned
        self._disowned.discard(job.entry)
        return owned

    def _delay(self, job: Delivery) -> None:
        heapq.heappush(self._delayed, (job.due, next(self._order), job))

    def should_flush(self, now: float, *, take_is_near: bool) -> bool:
        """Whether what has ended should be written now, rather than with the next take. `now` is in seconds."""
        if self.settled.is_urgent:
            return True
        if not self.settled or self.ready:
            return False
        return now >= self.ended_at + FLUSH_AFTER or not (self.running or take_is_near)

    def next_due(self) -> int | None:
        """When the next delayed job is due, in epoch milliseconds."""
        return self._delayed[0][0] if self._delayed else None

    def wake_due(self, now_ms: int, *, gate_open: bool) -> int:
        """Let due jobs start before others; behind a closed gate they queue up last. Returns how many may start."""
        woken = 0
        while self._delayed and self._delayed[0][0] <= now_ms:
            job = heapq.heappop(self._delayed)[2]
            if gate_open:
                self.ready.appendleft(job)
                woken += 1
            else:
                self.settled.back.append(job)
        return woken

    def give_back_ready(self) -> int:
        """Hand what has not started back to the queue; a probe stays, it has its permit. Returns how many."""
        jobs = [job for job in self.ready if not job.is_probe]
        self.ready = deque(job for job in self.ready if job.is_probe)
        self.marked.difference_update(job.entry for job in jobs)
        self.settled.front += jobs
        return len(jobs)

    def give_back_all(self) -> int:
        """Hand back what is ready and what waits for a retry: the consumer stops. Returns how many."""
        jobs = [*self.ready, *(job for _, _, job in sorted(self._delayed))]
        self.ready.clear()
        self.marked.clear()
        self._delayed.clear()
        self.settled.front += jobs
        return len(jobs)

    def give_back_running(self) -> int:
        """Hand back what is still running; whatever becomes of it here no longer counts. Returns how many."""
        jobs = [job for entry, job in self.running.items() if entry not in self._disowned]
        self.running.clear()
        self.settled.front += jobs
        return len(jobs)

    def take_settled(self) -> Settlement:
        """What is to be written; the caller puts it back when that fails."""
        settled, self.settled = self.settled, Settlement()
        return settled

    def put_back(self, settled: Settlement) -> None:
        """Keep what could not be written for the next round trip."""
        self.settled = settled.followed_by(self.settled)

    def disown(self, lost: dict[str, bool], settled: Settlement) -> list[Delivery]:
        """Let go of the `lost` jobs, which Redis does not count as held here any more.

        The value tells whether someone else has the job. Returns those that nobody has and that are not running, to
        be queued again. A running one finishes, but is not this consumer's to settle.
        """
        if not lost:
            return []
        ended_since, self.settled = self.settled, self.settled.without(lost)
        given_back = (*settled.front, *settled.back, *ended_since.front, *ended_since.back)
        homeless = [job for job in given_back if lost.get(job.entry) is False]
        self._disowned.update(entry for entry in lost if entry in self.running)
        homeless += [job for job in self.ready if lost.get(job.entry) is False]
        self.ready = deque(job for job in self.ready if job.entry not in lost)
        self.marked.difference_update(lost)
        homeless += [job for _, _, job in self._delayed if lost.get(job.entry) is False]
        self._delayed = [item for item in self._delayed if item[2].entry not in lost]
        heapq.heapify(self._delayed)
        return homeless

    def _unready(self) -> Delivery:
        job = self.ready.popleft()
        self.marked.discard(job.entry)
        return job
