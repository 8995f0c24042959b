"""One consumer's account with Redis: the text that says what it holds, its sign of life, and whether Redis answers.

Every exchange rewrites the text, so they are made one at a time (`turn`). The answer tells when the stored text was
not what this consumer wrote before: then an answer was lost, its jobs were given to others, or Redis was emptied, and
`take.lua` puts both sides right. An answer that does not come makes the record unsure, whether the server did its
work, did not, or will: from then on only that comparison makes it sure again. Nothing else ever writes over the text;
a mark is added behind it (docs/decisions/leased-queue.md tells why each command may lose its answer).
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from shared.queue.holdings import FLUSH_AFTER, Holdings, Settlement
from shared.queue.intake import Taken, Wish
from shared.queue.jobs import Delivery
from shared.redis import RedisError, wall_clock

if TYPE_CHECKING:
    from shared.queue.storage import QueueStorage

_log = logging.getLogger(__name__)
_UNSURE = "?"  # what the stored text never is: makes the script compare
_LONGEST_BACKOFF = 5.0
LONGEST_NAP = 30.0  # everyone looks again after that, whoever forgot to wake them


class Lease:
    """The account of the consumer `worker_id`. No method raises; `connected` tells whether Redis answered last."""

    def __init__(self, storage: QueueStorage, worker_id: str) -> None:
        self.turn = threading.Lock()
        self.connected = True
        self.reconnect_at = 0.0
        self.renew_at = 0.0
        self._storage = storage
        self._worker_id = worker_id
        self._written = ""
        self._failures = 0
        self._lost_at = -math.inf
        self._homeless: list[Delivery] = []

    @property
    def must_renew(self) -> bool:
        """Whether it is time for a sign of life, if anything is held."""
        return time.monotonic() >= self.renew_at

    @property
    def has_homeless(self) -> bool:
        """Whether jobs that Redis had forgotten wait to be queued again."""
        return bool(self._homeless)

    def until_chore(self, held: Holdings) -> float:
        """Seconds until something is due whatever else happens: a reconnect, a sign of life, a flush, a delayed job."""
        now = time.monotonic()
        if not self.connected:
            return self.reconnect_at - now
        waits = [LONGEST_NAP]
        if held.settled and not held.ready:
            waits.append(held.ended_at + FLUSH_AFTER - now)
        if held:
            waits.append(self.renew_at - now)
        if (due := held.next_due()) is not None:
            waits.append((due - wall_clock()) / 1000)
        return min(waits)

    def renew(self) -> None:
        """Give a sign of life."""
        try:
            self._storage.renew_lease(self._worker_id)
        except RedisError:
            self.lose()
        else:
            self._renewed()

    def mark(self, entries: Iterable[str], done: Iterable[Delivery]) -> bool:
        """Have these held jobs known as possibly running, and those as done; false when the record was not sure."""
        written = self._written
        if written == _UNSURE:
            return False
        lines = "".join(f"M {entry}\n" for entry in entries) + "".join(f"D {job.entry}\n" for job in done)
        try:
            is_known = self._storage.mark(self._worker_id, lines) == len(written) + len(lines)
        except RedisError:
            self.lose()
            return False
        self._written = written + lines if is_known else _UNSURE
        return is_known

    def exchange(self, holding: str, settled: Settlement, wish: Wish) -> Taken | None:
        """Settle, say what is held, take; None when Redis does not answer (then nothing has been settled for sure)."""
        wish = replace(wish, renew_lease=self.must_renew)
        try:
            if self._homeless:
                self._storage.push_again(self._homeless, self._storage.clock())
                self._homeless = []
            taken = self._storage.take(self._worker_id, self._written, holding, settled, wish)
        except RedisError:
            self.lose()
            return None
        except Exception:  # an answer that nobody foresaw is as good as none: the next one compares
            _log.exception("queue: an answer could not be read")
            self.lose()
            return None
        if self._written == _UNSURE or taken.lost:
            _log.info("queue: compared with Redis", extra={"lost": len(taken.lost)})
        self._written = taken.held
        self.connected = True
        if wish.renew_lease and taken.held:
            self._renewed()
        return taken

    def rehouse(self, jobs: list[Delivery]) -> None:
        """Queue jobs again that Redis has forgotten, with the next exchange."""
        self._homeless += jobs

    @property
    def is_empty(self) -> bool:
        """Whether Redis is known to count nothing as held here, and nothing waits to be queued again."""
        return not self._written and not self._homeless

    def end(self) -> bool:
        """Say goodbye, if nothing is held any more; whether Redis heard it."""
        if not self.is_empty:
            return False
        try:
            return self._storage.leave(self._worker_id)
        except RedisError:
            return False

    def lose(self) -> None:
        """Redis did not answer, or refused: what it stores is unsure, and it is asked again ever more slowly.

        That ends with a quiet time, not with an answer: one command may be refused while the others work.
        """
        now = time.monotonic()
        if self.connected:
            if now > self._lost_at + 2 * _LONGEST_BACKOFF:
                self._failures = 0
            refused = self._storage.writes.refused
            _log.warning("queue: Redis takes no writes" if refused else "queue: Redis does not answer")
        self.connected, self._lost_at = False, now
        self._written = _UNSURE
        self._failures = min(self._failures + 1, 10)
        delay = min(0.05 * 2**self._failures, _LONGEST_BACKOFF)
        self.reconnect_at = now + random.uniform(delay / 2, delay)  # noqa: S311 (no secret)

    def _renewed(self) -> None:
        self.renew_at = time.monotonic() + self._storage.durations.lease_renewal
