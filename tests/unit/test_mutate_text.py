"""Faults in SQL and Lua: where they can be made, and what becomes of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop.mutate.faults import fault_at
from workshop.mutate.text import places_in_text


@pytest.mark.parametrize(
    ("line", "faulty"),
    [
        ("where a.slot >= b.slot", "where a.slot > b.slot"),
        ("set slot = greatest(a, b)", "set slot = least(a, b)"),
        ("where x and y", "where x or y"),
        ("where name = 'x'", "where name <> 'x'"),
        ("interval '24 hours'", "interval '25 hours'"),
        ("    perform pickmyclass.end_attempt(v);", ""),
        ("if not found then", "if found then"),
    ],
)
def test_each_kind_of_fault_is_made_in_its_place(tmp_path: Path, line: str, faulty: str) -> None:
    (tmp_path / "a.sql").write_text(f"-- first\n{line}\n")
    places = places_in_text(Path("a.sql"), (tmp_path / "a.sql").read_text())
    faults = [fault_at(tmp_path, place) for place in places]
    assert f"-- first\n{faulty}\n" in [fault.text for fault in faults if fault]
    assert all(fault.line == 2 for fault in faults if fault)


def test_a_comment_is_left_alone(tmp_path: Path) -> None:
    source = "-- this and that, 24 times >= 1\n"
    assert list(places_in_text(Path("a.lua"), source)) == []
