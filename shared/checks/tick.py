"""The tick: which sections are due, and into the queue with them.

Lock, tick row, due sections with their baselines, bulk push, release. It never scrapes, so it takes about a
second for twenty thousand sections, and it can be repeated without harm: what is queued is not queued twice.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from redis import RedisError

from shared.clock import Clock
from shared.database import DatabaseCalls, DatabaseError
from shared.durations import Durations
from shared.lock import Busy, Held, Unavailable
from shared.logs import bind
from shared.queue.jobs import Job, PushResult
from shared.sections.section import Section
from shared.sections.slots import Group, group_of, latest_slot, next_slot, slot_start
from shared.source.answers import Listing

log = logging.getLogger(__name__)

PAGE = 2500
TASK = "process_section"
Source = Literal["scheduler", "http", "rescue"]


class Pushes(Protocol):
    """The queue as a producer sees it. Raises `redis.RedisError` when it cannot be reached."""

    def push(self, jobs: Sequence[Job], now_ms: int) -> PushResult: ...


class Locks(Protocol):
    """The cron lock. `sleep(seconds)` answers whether the wait was interrupted."""

    def acquire(self, holder: str) -> Held | Busy | Unavailable: ...

    def acquire_patiently(self, holder: str, sleep: Callable[[float], bool]) -> Held | Busy | Unavailable: ...

    def release(self, holder: str) -> bool: ...


class LockBusyError(Exception):
    """Another tick is running; `holder` names it."""

    def __init__(self, holder: str) -> None:
        super().__init__("Another tick holds the lock; it is released at its end, or by itself after 25 minutes")
        self.holder = holder


class LockUnavailableError(Exception):
    """The lock's store does not answer, so no tick may begin (O26)."""


@dataclass(frozen=True, slots=True)
class TickOrder:
    """Which half to queue. `scheduled` decides group and slot; the jobs' times come from the clock.

    `replay`: the clock is a replay's, and the jobs carry its time with them.
    """

    scheduled: datetime
    group: Group | Literal["all"]
    source: Source
    worker: str | None = None
    replay: bool = False


