"""The replay, tried both ways: no defect, no difference; one defect, its own id and nothing else."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from shared.settings import ROOT
from tests.support.theatre import write_tape
from workshop.compare import report
from workshop.compare.command import compare
from workshop.compare.findings import Difference, Findings
from workshop.compare.origin.origin import EVERYTHING
from workshop.compare.origin.rules import NONE, Defects
from workshop.compare.register import BY_ID, IN_DECISIONS, KNOWN
from workshop.compare.replay.decisions import Slot
from workshop.compare.replay.evidence import EVIDENCE, explain
from workshop.compare.replay.scene import Scene
from workshop.compare.replay.script import LENGTH
from workshop.compare.replay.theatre import ReplaySeason, Theatre


@pytest.fixture(scope="module")
def new(theatre: Theatre, scene: Scene) -> list[Slot]:
    return theatre.play_new(scene)


def test_without_defects_both_sides_decide_alike(theatre: Theatre, scene: Scene, new: list[Slot]) -> None:
    assert list(explain(scene, theatre.play_old(scene), new)) == []
    assert sum(len(slot.mails) for slot in new) > 20


@pytest.mark.slow
def test_the_crowd_shows_what_a_limit_of_a_thousand_rows_cuts(theatre: Theatre, tape: Path) -> None:
    crowd = ReplaySeason(tape, LENGTH).scene()
    new = theatre.play_new(crowd)
    assert list(explain(crowd, theatre.play_old(crowd), new)) == []
    found = list(explain(crowd, theatre.play_old(crowd, frozenset(["O14"])), new))
    assert {one.id for one in found} == {"O14"}


@pytest.mark.parametrize("name", [name for name in IN_DECISIONS if name != "O14"])
def test_one_defect_is_told_by_its_id_and_no_other(name: str, theatre: Theatre, scene: Scene, new: list[Slot]) -> None:
    found = list(explain(scene, theatre.play_old(scene, frozenset([name])), new))
    assert {one.id for one in found} == {name}


def test_all_defects_at_once_are_all_told_apart(theatre: Theatre, scene: Scene, new: list[Slot]) -> None:
    defects = EVERYTHING - {"O14"}
    assert {one.id for one in explain(scene, theatre.play_old(scene, defects), new)} == defects


def test_a_difference_that_nothing_explains_is_not_explained_away(scene: Scene, new: list[Slot]) -> None:
    slot = next(slot for slot in new if slot.mails)
    lossy = [Slot(s.start_ms, s.checked, s.events, s.mails[1:] if s is slot else s.mails, s.states) for s in new]
    told = list(explain(scene, lossy, new))
    assert [(one.difference.what, one.id) for one in told] == [("mail missing", None)]


def test_the_register_speaks_of_every_defect_and_says_where_each_shows() -> None:
    assert [known.id for known in KNOWN] == [f"O{number}" for number in range(1, 42)]
    assert not [known.id for known in KNOWN if not (known.decisions or known.http or known.proven)]
    assert set(IN_DECISIONS) == EVIDENCE.keys() == EVERYTHING
    assert {"O1", "O14", "O28", "O41"} <= BY_ID.keys()


def test_what_the_register_calls_proven_is_there() -> None:
    assert not [known.proven for known in KNOWN if known.proven and not (ROOT / known.proven).exists()]


def test_the_rules_of_the_old_side_are_its_own() -> None:
    assert "from shared" not in (ROOT / "workshop/compare/origin/rules.py").read_text()
    assert "from shared" not in (ROOT / "workshop/compare/origin/origin.py").read_text()


def test_after_a_play_the_log_speaks_again(tmp_path: Path) -> None:
    tape = tmp_path / "tape.csv"
    tape.write_text("nonsense\n")
    CliRunner().invoke(compare, ["replay", "--tape", str(tape)])
    assert logging.getLogger().isEnabledFor(logging.CRITICAL)


def test_a_tape_that_cannot_be_played_is_refused(tmp_path: Path) -> None:
    tape = tmp_path / "tape.csv"
    tape.write_text("nonsense\n")
    told = CliRunner().invoke(compare, ["replay", "--tape", str(tape)])
    assert (told.exit_code, "cannot be played" in told.output) == (2, True)


@pytest.mark.slow
def test_by_command_an_expected_defect_is_reported_on_page_and_as_json(tmp_path: Path) -> None:
    tape, page, data = write_tape(tmp_path / "tape.csv"), tmp_path / "report.html", tmp_path / "report.json"
    words = ["replay", "--tape", str(tape), "--no-crowd", "--defect", "o29", "--defect", "O14"]
    told = CliRunner().invoke(compare, [*words, "--html", str(page), "--json", str(data)])
    assert told.exit_code == 1  # without the crowd O14 was expected and does not appear
    (found,) = json.loads(data.read_text())
    assert (found["absent"], found["unexplained"]) == (["O14"], 0)
    assert "O29" in page.read_text()


def test_a_report_that_has_no_place_is_refused_before_the_play(tmp_path: Path) -> None:
    words = ["replay", "--tape", str(write_tape(tmp_path / "tape.csv")), "--html", str(tmp_path / "none" / "a.html")]
    told = CliRunner().invoke(compare, words)
    assert (told.exit_code, "make it first" in told.output.replace("\n", " ")) == (2, True)


@pytest.mark.slow
def test_what_was_found_before_ctrl_c_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play_old = Theatre.play_old

    def interrupted(theatre: Theatre, scene: Scene, defects: Defects = NONE, tell: Any = None) -> list[Slot]:
        if defects:
            raise KeyboardInterrupt
        return play_old(theatre, scene)

    monkeypatch.setattr(Theatre, "play_old", interrupted)
    tape, page, data = write_tape(tmp_path / "tape.csv"), tmp_path / "report.html", tmp_path / "report.json"
    words = ["replay", "--tape", str(tape), "--no-crowd", "--each", "--html", str(page), "--json", str(data)]
    told = CliRunner().invoke(compare, words)
    stopped = "Stopped: 1 of 16 comparisons came to their end."
    assert (told.exit_code, stopped in told.output, stopped in page.read_text()) == (130, True, True)
    reports = json.loads(data.read_text())
    assert [(one["good"], one["nothing"]) for one in reports] == [(True, ""), (False, stopped)]
    assert reports[0]["subject"] == "Tape tape.csv, seed 7, 56 ticks, without the crowd."
    assert "not a race" in told.output


def test_each_defect_in_turn_and_a_defect_by_name_exclude_each_other(tmp_path: Path) -> None:
    words = ["replay", "--tape", str(write_tape(tmp_path / "tape.csv")), "--each", "--defect", "O1"]
    told = CliRunner().invoke(compare, words)
    assert (told.exit_code, "leave --defect out" in told.output) == (2, True)


def test_a_report_that_cannot_be_written_is_named_and_is_no_difference(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings("A title")
    full = Path("/dev/full")
    assert report.tell(findings, page=full, data=None, console=Console()) == 2
    assert "/dev/full could not be written" in capsys.readouterr().out


def test_what_nothing_explains_is_listed_uncut_up_to_ten(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings("A title", subject="Of this and that.")
    findings.add(Difference("here", "2026-04-01 10:00", "what", str(n) * 200, "other", None) for n in range(12))
    report.show(Console(width=80), findings)
    told = capsys.readouterr().out
    assert ("9" * 200 in told, "11" * 200 in told) == (True, False)
    assert "and 2 more; the JSON has all" in told
    assert "Of this and that." in told
    assert "Of this and that." in report.render([findings])


def test_a_terminal_that_went_away_costs_neither_the_file_nor_the_exit_code(tmp_path: Path) -> None:
    data = tmp_path / "report.json"
    script = (
        "import os, sys; from pathlib import Path;"
        "from workshop.compare import report; from workshop.compare.findings import Findings;"
        "os.read(0, 1); console, data = report.terminal(), Path(sys.argv[1]);"
        "sys.exit(report.tell(Findings('A'), page=None, data=data, console=console))"
    )
    words = [sys.executable, "-c", script, str(data)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    _, errors = process.communicate(b"x", timeout=30)
    assert (process.returncode, errors, data.exists()) == (0, b"", True)
