"""`compare shadow`: our checks beside the old side's, in production, on a copy of its database; no mail leaves.

Both ask the same scraper, ours for a share of the sections and at a bounded rate. What we would have mailed is
joined, per watch and kind, with what the old side wrote down as mailed, which is only read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg

from compare.breaker import Breaker, Gate
from compare.decisions import Key
from compare.findings import Difference, Findings
from compare.queue import FreeLock, ListQueue
from shared.core.durations import Durations
from shared.core.jobs import Delivery, NotDoneError
from shared.core.slots import ROUND, group_at, group_of, latest_slot, slot_start
from shared.flows.check import Checker
from shared.flows.queued import check_queued
from shared.flows.tick import Ticker, TickOrder
from shared.flows.tools import LooksUp
from shared.stores.database import Database

CLAIM = timedelta(hours=24)
_TOLD_BY_OLD = """select n.class_watch_id::text, n.notification_type, n.sent_at, w.term, w.class_nbr,
    coalesce(p.is_disabled, false)
    from public.notifications_sent n join public.class_watches w on w.id = n.class_watch_id
    left join public.user_profiles p on p.user_id = w.user_id"""
_SHARED = "select class_nbr from public.class_watches group by class_nbr having count(distinct term) > 1"
_TOLD_BY_US = "select watch_id::text, notification_type, event_at, term, class_nbr from pickmyclass.outbox"


@dataclass(frozen=True, slots=True)
class Told:
    """That somebody was told, or would have been."""

    watch: str
    kind: str
    at: datetime
    section: Key
    disabled: bool = False

    @property
    def slot(self) -> datetime:
        """The slot of its section in which that was."""
        return latest_slot(group_of(self.section[1]), self.at)


def in_share(section: Key, share: int) -> bool:
    """Whether a section is among the `share` percent that are looked at: by hash, the same ones in every run."""
    digest = hashlib.sha256(":".join(section).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < share


@dataclass(slots=True)
class Shadow:
    """One run. `old` is a read-only session of the old side's database, `copy` one of ours with its gateway.

    `per_minute` bounds the look-ups; `sleep(seconds)` paces them.
    """

    old: psycopg.Connection[Any]
    copy: psycopg.Connection[Any]
    database: Database
    scraper: LooksUp
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    share: int
    per_minute: int
    begun: datetime = field(init=False)
    checks: int = 0
    failed: int = 0
    left_out: int = 0
    _slot: datetime | None = None
    _seen: dict[tuple[str, str, datetime], Told] = field(default_factory=dict)
    _queue: ListQueue = field(default_factory=ListQueue)
    _breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self.begun = self.clock()
        self._breaker = Breaker(lambda: int(self.clock().timestamp() * 1000))
        self.look_at_old()

    def step(self) -> None:
        """Read what the old side wrote; with a new slot, check its sections."""
        self.look_at_old()
        now = self.clock()
        if slot_start(now) != self._slot:
            self._slot = slot_start(now)
            self._tick(now)

    def look_at_old(self) -> None:
        """Note the old side's claims: it deletes them when a section fills, so they are read again and again."""
        for watch, kind, at, term, class_nbr, disabled in self.old.execute(_TOLD_BY_OLD):
            if in_share((term, class_nbr), self.share):
                told = Told(watch, kind, at, (term, class_nbr), disabled)
                self._seen.setdefault((watch, kind, at), told)

    def findings(self) -> Findings:
        """What agreed, and what did not."""
        rows = self.copy.execute(_TOLD_BY_US).fetchall()
        ours = [Told(watch, kind, at, (term, nbr)) for watch, kind, at, term, nbr in rows if at >= self.begun]
        theirs = [told for told in self._seen.values() if told.at >= self.begun]
        pairs, extra, missed = _pair(ours, theirs)
        shared = {row[0] for row in self.old.execute(_SHARED)}
        same = sum(one.slot == other.slot for one, other in pairs)
        early = sum(one.slot < other.slot for one, other in pairs)
        findings = Findings("Shadow: what the old side mailed and what we would have")
        findings.figures = [
            ("Emails", f"{len(theirs):,}", f"{len(ours):,}"),
            ("Agreed, in the same slot", f"{same:,}", f"{same:,}"),
            ("Agreed, seen earlier by this side", f"{len(pairs) - same - early:,}", f"{early:,}"),
            ("Sections checked", "", f"{self.checks:,}"),
            ("Checks that failed", "", f"{self.failed:,}"),
        ]
        findings.add(self._told(one, "extra", shared) for one in extra)
        findings.add(self._told(one, "missed", shared) for one in missed)
        if self.left_out:
            findings.notes.append(f"{self.left_out:,} checks had no room in their slot: raise --per-minute.")
        return findings

    def _tick(self, now: datetime) -> None:
        ticker = Ticker(self.database, self._queue, FreeLock(), self.clock)
        ticker.tick(TickOrder(now, group_at(now), "http", "shadow"))
        checker = Checker(self.database, Gate(self._breaker), self.scraper, self.clock)
        due = [one for one in self._queue.take() if in_share(_section(one), self.share)]
        for number, delivery in enumerate(due):
            if slot_start(self.clock()) != self._slot:
                self.left_out += len(due) - number
                return
            try:
                check_queued(checker, delivery, Durations())
                self.checks += 1
            except NotDoneError:
                self.failed += 1  # the next slot looks again; a shadow does not press
            self.sleep(60 / self.per_minute)

    def _told(self, one: Told, what: str, shared: set[str]) -> Difference:
        there, here = ("told", "not") if what == "missed" else ("not", "told")
        where = " ".join(one.section)
        return Difference(
            where, f"{one.slot:%Y-%m-%d %H:%M}", f"{what} ({one.kind})", there, here, self._why(one, what, shared)
        )

    def _why(self, one: Told, what: str, shared: set[str]) -> str | None:
        """The defect that the rows give evidence of."""
        if what == "missed" and one.disabled:
            return "O35"
        if one.section[1] in shared:
            return "O6"
        claims = [told.at for told in self._seen.values() if (told.watch, told.kind) == (one.watch, one.kind)]
        return "O1" if what == "extra" and any(at + CLAIM <= one.at for at in claims) else None


def _pair(ours: Iterable[Told], theirs: Iterable[Told]) -> tuple[list[tuple[Told, Told]], list[Told], list[Told]]:
    """(pairs, only ours, only theirs): of one watch and kind, at most a round apart, the nearest first."""
    left, pairs, extra = sorted(theirs, key=lambda told: told.at), [], []
    for one in sorted(ours, key=lambda told: told.at):
        same = [other for other in left if (other.watch, other.kind) == (one.watch, one.kind)]
        near = [other for other in same if abs(other.slot - one.slot) <= ROUND]
        if not near:
            extra.append(one)
            continue
        best = min(near, key=lambda other: abs(other.at - one.at))
        left.remove(best)
        pairs.append((one, best))
    return pairs, extra, left


def _section(delivery: Delivery) -> Key:
    term, _, class_nbr = delivery.key.partition(":")
    return term, class_nbr
