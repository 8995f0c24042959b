"""`python -m workshop.rehearsal.keeper FOLDER NAME`: waits until the rehearsal is gone, then removes what is left."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

from workshop.rehearsal.cgroups import Cgroups

_SECONDS = 30.0


def main(folder: Path, name: str) -> None:
    """Its input ends when the rehearsal does, also when that was killed. The kernel then ends its namespaces."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    deadline = time.monotonic() + _SECONDS
    while not Cgroups(name).remove() and time.monotonic() < deadline:
        time.sleep(0.1)  # the last processes are still being ended
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    os.chdir("/")
    main(Path(sys.argv[1]), sys.argv[2])
