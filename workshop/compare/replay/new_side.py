"""The new side of a replay: the product's own flows on a real Postgres, in this process.

Real are tick, check, comparison, commit with all its SQL, retries and parking, the outbox, freezing, rendering and
settling. In their places stand a list instead of the Redis queue, a breaker in memory (the real one tells the time by
Redis), and a sender that keeps what it gets; those have tests of their own.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

from shared.checks.check import Checker, CheckOrder
from shared.checks.queued import check_queued
from shared.checks.tick import Ticker, TickOrder
from shared.database import Database, DatabaseUnavailable, connect_postgres
from shared.durations import Durations
from shared.mail.renderer import Renderer
from shared.mail.resend import Accepted, Outcome, Unknown
from shared.mail.send import MailRoom, MailTiming, send_due_mail
from shared.mail.tokens import UnsubscribeTokens
from shared.queue.jobs import GiveUp, NotDoneError, Park, PauseQueue
from shared.sections.section import Section
from shared.sections.slots import group_at
from shared.source.answers import Answer, Found, NotFound
from shared.source.scraper import classify
from workshop.campus.sections import HALF_HOUR_MS
from workshop.compare.replay.breaker import MemoryBreaker, behind
from workshop.compare.replay.decisions import FACTS, Key, Mail, Row, Slot
from workshop.compare.replay.mail_reader import SUBJECTS, Expected, faults, section_of
from workshop.compare.replay.old_side import HOUR_MS, changed
from workshop.compare.replay.queue import FreeLock, ListQueue
from workshop.compare.replay.scene import Clock, Once, Scene

_DURATIONS = Durations()
_LATER = timedelta(minutes=1)  # a slow scrape is overtaken by one that begins so much later
_SECRET = "a secret of the comparison"  # noqa: S105 - signs links in mail that nobody gets
_EDGES = ["seat_available", "seats_filled", "instructor_assigned", "instructor_changed", "instructor_unassigned"]
_EVENTS = (
    "select id, term, class_nbr, kind from pickmyclass.section_events where id > %s and kind = any (%s) order by 1"
)
_BASELINES = "select * from pickmyclass.section_checks where observed_at is not null"
_PROJECTION = "select * from public.class_states"


class NewSide:
    """Plays the slots of a scene; `play` tells what the product decided in each."""

    def __init__(self, scene: Scene, url: str) -> None:
        """`url` names a fresh, migrated database with the students signed up, whose sections are all ours."""
        self._scene, self._clock, self._once = scene, Clock(), Once()
        self._database = _Faulty(connect_postgres(url, pool_size=2), self._fails)
        self._session = psycopg.connect(url, autocommit=True, connect_timeout=10, row_factory=dict_row)
        self._jobs = ListQueue()
        self._ticker = Ticker(self._database, self._jobs, FreeLock(), self._now)
        self._checker = Checker(self._database, behind(MemoryBreaker(self._clock), self), self._now)
        self._users = {student.email: student.user_id for student in scene.students}
        tokens = UnsubscribeTokens(_SECRET, None)
        zone = ZoneInfo("America/Phoenix")
        site = "https://pickmyclass.example"
        renderer = Renderer(site_url=site, sender="PickMyClass <hello@example.edu>", zone=zone, tokens=tokens)
        self._mail = MailRoom(self._database, self, renderer, self._recheck, MailTiming(unit=0.001))
        self._slot = Slot(0)
        self._rows: dict[Key, Row] = {}
        self._last_event = 0
        self._numbers = count(1)

    def play(self, slot_ms: int) -> Slot:
        """One slot: the tick, whatever was late, people who add watches, and mail."""
        self._clock.begin(slot_ms)
        self._slot = Slot(slot_ms)
        if slot_ms not in self._scene.late:
            self._tick(slot_ms)
        if slot_ms - HALF_HOUR_MS in self._scene.late:
            self._tick(slot_ms - HALF_HOUR_MS)
        for addition in self._scene.additions.get(slot_ms, ()):
            self._checker.check(CheckOrder(Section(*addition.section), _DURATIONS.scrape, now=self._now()))
        for _ in range(3):  # what the mass-event guard holds is looked at once more, and sent after that
            send_due_mail(self._mail, "replay", patience=60.0)
            if not self._work():
                break
        self._read_rows()
        return self._slot

    def close(self) -> None:
        """End its sessions."""
        self._database.close()
        self._session.close()

    def look_up(self, section: Section, timeout: float) -> Answer:
        """Ask the campus. In a slow scrape a whole newer check goes by before the answer is there."""
        key = (section.term, section.class_nbr)
        slow = (self._clock.slot_ms, key) in self._scene.slow and self._once(("slow", self._clock.slot_ms, key))
        if slow:
            self._checker.check(CheckOrder(section, timeout, now=self._now() + _LATER))
        reply = self._scene.answer(key, self._clock, stale=slow)
        answer = classify(reply.status, reply.body)
        if isinstance(answer, Found | NotFound):
            self._slot.checked.add(key)
        return answer

    def send_batch(self, key: str, body: str, size: int) -> Outcome:  # noqa: ARG002 - part of the client's interface
        """Take a batch, unless a fault wants it not to be known whether it was taken."""
        mails = [self._read(email) for email in json.loads(body)]
        for mail in mails:
            fault = (self._clock.slot_ms, mail.section)
            if fault in self._scene.resend_faults and self._once(("resend", fault)):
                return Unknown("a fault of the play")
        self._slot.mails += mails
        return Accepted(tuple(f"message-{next(self._numbers)}" for _ in mails))

    def _now(self) -> datetime:
        """The play's time: it stands at the slot's start, as in every replay."""
        return datetime.fromtimestamp(self._clock.slot_ms / 1000, UTC)

    def _tick(self, scheduled_ms: int) -> None:
        scheduled = datetime.fromtimestamp(scheduled_ms / 1000, UTC)
        self._ticker.tick(TickOrder(scheduled, group_at(scheduled), "scheduler", "replay", replay=True))
        self._work()

    def _work(self) -> bool:
        """What the consumer does with its queue: one job after the other, retries behind what waits.

        Whether there was anything to do.
        """
        waiting = self._jobs.take()
        worked = bool(waiting)
        while waiting and self._clock.offset_ms < HOUR_MS:
            again, parked = [], False
            for delivery in waiting:
                began = time.monotonic()
                try:
                    check_queued(self._checker, delivery, _DURATIONS)
                except (Park, PauseQueue):
                    again.append(delivery)
                    parked = True
                except GiveUp:
                    pass
                except NotDoneError:
                    delivery.attempts += 1
                    if delivery.attempts < delivery.max_attempts:
                        again.append(delivery)
                self._slot.seconds.append(time.monotonic() - began)
            waiting = sorted(again, key=lambda one: one.attempts)
            self._clock.offset_ms += 120_000 if parked else 1_000
        return worked

    def _recheck(self, sections: Sequence[Section]) -> bool:
        self._ticker.requeue(list(sections), "mass-event", replay=True)
        return True

    def _fails(self, check: dict[str, Any]) -> bool:
        fault = (self._clock.slot_ms, (check["term"], check["class_nbr"]))
        return fault in self._scene.database_faults and self._once(("database", fault))

    def _read(self, email: dict[str, Any]) -> Mail:
        """An email as it left, held against the facts that were written down when it became owed."""
        section, recipient = section_of(email), email["to"][0]
        kind = next((kind for kind, start in SUBJECTS.items() if email["subject"].startswith(start)), "other")
        facts, user_id = self._rows_now(section), self._users.get(recipient, "nobody")
        slow = (self._clock.slot_ms, section) in self._scene.slow  # then the newer check saw it
        seen_at = self._now() + (_LATER if slow else timedelta())
        expected = Expected(*section, kind, facts, seen_at, user_id, _SECRET)
        wrong = faults(email, expected) if kind in SUBJECTS else ("kind",)
        return Mail(section, kind, recipient, email["subject"], facts, wrong)

    def _rows_now(self, key: Key) -> Row:
        facts = self._database.call("pmc_read_section", p_term=key[0], p_class_nbr=key[1])["facts"]
        return tuple(facts[name] for name in FACTS)

    def _read_rows(self) -> None:
        """The rows and events of this slot, read as the owner: what the product remembers.

        A row is that of the dashboard; where a number means two classes these share it (O6), so the baseline counts.
        """
        for event in self._session.execute(_EVENTS, [self._last_event, _EDGES]):
            self._last_event = event["id"]
            self._slot.events[((event["term"], event["class_nbr"]), event["kind"])] += 1
        found = _by_section(self._session.execute(_BASELINES))
        shown = _by_section(self._session.execute(_PROJECTION))
        numbers = Counter(class_nbr for _, class_nbr in found)
        found = {key: row for key, row in found.items() if numbers[key[1]] > 1} | {
            key: row for key, row in shown.items() if numbers[key[1]] == 1
        }
        self._slot.states = changed(self._rows, found)
        self._rows = found


class _Faulty:
    """The gateway, whose commits fail when the play wants it."""

    def __init__(self, inner: Database, fails: Callable[[dict[str, Any]], bool]) -> None:
        self._inner, self._fails = inner, fails

    @property
    def calls(self) -> int:
        return self._inner.calls

    def call(self, function: str, **arguments: Any) -> Any:
        if function == "pmc_commit_check" and self._fails(arguments["p_check"]):
            raise DatabaseUnavailable("a fault of the play")
        return self._inner.call(function, **arguments)

    def close(self) -> None:
        self._inner.close()


def _by_section(rows: Iterable[dict[str, Any]]) -> dict[Key, Row]:
    return {(row["term"], row["class_nbr"]): tuple(row[name] for name in FACTS) for row in rows}
