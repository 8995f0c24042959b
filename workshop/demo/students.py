"""Students by chance: who watches what since when, and who must not be mailed at all."""

from __future__ import annotations

import random
import unicodedata
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from workshop.campus.catalog import FIRST_NAMES, LAST_NAMES
from workshop.demo.oracle import Watcher

MOST_WATCHES = 10  # of one student; the database enforces it
_REFUSALS = ("muted", "bounced", "complained", "disabled")


@dataclass(frozen=True, slots=True)
class Student:
    """An account. `refuses` says why it gets no mail (`None`: it gets mail)."""

    user_id: str
    email: str
    refuses: str | None
    has_profile: bool


@dataclass(frozen=True, slots=True)
class Watch:
    """A student watches a section from the start of the slot `since_ms` (epoch ms) on."""

    student: Student
    class_nbr: str
    since_ms: int


def make_students(seed: int, class_nbrs: Sequence[str], slots_ms: Sequence[int]) -> list[Watch]:
    """One to six watches for each section, over the slots of a season; the same seed gives the same people.

    One student in ten may not be mailed, one watch in eight begins some time after the first slot, and a few
    sections are watched by nobody who may be told.
    """
    chance = random.Random(f"students {seed}")
    students = [_student(chance, number) for number in range(max(12, len(class_nbrs)))]
    taken: dict[str, int] = defaultdict(int)
    watches = []
    for class_nbr in class_nbrs:
        free = [one for one in students if taken[one.user_id] < MOST_WATCHES]
        if chance.random() < 0.04:
            free = [one for one in free if one.refuses] or free
        for student in chance.sample(free, min(len(free), chance.choice((1, 1, 2, 2, 3, 4, 6)))):
            taken[student.user_id] += 1
            late = chance.random() < 1 / 8
            since = chance.choice(slots_ms[: max(1, len(slots_ms) * 2 // 3)]) if late else slots_ms[0]
            watches.append(Watch(student, class_nbr, since))
    return watches


def who_is_told(watches: Sequence[Watch]) -> dict[str, list[Watcher]]:
    """For each section the people who are to be told, for the oracle."""
    told: dict[str, list[Watcher]] = defaultdict(list)
    for watch in watches:
        if watch.student.refuses is None:
            told[watch.class_nbr].append(Watcher(watch.student.email, watch.since_ms))
    return told


def _student(chance: random.Random, number: int) -> Student:
    name = f"{chance.choice(FIRST_NAMES)}.{chance.choice(LAST_NAMES)}".lower()
    plain = unicodedata.normalize("NFKD", name)
    name = "".join(letter for letter in plain if letter.isascii() and (letter.isalpha() or letter == "."))
    refuses = chance.choice(_REFUSALS) if chance.random() < 0.1 else None
    return Student(
        user_id=str(uuid.UUID(int=chance.getrandbits(128), version=4)),
        email=f"{name}.{number}@students.example.edu",
        refuses=refuses,
        has_profile=refuses is not None or chance.random() > 0.1,
    )
