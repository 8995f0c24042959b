"""A joined topic: what its client asked to hear of, and whether a change is that."""

from __future__ import annotations

import operator
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_VALUES = 100
_FILTER = re.compile(r"(\w+)=(eq|neq|lt|lte|gt|gte|in)\.(.*)", re.DOTALL)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}


class FilterError(Exception):
    """A filter that cannot be understood, or holds too much; the message says which."""


@dataclass(frozen=True, slots=True)
class Binding:
    """One entry of `postgres_changes`, exactly as it was asked for, and the number it goes by."""

    asked: dict[str, Any]

    @property
    def id(self) -> int:
        """The same number for the same parameters, as the real one's."""
        return zlib.crc32(repr(sorted(self.asked.items())).encode())

    def check(self) -> None:
        """Raise `FilterError` when its filter is not one."""
        self._filter()

    def wants(self, change: dict[str, Any]) -> bool:
        """Whether its client asked to hear of `change`; a filter cannot hold against a deletion."""
        asked = self.asked
        if asked.get("schema", "public") != change["schema"] or asked.get("table", change["table"]) != change["table"]:
            return False
        if asked.get("event", "*") not in ("*", change["type"]):
            return False
        parts = self._filter()
        if parts is None or change["type"] == "DELETE":
            return True
        column, compare, values = parts
        value = change["record"].get(column)
        if compare == "in":
            return str(value) in values
        if isinstance(value, int | float) and not isinstance(value, bool):
            return _COMPARE[compare](float(value), float(values[0]))
        return value is not None and _COMPARE[compare](str(value), values[0])

    def _filter(self) -> tuple[str, str, list[str]] | None:
        text = self.asked.get("filter")
        if not text:
            return None
        found = _FILTER.fullmatch(text)
        if found is None:
            raise FilterError(f"Error parsing `filter` params: {text}")
        column, compare, rest = found.groups()
        values = [one.strip('"') for one in rest.strip("()").split(",")] if compare == "in" else [rest]
        if len(values) > MOST_VALUES:
            raise FilterError(f"Error parsing `filter` params: too many values: {len(values)}")
        return column, compare, values


@dataclass(slots=True)
class Channel:
    """One topic of one connection. `claims`: of the token it was joined with; none for the anonymous key."""

    topic: str
    join_ref: str | None
    bindings: list[Binding]
    claims: dict[str, Any]

    def hears(self, change: dict[str, Any]) -> list[int]:
        """The numbers of its bindings that want `change`."""
        return [one.id for one in self.bindings if one.wants(change)]

    def seconds_over(self, now: float) -> float:
        """For how long its token has been over; negative while it is good."""
        return now - float(self.claims.get("exp", float("inf")))
