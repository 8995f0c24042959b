"""What a comparison found, in the one shape that terminal, page and program read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from workshop.compare.register import BY_ID


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: where and when, what each side had, and the id that explains it (`None`: nothing does)."""

    where: str
    when: str
    what: str
    old: str
    new: str
    id: str | None


@dataclass(slots=True)
class Group:
    """All differences of one cause, in the order of time."""

    id: str | None
    members: list[Difference] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many."""
        return len(self.members)

    @property
    def first(self) -> str:
        """When it was seen first."""
        return self.members[0].when

    @property
    def last(self) -> str:
        """When it was seen last."""
        return self.members[-1].when

    @property
    def example(self) -> Difference:
        """The shortest one, so that it is read at a glance."""
        return min(self.members, key=lambda one: len(one.old) + len(one.new))

    @property
    def reason(self) -> str:
        """Why it is wanted."""
        return BY_ID[self.id].reason if self.id else "nothing explains it"


@dataclass(slots=True)
class Findings:
    """The outcome of one comparison. `expected`: ids that had to appear; `figures`: what was compared, in words."""

    title: str
    expected: Sequence[str] = ()
    figures: list[tuple[str, str, str]] = field(default_factory=list)  # what, old side, new side
    groups: list[Group] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    nothing: str = ""  # why nothing was compared, which is never good
    subject: str = ""  # what was compared, so that a report tells it by itself
    stopped: bool = False  # stands for comparisons that did not come to their end; `nothing` says how many did

    def add(self, differences: Iterable[Difference]) -> None:
        """Group differences by their cause; those without one come first."""
        groups = {group.id: group for group in self.groups}
        for one in differences:
            groups.setdefault(one.id, Group(one.id)).members.append(one)
        for group in groups.values():
            group.members.sort(key=lambda one: one.when)
        self.groups = sorted(groups.values(), key=lambda group: (group.id is not None, int((group.id or "O0")[1:])))

    @property
    def count(self) -> int:
        """How many differences there are in all."""
        return sum(group.count for group in self.groups)

    @property
    def first(self) -> str:
        """When the first difference was seen."""
        return min(group.first for group in self.groups)

    @property
    def last(self) -> str:
        """When the last difference was seen."""
        return max(group.last for group in self.groups)

    @property
    def unexplained(self) -> int:
        """How many differences nothing explains."""
        return sum(group.count for group in self.groups if group.id is None)

    @property
    def absent(self) -> list[str]:
        """Expected differences that did not appear."""
        seen = {group.id for group in self.groups}
        return [name for name in self.expected if name not in seen]

    @property
    def good(self) -> bool:
        """Whether everything is explained and everything expected is there."""
        return not self.unexplained and not self.absent and not self.nothing

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        return {
            "title": self.title,
            "good": self.good,
            "unexplained": self.unexplained,
            "expected": list(self.expected),
            "absent": self.absent,
            "nothing": self.nothing,
            "subject": self.subject,
            "figures": [{"what": what, "old": old, "new": new} for what, old, new in self.figures],
            "notes": self.notes,
            "groups": [
                {
                    "id": group.id,
                    "reason": group.reason,
                    "count": group.count,
                    "first": group.first,
                    "last": group.last,
                    "example": asdict(group.example),
                    "differences": [asdict(one) for one in group.members],
                }
                for group in self.groups
            ],
        }
