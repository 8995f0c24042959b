"""The rehearsal's own rules: what it says where it cannot play, what it counts, that it clears away after itself."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import commands
from shared.settings import ROOT
from workshop.rehearsal import cgroups, command
from workshop.rehearsal.releases import KINDS
from workshop.rehearsal.town import Town


def test_where_it_cannot_play_it_says_what_is_missing_and_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(command.shutil, "which", lambda program: None if program == "nft" else "/bin/true")
    result = CliRunner().invoke(commands, ["rehearse"])
    assert result.exit_code == 3
    assert "root" in result.output
    assert "apt-get install nftables" in result.output


def test_another_system_is_told_that_it_takes_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    (only,) = command.obstacles()
    assert only.startswith("Linux")


@pytest.fixture
def town(monkeypatch: pytest.MonkeyPatch) -> Town:
    """A town whose inbox is what the test says."""
    town = Town({}, "", "2267", ["10001", "10002"], Counter({"10001": 2, "10002": 1}))
    mails = ["10001", "10002", "10002"]
    letters = [{"subject": "🎉 Seat Available: CSE 110", "to": [town.student(one)]} for one in mails]
    other = {"subject": "PickMyClass needs attention", "to": ["operator@example.edu"]}
    monkeypatch.setattr(Town, "ask", lambda *_: {"emails": [*letters, other]})
    return town


def test_an_opening_without_its_mail_is_owed_and_a_second_mail_is_twice(town: Town) -> None:
    assert town.owed() == ["10001"]
    assert town.twice() == [town.student("10002")]


def test_every_kind_of_broken_release_still_changes_a_file_of_the_project() -> None:
    for kind in KINDS:
        file = ROOT / kind.file
        assert file.exists() != (kind.whole and kind.file.startswith("supabase")), kind.what
    health = (ROOT / "functions/health/main.py").read_text()
    assert "\ndef _ready(parts: Wiring) -> Response:" in health, "which two of them replace"


def test_control_groups_go_by_their_own_name_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cgroup.controllers").touch()
    monkeypatch.setattr(cgroups, "_ROOT", tmp_path)
    (tmp_path / "rehearsal-8/server1/system.slice").mkdir(parents=True)
    (tmp_path / "rehearsal-81/server1").mkdir(parents=True)
    assert cgroups.Cgroups("rehearsal-8").remove()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["rehearsal-81"]


def test_the_keeper_clears_away_when_the_rehearsal_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    words = [sys.executable, "-m", "workshop.rehearsal.keeper", str(folder), "rehearsal-of-nobody"]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE) as keeper:
        assert folder.exists()
        assert keeper.stdin
        keeper.stdin.close()  # as the kernel does when the rehearsal is killed
        assert keeper.wait(30) == 0
    assert not folder.exists()
