"""What the register may expect of an answer: for a field of a case, what the old side has there and what the new one.

Values are compared with their types: 1 is not true, and `Shape("an object")` is not the text "an object".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

_ALIVE = re.compile(r"body\.checks\.workers\.\d+\.alive")
_CODES = {"degraded": 503, "unhealthy": 500}


class Shape(str):
    """What is said of a value in its stead: its type, its size, that it is there."""

    __slots__ = ()


ABSENT = Shape("(absent)")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must be like. `holds(value, answer)` also sees all fields of the new side's answer."""

    name: str
    holds: Callable[[Any, Mapping[str, Any]], bool]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Expected:
    """One difference that is wanted. `a|b` in a case or in a step of a field means either; a step `*` means any.

    `old` and `new` are the values of both sides, or rules for them. `always`: it is worth a word when it is not seen.
    """

    case: str
    field: str
    old: Any
    new: Any
    always: bool = True

    def __str__(self) -> str:
        old, new = (str(one) if isinstance(one, Rule | Shape) else json.dumps(one) for one in (self.old, self.new))
        return f"{self.case}: {self.field} ({old} -> {new})"

    def is_of(self, case: str) -> bool:
        """Whether it speaks of this case."""
        return case in self.case.split("|")

    def names(self, field: str) -> bool:
        """Whether it speaks of this field."""
        steps = zip_longest(self.field.split("."), field.split("."))
        return all(step is not None and (step == "*" or name in step.split("|")) for step, name in steps)

    def explains(self, field: str, old: Any, new: Any, answer: Mapping[str, Any]) -> bool:
        """Whether this is the difference that it speaks of; `answer`: all fields of the new side."""
        return self.names(field) and _fits(self.old, old, answer) and _fits(self.new, new, answer)

    def promised(self) -> list[str]:
        """The fields that only the new side is to have."""
        if self.old is not ABSENT:
            return []
        before, _, last = self.field.rpartition(".")
        return [f"{before}.{name}" if before else name for name in last.split("|")]


def same(one: Any, other: Any) -> bool:
    """Whether two values of a field are equal, and of one type."""
    return type(one) is type(other) and bool(one == other)


def one_of(*values: str) -> Rule:
    """Any of these texts."""
    return Rule(" or ".join(values), lambda value, _: value in values)


def _fits(expected: Any, value: Any, answer: Mapping[str, Any]) -> bool:
    return expected.holds(value, answer) if isinstance(expected, Rule) else same(expected, value)


def _nobody_works(answer: Mapping[str, Any]) -> bool:
    """No consumer lives: said by the summary, or by an operator's list of them."""
    said = answer.get("body.checks.workers.status")
    if said is not None:
        return bool(said == "unhealthy")
    return "body.checks.workers" in answer and not any(value is True for name, value in answer.items() if _alive(name))


def _alive(name: str) -> bool:
    return _ALIVE.fullmatch(name) is not None


def _looks_at_more(value: Any, answer: Mapping[str, Any]) -> bool:
    """Status and code are what the checks that only the new side has make of them."""
    said = {name: answer.get(f"body.checks.{name}.status") for name in ("redis", "queue", "scheduler", "freshness")}
    bad = said.pop("redis") == "unhealthy" or _nobody_works(answer)
    whole = "unhealthy" if bad else "degraded" if "degraded" in said.values() else None
    return whole is not None and answer.get("body.status") == whole and value in (whole, _CODES[whole])


PRESENT = Rule("present", lambda value, _: value is not ABSENT)
TEXT = Rule("a text", lambda value, _: type(value) is str and bool(value))
LOOKS_AT_MORE = Rule("worse, by a check that only the new side has", _looks_at_more)
NOT_HEARD = Rule(
    "unknown while no consumer lives",
    lambda value, answer: value in ("unknown", "unhealthy") and _nobody_works(answer),
)
