"""The cases of `compare http`: what is asked of both sides, and what of an answer means nothing.

A file is a JSON list of objects with the fields of `Case`. `${NAME}` stands for the environment's COMPARE_NAME.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError, model_validator

SHIPPED = Path(__file__).parent / "cases" / "contract.json"
_PLACE = re.compile(r"\$\{([A-Z][A-Z0-9_]*)\}")
_NO_PLACE = re.compile(r"\$\{(?![A-Z][A-Z0-9_]*\})")
_READING = ("GET", "HEAD", "OPTIONS")
_TOLD = 5

# Times, durations and the ids of rows and runs differ from one answer to the next: only their type is compared.
VOLATILE = re.compile(
    r"\.(timestamp|duration|\w+_ms|\w+_seconds|\w+_at|last_failure|last_state_change|last_heartbeat|id|tick_id|"
    r"current_holder)$"
)
HEADERS = ("content-type", "allow", "location", "retry-after")
PathText = Annotated[str, Field(pattern=r"^/[!-~]*$")]


class CaseError(Exception):
    """A file of cases that cannot be played; the message says where."""


class Case(BaseModel):
    """One request, and by which rules its answers are compared.

    Of `ignore` nothing is compared; of `presence` only whether it is there, because each side has a value of its own;
    in a list of `unordered` the order means nothing. Each names fields, and covers what is below them. `undo` is a
    path to DELETE on the same side afterwards, with fields of the answer in braces, so that a second side that shares
    the database finds it as the first did.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=60)]
    method: Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
    path: PathText
    headers: dict[str, str] = {}
    body: JsonValue = None
    writes: bool | None = None
    ignore: tuple[str, ...] = ()
    presence: tuple[str, ...] = ()
    unordered: tuple[str, ...] = ()
    undo: PathText | None = None

    @model_validator(mode="after")
    def _undoes_what_it_wrote(self) -> Self:
        if self.undo and not self.changes:
            raise ValueError("a case that writes nothing has nothing to undo")
        if _NO_PLACE.search(self._texts()):
            raise ValueError("a place for a value is written ${NAME}, in capital letters")
        return self

    @property
    def changes(self) -> bool:
        """Whether it changes something, so that it is only sent when that is allowed; by its method unless said."""
        return self.method not in _READING if self.writes is None else self.writes

    def needs(self) -> set[str]:
        """The names of the values that must be handed in."""
        return set(_PLACE.findall(self._texts()))

    def filled(self, values: Mapping[str, str]) -> Case:
        """The case with the values in their places."""

        def fill(thing: Any) -> Any:
            return json.loads(_PLACE.sub(lambda found: json.dumps(values[found[1]])[1:-1], json.dumps(thing)))

        def fill_path(path: str) -> str:
            return _PLACE.sub(lambda found: quote(values[found[1]], safe=""), path)

        told = {"path": fill_path(self.path), "headers": fill(self.headers), "body": fill(self.body)}
        return self.model_copy(update=told | {"undo": self.undo and fill_path(self.undo)})

    def _texts(self) -> str:
        return json.dumps([self.path, self.headers, self.body, self.undo])


_FILE = TypeAdapter(list[Case])


def covers(fields: Sequence[str], name: str) -> bool:
    """Whether a field is one of these or below one of them."""
    return any(name == field or name.startswith(f"{field}.") for field in fields)


def read_cases(path: Path) -> list[Case]:
    """The cases of a file, at least one, each with a name of its own. Raises `CaseError`."""
    try:
        cases = _FILE.validate_json(path.read_bytes())
    except OSError as error:
        raise CaseError(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(_problem(one["loc"], one["msg"]) for one in error.errors()[:_TOLD])
        raise CaseError(f"{path}: {problems}") from None
    if not cases:
        raise CaseError(f"{path}: holds no case")
    for name, count in Counter(case.name for case in cases).items():
        if count > 1:
            raise CaseError(f"{path}: {count} cases are named {name}")
    return cases


def _problem(place: Sequence[int | str], message: str) -> str:
    """`case 2, method: …`; without a case it is the file that is wrong."""
    where = [f"case {part + 1}" if isinstance(part, int) and not at else str(part) for at, part in enumerate(place)]
    return f"{', '.join(where)}: {message}" if where else message
