"""`./run.sh up`: functions and consumer together in the foreground, for a server without systemd or a quick look."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from types import FrameType

from shared.settings import ROOT

STOP_SECONDS = 35.0


def run_both() -> int:
    """Run both until Ctrl-C, SIGTERM, or the end of either; then stop the other. Returns the exit status."""
    stop = threading.Event()

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGTERM, interrupted)
    children = [_start("functions"), _start("consumer")]
    while not stop.wait(0.5) and all(child.poll() is None for child in children):
        pass
    asked = stop.is_set()
    for child in children:
        if child.poll() is None:
            child.terminate()
    statuses = [_wait(child) for child in children]
    return 0 if asked and not any(statuses) else 1


def _start(command: str) -> subprocess.Popen[bytes]:
    """A child in a session of its own, so that a Ctrl-C on the terminal reaches it only through us."""
    words = [sys.executable, str(ROOT / "commands.py"), command]
    return subprocess.Popen(words, start_new_session=True)  # noqa: S603 - our own command


def _wait(child: subprocess.Popen[bytes]) -> int:
    try:
        return child.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
