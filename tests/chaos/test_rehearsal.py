"""How chaos hands its time to the product's processes: a shared clock, divided durations, and nothing in the help."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import commands
from shared.durations import Durations
from workshop.chaos.clock import ShiftedClock

THEN = datetime(2022, 5, 4, 12, 0, tzinfo=UTC)


def test_a_clock_that_one_sets_is_read_by_another_process(tmp_path: Path) -> None:
    clock = ShiftedClock(tmp_path / "clock", create=True)
    clock.set(THEN)
    program = (
        "import sys; from workshop.chaos.clock import ShiftedClock; print(ShiftedClock(sys.argv[1])().isoformat())"
    )
    told = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "clock")], capture_output=True, text=True, check=True, timeout=30
    )
    assert THEN <= datetime.fromisoformat(told.stdout.strip()) <= clock()
    clock.close()


def test_a_new_clock_tells_the_time(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    clock = ShiftedClock(tmp_path / "clock", create=True)
    assert timedelta(0) <= clock() - before < timedelta(minutes=1)
    clock.close()


def test_every_duration_is_divided() -> None:
    whole, tenth = Durations(), Durations().divided_by(10)
    for name in Durations.__slots__:
        assert getattr(tenth, name) == pytest.approx(getattr(whole, name) / 10)


@pytest.mark.parametrize("command", ["consumer", "functions"])
def test_the_options_of_a_rehearsal_are_not_offered(command: str) -> None:
    said = CliRunner().invoke(commands, [command, "--help"]).output
    assert "--speed" not in said
    assert "--clock" not in said
