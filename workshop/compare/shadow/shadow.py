"""`compare shadow`: our checks beside the old side's, in production, on a database of their own; no mail leaves.

Both ask the same scraper, ours for a share of the sections and at a bounded rate. Slot by slot the rows that the old
side writes are read, and only read: `class_states`, what it saw, and `notifications_sent`, whom it told. They are
joined with what we see and would have told.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row

from shared.checks.check import Checker
from shared.checks.queued import check_queued
from shared.checks.tick import Ticker, TickOrder
from shared.database import Database, DatabaseError
from shared.durations import Durations
from shared.queue.jobs import Delivery, NotDoneError
from shared.sections.section import Facts
from shared.sections.slots import group_at, slot_start
from workshop.compare.replay.breaker import LooksUp, MemoryBreaker, behind
from workshop.compare.replay.decisions import Key
from workshop.compare.replay.queue import FreeLock, ListQueue
from workshop.compare.shadow.copy import begin_copy, follow_people
from workshop.compare.shadow.evidence import Evidence, Told
from workshop.compare.shadow.looks import Listening, Look

_LOOK_AGAIN = timedelta(seconds=20)  # claims go when a section fills; its next check is a round away
_OVERLAP = timedelta(minutes=2)  # a row may be committed after a newer one
_TOLD_BY_OLD = """select n.class_watch_id::text, n.notification_type, n.sent_at, w.term, w.class_nbr,
    coalesce(p.is_disabled, false)
    from public.notifications_sent n join public.class_watches w on w.id = n.class_watch_id
    left join public.user_profiles p on p.user_id = w.user_id"""
_SEEN_BY_OLD = "select * from public.class_states where last_checked_at >= %s"
_WATCHED = """select term, class_nbr, jsonb_object_agg(w.id, w.created_at), bool_or(p.user_id is null or
        p.notifications_enabled and not p.email_bounced and not p.spam_complained and not p.is_disabled)
    from public.class_watches w left join public.user_profiles p using (user_id) group by 1, 2"""
_TOLD_BY_US = "select watch_id::text, notification_type, event_at, term, class_nbr from pickmyclass.outbox"


def in_share(section: Key, share: int) -> bool:
    """Whether a section is among the `share` percent that are looked at: by hash, the same ones in every run."""
    digest = hashlib.sha256(":".join(section).encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < share


@dataclass(slots=True)
class Shadow:
    """One run. `old` gives a read-only session of the old side's database, `copy` one of ours, which has a gateway too.

    `per_minute` bounds the look-ups; `wait(seconds)` paces them and answers whether the run is to stop. `replay`: the
    clock is a play's.
    """

    old: Callable[[], psycopg.Connection[Any]]
    copy: Callable[[], psycopg.Connection[Any]]
    database: Database
    scraper: LooksUp
    clock: Callable[[], datetime]
    wait: Callable[[float], bool]
    share: int
    per_minute: int
    replay: bool = False
    begun: datetime = field(init=False)
    evidence: Evidence = field(default_factory=Evidence)
    watched: dict[Key, bool] = field(default_factory=dict)
    due: set[Key] = field(default_factory=set)
    tell: Callable[[], None] = lambda: None
    checks: int = 0
    failed: int = 0
    left_out: int = 0
    stumbles: int = 0
    read_at: datetime | None = None  # when both databases were last read together
    cut_short: bool = False  # whether the last reading of all failed
    _slot: datetime | None = None
    _looked: datetime | None = None
    _seen_until: datetime = field(init=False)
    _claims: dict[tuple[str, str, datetime], Told] = field(default_factory=dict)
    _queue: ListQueue = field(default_factory=ListQueue)
    _checker: Checker = field(init=False)

    def __post_init__(self) -> None:
        """Bring people and states over. Raises `CopyError` and `psycopg.Error`."""
        self.begun = self._seen_until = self.clock()
        listening = Listening(self.scraper, self.clock, self.evidence.new, self.evidence.failures)
        breaker = MemoryBreaker(lambda: int(self.clock().timestamp() * 1000))
        self._checker = Checker(self.database, behind(breaker, listening), self.clock)
        begin_copy(self.old(), self.copy())
        self.look_at_old()

    def step(self) -> None:
        """Read what the old side wrote; with a new slot, check its sections.

        A database that does not answer is asked again at the next step; a day must not be lost to a minute.
        """
        try:
            if self._looked is None or self.clock() - self._looked >= _LOOK_AGAIN:
                self.look_at_old()
            now = self.clock()
            if slot_start(now) != self._slot:
                follow_people(self.old(), self.copy())
                self._slot = slot_start(now)
                self._tick(now)
                self._read()
        except (psycopg.Error, DatabaseError):
            self.stumbles += 1

    def look_at_old(self) -> None:
        """Note the old side's rows and claims, and who watches."""
        self._looked = self.clock()
        for row in self.old().cursor(row_factory=dict_row).execute(_SEEN_BY_OLD, [self._seen_until - _OVERLAP]):
            section, at = (row["term"], row["class_nbr"]), row["last_checked_at"]
            if in_share(section, self.share):
                self.evidence.old.note(section, Look(at, Facts.from_json(row)))
            self._seen_until = max(self._seen_until, at)
        for watch, kind, at, term, class_nbr, disabled in self.old().execute(_TOLD_BY_OLD):
            claim = Told(watch, kind, at, (term, class_nbr), disabled, self._looked)
            first = self._claims.setdefault((watch, kind, at), claim)
            self._claims[(watch, kind, at)] = replace(first, standing=self._looked)

    def finish(self) -> Evidence:
        """Read everything once more, and hand over what was found; without an answer, what was read before."""
        for _ in range(2):  # a session may have died unnoticed
            try:
                self._read()
            except psycopg.Error:
                continue
            return self.evidence
        self.cut_short = True
        return self.evidence

    def _read(self) -> None:
        """Whom both sides told, read together: one half without the other would look like differences."""
        self.look_at_old()
        people = self.old().execute(_WATCHED).fetchall()
        rows = self.copy().execute(_TOLD_BY_US).fetchall()
        self._note_people(people)
        self.evidence.claims = [one for one in self._claims.values() if in_share(one.section, self.share)]
        self.evidence.told = [
            Told(watch, kind, at, (term, nbr)) for watch, kind, at, term, nbr in rows if at >= self.begun
        ]
        self.read_at = self.clock()

    def _note_people(self, people: Iterable[tuple[Any, ...]]) -> None:
        terms: dict[str, set[str]] = {}
        self.watched, self.evidence.watched, self.evidence.joined = {}, set(), {}
        for term, class_nbr, joined, eligible in people:
            terms.setdefault(class_nbr, set()).add(term)
            if in_share((term, class_nbr), self.share):
                self.watched[(term, class_nbr)] = eligible
                moments = {watch: datetime.fromisoformat(moment) for watch, moment in joined.items()}
                self.evidence.joined[(term, class_nbr)] = moments
            self.evidence.watched.add((term, class_nbr))
        self.evidence.shared = {class_nbr for class_nbr, found in terms.items() if len(found) > 1}

    def _tick(self, now: datetime) -> None:
        """Check the slot's sections, each look-up apart from the next."""
        ticker = Ticker(self.database, self._queue, FreeLock(), self.clock)
        ticker.tick(TickOrder(now, group_at(now), "http", "shadow", replay=self.replay))
        due = [one for one in self._queue.take() if in_share(_section(one), self.share)]
        self.due.update(map(_section, due))
        for number, delivery in enumerate(due):
            if slot_start(self.clock()) != self._slot:
                self.left_out += len(due) - number
                return
            try:
                check_queued(self._checker, delivery, Durations())
                self.checks += 1
            except NotDoneError:
                self.failed += 1  # the next slot looks again; a shadow does not press
            self.tell()
            if self.wait(60 / self.per_minute):
                return
            if self.clock() - (self._looked or now) >= _LOOK_AGAIN:
                self.look_at_old()


def _section(delivery: Delivery) -> Key:
    term, _, class_nbr = delivery.key.partition(":")
    return term, class_nbr