@dataclass(frozen=True, slots=True)
class TickReport:
    """What the tick did. `begun` is false when this slot's tick was already run by another scheduler."""

    tick_id: str
    group: str
    begun: bool
    enqueued: int
    already_queued: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Ticker:
    """Queues due sections with the stores it was built with."""

    database: DatabaseCalls
    queue: Pushes
    lock: Locks
    clock: Clock
    durations: Durations = field(default_factory=Durations)
    listing_of: Callable[[Section, str | None], Listing | None] = lambda _section, _subject: None

    def tick(self, order: TickOrder, wait: Callable[[float], bool] | None = None) -> TickReport:
        """Take the lock, begin the tick, queue the due sections page by page, note how it went, release.

        Without `wait` the lock is asked for once (HTTP, O27); with it as often as the scheduler may, `wait(seconds)`
        answering whether the wait was interrupted. Raises `LockBusyError`, `LockUnavailableError`, `DatabaseError`
        or `redis.RedisError`; the tick row then says so, and the rescue or the next scheduler queues what is missing.
        """
        tick_id = uuid.uuid4().hex[:16]
        holder = f"{order.source}:{order.worker or 'unnamed'}:{tick_id}"
        with bind(tick_id=tick_id, group=order.group, source=order.source):
            answer = self.lock.acquire_patiently(holder, wait) if wait else self.lock.acquire(holder)
            if isinstance(answer, Busy):
                raise LockBusyError(answer.holder)
            if isinstance(answer, Unavailable):
                self._release(holder)  # only its answer may have been lost
                raise LockUnavailableError
            try:
                return self._tick(order, tick_id)
            finally:
                self._release(holder)

    def _tick(self, order: TickOrder, tick_id: str) -> TickReport:
        started = time.monotonic()
        begun = self.database.call(
            "pmc_begin_tick",
            p_tick_id=tick_id,
            p_slot=_slot(order),
            p_group=order.group,
            p_source=order.source,
            p_worker=order.worker,
            p_now=self.clock(),
            p_stale_seconds=self.durations.tick_stale,
        )
        if begun["result"] == "already":
            log.info("tick already run", extra={"by": begun["tick_id"]})
            return TickReport(begun["tick_id"], order.group, False, 0, 0, _since(started))
        try:
            enqueued, queued = self._queue_all(order, tick_id, begun["started_at"])
        except Exception as error:
            with suppress(DatabaseError):
                self._finish(tick_id, None, None, f"{type(error).__name__} while queueing")
            raise
        self._finish(tick_id, enqueued, queued, None)
        report = TickReport(tick_id, order.group, True, enqueued, queued, _since(started))
        log.info("tick done", extra={"enqueued": enqueued, "already_queued": queued, "ms": report.duration_ms})
        return report

    def rescue(self) -> TickReport:
        """Queue again what the latest slots left without an ended attempt and what is not queued.

        Needs no lock: the queue refuses what it already holds. Heals a lost queue, a killed worker, a server that
        was down over the slot's start.
        """
        started, tick_id = time.monotonic(), f"rescue-{uuid.uuid4().hex[:9]}"
        order = TickOrder(self.clock(), "all", "rescue")
        with bind(tick_id=tick_id, source="rescue"):
            enqueued, queued = self._queue_all(order, tick_id, None, unattempted_only=True)
            if enqueued:
                log.warning("queued again what had no ended attempt", extra={"enqueued": enqueued})
        return TickReport(tick_id, "all", True, enqueued, queued, _since(started))

    def requeue(self, sections: list[Section], tick_id: str, *, replay: bool = False, urgent: bool = True) -> int:
        """Queue `sections` at once, ahead of the others, whatever their attempts; returns how many went in."""
        now = self.clock()
        jobs = [job_for(section, None, tick_id, now, replay=replay, urgent=urgent) for section in sections]
        return self.queue.push(jobs, _ms(now)).enqueued

    def _queue_all(
        self, order: TickOrder, tick_id: str, started_at: str | None, *, unattempted_only: bool = False
    ) -> tuple[int, int]:
        enqueued = queued = 0
        for page in self._due(order, started_at, unattempted_only):
            now = self.clock()
            jobs = self._jobs(page, tick_id, now, replay=order.replay)
            new = self.queue.push([job for job, _ in jobs], _ms(now)).keys
            enqueued += sum(sections for job, sections in jobs if job.key in new)
            queued += sum(sections for job, sections in jobs if job.key not in new)
        return enqueued, queued

    def _jobs(self, page: list[dict[str, Any]], tick_id: str, now: datetime, *, replay: bool) -> list[tuple[Job, int]]:
        """One job for each listing that tells of due sections, one for each section that none tells of.

        Beside each job how many sections it is for.
        """
        alone, together = [], defaultdict[Listing, list[str]](list)
        for row in page:
            section = Section(row["term"], row["class_nbr"])
            listing = self.listing_of(section, row["subject"])
            if listing is None:
                alone.append((job_for(section, row, tick_id, now, replay=replay), 1))
            else:
                together[listing].append(section.class_nbr)
        listings = [
            (job_for_listing(listing, numbers, tick_id, now, replay=replay), len(numbers))
            for listing, numbers in together.items()
        ]
        return listings + alone

    def _due(self, order: TickOrder, started_at: str | None, unattempted_only: bool) -> Iterator[list[dict[str, Any]]]:
        """The due sections with their baselines, a page at a time, so that memory stays flat."""
        after = None
        while True:
            page = self.database.call(
                "pmc_due_sections",
                p_group=order.group,
                p_now=self.clock(),
                p_unattempted_only=unattempted_only,
                p_started_at=started_at,
                p_after=after,
                p_limit=PAGE,
                p_grace_seconds=self.durations.slot_grace,
            )
            if page["sections"]:
                yield page["sections"]
            after, started_at = page["next"], page["started_at"]
            if after is None:
                return

    def _release(self, holder: str) -> None:
        """Give the lock back; when that fails it ends by itself, and the tick was done all the same."""
        try:
            self.lock.release(holder)
        except RedisError:
            log.warning("lock not released; it ends by itself")

    def _finish(self, tick_id: str, enqueued: int | None, queued: int | None, error: str | None) -> None:
        self.database.call(
            "pmc_finish_tick", p_tick_id=tick_id, p_enqueued=enqueued, p_already_queued=queued, p_error=error
        )


def job_for(
    section: Section,
    known: dict[str, Any] | None,
    tick_id: str | None,
    now: datetime,
    *,
    replay: bool = False,
    urgent: bool = False,
) -> Job:
    """The queue's job for one check. `known` is the baseline as the database gave it, or `None`: read it then.

    It expires at the section's first slot start after `now`: by then the next tick queues it anew.
    """
    payload: dict[str, Any] = {"tick_id": tick_id}
    if known is not None:
        payload |= {name: known[name] for name in ("version", "observed_at", "source", "facts")}
    return Job(
        task=TASK,
        key=section.key,
        payload=payload,
        expires_at=_ms(next_slot(group_of(section.class_nbr), now)),
        now=_ms(now) if replay else None,
        urgent=urgent,
    )


def job_for_listing(
    listing: Listing, class_nbrs: Sequence[str], tick_id: str, now: datetime, *, replay: bool = False
) -> Job:
    """The queue's job for one look at a listing, for the sake of its sections `class_nbrs`, which are due.

    It expires when the first of them is due again.
    """
    return Job(
        task=TASK,
        key=listing.key,
        payload={"tick_id": tick_id, "listing": [listing.term, listing.subject], "sections": list(class_nbrs)},
        expires_at=min(_ms(next_slot(group_of(number), now)) for number in class_nbrs),
        now=_ms(now) if replay else None,
    )


def _slot(order: TickOrder) -> datetime:
    return slot_start(order.scheduled) if order.group == "all" else latest_slot(order.group, order.scheduled)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _since(started: float) -> int:
    return int((time.monotonic() - started) * 1000)
