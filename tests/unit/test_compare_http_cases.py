"""Files of cases: what is taken, and what is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workshop.compare.http.case_file import SHIPPED, Case, CaseError, read_cases
from workshop.compare.http.compare import explained
from workshop.compare.register import BY_ID

GOOD = {"name": "a", "method": "GET", "path": "/"}


def file_of(tmp_path: Path, content: Any) -> Path:
    file = tmp_path / "cases.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return file


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ([GOOD | {"paht": "/"}], "case 1, paht"),
        ([GOOD, GOOD | {"method": 5}], "case 2, method"),
        ([GOOD | {"method": "FETCH"}], "case 1, method"),
        ([GOOD | {"headers": 5}], "case 1, headers"),
        ([GOOD | {"headers": {"X": 5}}], "case 1, headers, X"),
        ([GOOD | {"path": "a"}], "case 1, path"),
        ([GOOD | {"name": "A b"}], "case 1, name"),
        ([GOOD | {"ignore": "status"}], "case 1, ignore"),
        ([GOOD | {"writes": "yes"}], "case 1, writes"),
        ([GOOD | {"path": "/${term}"}], r"a place for a value is written \$\{NAME\}"),
        ([GOOD | {"undo": "/b"}], "nothing to undo"),
        ([GOOD, GOOD], "2 cases are named a"),
        ([{"name": "a", "method": "GET"}], "case 1, path"),
        (["a"], "case 1"),
        ({}, "array"),
        ("name: a", "JSON"),
        ("[" * 500_000, "JSON"),
        ([], "holds no case"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_by_place(tmp_path: Path, content: Any, told: str) -> None:
    file = file_of(tmp_path, content)
    with pytest.raises(CaseError, match=told) as caught:
        read_cases(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"none\.json"):
        read_cases(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("method", "said", "writes"),
    [
        ("GET", None, False),
        ("POST", None, True),
        ("PUT", None, True),
        ("PATCH", None, True),
        ("DELETE", None, True),
        ("POST", False, False),
        ("GET", True, True),
    ],
)
def test_whether_a_case_writes_follows_from_its_method_unless_it_says(
    tmp_path: Path, method: str, said: bool | None, writes: bool
) -> None:
    case = GOOD | {"method": method} | ({} if said is None else {"writes": said})
    assert read_cases(file_of(tmp_path, [case]))[0].changes is writes


def test_a_case_needs_what_any_part_of_it_names() -> None:
    case = Case(name="a", method="POST", path="/${A}", headers={"X": "${B}"}, body=["${C_2}"], undo="/${D}")
    assert case.needs() == {"A", "B", "C_2", "D"}
    filled = case.filled({"A": "?", "B": '"', "C_2": "\\", "D": "&"})
    assert (filled.path, filled.headers, filled.body, filled.undo) == ("/%3F", {"X": '"'}, ["\\"], "/%26")


def test_the_register_speaks_only_of_cases_that_come_along() -> None:
    names = {case.name for case in read_cases(SHIPPED)}
    entries = [entry for known in BY_ID.values() for entry in known.answers]
    assert entries
    assert {name for entry in entries for name in entry.case.split("|")} <= names


def test_where_a_difference_shows_is_told_in_words() -> None:
    assert BY_ID["O40"].http[0] == "fetch-class-details-anonymous: status (200 -> 401)"
    assert explained("fetch-class-details-anonymous", "status", 200, True, {}) is None
