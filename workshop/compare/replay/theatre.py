"""The replay: the same campus played to both sides, each on a database of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import psycopg

from shared.migrations import MIGRATIONS, migrate, read_migrations
from workshop.campus.sections import HALF_HOUR_MS
from workshop.campus.tape import read_tape, term_of
from workshop.compare.origin.rules import NONE, Defects
from workshop.compare.replay.decisions import Slot
from workshop.compare.replay.new_side import NewSide
from workshop.compare.replay.old_side import OldSide
from workshop.compare.replay.people import People
from workshop.compare.replay.scene import Scene
from workshop.compare.replay.script import lay_over
from workshop.demo.students import make_students
from workshop.parts.postgres import EmbeddedPostgres

Tell = Callable[[int], None]
_ORIGIN, _OURS = "compare_origin", "compare_ours"


class Player(Protocol):
    """What both sides are to a replay."""

    def play(self, slot_ms: int) -> Slot: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class ReplaySeason:
    """A recorded campus to be played: `ticks` slots of it (`None`: all)."""

    tape: Path
    ticks: int | None = None
    seed: int = 7
    crowd: bool = True

    def scene(self) -> Scene:
        """The tape with the script over it. Raises `TapeError` and `ValueError` for what cannot be played."""
        timelines = read_tape(self.tape)
        first, last = (edge(edge(one.times) for one in timelines) for edge in (min, max))
        hour = 2 * HALF_HOUR_MS
        slots = list(range(first // hour * hour, last + HALF_HOUR_MS, HALF_HOUR_MS))[: self.ticks]
        watches = make_students(self.seed, [one.class_nbr for one in timelines], slots)
        return lay_over(slots, term_of(timelines), timelines, watches, crowd=self.crowd)


class Theatre:
    """A Postgres with an empty database of each kind to copy. Use it as a context manager."""

    def __init__(self) -> None:
        self._postgres = EmbeddedPostgres()
        self._numbers = count(1)

    def __enter__(self) -> Self:
        self._postgres.start()
        try:
            # Our first migrations make the origin's objects where they are missing: they are written down once.
            with psycopg.connect(self._postgres.create_database(_ORIGIN), autocommit=True) as session:
                for file in read_migrations(MIGRATIONS)[:2]:
                    session.execute(file.text.encode())
            migrate(self._postgres.create_database(_OURS), max_watches=10)
        except BaseException:
            self._postgres.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._postgres.stop()

    def play_old(self, scene: Scene, defects: Defects = NONE, tell: Tell = lambda _: None) -> list[Slot]:
        """What the old version, with these defects, decides in each slot."""
        return self._play(scene, _ORIGIN, lambda url: OldSide(scene, url, defects), tell)

    def play_new(self, scene: Scene, tell: Tell = lambda _: None) -> list[Slot]:
        """What the product decides in each slot."""
        return self._play(scene, _OURS, lambda url: NewSide(scene, url), tell)

    def _play(self, scene: Scene, template: str, make: Callable[[str], Player], tell: Tell) -> list[Slot]:
        name = f"play_{next(self._numbers)}"
        url = self._postgres.create_database(name, template=template)
        people, side = People(scene, url), make(url)
        try:
            return list(_slots(scene, people, side, tell))
        finally:
            side.close()
            people.close()
            self._postgres.drop_database(name)


def _slots(scene: Scene, people: People, side: Player, tell: Tell) -> Iterable[Slot]:
    for number, slot_ms in enumerate(scene.slots_ms, 1):
        people.begin(slot_ms)
        yield side.play(slot_ms)
        people.end(slot_ms)
        tell(number)
