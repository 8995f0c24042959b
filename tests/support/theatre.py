"""A small campus and a theatre to play it in, for the tests of one module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from workshop.compare.replay.scene import Scene
from workshop.compare.replay.script import LENGTH
from workshop.compare.replay.theatre import ReplaySeason, Theatre

START = 1_775_001_600_000  # 2026-04-01, a full hour
HOUR = 3_600_000


def write_tape(path: Path) -> Path:
    """A small campus: six sections that fill, open and get their instructors."""
    lines = ["time_ms,section,course,code,instructor,seats_available,seats_total"]
    for number in range(6):
        for hour in range(0, 30, 3):
            instructor = "Staff" if number % 2 == 0 and hour < 12 else "Hopper; Grace"
            seats = (number + hour // 3) % 3
            lines.append(f"{START + (hour + number) * HOUR},{83000 + number},CSE {number},A01,{instructor},{seats},40")
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def theatre() -> Iterator[Theatre]:
    with Theatre() as one:
        yield one


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tape(tmp_path_factory.mktemp("tape") / "campus.csv")


@pytest.fixture(scope="module")
def scene(tape: Path) -> Scene:
    return ReplaySeason(tape, LENGTH, crowd=False).scene()
