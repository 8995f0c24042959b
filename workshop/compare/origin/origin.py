"""A stand-in of the old Workers version, written from what is known of it; every visible defect is a switch.

One check: ask the breaker, scrape, read the state, compare, tell the watchers, write the state. With all defects off
it keeps today's promises with yesterday's parts; with all on (`EVERYTHING`) it is what the Workers were.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from workshop.compare.origin.rules import (
    FILLED,
    NAMED,
    NONE,
    SEAT,
    UNNAMED,
    Defects,
    Failed,
    Kept,
    NotFound,
    Seen,
    compare,
    read,
)
from workshop.compare.origin.store import Store
from workshop.compare.replay.breaker import MemoryBreaker

ATTEMPTS = 3
EVERYTHING: Defects = frozenset(f"O{number}" for number in (*range(1, 9), 14, 16, 28, 29, 30, 34, 35, 41))
"""The defects that this stand-in can show in its decisions."""

SUBJECTS = {SEAT: "🎉 Seat Available", NAMED: "👨‍🏫 Instructor Assigned"}
Section = tuple[str, str]  # term, class_nbr


class StoreError(Exception):
    """A statement failed."""


class Closed(Exception):  # noqa: N818 - the breaker says no
    """The breaker is open; nothing was asked."""


@dataclass(frozen=True, slots=True)
class Letter:
    """An email on its way: what the old side hands to Resend."""

    section: Section
    kind: str
    recipient: str
    subject: str
    seen: Seen


@dataclass(slots=True)
class Origin:
    """One deployment.

    `scrape(section)` gives status, body and the moment it began (epoch ms); `send(letters)` says whether Resend took
    them; `fails(section, what)` whether this statement fails now; `noted(section, events)` hears what was seen, and
    `took(seconds)` how long a queued check lasted.
    """

    store: Store
    breaker: MemoryBreaker
    scrape: Callable[[Section], tuple[int, bytes, int]]
    send: Callable[[Sequence[Letter]], bool]
    wait: Callable[[int], bool]
    fails: Callable[[Section, str], bool] = lambda _section, _what: False
    noted: Callable[[Section, Sequence[str]], None] = lambda _section, _events: None
    defects: Defects = NONE
    took: Callable[[float], None] = lambda _seconds: None
    unsent: list[Letter] = field(default_factory=list)
    landed_ms: dict[Section, int] = field(default_factory=dict)
    kept: dict[Section, Kept] = field(default_factory=lambda: defaultdict(Kept))

    def consume(self, sections: Sequence[Section]) -> None:
        """What the queue does with a tick's sections: three attempts each, then nobody hears of them again.

        Where the breaker is open the old queue spent its attempts within seconds (O8); without that it waits.
        """
        waiting = [(section, 1) for section in sections]
        while waiting:
            parked, again = [], []
            for section, attempt in waiting:
                began = time.monotonic()
                try:
                    self.check(section)
                except Closed:
                    if "O8" in self.defects:
                        again.append((section, attempt + 1))
                    else:
                        parked.append((section, attempt))
                except (Failed, StoreError):
                    again.append((section, attempt + 1))
                self.took(time.monotonic() - began)
            waiting = parked + [one for one in again if one[1] <= ATTEMPTS]
            if waiting and not self.wait(max(1_000, self.breaker.wait_ms()) if parked else 1_000):
                return

    def check(self, section: Section) -> dict[str, Any]:
        """One check. Raises `Closed`, `Failed` or `StoreError`; the answer is what the endpoint tells."""
        if self.breaker.wait_ms():
            raise Closed
        status, body, began_ms = self.scrape(section)
        try:
            seen = read(status, body, self.defects)
        except Failed:
            self.breaker.failed()
            raise
        except NotFound:
            self.breaker.succeeded()
            self.noted(section, [])
            return _told([], 0)
        self.breaker.succeeded()
        if "O41" not in self.defects and began_ms < self.landed_ms.get(section, began_ms):
            return _told([], 0)
        events, seen, sent = self._compare_and_tell(section, seen)
        self.store.upsert_state(*section, seen)
        self.landed_ms[section] = began_ms
        self.noted(section, events)
        return _told(events, sent)

    def add_watch(self, section: Section) -> None:
        """What adding a watch does to the state: overwrites it unseen (O5), or a check like any other."""
        if "O5" not in self.defects:
            self.check(section)
            return
        status, body, _ = self.scrape(section)
        self.store.upsert_state(*section, read(status, body, self.defects))

    def send_unsent(self) -> None:
        """Mail that Resend would not take, once more. With O2 there is none: it is lost."""
        letters, self.unsent = self.unsent, []
        self._send(letters)

    def _compare_and_tell(self, section: Section, seen: Seen) -> tuple[list[str], Seen, int]:
        before = self._before(section)
        if before is None:
            return [], seen, 0
        events, seen = compare(before, seen, self.defects, self.kept[section])
        if FILLED in events:
            self.store.release(*section, SEAT)
        if UNNAMED in events and "O1" not in self.defects:
            self.store.release(*section, NAMED)
        sent = sum(self._tell(section, kind, seen) for kind in events if kind in SUBJECTS)
        return events, seen, sent

    def _before(self, section: Section) -> Seen | None:
        """What was last seen; an error counts as never with O4."""
        if self.fails(section, "the state is read"):
            if "O4" not in self.defects:
                raise StoreError
            return None
        return self.store.state(*section)

    def _tell(self, section: Section, kind: str, seen: Seen) -> int:
        """Tell everybody who watches; an error in asking who that is goes unnoticed with O3."""
        if self.fails(section, "the watchers are read"):
            if "O3" not in self.defects:
                raise StoreError
            return 0
        told = [one for one in self.store.watchers(*section) if self.store.claim(one["watch_id"], kind)]
        subject = f"{SUBJECTS[kind]}: {seen.subject} {seen.catalog_nbr} ({section[1]})"
        return self._send([Letter(section, kind, one["email"], subject, seen) for one in told])

    def _send(self, letters: Sequence[Letter]) -> int:
        if not letters or self.send(letters):
            return len(letters)
        if "O2" not in self.defects:
            self.unsent.extend(letters)
        return 0


def _told(events: Sequence[str], sent: int) -> dict[str, Any]:
    return {
        "changes_detected": {"seat_became_available": SEAT in events, "instructor_assigned": NAMED in events},
        "emails_sent": sent,
    }
