"""What a consumer does beside checking: tick by the clock, catch up, rescue, beat, and replace the dead.

These run in control threads of their own and never wait behind a thousand queued checks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from redis import RedisError

from shared.core.durations import Durations
from shared.core.slots import Group, group_at, latest_slot
from shared.flows.tick import LockBusyError, LockUnavailableError, Ticker, TickOrder, TickReport
from shared.flows.tools import Clock, DatabaseCalls
from shared.stores.database import DatabaseError

log = logging.getLogger(__name__)

GROUPS: tuple[Group, ...] = ("even", "odd")
Status = Literal["active", "paused", "draining", "offline"]


class TakesOver(Protocol):
    """The queue as the survivor of a dead consumer sees it."""

    def take_over(self, worker: str) -> tuple[int, int, int] | None: ...


@dataclass(frozen=True, slots=True)
class Worker:
    """This consumer as the registry knows it; `incarnation` is new with every start."""

    incarnation: str
    name: str
    host: str
    threads: int
    capabilities: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Duties:
    """A consumer's duties, with the stores they need."""

    database: DatabaseCalls
    queue: TakesOver
    ticker: Ticker
    worker: Worker
    durations: Durations
    clock: Clock

    def tick(self, scheduled: datetime, wait: Callable[[float], bool]) -> TickReport | None:
        """Tick for the slot that holds `scheduled`. `None`: it could not begin now, and the rescue will see to it."""
        try:
            return self.ticker.tick(TickOrder(scheduled, group_at(scheduled), "scheduler", self.worker.name), wait)
        except LockBusyError as error:
            log.warning("tick gave up waiting for the lock", extra={"holder": error.holder})
        except LockUnavailableError:
            log.error("tick could not begin: the lock's store does not answer")
        except (DatabaseError, RedisError) as error:
            log.error("tick failed", extra={"error": type(error).__name__})
        return None

    def catch_up(self, wait: Callable[[float], bool]) -> list[TickReport]:
        """Run whichever of the two latest ticks is missing: the server may have been down over the slot's start."""
        now = self.clock()
        ran: list[TickReport | None] = []
        latest = self.database.call("pmc_latest_ticks", p_now=now)
        for slot, group in sorted((latest_slot(group, now), group) for group in GROUPS):
            tick = latest[group]
            if tick is None or datetime.fromisoformat(tick["slot"]) < slot or not tick["finished"]:
                log.warning("catching up with a missed tick", extra={"slot": slot.isoformat(), "group": group})
                ran.append(self.tick(slot, wait))
        return [report for report in ran if report]

    def rescue(self) -> None:
        """Queue again what the latest slots left without an ended attempt."""
        try:
            self.ticker.rescue()
        except (DatabaseError, RedisError) as error:
            log.error("rescue failed; it is tried again", extra={"error": type(error).__name__})

    def beat(self, current_jobs: int, figures: dict[str, Any]) -> tuple[Status, bool] | None:
        """Say that this consumer lives, and replace the dead.

        Returns what an operator wants of it and whether mail is due, or `None` when Postgres did not answer. A dead
        one's jobs are taken over first; only then does its row go offline, or its jobs would be stuck for ever.
        """
        worker = {
            "worker_id": self.worker.incarnation,
            "worker_name": self.worker.name,
            "host": self.worker.host,
            "max_concurrent_jobs": self.worker.threads,
            "current_jobs": current_jobs,
            "figures": figures,
            "capabilities": self.worker.capabilities,
            "dead_after_seconds": self.durations.beat_is_old,
        }
        try:
            answer = self.database.call("pmc_beat", p_worker=worker, p_now=self.clock())
            for dead in answer["dead"]:
                self._replace(dead)
        except DatabaseError as error:
            log.error("beat failed", extra={"error": str(error)})
            return None
        return answer["status"], answer["mail_due"]

    def sign_off(self) -> None:
        """The last word of a consumer that handed everything back."""
        try:
            self.database.call("pmc_set_worker_status", p_worker_id=self.worker.incarnation, p_status="offline")
        except DatabaseError:
            log.warning("could not sign off; the others will notice")

    def _replace(self, dead: str) -> None:
        try:
            taken = self.queue.take_over(dead)
        except RedisError as error:
            log.error("a dead consumer's jobs wait", extra={"dead": dead, "error": type(error).__name__})
            return
        if taken is None:
            return  # its lease stands: it may only be slow
        back, suspects, poisoned = taken
        words = {"dead": dead, "queued_again": back, "run_alone": suspects, "poisoned": poisoned}
        log.warning("took over from a dead consumer", extra=words)
        self.database.call("pmc_set_worker_status", p_worker_id=dead, p_status="offline")
