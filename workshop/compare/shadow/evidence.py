"""What explains that one side told somebody and the other did not, or not in the same slot.

In production nobody knows the truth; there are only the rows of the old side, and the looks of both. An id is named
when these show what that defect needs. O2 and O41 leave no trace in rows: the old side writes down that it told before
it does, and forgets in the same minute whom it told of an opening that an older answer took back. Of O3 and O4 the rows
tell the same story, which is told as O3; O7 and O8 are told apart by sections that were not found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from shared.sections.slots import ROUND, SLOT, group_of, latest_slot
from shared.sections.text import is_staff
from workshop.compare.replay.decisions import Key
from workshop.compare.shadow.looks import Look, Looks, told_apart

EXTRA, MISSED, EARLY, LATE = "extra", "missed", "early", "late"
"""What our side did: told alone, did not tell, told a slot sooner, told a slot later. `Told` is the sooner one."""

TIMING = "the looks fell to different moments"
"""Both sides looked, and each saw what it told or did not tell: no difference of rules."""

UNDECIDED = "not looked at by both sides around it"

CLAIM = timedelta(hours=24)
"""How long a claim of the old side was meant to stand (O1)."""

_ROWS = 1000
_MOMENT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Told:
    """That somebody was told, or would have been. `standing`: when the old side's claim was last read."""

    watch: str
    kind: str
    at: datetime
    section: Key
    disabled: bool = False
    standing: datetime | None = None

    @property
    def slot(self) -> datetime:
        """The slot of its section in which that was."""
        return latest_slot(group_of(self.section[1]), self.at)


@dataclass(slots=True)
class Evidence:
    """Everything that was read in a run."""

    old: Looks = field(default_factory=Looks)
    new: Looks = field(default_factory=Looks)
    failures: list[datetime] = field(default_factory=list)  # our look-ups without an answer
    claims: list[Told] = field(default_factory=list)  # of the old side
    told: list[Told] = field(default_factory=list)  # by ours
    watched: set[Key] = field(default_factory=set)  # every section that anybody watches
    shared: set[str] = field(default_factory=set)  # numbers that mean two classes
    joined: dict[Key, dict[str, datetime]] = field(default_factory=dict)  # since when each watch is there

    def explain(self, one: Told, what: str) -> str | None:
        """The id behind it, `TIMING`, `UNDECIDED`, or `None`: nothing explains it."""
        for name, holds in _EVIDENCE.items():
            if holds(self, one, what):
                return name
        if self._claim_ends(one, what) or self._newcomer(one, what):
            return TIMING
        behind = self._unchecked(one) if what in (EXTRA, EARLY) else None
        behind = behind or (self._untold(one) if what == EXTRA else None)
        return behind or self._by_time(one, what)

    def _claim_ends(self, one: Told, what: str) -> bool:
        """The other side told the same a day before, less than a round too late for its claim to have ended."""
        others = self.told if what == MISSED else self.claims
        return what in (MISSED, EXTRA) and any(
            (other.watch, other.kind) == (one.watch, one.kind) and timedelta() <= other.at + CLAIM - one.at < ROUND
            for other in others
        )

    def _newcomer(self, one: Told, what: str) -> bool:
        """Whoever began to watch since our look before saw on screen what that look would have shown to a check."""
        since = self.joined.get(one.section, {}).get(one.watch)
        looks = [look.at for look in self.new.of(one.section) if look.at < one.at]
        return what == EXTRA and since is not None and bool(looks) and looks[-1] < since

    def _unchecked(self, one: Told) -> str | None:
        """Why the old side did not look at the section in the slot in which we did."""
        if self.old.within(one.section, one.slot, ROUND):
            return None
        half = [key for key in self.new.sections() if group_of(key[1]) == group_of(one.section[1])]
        asked = sorted((k for k in self.watched if group_of(k[1]) == group_of(one.section[1])), key=_number)
        if one.section in asked[_ROWS:]:
            return "O14"
        if any(look.facts is None for key in half for look in self.new.within(key, one.slot, SLOT)):
            return "O7"
        failed = any(one.slot <= at < one.slot + SLOT for at in self.failures)
        if failed or any(self.old.within(key, one.slot, ROUND) for key in half):
            return "O8"
        others = (key for key in self.old.sections() if group_of(key[1]) != group_of(one.section[1]))
        return "O28" if any(self.old.within(key, one.slot, ROUND) for key in others) else None

    def _untold(self, one: Told) -> str | None:
        """The old side saw the same and told nobody: because adding a watch had overwritten its row, or by an error."""
        first = self._first_showing(one)
        if first is None or any(
            claim.section == one.section and claim.kind == one.kind and claim.at >= first.at - _MOMENT
            for claim in self.claims
        ):
            return None
        added = any(abs(moment - first.at) <= _MOMENT for moment in self.joined.get(one.section, {}).values())
        return "O5" if added else "O3"

    def _first_showing(self, one: Told) -> Look | None:
        """The old side's look with which it came to see what we told, until the end of that round."""
        first = None
        for look in self.old.of(one.section):
            if look.at >= one.slot + ROUND:
                break
            shows = look.shows(one.kind)
            first = (first or look) if shows else None
        return first

    def _by_time(self, one: Told, what: str) -> str | None:
        """Whether each side looked, and for one it was so and for the other it was not: in the slot, or around it."""
        own, other = (self.old, self.new) if what in (MISSED, LATE) else (self.new, self.old)
        if not any(look.shows(one.kind) for look in own.within(one.section, one.slot, ROUND)):
            return None
        if what in (EARLY, LATE):
            looks = other.within(one.section, one.slot, ROUND)
            return UNDECIDED if not looks else TIMING if any(look.shows(one.kind) is False for look in looks) else None
        before, after = other.before(one.section, one.at), other.after(one.section, one.at)
        if before is None or after is None or after.at - before.at > 2 * ROUND:
            return UNDECIDED
        return TIMING if before.shows(one.kind) is False and after.shows(one.kind) is False else None


