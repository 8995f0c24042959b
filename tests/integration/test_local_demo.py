"""The demo: it agrees with the oracle through the real product, and it says so when something does not."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import requests

from shared import settings
from tests.support.redis import wait_until
from workshop.campus.tape import COLUMNS
from workshop.demo import demo
from workshop.demo.demo import run_demo
from workshop.demo.oracle import SEAT, Owed, Verdict
from workshop.parts.stack import Part, PartError, Stack

RECORDED = settings.ROOT.parent / "shared" / "data" / "campus-2022-summer1.csv.gz"
HALF_HOUR = 1_800_000
START = 1_649_674_800_000  # a full hour in April 2022


def write_tape(path: Path, rows: list[tuple[int, int, str, int]]) -> Path:
    """`rows`: (slot, section, instructor, seats), the sections numbered from 0."""
    lines = [",".join(COLUMNS)]
    for slot, section, name, seats in rows:
        lines.append(f"{START + slot * HALF_HOUR},{100_000 + section},CSE {section + 1},A00,{name},{seats},40")
    path.write_text("\n".join([*lines, ""]))
    return path


@pytest.mark.slow
def test_a_short_day_by_chance_agrees(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(tape=None, ticks=8, sections=30, seed=5, term=None) == 0
    said = capsys.readouterr().out
    assert "Every email that was owed was sent, once, and no other." in said
    assert "Sections checked" in said
    assert "The health function says" in said


@pytest.mark.slow
def test_with_looks_between_the_ticks_people_hear_in_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(tape=None, ticks=6, sections=24, seed=5, term=None, source="asu", looks=288) == 0
    said = capsys.readouterr().out
    assert "Every email that was owed was sent, once, and no other." in said
    here, hourly = (float(found) for found in re.findall(r"half within ([0-9.]+) minutes", said))
    assert here < hourly / 2


@pytest.mark.slow
def test_a_department_that_opens_at_once_is_looked_at_twice_and_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    full = [(0, section, "Staff", 0) for section in range(60)]
    opened = [(2, section, "Staff", 5) for section in range(50)]
    tape = write_tape(tmp_path / "season.csv", sorted([*full, *opened, (3, 1, "Ada", 0), (4, 2, "Ada", 5)]))
    assert run_demo(tape=tape, ticks=None, sections=None, seed=1, term=None) == 0
    said = capsys.readouterr().out
    assert "term 2221: 60 sections, 7 ticks" in said
    assert re.search(r"Looked at twice \(mass events\) +│ +[45][0-9] │", said)  # but for a few that nobody watches


@pytest.mark.slow
@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded season is not part of the project")
def test_the_recorded_season_agrees() -> None:
    assert run_demo(tape=RECORDED, ticks=30, sections=None, seed=2, term=None) == 0


@pytest.mark.slow
def test_a_difference_is_named_and_fails_the_demo(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    owed = Owed(START, "00000", SEAT, "nobody@example.edu")
    monkeypatch.setattr(demo, "judge_looks", lambda *_: Verdict(checks=1, owed={owed}))
    tape = write_tape(tmp_path / "season.csv", [(0, 0, "Staff", 0)])
    assert run_demo(tape=tape, ticks=1, sections=None, seed=1, term="2224") == 1
    assert "never sent: seat_available of 00000" in capsys.readouterr().out


@pytest.mark.slow
def test_up_serves_everything_until_it_is_told_to_stop(tmp_path: Path) -> None:
    words = [sys.executable, "commands.py", "up", "--local"]
    with (tmp_path / "log").open("w") as log:
        up = subprocess.Popen(words, cwd=settings.ROOT, stdout=subprocess.PIPE, stderr=log)
    assert up.stdout is not None
    try:
        with up.stdout as output:
            lines: list[str] = []
            while not lines or "Ctrl-C" not in lines[-1]:
                lines.append(output.readline().decode())
                assert up.poll() is None, "".join(lines)
            told = dict(line.split()[:2] for line in lines if "http://" in line and "curl" not in line)
            desk, inbox = Caller(told["Desk"]), Caller(told["Inbox"])
            student = next(shlex.split(line) for line in lines if "/api/class-watches" in line)
            watched = requests.get(student[3], headers=dict([student[2].split(": ")]), timeout=30).json()
            example = desk("desk/shown")["example"]
            assert example["class_nbr"] in [one["class_nbr"] for one in watched["watches"]]
            assert requests.get(told["Health"], timeout=10).json()["status"] in ("healthy", "degraded")
            mail = mail_after_an_opening(told, example)
            assert example["student"] in mail["to"]
            assert inbox(f"control/emails/{mail['id']}", {"event": "bounced"}) == {"answered": 200}
            operate = next(line for line in lines if "ops status" in line).replace(
                "./run.sh", f"{sys.executable} commands.py"
            )
            assert "0 dead" in subprocess.check_output(
                ["sh", "-c", operate.replace("ops status", "ops mail pending")], cwd=settings.ROOT, text=True
            )
            up.send_signal(signal.SIGTERM)
            output.read()
        assert up.wait(40) == 0
    finally:
        up.kill()
        up.wait(10)
    assert "WARNING" not in (tmp_path / "log").read_text()


class Caller:
    """Asks one of the pages' servers, as the page would."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self, path: str, body: object = None) -> Any:
        answer = requests.request("POST" if body else "GET", self._address + path, json=body, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()


def mail_after_an_opening(told: dict[str, str], example: dict[str, str]) -> Any:
    """Look at the full section, open it by hand, move the campus's clock: the mail to the student comes by itself."""
    campus, inbox = Caller(told["Campus"]), Caller(told["Inbox"])
    number = example["class_nbr"]
    assert example["student"] in campus("desk/watchers")[number]
    campus("control/section", {"class_nbr": number, "seats_available": 0})
    campus("desk/check", {"class_nbr": number})
    campus("control/section", {"class_nbr": number, "seats_available": 2})
    campus("control/clock", {"now_ms": campus("control/clock")["now_ms"] + HALF_HOUR})
    found = f"control/emails?search={number}&to={example['student']}"
    wait_until(lambda: inbox(found)["emails"], timeout=60)
    return inbox(found)["emails"][0]


@pytest.mark.parametrize(
    ("tape", "term", "words"),
    [("time_ms\n", None, "line 1: the columns must be"), (None, "22", "a term is four digits")],
)
def test_what_cannot_be_played_is_said_before_anything_starts(
    tape: str | None, term: str | None, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "season.csv"
    if tape:
        path.write_text(tape)
    assert run_demo(tape=path if tape else None, ticks=1, sections=1, seed=1, term=term) == 2
    assert words in capsys.readouterr().out


def test_a_machine_that_lacks_something_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise FileNotFoundError("cp is not an executable program")

    monkeypatch.setattr(Stack, "start", lacking)
    assert run_demo(tape=None, ticks=1, sections=1, seed=1, term=None) == 1
    assert "The demo broke off: cp is not an executable program" in capsys.readouterr().out


def test_a_part_that_ends_too_early_is_quoted(tmp_path: Path) -> None:
    part = Part("oven", ["-c", "print('too hot'); raise SystemExit(3)"], tmp_path, {}, aloud=False)
    with pytest.raises(PartError, match=r"oven ended with code 3; it said:\ntoo hot"):
        part.address()
    with pytest.raises(PartError, match="oven ended with code 3"):
        part.check()


def test_every_setting_is_ours_so_that_no_env_file_has_a_say() -> None:
    stack = Stack([], replay=True)
    try:
        with stack.redis.start():
            stack.campus_url = stack.inbox_url = "http://127.0.0.1:1"
            ours = stack._settings()
    finally:
        stack.stop()
    assert set(settings.names()) <= ours.keys()
    assert {"NEXT_PUBLIC_SUPABASE_URL", "NEXT_PUBLIC_SITE_URL"} <= ours.keys()
    loaded = settings.load(ours, None, complete=True)
    assert loaded.transport == "postgres"
    assert loaded.supabase_url is None


def test_a_stack_that_cannot_start_leaves_nothing_behind() -> None:
    with pytest.raises(PartError, match="campus ended with code 2"), Stack(["--sections", "0"], replay=True) as stack:
        stack.start()
    assert [part.name for part in stack.parts if part.child.poll() is None] == []
    assert stack.postgres.pid is None
    assert stack.redis.pid is None
