"""Where the embedded parts keep their files: a folder of ours that other users may enter but not change.

A part that runs for the length of a process has a *run folder*, locked while that process lives. What was left
by a process that was killed is swept away by the next one that starts.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

_SOCKET_PATH_LIMIT = 107  # bytes of sockaddr_un, with the zero at the end
_MEMORY = Path("/dev/shm")  # noqa: S108 - ownership is checked below
_ROOM = 2**30
_LONGEST_SOCKET_NAME = "/run-XXXXXXXX/.s.PGSQL.65535.lock"


def cache_folder(*, in_memory: bool = False) -> Path:
    """Our folder for things that can be made again; short enough for sockets, open to a less privileged user.

    `in_memory`: rather one whose files are never written to a disk, where the machine has such a place with room.
    """
    candidates = dict.fromkeys([tempfile.gettempdir(), "/tmp", "/var/tmp"])  # noqa: S108 - ownership is checked below
    if in_memory and _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ROOM:
        candidates = dict.fromkeys([str(_MEMORY), *candidates])
    for parent in map(Path, candidates):
        folder = parent / f"pickmyclass-{os.getuid()}"
        if len(os.fsencode(str(folder) + _LONGEST_SOCKET_NAME)) < _SOCKET_PATH_LIMIT and _is_ours(folder):
            return folder
    raise RuntimeError("no temporary folder can be used; set TMPDIR to a short one that others may enter")


def _is_ours(folder: Path) -> bool:
    """Make the folder; refuse one that somebody else put there, or that another user could not reach."""
    try:
        folder.mkdir(mode=0o755, exist_ok=True)
        state = folder.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o022:
        return False
    folder.chmod(0o755)
    return os.getuid() != 0 or all(parent.stat().st_mode & 0o001 for parent in folder.parents)


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Hold the lock `name` among all processes of this user; a killed holder lets go."""
    with (cache_folder() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class RunFolder:
    """A temporary folder that is ours while this process lives and is removed with it, or by the next one."""

    def __init__(self, *, in_memory: bool = False) -> None:
        """See `cache_folder`."""
        place = cache_folder(in_memory=in_memory)
        with exclusive("run"):
            _sweep(place)
            self.path = Path(tempfile.mkdtemp(prefix="run-", dir=place))
            self._lock: IO[str] = (self.path / "lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def remove(self) -> None:
        """Remove the folder and what is in it. Idempotent."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.close()


def _sweep(place: Path) -> None:
    """Remove run folders whose process is gone (their lock is free)."""
    for folder in place.glob("run-*"):
        with suppress(OSError), (folder / "lock").open("r") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
