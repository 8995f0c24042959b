"""The words of the field: a section, the facts about it, and what is known or newly seen of it."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

_TERM = re.compile(r"[0-9]{4}")
_CLASS_NBR = re.compile(r"[0-9]{5}")


@dataclass(frozen=True, slots=True, order=True)
class Section:
    """One class section: a four-digit `term` and a five-digit `class_nbr`, both ASCII digits.

    The number alone is not enough: the same number means another class in another term (O6).
    """

    term: str
    class_nbr: str

    def __post_init__(self) -> None:
        """Raise `ValueError` naming the field that is not what the origin's endpoints accept."""
        if not _TERM.fullmatch(self.term):
            raise ValueError("term must be four digits")
        if not _CLASS_NBR.fullmatch(self.class_nbr):
            raise ValueError("class_nbr must be five digits")

    @property
    def key(self) -> str:
        """`term:class_nbr`, the name of this section wherever one string is needed (queue, logs)."""
        return f"{self.term}:{self.class_nbr}"

    @classmethod
    def from_key(cls, key: str) -> Section:
        """The section that `key` names; raises `ValueError` for anything else."""
        term, _, class_nbr = key.partition(":")
        return cls(term, class_nbr)


@dataclass(frozen=True, slots=True)
class Facts:
    """What can be said about a section at one moment. `None` means unknown, never zero (O29)."""

    subject: str | None = None
    catalog_nbr: str | None = None
    title: str | None = None
    instructor_name: str | None = None
    seats_available: int | None = None
    seats_capacity: int | None = None
    non_reserved_seats: int | None = None
    location: str | None = None
    meeting_times: str | None = None

    @property
    def open_seats(self) -> int | None:
        """Seats that anyone may take: the unreserved ones where they are known, else all that are free."""
        return self.seats_available if self.non_reserved_seats is None else self.non_reserved_seats

    def as_json(self) -> dict[str, Any]:
        """A plain dict with every field, as jobs and SQL functions carry it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Facts:
        """The inverse of `as_json`; unknown keys are ignored, so that an older release can read newer jobs."""
        return cls(**_named(cls, values))


@dataclass(frozen=True, slots=True)
class Memory:
    """What a baseline keeps beside its facts, for the next look to be compared fairly. SQL keeps it unread.

    `instructor_unsaid`: no look has said yet who teaches, or that nobody does.
    `last_instructor`: who was named last, while nobody is.
    `reserved_unsaid`: all open seats were reserved, and the look after that did not say whether they still are.
    """

    instructor_unsaid: bool = False
    last_instructor: str | None = None
    reserved_unsaid: bool = False


@dataclass(frozen=True, slots=True)
class Known:
    """The baseline of a section as it was read: its facts (`None`: never seen), their age and version, who told them.

    The commit accepts a check only against the version it was compared with.
    """

    version: int = 0
    observed_at: datetime | None = None
    facts: Facts | None = None
    source: str | None = None
    memory: Memory = Memory()


@dataclass(frozen=True, slots=True)
class Observation:
    """What a source answered, and when the look began (the moment that orders observations, O41).

    `says_instructor`: whether the answer spoke of the instructor at all; only then is no name an answer.
    """

    observed_at: datetime
    facts: Facts
    source: str | None = None
    says_instructor: bool = True


def known_from_json(answer: dict[str, Any]) -> Known:
    """A baseline as SQL and jobs carry it: `version`, `observed_at`, `source`, and `facts` with the memory in them."""
    facts, observed_at = answer["facts"], answer["observed_at"]
    return Known(
        version=answer["version"],
        observed_at=datetime.fromisoformat(observed_at) if observed_at else None,
        facts=Facts.from_json(facts) if facts is not None else None,
        source=answer.get("source"),
        memory=Memory(**_named(Memory, (facts or {}).get("memory") or {})),
    )


def _named(model: type[Facts | Memory], values: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(model)}
    return {name: value for name, value in values.items() if name in names}
