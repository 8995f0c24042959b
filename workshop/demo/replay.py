"""A replay: owns the time, and plays a season through the real product, minute by minute.

At the start of a slot the campus's clock is set, the tick is called with our clock, the consumer works until its
queue is empty, mail is sent until nothing is owed (also what the mass-event guard had looked at twice), and only then
the clock moves on. In the minutes between the planner looks where it wants to, with our clock too.
"""

from __future__ import annotations

import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

from shared.checks.looks import Looks, Pace
from shared.checks.tick import TickOrder
from shared.mail.send import send_due_mail
from shared.queue import Counts
from shared.sections.slots import group_at
from shared.settings import load
from shared.wiring import Wiring
from workshop.campus.sections import HALF_HOUR_MS, Course
from workshop.demo.oracle import NAME, SEAT, Look, Owed
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
    told: list[tuple[str, int, int]] = field(default_factory=list)  # section, seen, accepted: of openings, in epoch ms
    looks: list[Look] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)  # subjects that nobody should have been sent
    twice: int = 0  # sections looked at once more at the same moment
    seconds: float = 0.0
    last_subject: str = ""


class Replay:
    """Plays slots on a running `Stack`."""

    def __init__(
        self, stack: Stack, registry: Registry, term: str, courses: dict[str, Course], pace: Pace | None = None
    ) -> None:
        """`courses` tells course and number of each section, for its watches. Without `pace` only the ticks look."""
        self.played = Played()
        self._stack, self._registry, self._term, self._courses = stack, registry, term, courses
        self._now_ms, self._began = 0, 0.0  # the replay's time, and when it came to it by ours
        self._calls = 0  # number of the last call at the campus that was noted
        self._watched: set[str] = set()
        self._listings: dict[str, list[str]] = defaultdict(list)
        for class_nbr, course in courses.items():
            self._listings[course.subject].append(class_nbr)
        self._http = requests.Session()
        self._http.trust_env = False
        self._parts = Wiring(load(stack.environment, None), clock=self._now, replay=True)
        self._seen = 0  # number of the last email looked at
        self._looks = self._make_looks(pace) if pace else None
        self._mail_is_owed = False

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
            self._watched.update(watch.class_nbr for watch in joining[slot] if watch.student.refuses is None)
            if joining[slot]:
                self._registry.add_watches(self._term, self._courses, joining[slot])
            self._play_slot()
            if self._looks:
                for minute in range(30):
                    self._play_minute(self._looks, slot + minute * 60_000)
                self._read_looks()
            self.played.seconds = time.monotonic() - begun
            tell(self.played, slot)
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
        """The replay's time: it stands while a moment is played."""
        return datetime.fromtimestamp(self._now_ms / 1000, UTC)

    def _set_clock(self, now_ms: int) -> None:
        """The campus shows the values of this moment until the next one."""
        self._ask("POST", f"{self._stack.campus_url}/control/clock", {"now_ms": now_ms, "rate": 0})
        self._now_ms, self._began = now_ms, time.time()

    def _play_slot(self) -> None:
        now = self._now()
        self._parts.ticker.tick(TickOrder(now, group_at(now), "scheduler", "replay", replay=True))
        self.played.ticks += 1
        looked = self._finish()
        odd = self._now_ms // HALF_HOUR_MS % 2
        due = {class_nbr for class_nbr in looked if class_nbr in self._watched and int(class_nbr) % 2 == odd}
        self.played.checks += len(due)
        if not self._looks:
            self.played.twice += sum(count - 1 for count in Counter(looked).values())

    def _make_looks(self, pace: Pace) -> Looks:
        """The product's own planner, which decides by our clock and looks from this process."""
        parts = self._parts
        return Looks(
            parts.database,
            parts.looker,
            parts.checker,
            listing_of=parts.sources.listing_of,
            pace=lambda: pace,
            worker="replay",
            timezone=parts.settings.cron_timezone,
            clock=self._now,
            durations=parts.durations,
            replay=True,
        )

    def _play_minute(self, looks: Looks, now_ms: int) -> None:
        """One minute of a slot: what the planner wants to look at, and the mail that comes of it."""
        self._set_clock(now_ms)
        self._mail_is_owed = False
        looks.minute(lambda: False, self._owe_mail)
        if self._mail_is_owed:
            self._drain()
            self._send_mail()
            self._read_inbox()

    def _owe_mail(self) -> None:
        self._mail_is_owed = True

    def _finish(self) -> list[str]:
        """Whatever is to be done at this moment: look, send, note who was told what; the sections looked at."""
        self._drain()
        self._send_mail()
        self._read_inbox()
        return self._read_looks()

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
        """Note who was told what at this moment."""
        answer = self._ask("GET", f"{self._stack.inbox_url}/control/emails?after={self._seen}")
        for mail in answer["emails"]:
            self._seen, self.played.last_subject = mail["number"], mail["subject"]
            found = _SUBJECT.search(mail["subject"])
            if found is None or len(mail["to"]) != 1:
                self.played.strange.append(mail["subject"])
                continue
            self.played.emails.append(Owed(self._now_ms, found[2], _KINDS[found[1]], mail["to"][0]))
            if _KINDS[found[1]] == SEAT:
                took = datetime.fromisoformat(mail["received_at"]).timestamp() - self._began
                self.played.told.append((found[2], self._now_ms, self._now_ms + int(took * 1000)))

    def _read_looks(self) -> list[str]:
        """Note what the campus was asked for since the last time, by its own record; the sections that it told of."""
        looked: list[str] = []
        for call in self._ask("GET", f"{self._stack.campus_url}/control/calls?after={self._calls}")["calls"]:
            numbers = [call["class_nbr"]] if call["class_nbr"] else self._listings[call["subject"]]
            looked += numbers
            self.played.looks.append(Look(call["now_ms"], numbers, call["source"]))
            self._calls = call["number"]
        return looked

    def _ask(self, method: str, url: str, body: Any = None) -> Any:
        answer = self._http.request(method, url, json=body, timeout=30)
        if answer.status_code != 200:
            raise ReplayError(f"{method} {url} was answered with {answer.status_code}")
        return answer.json()
