"""What a side decided, slot by slot, and how two such records differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

Key = tuple[str, str]  # term, class_nbr
Row = tuple[str | int | None, ...]  # the facts of a section, in the order of FACTS

FACTS = (
    "subject",
    "catalog_nbr",
    "title",
    "instructor_name",
    "seats_available",
    "seats_capacity",
    "non_reserved_seats",
    "location",
    "meeting_times",
)
MISSING_EVENT, EXTRA_EVENT = "event missing", "event extra"
MISSING_MAIL, EXTRA_MAIL, OTHER_MAIL = "mail missing", "mail extra", "mail differs"
OTHER_STATE = "state differs"


@dataclass(frozen=True, slots=True)
class Mail:
    """One email that left: to whom, about what, its subject, the facts that it is to tell, and what it tells wrong."""

    section: Key
    kind: str
    recipient: str
    subject: str
    facts: Row
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class Slot:
    """What one side did in one slot. `states` holds the rows that changed in it; `None`: the row went.

    `seconds`: how long each check took.
    """

    start_ms: int
    checked: set[Key] = field(default_factory=set)
    events: Counter[tuple[Key, str]] = field(default_factory=Counter)
    mails: list[Mail] = field(default_factory=list)
    states: dict[Key, Row | None] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One way in which the sides disagree. "missing" and "extra" are said of the old side.

    `subject` is the event's or mail's kind; `recipient` only for mail; `old` and `new` are what each side has.
    """

    slot_ms: int
    section: Key
    what: str
    subject: str = ""
    recipient: str = ""
    old: str = ""
    new: str = ""


def differences(old: Sequence[Slot], new: Sequence[Slot]) -> Iterator[tuple[Slot, Slot, list[Disagreement], set[Key]]]:
    """Walk through both records: the slots, their differences, and the sections whose rows disagree at its end.

    A row that goes on to differ in the same way is told once.
    """
    rows_old: dict[Key, Row | None] = {}
    rows_new: dict[Key, Row | None] = {}
    apart: dict[Key, tuple[Row | None, Row | None]] = {}
    for before, after in zip(old, new, strict=True):
        found = [*_events(before, after), *_mails(before, after)]
        rows_old.update(before.states)
        rows_new.update(after.states)
        for key in sorted({*before.states, *after.states}):
            pair = (rows_old.get(key), rows_new.get(key))
            if pair[0] == pair[1]:
                apart.pop(key, None)
            elif apart.get(key) != pair:
                apart[key] = pair
                fields, one, other = _told(*pair)
                found.append(Disagreement(before.start_ms, key, OTHER_STATE, fields, "", one, other))
        yield before, after, found, set(apart)


def _events(old: Slot, new: Slot) -> Iterator[Disagreement]:
    for what, more in ((MISSING_EVENT, new.events - old.events), (EXTRA_EVENT, old.events - new.events)):
        for (section, kind), count in sorted(more.items()):
            told = {"new" if what == MISSING_EVENT else "old": str(count)}
            yield Disagreement(old.start_ms, section, what, kind, **told)


def _mails(old: Slot, new: Slot) -> Iterator[Disagreement]:
    """Per section, kind and person: too few, too many, or another text."""
    sides = [_by_person(side.mails) for side in (old, new)]
    for person in sorted({*sides[0], *sides[1]}):
        section, kind, recipient = person
        had, has = sides[0].get(person, []), sides[1].get(person, [])
        if len(had) != len(has):
            what = MISSING_MAIL if len(had) < len(has) else EXTRA_MAIL
            yield Disagreement(old.start_ms, section, what, kind, recipient, str(len(had)), str(len(has)))
            continue
        for one, other in zip(had, has, strict=True):
            if (one.subject, one.facts, one.faults) != (other.subject, other.facts, other.faults):
                yield Disagreement(old.start_ms, section, OTHER_MAIL, kind, recipient, *_apart(one, other))


def _apart(one: Mail, other: Mail) -> tuple[str, str]:
    """How two emails about the same differ: what is wrong in one, else subjects, else facts."""
    if one.faults or other.faults:
        return ", ".join(one.faults), "wrong: " + ", ".join(other.faults)
    if one.subject != other.subject:
        return one.subject, other.subject
    return _told(one.facts, other.facts)[1:]


def _by_person(mails: Iterable[Mail]) -> dict[tuple[Key, str, str], list[Mail]]:
    found: dict[tuple[Key, str, str], list[Mail]] = {}
    for mail in mails:
        found.setdefault((mail.section, mail.kind, mail.recipient), []).append(mail)
    return found


def _told(old: Row | None, new: Row | None) -> tuple[str, str, str]:
    """(fields that differ, old values, new values) of two rows."""
    if old is None or new is None:
        return "row", "no row" if old is None else "a row", "no row" if new is None else "a row"
    names = [name for name, one, other in zip(FACTS, old, new, strict=True) if one != other]
    values = [
        ", ".join(f"{name}={value!r}" for name, value in zip(FACTS, row, strict=True) if name in names)
        for row in (old, new)
    ]
    return ", ".join(names), values[0], values[1]
