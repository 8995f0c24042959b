"""A term is recorded from the product's own events, and a campus that plays the tape does the same again."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from functions.process_section.main import process_section
from shared.cli import tape as command
from tests.support.stage import EVEN, ODD, Stage
from tests.support.term import TERM
from workshop.campus.tape import read_tape
from workshop.compare.replay.theatre import ReplaySeason
from workshop.demo.oracle import NAME, SEAT, Watcher, judge

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR_MS = 3_600_000
CHANGES: list[dict[str, Any]] = [
    {"seats_available": 3},
    {"seats_available": 5},
    {"seats_available": 0, "instructor": "Ada Lovelace"},
    {"seats_available": 9, "non_reserved_seats": 2},
    {"seats_available": 7, "non_reserved_seats": 0, "instructor": None},
]


def record(path: Path, *words: str) -> Result:
    return CliRunner().invoke(command.tape, [str(path), *words])


def look(stage: Stage, **values: Any) -> None:
    """Look at both sections, of which the first shows `values`; an hour passes."""
    stage.show(EVEN, **values)
    for section in (EVEN, ODD):
        body = {"class_nbr": section.class_nbr, "term": section.term}
        assert stage.ask(process_section, method="POST", body=body).status_code == 200
    stage.clock.at += timedelta(hours=1)


@pytest.fixture
def lived(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A term in which something happened every hour."""
    stage.clock.at = AT
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    for values in ({}, *CHANGES):
        look(stage, **values)
    monkeypatch.setattr(command, "_PAGE", 1)
    return stage


def test_the_tape_shows_the_same_openings_and_names_at_the_same_times(lived: Stage, tmp_path: Path) -> None:
    path = tmp_path / "term.csv.gz"
    said = record(path)
    assert said.exit_code == 0, said.output
    assert "2 sections, 6 rows" in " ".join(said.output.split())
    with gzip.open(path, "rt") as text:
        assert text.readline().startswith("time_ms,section,course,code,instructor")
    start = int(AT.timestamp()) * 1000
    slots = [start + hour * HOUR_MS for hour in range(len(CHANGES) + 1)]
    verdict = judge(read_tape(path), {EVEN.class_nbr: [Watcher("ann@example.edu")]}, slots)
    assert {(one.kind, (one.seen_ms - start) // HOUR_MS) for one in verdict.owed} == {(SEAT, 1), (NAME, 3), (SEAT, 4)}
    filled = [(time - start) // HOUR_MS for time, values in read_points(path) if values.seats_available == 0]
    assert filled == [-1, 3, 5]


def read_points(path: Path) -> list[tuple[int, Any]]:
    changing = next(one for one in read_tape(path) if one.class_nbr == EVEN.class_nbr)
    return list(zip(changing.times, changing.values, strict=True))


def test_a_comparison_can_play_the_tape(lived: Stage, tmp_path: Path) -> None:
    path = tmp_path / "term.csv"
    lived.clock.at += timedelta(days=2)
    look(lived, seats_available=4, non_reserved_seats=4)
    assert record(path, "--term", TERM).exit_code == 0
    timelines = ReplaySeason(path, crowd=False).scene().timelines
    # It names the term by the dates of the tape.
    assert {EVEN.class_nbr, ODD.class_nbr} <= {class_nbr for _, class_nbr in timelines}


def test_a_tape_is_never_overwritten(lived: Stage, tmp_path: Path) -> None:
    path = tmp_path / "term.csv"
    path.write_text("another season")
    said = record(path)
    assert (said.exit_code, path.read_text()) == (1, "another season")
    assert "already there" in " ".join(said.output.split())


def test_a_term_without_events_makes_no_tape(stage: Stage, tmp_path: Path) -> None:
    for words in ((), ("--term", "2261")):
        said = record(tmp_path / "term.csv", *words)
        assert said.exit_code == 1
        assert "nothing has happened yet" in said.output
    assert not (tmp_path / "term.csv").exists()
