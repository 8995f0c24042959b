"""The cases of `compare http`: what is asked of both sides, and what of an answer means nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

SHIPPED = Path(__file__).parent / "cases" / "contract.json"
_PLACE = re.compile(r"\$\{([A-Z_]+)\}")
_KEYS = {"name", "method", "path", "headers", "body", "writes", "ignore", "undo"}

# Times, durations and ids differ from one answer to the next: only their type is compared.
VOLATILE = re.compile(
    r"(^|\.)(timestamp|duration|latency_ms|response_time_ms|processing_time_ms|time_held_ms|id|\w+_id|\w+_at|"
    r"current_holder|lock_holder|details|last_failure|last_state_change)$"
)
HEADERS = ("content-type", "allow", "location", "retry-after")


class CaseError(Exception):
    """A file of cases that cannot be played; the message says where."""


@dataclass(frozen=True, slots=True)
class Case:
    """One request. `writes`: it changes something, so that it is only sent when that is allowed.

    `ignore` names fields that may differ for reasons outside the sides: each ticks the sections that it owns. `undo`
    is a path to DELETE on the same side afterwards, with fields of the answer in braces, so that a second side that
    shares the database finds it as the first did.
    """

    name: str
    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    writes: bool = False
    ignore: Sequence[str] = ()
    undo: str | None = None

    def needs(self) -> set[str]:
        """The names of the values that must be handed in."""
        return set(_PLACE.findall(json.dumps([self.path, dict(self.headers), self.body])))

    def filled(self, values: Mapping[str, str]) -> Case:
        """The case with the values in their places."""

        def fill(thing: Any) -> Any:
            text = _PLACE.sub(lambda found: json.dumps(values[found[1]])[1:-1], json.dumps(thing))
            return json.loads(text)

        return replace(self, path=fill(self.path), headers=fill(dict(self.headers)), body=fill(self.body))


def read_cases(path: Path) -> list[Case]:
    """The cases of a JSON file: a list of objects. Raises `CaseError`."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CaseError(f"{path}: {error}") from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise CaseError(f"{path}: must be a list of objects")
    for number, one in enumerate(found, 1):
        if not {"name", "method", "path"} <= one.keys() <= _KEYS:
            raise CaseError(f"{path}, case {number}: takes {', '.join(sorted(_KEYS))}; the first three are a must")
    return [Case(**one) for one in found]
