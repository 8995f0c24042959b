"""When a side looked at a section, and what it saw."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.clock import Clock
from shared.sections.section import Facts, Section
from shared.sections.text import is_staff
from shared.source.answers import Answer, Broken, Found, NotFound
from workshop.compare.replay.breaker import LooksUp
from workshop.compare.replay.decisions import FACTS, Key


@dataclass(frozen=True, slots=True)
class Look:
    """One look; `facts` is `None` where the section was not found."""

    at: datetime
    facts: Facts | None

    def shows(self, kind: str) -> bool | None:
        """Whether what mail of this kind tells is so: seats to be had, somebody named. `None`: it cannot be said."""
        if self.facts is None:
            return None
        if kind == "instructor_assigned":
            return not is_staff(self.facts.instructor_name)
        seats = self.facts.non_reserved_seats
        seats = self.facts.seats_available if seats is None else seats
        return None if seats is None else seats > 0


def told_apart(one: Look, other: Look) -> list[str]:
    """The fields in which two looks differ; what one of them does not know differs from nothing."""
    if one.facts is None or other.facts is None:
        return []
    pairs = ((name, getattr(one.facts, name), getattr(other.facts, name)) for name in FACTS)
    return [name for name, had, has in pairs if had is not None and has is not None and had != has]


class Looks:
    """All looks of one side, by section, in the order of time."""

    def __init__(self) -> None:
        self._looks: dict[Key, list[Look]] = defaultdict(list)

    def note(self, section: Key, look: Look) -> None:
        """Write down a look; one that is not newer than the last is known already."""
        known = self._looks[section]
        if not known or look.at > known[-1].at:
            known.append(look)

    def of(self, section: Key) -> list[Look]:
        """All looks at a section."""
        return self._looks.get(section, [])

    def before(self, section: Key, moment: datetime) -> Look | None:
        """The last look up to a moment."""
        looks = self.of(section)
        place = bisect_right(looks, moment, key=lambda look: look.at)
        return looks[place - 1] if place else None

    def after(self, section: Key, moment: datetime) -> Look | None:
        """The first look after a moment."""
        looks = self.of(section)
        place = bisect_right(looks, moment, key=lambda look: look.at)
        return looks[place] if place < len(looks) else None

    def within(self, section: Key, start: datetime, length: timedelta) -> list[Look]:
        """The looks from `start` on, shorter than `length` later."""
        return [look for look in self.of(section) if start <= look.at < start + length]

    def sections(self) -> Iterator[Key]:
        """The sections that were looked at."""
        yield from self._looks

    def __len__(self) -> int:
        return sum(map(len, self._looks.values()))


@dataclass(slots=True)
class Listening:
    """A scraper whose answers are written down. `failures`: when it gave none."""

    scraper: LooksUp
    clock: Clock
    looks: Looks
    failures: list[datetime]

    def look_up(self, section: Section, timeout: float) -> Answer:
        """Ask, and note what was seen, by the start of the question."""
        began = self.clock()
        answer = self.scraper.look_up(section, timeout)
        if isinstance(answer, Found | NotFound):
            facts = answer.facts if isinstance(answer, Found) else None
            self.looks.note((section.term, section.class_nbr), Look(began, facts))
        elif isinstance(answer, Broken):
            self.failures.append(began)
        return answer