def explain_rows(evidence: Evidence, section: Key) -> tuple[int, int, list[tuple[datetime, list[str], str | None]]]:
    """(rows alike, rows that changed between two looks, differences) of a section, row by row of the old side.

    A row is held against our looks before and after it. It differs when these agree with each other and not with it,
    and the old side's next row says the same; a row that differs once may have met a change that came and went.
    """
    alike, changed, found = 0, 0, []
    rows = evidence.old.of(section)
    for number, row in enumerate(rows):
        before, after = evidence.new.before(section, row.at), evidence.new.after(section, row.at)
        if before is None or after is None:
            continue
        fields = told_apart(row, before)
        if not fields or not told_apart(row, after):
            alike += 1
            continue
        if told_apart(before, after):
            changed += 1
            continue
        name = "O6" if section[1] in evidence.shared else None
        again = number + 1 < len(rows) and told_apart(rows[number + 1], after) == fields
        if name is None and not again:
            changed += 1
            continue
        found.append((row.at, fields, name))
    return alike, changed, found


def _number(key: Key) -> tuple[str, str]:
    return key[1], key[0]  # the order in which the old side asked


def _near(evidence: Evidence, one: Told) -> list[Look]:
    """Our looks that can have led to it: of two rounds, or since we told the same and hold on to that."""
    claimed = [
        told.slot
        for told in evidence.told
        if (told.watch, told.kind) == (one.watch, one.kind) and one.at - CLAIM < told.at < one.at
    ]
    start = min([one.slot - 2 * ROUND, *claimed])
    return evidence.new.within(one.section, start, one.slot + ROUND - start)


def _lasting(evidence: Evidence, one: Told, what: str) -> bool:
    """An earlier claim still stood when we told, though a day had passed or it had not been so in between."""
    standing = [
        claim.at
        for claim in evidence.claims
        if (claim.watch, claim.kind) == (one.watch, one.kind)
        and claim.at < one.at
        and claim.standing is not None
        and claim.standing >= one.at
    ]
    looks = [look.at for look in evidence.new.of(one.section) if look.shows(one.kind) is False]
    return what == EXTRA and any(at + CLAIM <= one.at or any(at < look < one.at for look in looks) for at in standing)


def _flapped(evidence: Evidence, one: Told, what: str) -> bool:  # noqa: ARG001 - one of a kind
    known = [look.facts.non_reserved_seats is None for look in _near(evidence, one) if look.facts]
    return one.kind == "seat_available" and len(set(known)) > 1


def _unreadable(evidence: Evidence, one: Told, what: str) -> bool:  # noqa: ARG001 - one of a kind
    seats = [look.facts.seats_available for look in _near(evidence, one) if look.facts]
    return one.kind == "seat_available" and None in seats


def _unnamed(evidence: Evidence, one: Told, what: str) -> bool:
    """Nobody was named by an empty name, or the name that came back had been there before: no news to us."""
    names = [look.facts.instructor_name for look in _near(evidence, one) if look.facts]
    came_back = len(names) > 1 and what == MISSED and names[-1] in names[:-1] and any(map(is_staff, names))
    return one.kind == "instructor_assigned" and (came_back or any(name in (None, "") for name in names))


_EVIDENCE: dict[str, Callable[[Evidence, Told, str], bool]] = {
    "O35": lambda _, one, what: what == MISSED and one.disabled,
    "O6": lambda evidence, one, _: one.section[1] in evidence.shared,
    "O29": _unreadable,
    "O30": _flapped,
    "O34": _unnamed,
    "O1": _lasting,
}
