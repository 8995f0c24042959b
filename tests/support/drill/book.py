"""The book of a rehearsal: every opening with whom it owes an email and who has to send it, against what arrived.

An email is known by what happened (the how-many-eth opening of a section), to whom, and by which side. It is looked
for in the very step in which it is due, so that one too many never makes up for one too few.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from workshop.compare.origin.http import SENDER
from workshop.compare.origin.origin import SUBJECTS


class Sender(StrEnum):
    """Who sends."""

    OLD = "the old side"
    NEW = "the new side"


@dataclass(frozen=True, slots=True)
class Email:
    """One that arrived."""

    kind: str
    class_nbr: str
    to: str
    by: Sender


def read_email(sender: str, to: str, subject: str) -> Email:
    """An email from what the inbox shows of it."""
    kind = next((kind for kind, words in SUBJECTS.items() if subject.startswith(words)), subject)
    return Email(kind, subject.rstrip(")")[-5:], to, Sender.OLD if sender == SENDER else Sender.NEW)


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that each of `people` is told once, by one side."""

    kind: str
    class_nbr: str
    ordinal: int
    people: tuple[str, ...]
    by: Sender

    def __str__(self) -> str:
        return f"{self.class_nbr} {self.kind} no. {self.ordinal}"


@dataclass(slots=True)
class Counts:
    """What came of a rehearsal; each entry of a list names step, happening and person."""

    owed: int = 0
    by_old: int = 0
    by_new: int = 0
    twice: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    by_the_wrong_side: list[str] = field(default_factory=list)
    strange_looks: list[str] = field(default_factory=list)
    back_seconds: float = 0.0

    @property
    def wrong(self) -> list[str]:
        """Everything that should not have happened."""
        return [
            f"{words}: {one}"
            for words, found in (
                ("told twice or not owed", self.twice),
                ("missed", self.missed),
                ("told by the wrong side", self.by_the_wrong_side),
                ("looked at by the wrong side", self.strange_looks),
            )
            for one in found
        ]

    def __str__(self) -> str:
        return (
            f"owed {self.owed}, sent by the old side {self.by_old}, by the new side {self.by_new}, twice"
            f" {len(self.twice)}, missed {len(self.missed)}, by the wrong side {len(self.by_the_wrong_side)}; from"
            f" 'switch back' to the old side serving {self.back_seconds:.2f} s"
        )


class Book:
    """Keeps the account of one rehearsal."""

    def __init__(self) -> None:
        """Nobody watches anything yet."""
        self.counts = Counts()
        self._watchers: dict[str, list[str]] = defaultdict(list)
        self._muted: set[str] = set()
        self._ordinals: Counter[tuple[str, str]] = Counter()
        self._due: list[Happening] = []

    @property
    def sections(self) -> set[str]:
        """Every section that somebody watches."""
        return set(self._watchers)

    def watch(self, person: str, class_nbr: str) -> None:
        """From now on this person is owed what happens to the section."""
        self._watchers[class_nbr].append(person)

    def mute(self, person: str) -> None:
        """From now on nothing is owed to this person."""
        self._muted.add(person)

    def owe(self, kind: str, class_nbr: str, by: Sender) -> None:
        """Something happens; everybody who watches now is to be told by this side before the next `settle`."""
        self._ordinals[kind, class_nbr] += 1
        people = tuple(person for person in self._watchers[class_nbr] if person not in self._muted)
        self._due.append(Happening(kind, class_nbr, self._ordinals[kind, class_nbr], people, by))
        self.counts.owed += len(people)

    def settle(self, step: str, emails: Iterable[Email]) -> None:
        """Hold the emails that arrived in this step against what was due in it."""
        counts, arrived = self.counts, Counter(emails)
        counts.by_old += sum(count for email, count in arrived.items() if email.by is Sender.OLD)
        counts.by_new += sum(count for email, count in arrived.items() if email.by is Sender.NEW)
        for happening in self._due:
            for person in happening.people:
                right, wrong = (
                    Email(happening.kind, happening.class_nbr, person, side)
                    for side in sorted(Sender, key=lambda side: side is not happening.by)
                )
                words = f"{step}: {happening} to {person}"
                if arrived[right]:
                    arrived[right] -= 1
                elif arrived[wrong]:
                    arrived[wrong] -= 1
                    counts.by_the_wrong_side.append(f"{words} by {wrong.by}")
                else:
                    counts.missed.append(words)
        counts.twice += [f"{step}: {one.class_nbr} {one.kind} to {one.to} by {one.by}" for one in arrived.elements()]
        self._due.clear()
