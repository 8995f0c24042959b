"""The old side of a replay: the stand-in on a database of its own, playing the scene slot by slot."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from workshop.campus.sections import HALF_HOUR_MS
from workshop.compare.origin.origin import Letter, Origin, Section
from workshop.compare.origin.rules import NONE, Defects
from workshop.compare.origin.store import Store
from workshop.compare.replay.breaker import MemoryBreaker
from workshop.compare.replay.decisions import FACTS, Key, Mail, Row, Slot
from workshop.compare.replay.scene import Clock, Once, Scene

HOUR_MS = 2 * HALF_HOUR_MS - 60_000
"""How long a slot's checks may be put off: until the section's next slot."""


class OldSide:
    """Plays the slots of a scene; `play` tells what the old version decided in each."""

    def __init__(self, scene: Scene, url: str, defects: Defects = NONE) -> None:
        """`url` names a fresh database with the origin's schema, signed-up students in it."""
        self._scene, self._defects, self._once = scene, defects, Once()
        self._clock = Clock()
        self._store = Store(url, defects, replay=True)
        self._rows: dict[Key, Row] = {}
        self._slot = Slot(0)
        self._origin = Origin(
            self._store,
            MemoryBreaker(self._clock),
            self._scrape,
            self._send,
            self._wait,
            self._fails,
            self._noted,
            defects,
            lambda seconds: self._slot.seconds.append(seconds),
        )

    def play(self, slot_ms: int) -> Slot:
        """One slot: the tick, whatever was late, people who add watches, and mail."""
        self._clock.begin(slot_ms)
        self._store.begin(datetime.fromtimestamp(slot_ms / 1000, UTC))
        self._slot = Slot(slot_ms)
        late = slot_ms - HALF_HOUR_MS in self._scene.late
        if slot_ms not in self._scene.late:
            self._tick(slot_ms)
        if late:  # the old Workers looked at the clock, not at when the tick was meant (O28)
            self._tick(slot_ms if "O28" in self._defects else slot_ms - HALF_HOUR_MS)
        for addition in self._scene.additions.get(slot_ms, ()):
            self._origin.add_watch(addition.section)
        self._origin.send_unsent()
        self._read_rows()
        self._store.end()
        return self._slot

    def close(self) -> None:
        """End its session."""
        self._store.close()

    def _tick(self, scheduled_ms: int) -> None:
        half = "odd" if (scheduled_ms // HALF_HOUR_MS) % 2 else "even"
        self._origin.consume(self._store.sections_to_check(half))

    def _scrape(self, section: Section) -> tuple[int, bytes, int]:
        """Ask the campus. In a slow scrape a whole newer check goes by before the answer is there."""
        began_ms = self._clock()
        slow = (self._clock.slot_ms, section) in self._scene.slow and self._once(("slow", self._clock.slot_ms, section))
        if slow:
            self._clock.offset_ms += 60_000
            self._origin.check(section)
        reply = self._scene.answer(section, self._clock, stale=slow)
        return reply.status, reply.body, began_ms

    def _send(self, letters: Sequence[Letter]) -> bool:
        for letter in letters:
            fault = (self._clock.slot_ms, letter.section)
            if fault in self._scene.resend_faults and self._once(("resend", fault)):
                return False
        for one in letters:
            facts = tuple(one.seen.row()[name] for name in FACTS)
            self._slot.mails.append(Mail(one.section, one.kind, one.recipient, one.subject, facts))
        return True

    def _wait(self, milliseconds: int) -> bool:
        self._clock.offset_ms += milliseconds
        return self._clock.offset_ms < HOUR_MS

    def _fails(self, section: Section, what: str) -> bool:
        fault = (self._clock.slot_ms, section)
        return self._scene.database_faults.get(fault) == what and self._once(("database", fault))

    def _noted(self, section: Section, events: Sequence[str]) -> None:
        self._slot.checked.add(section)
        self._slot.events.update((section, kind) for kind in events)

    def _read_rows(self) -> None:
        found = {
            (row["term"], row["class_nbr"]): tuple(row[name] for name in FACTS) for row in self._store.all_states()
        }
        self._slot.states = changed(self._rows, found)
        self._rows = found


def changed(before: dict[Key, Row], after: dict[Key, Row]) -> dict[Key, Row | None]:
    """The rows that are new, other or gone (`None`)."""
    rows: dict[Key, Row | None] = {key: row for key, row in after.items() if before.get(key) != row}
    return rows | dict.fromkeys(before.keys() - after.keys())
