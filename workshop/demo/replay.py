"""A replay: owns the time, and plays a season through the real product, slot by slot.

For each slot the campus's clock is set, the tick is called with our clock, the consumer works until its queue is
empty, mail is sent until nothing is owed (also what the mass-event guard had looked at twice), and only then the
clock moves on.
"""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

from shared.checks.tick import TickOrder
from shared.mail.send import send_due_mail
from shared.queue import Counts
from shared.sections.slots import group_at
from shared.settings import load
from shared.wiring import Wiring
from workshop.campus.sections import Course
from workshop.demo.oracle import NAME, SEAT, Owed
from workshop.demo.students import Watch
from workshop.parts.registry import Registry
from workshop.parts.stack import Stack

_PATIENCE = 120.0  # seconds without any progress before a replay gives up
_LOOK_AGAIN = 0.01  # seconds
_TRIES = 5  # of the mailer, without sending any of what is owed
_MAILER = "replay:mail"
_SUBJECT = re.compile(r"(Seat Available|Instructor Assigned): .* \((\d{5})\)")
_KINDS = {"Seat Available": SEAT, "Instructor Assigned": NAME}


class ReplayError(Exception):
    """The product got stuck or said something that cannot be; the message says where."""


@dataclass(slots=True)
class Played:
    """What came of a replay so far."""

    ticks: int = 0
    checks: int = 0
    emails: list[Owed] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  # subjects that nobody should have been sent
    scraper_calls: int = 0
    seconds: float = 0.0
    last_subject: str = ""


class Replay:
    """Plays slots on a running `Stack`."""

    def __init__(self, stack: Stack, registry: Registry, term: str, courses: dict[str, Course]) -> None:
        """`courses` tells course and number of each section, for its watches."""
        self.played = Played()
        self._stack, self._registry, self._term, self._courses = stack, registry, term, courses
        self._slot_ms = 0
        self._http = requests.Session()
        self._http.trust_env = False
        self._parts = Wiring(load(stack.environment, None), clock=self._now, replay=True)
        self._seen = 0  # number of the last email looked at

    def play(self, slots_ms: Sequence[int], watches: Iterable[Watch], tell: Callable[[Played, int], None]) -> Played:
        """Play the slots (their starts in epoch ms); each watch is added at the start of its slot.

        `tell` hears after each slot what came of it so far. Raises `ReplayError`, and `PartError` when a part died.
        """
        begun = time.monotonic()
        joining: dict[int, list[Watch]] = defaultdict(list)
        for watch in watches:
            joining[watch.since_ms].append(watch)
        for slot in slots_ms:
            self._set_clock(slot)
            if joining[slot]:
                self._registry.add_watches(self._term, self._courses, joining[slot])
            self._play_slot()
            self.played.seconds = time.monotonic() - begun
            tell(self.played, slot)
        self.played.scraper_calls = self._ask("GET", f"{self._stack.campus_url}/status")["lookups"]
        return self.played

    def health(self) -> dict[str, Any]:
        """What Postgres knows about how it goes, by the replay's clock."""
        known: dict[str, Any] = self._parts.database.call("pmc_read_health", p_now=self._now())
        return known

    def close(self) -> None:
        """Close the replay's own connections."""
        self._parts.close()
        self._http.close()

    def _now(self) -> datetime:
        """The replay's time: it stands at the slot's start while the slot is played."""
        return datetime.fromtimestamp(self._slot_ms / 1000, UTC)

    def _set_clock(self, slot_ms: int) -> None:
        """The campus shows the values of the slot's start until the next slot."""
        self._ask("POST", f"{self._stack.campus_url}/control/clock", {"now_ms": slot_ms, "rate": 0})
        self._slot_ms = slot_ms

    def _play_slot(self) -> None:
        now = self._now()
        report = self._parts.ticker.tick(TickOrder(now, group_at(now), "scheduler", "replay", replay=True))
        self.played.ticks += 1
        self.played.checks += report.enqueued
        self._drain()
        self._send_mail()
        self._read_inbox()

    def _drain(self) -> None:
        """Wait until nothing is queued, running or put off."""
        before, since = -1, time.monotonic()
        while left := self._queued():
            if left != before:
                before, since = left, time.monotonic()
            if time.monotonic() - since > _PATIENCE:
                raise ReplayError(f"{left} checks are still queued after {_PATIENCE:g} s without progress")
            self._stack.check()
            time.sleep(_LOOK_AGAIN)

    def _queued(self) -> int:
        counts: Counts = self._parts.huey.counts()
        return counts.waiting + counts.leased + counts.delayed

    def _send_mail(self) -> None:
        """Send until nothing is owed. What the mass-event guard holds is queued once more by it, and comes later."""
        owed, stuck = 0, 0
        while stuck < _TRIES:
            report = send_due_mail(self._parts.mail, _MAILER, patience=_PATIENCE)
            if report.state != "idle":
                raise ReplayError(f"mail does not leave: {report.state} ({report.reason})")
            self._drain()
            before, owed = owed, self._parts.database.call("pmc_list_mail", p_limit=0)["counts"].get("pending", 0)
            if not owed:
                return
            stuck = stuck + 1 if owed == before else 0
        raise ReplayError(f"{owed} emails are still owed although nothing is queued")

    def _read_inbox(self) -> None:
        """Note who was told what in this slot."""
        answer = self._ask("GET", f"{self._stack.inbox_url}/control/emails?after={self._seen}")
        for mail in answer["emails"]:
            self._seen, self.played.last_subject = mail["number"], mail["subject"]
            found = _SUBJECT.search(mail["subject"])
            if found is None or len(mail["to"]) != 1:
                self.played.strange.append(mail["subject"])
                continue
            self.played.emails.append(Owed(self._slot_ms, found[2], _KINDS[found[1]], mail["to"][0]))

    def _ask(self, method: str, url: str, body: Any = None) -> Any:
        answer = self._http.request(method, url, json=body, timeout=30)
        if answer.status_code != 200:
            raise ReplayError(f"{method} {url} was answered with {answer.status_code}")
        return answer.json()
