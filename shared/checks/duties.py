"""What a consumer does beside checking: tick by the clock, catch up, rescue, beat, and replace the dead.

These run in control threads of their own and never wait behind a thousand queued checks.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol

from redis import RedisError

from shared.checks.tick import LockBusyError, LockUnavailableError, Ticker, TickOrder, TickReport
from shared.clock import Clock
from shared.database import DatabaseCalls, DatabaseError
from shared.durations import Durations
from shared.sections.slots import Group, group_at, slot_start
from shared.source.turns import Turns

log = logging.getLogger(__name__)

Status = Literal["active", "paused", "draining", "offline"]


class TakesOver(Protocol):
    """The queue as the survivor of a dead consumer sees it."""

    def take_over(self, worker: str) -> tuple[int, int, int] | None: ...

    def find_lost(self) -> set[str]: ...


class Hears(Protocol):
    """The dead-man service. None of these waits or raises."""

    def start(self) -> None: ...

    def success(self, **counts: int | str) -> None: ...

    def fail(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Worker:
    """This consumer as the registry knows it; `incarnation` is new with every start."""

    incarnation: str
    name: str
    host: str
    threads: int
    capabilities: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """What the registry answered to a beat: what an operator wants of this consumer, its share, whether mail is due."""

    status: Status
    mail_due: bool
    share: float
    """This consumer's threads among those of all that take jobs: 1.0 when it is alone."""


@dataclass(frozen=True, slots=True)
class Duties:
    """A consumer's duties, with the stores they need."""

    database: DatabaseCalls
    queue: TakesOver
    ticker: Ticker
    worker: Worker
    durations: Durations
    clock: Clock
    heart: Hears | None = None
    turns: Turns | None = None
    pick: Callable[[float, float], float] = random.uniform

    def tick(self, scheduled: datetime, wait: Callable[[float], bool]) -> TickReport | None:
        """Tick for the slot that holds `scheduled`. `None`: it could not begin now, and the rescue will see to it.

        Several servers wake in the same second; spread over a few, all but one see that the slot's tick is done
        and leave the lock alone, which costs them no Redis command.
        """
        if wait(self.pick(0.0, self.durations.tick_spread)):
            return None
        try:
            if self._is_done(scheduled):
                return None
            if self.heart:
                self.heart.start()
            order = TickOrder(scheduled, group_at(scheduled), "scheduler", self.worker.name)
            report = self.ticker.tick(order, wait)
        except LockBusyError as error:
            self._fail(f"tick gave up waiting for the lock of {error.holder}")
            return None
        except LockUnavailableError:
            self._fail("tick could not begin: the lock's store does not answer")
            return None
        except (DatabaseError, RedisError) as error:
            self._fail(f"tick failed: {type(error).__name__}")
            return None
        if self.heart and report.begun:
            counts = {"enqueued": report.enqueued, "already_queued": report.already_queued}
            self.heart.success(group=report.group, **counts)
        return report

    def _fail(self, reason: str) -> TickReport | None:
        """A tick that did not run; the rescue queues its sections later."""
        log.error(reason)
        if self.heart:
            self.heart.fail(reason)
        return None

    def catch_up(self, due: dict[Group, datetime], wait: Callable[[float], bool]) -> list[TickReport]:
        """Run whichever of the ticks that were `due` is missing: the server may have been down over a slot's start.

        `due` is the latest slot of each group by the schedule. Returns what ran. Raises `DatabaseError`.
        """
        ran: list[TickReport | None] = []
        latest = self.database.call("pmc_latest_ticks", p_now=self.clock()) if due else {}
        for slot, group in sorted((slot, group) for group, slot in due.items()):
            tick = latest[group]
            if tick is None or datetime.fromisoformat(tick["slot"]) < slot or not tick["finished"]:
                level, what = (
                    (logging.INFO, "first tick")
                    if tick is None
                    else (logging.WARNING, "catching up with a missed tick")
                )
                log.log(level, what, extra={"slot": slot.isoformat(), "group": group})
                ran.append(self.tick(slot, wait))
        return [report for report in ran if report]

    def _is_done(self, scheduled: datetime) -> bool:
        tick = self.database.call("pmc_latest_ticks", p_now=scheduled)[group_at(scheduled)]
        return tick is not None and tick["finished"] and datetime.fromisoformat(tick["slot"]) == slot_start(scheduled)

    def rescue(self, *, search: bool = True) -> bool:
        """Queue again what the latest slots left without an ended attempt; returns whether some of it is still queued.

        What is still queued so late may be in nobody's hands, or in those of a consumer that the registry has
        forgotten, or calls offline although it lived on for a moment; then nobody's beat would ever give it back, and
        `search` finds it. Mostly it is a floor that takes a few minutes: the search can wait for the next rescue.
        """
        try:
            queued = self.ticker.rescue().already_queued > 0
            if queued and search:
                self._replace_strays()
        except (DatabaseError, RedisError) as error:
            log.error("rescue failed; it is tried again", extra={"error": type(error).__name__})
            return True
        return queued

    def register(self, sleep: Callable[[float], object]) -> None:
        """The first beat, before any job is taken: jobs of a consumer that nobody knows could not be taken over."""
        while self.beat(0, {}) is None:
            sleep(self.durations.retry_base)

    def beat(self, current_jobs: int, figures: dict[str, Any]) -> Heard | None:
        """Say that this consumer lives, replace the dead, and relieve those that have lost Redis.

        `None` when Postgres did not answer. A dead one's jobs are taken over first; only then does its row go
        offline, or its jobs would be stuck for ever.
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
            for worker_id in answer["cut_off"]:
                self._relieve(worker_id)
        except DatabaseError as error:
            log.error("beat failed", extra={"error": str(error)})
            return None
        share = self.worker.threads / (self.worker.threads + answer["others"])
        return Heard(answer["status"], answer["mail_due"], share)

    def sign_off(self) -> None:
        """The last word of a consumer that handed everything back."""
        try:
            self.database.call("pmc_set_worker_status", p_worker_id=self.worker.incarnation, p_status="offline")
        except DatabaseError:
            log.warning("could not sign off; the others will notice")

    def _replace_strays(self) -> None:
        """Take over from every consumer that the queue knows and the registry does not count among the living."""
        known = self.queue.find_lost()
        workers = self.database.call("pmc_list_workers")
        living = {row["worker_id"] for row in workers if row["status"] != "offline"}
        for stray in sorted(known - living - {self.worker.incarnation}):
            self._replace(stray)

    def _relieve(self, cut_off: str) -> None:
        """Take over what a consumer holds that lives and has lost Redis: its lease runs out as a dead one's does."""
        try:
            taken = self.queue.take_over(cut_off)
        except RedisError:
            return  # it is Redis that is gone, for all of us
        if taken and any(taken):
            log.warning("took over from a consumer that Redis does not hear", extra={"cut_off": cut_off})

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
        if self.turns:
            self.turns.leave(dead)
        self.database.call("pmc_set_worker_status", p_worker_id=dead, p_status="offline")
