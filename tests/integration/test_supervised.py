"""Under systemd: each process, and both together, say when they are ready, alive and leaving."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import ROOT, names
from tests.support.stage import Stage
from workshop.parts.processes import free_port, start_child, stop_child


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[socket.socket]:
    """Where systemd would listen."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30)
        yield heard


def until(heard: socket.socket, word: str) -> None:
    """Listen until `word` is said; fails after half a minute of silence."""
    while word not in heard.recv(4096).decode().splitlines():
        pass


@pytest.mark.parametrize("command", ["functions", "consumer", "up"])
def test_a_process_reports_ready_alive_and_stopping(command: str, stage: Stage, supervisor: socket.socket) -> None:
    ours = dict.fromkeys(set(names()) - {"WORKERS"}, "") | stage.environment
    systemd = {"NOTIFY_SOCKET": supervisor.getsockname(), "WATCHDOG_USEC": "1500000"}
    environment = {**ours, **systemd, "PORT": str(free_port()), "PATH": "/usr/bin:/bin", "CRON_SCHEDULE": "off"}
    child = start_child([sys.executable, "commands.py", command], cwd=ROOT, env=environment)
    try:
        until(supervisor, "READY=1")
        until(supervisor, "WATCHDOG=1")
        child.send_signal(signal.SIGTERM)
        until(supervisor, "STOPPING=1")
        assert child.wait(30) == 0
    finally:
        stop_child(child)
