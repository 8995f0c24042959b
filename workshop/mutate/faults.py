"""A single fault that a hurried hand could make: a changed copy of one file.

Whether it changes what the program does is not asked here: some faults are equivalent to the original, and a person
says so when one survives.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOMS = ("shared", "functions", "supabase", "huey_app.py")
"""The product: where faults are put."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One file, relative to the root, with a fault on `line`: `before` became `after`; `text` is the whole file."""

    path: Path
    line: int
    before: str
    after: str
    text: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a fault can be made; `make` makes it, or nothing where the operator finds nothing to do after all."""

    path: Path
    line: int
    make: Callable[[], str | None]


def fault_at(root: Path, place: Place) -> Fault | None:
    """The fault of a place; nothing when the file would stay as it is."""
    source, text = (root / place.path).read_text(encoding="utf-8"), place.make()
    if text is None or text == source:
        return None
    old, new = source.splitlines(), text.splitlines()
    line = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)) - 1)
    before, after = old[line].strip(), new[line].strip() if len(new) == len(old) else "(gone)"
    return Fault(place.path, line + 1, before, after, text)
