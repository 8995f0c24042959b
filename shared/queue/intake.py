"""When a consumer wants jobs, how many, and whether those it holds may start.

Pure bookkeeping like `holdings.py`. Times are seconds of a clock that only goes forward, handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.queue.holdings import Holdings
from shared.queue.jobs import Delivery

MAX_BATCH = 100
PEEK_EVERY = 72


@dataclass(frozen=True, slots=True)
class Wish:
    """What a round trip asks for: `jobs` (0: none, -1: a `share` of what waits, but `least`), how many can start at
    once, whether jobs flow (then a third of the batch is marked ahead), whether nothing is held that could run, whether
    to ring for others when jobs are left, and whether to renew the lease."""

    jobs: int = 0
    share: float = 0.5
    may_start: int = 0
    least: int = 1
    flows: bool = False
    is_empty: bool = False
    ring_rest: bool = False
    renew_lease: bool = False


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer. `reason` and `wait` (seconds) tell why nothing was handed out, `left` how many wait (None: unknown).

    `held` is what Redis stores of this consumer now, `marked` how many of the deliveries it marks as possibly
    running. `lost` jobs are not held any more; the value tells whether someone else has them.
    """

    reason: str
    wait: float
    left: int | None
    breaker: str
    probe: str | None
    deliveries: list[Delivery]
    held: str
    marked: int
    lost: dict[str, bool]


class Intake:
    """One consumer's intake."""

    def __init__(self) -> None:
        self.is_open = True
        """Whether jobs may start: the breaker is closed and no pause is on. A probe may start anyway."""
        self.left: int | None = None
        """How many wait in Redis; None when that is not known."""
        self.ask_at = 0.0
        """When the breaker or a pause may let jobs through."""
        self.is_paused = False
        """By an operator's wish, or because nothing could be committed."""
        self.share = 0.5
        """Of what waits, as much as is asked for at once: this consumer's threads among all, once that is known. 1 is
        nobody else, who would have to be rung for."""
        self._waits_to_be_empty = False  # a job that must run alone is next
        self._silences = 0
        self._has_rung = False  # once for each time that it was woken is enough: whoever wakes rings on

    def wants_jobs(self, held: Holdings) -> bool:
        """Whether to look for jobs: with as many in reserve as there are threads, none has to wait for Redis."""
        if self.is_paused or held.is_alone or (self._waits_to_be_empty and held.can_run):
            return False
        return not held.can_run if held.is_wary else len(held.ready) <= held.workers

    def must_listen(self, now: float) -> bool:
        """Whether asking would be of no use: nothing waits, or nothing is let through yet."""
        return self.left == 0 or now < self.ask_at

    def wish(self, held: Holdings, *, flows: bool) -> Wish:
        """What to ask for. The server's count of what waits is only asked for when few may be left."""
        has_many = self.left is not None and self.left >= 2 * MAX_BATCH
        return Wish(
            jobs=1 if held.is_wary else MAX_BATCH if has_many else -1,
            share=self.share,
            may_start=max(held.workers - held.can_run, 0),
            least=held.workers,
            flows=flows,
            is_empty=not held.can_run,
            ring_rest=not self._has_rung and self.share < 1,
        )

    def note(self, taken: Taken) -> None:
        """Take note of an answer."""
        count = len(taken.deliveries)
        estimate = self.left - count if self.left else None
        self.left = estimate if taken.left is None and count else taken.left
        self._has_rung = self._has_rung or bool(count and taken.left != 0)
        self._waits_to_be_empty = taken.reason == "alone" and not count

    def listened(self, *, rang: bool, in_vain: bool) -> None:
        """The doorbell rang, or the time that the breaker or a pause wanted is over: ask. `in_vain`: neither.

        A silent doorbell is as good as an empty queue, for whoever loses a ring makes up for it; but not for ever.
        """
        self._silences = self._silences + 1 if in_vain and not rang else 0
        if self._silences % PEEK_EVERY == 0:
            self.left, self.ask_at, self._has_rung = None, 0.0, False

    def open(self) -> bool:
        """Jobs may start; whether that is new."""
        self.ask_at = 0.0
        was_open, self.is_open = self.is_open, True
        return not was_open

    def close(self, until: float) -> None:
        """Jobs may not start; ask again at `until`."""
        self.is_open, self.ask_at = False, until
