"""The rehearsal's own rules: what it says where it cannot play, what it counts, that it clears away after itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import commands
from shared.settings import ROOT
from workshop.rehearsal import cgroups, command, in_docker, one_server, two_servers
from workshop.rehearsal.containers import PYTHON, REDIS, End, ends
from workshop.rehearsal.releases import KINDS
from workshop.rehearsal.stage import play_of
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


def test_containers_are_told_in_the_order_in_which_they_ended() -> None:
    def told(service: str, code: int, when: str) -> dict[str, object]:
        labels = {"com.docker.compose.service": service}
        return {"Config": {"Labels": labels}, "State": {"ExitCode": code, "FinishedAt": when}}

    late, early = "2026-11-27T20:00:02.55", "2026-11-27T20:00:02.5"
    assert ends(json.dumps([told("redis", 0, late + "Z"), told("consumer", 137, early + "Z")])) == [
        End("consumer", 137, early),
        End("redis", 0, late),
    ]


def test_what_is_asked_for_decides_which_acts_are_played() -> None:
    assert play_of({"boxes": 1, "docker": False}) is one_server
    assert play_of({"boxes": 2, "docker": False}) is two_servers
    assert play_of({"boxes": 1, "docker": True}) is in_docker


@pytest.mark.parametrize("words", [("--boxes", "2"), ("--debian", "12")])
def test_docker_is_played_on_one_server_with_a_debian_that_has_compose(words: tuple[str, str]) -> None:
    result = CliRunner().invoke(commands, ["rehearse", "--docker", *words])
    assert result.exit_code == 2
    assert "one server with Debian 13" in result.output


def test_an_engine_is_told_of_every_image_that_the_project_builds_on_and_of_no_frontend() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    bases = {line.split()[1] for line in dockerfile.splitlines() if line.startswith("FROM ")}
    assert bases == {PYTHON}
    assert f"image: {REDIS}\n" in (ROOT / "compose.yaml").read_text()
    assert "syntax=" not in dockerfile, "it would be fetched from a registry before anything is built"
