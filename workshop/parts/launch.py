"""Become another program, as another user if asked, that ends when the starter ends.

Run as a script by `workshop.parts.processes`: `launch.py PARENT_PID DEATH_SIGNAL UID GID PROGRAM ARGUMENT…`. A program
of its own, because a parent-death signal must be asked for after the change of user (which clears it), and
code between fork and exec of a process with threads may hang.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, death_signal: int, uid: int, gid: int, command: list[str]) -> None:
    """Drop to `uid` and `gid` (-1: stay), arm the death signal, make sure that nobody died meanwhile, go."""
    libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if libc is not None and libc.prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:
        sys.exit(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and programs inherit that
    os.execv(command[0], command)  # noqa: S606 - to become that program is what this one is for


if __name__ == "__main__":
    numbers = [int(word) for word in sys.argv[1:5]]
    main(numbers[0], numbers[1], numbers[2], numbers[3], sys.argv[5:])
