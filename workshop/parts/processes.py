"""Children that go when their parent goes, even after `kill -9` (docs/architecture.md, embedded parts).

On Linux the kernel does it: a parent-death signal. It is tied to the *thread* that started the child, so
every child is started by one thread that lives as long as the process. Elsewhere only an orderly exit ends
children.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

Child = subprocess.Popen[bytes]
Stream = int | IO[Any] | None

_LAUNCHER = Path(__file__).with_name("launch.py")
_lock = threading.Lock()
_keepers: dict[int, ThreadPoolExecutor] = {}  # by process id: a fork inherits the table but not the thread
_children: list[Child] = []


def start_child(
    command: Sequence[str | Path],
    *,
    user: str | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    stdin: Stream = subprocess.DEVNULL,
    stdout: Stream = None,
    stderr: Stream = None,
) -> Child:
    """Start `command` (its first word is looked up on the path it is given) as a child that dies with this process.

    `user` names whom to become (needs root; `None`: stay). `death_signal` is what the child gets when this
    process is gone. The child has a session of its own, so that Ctrl-C on the terminal reaches only us and we
    stop the parts in order. Raises `FileNotFoundError` when the program does not exist. For any thread.
    """
    program = shutil.which(str(command[0]), path=(env or {}).get("PATH"))
    if program is None:
        raise FileNotFoundError(f"{command[0]} is not an executable program")
    uid, gid = (-1, -1) if user is None else pwd.getpwnam(user)[2:4]
    words = [os.getpid(), int(death_signal), uid, gid, program, *command[1:]]

    def start() -> Child:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(_LAUNCHER), *map(str, words)],
            env=env,
            cwd=cwd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )

    child = _keeper().submit(start).result()
    with _lock:
        _children[:] = [other for other in _children if other.poll() is None] + [child]
    return child


def stop_child(child: Child, *, with_signal: signal.Signals = signal.SIGTERM, timeout: float = 10.0) -> int:
    """Ask the child to stop, insist with SIGKILL after `timeout` seconds; return its exit code."""
    if child.poll() is None:
        child.send_signal(with_signal)
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.wait(10)


def run_once(
    command: Sequence[str | Path], *, user: str | None = None, cwd: str | Path | None = None, timeout: float
) -> None:
    """Run `command` to its end within `timeout` seconds; raise `RuntimeError` with its words if it fails."""
    child = start_child(command, user=user, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        output, _ = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        child.kill()
        output, _ = child.communicate()
    if child.returncode != 0:
        words = output.decode(errors="replace").strip()[-2000:]
        raise RuntimeError(f"{Path(command[0]).name} failed with exit code {child.returncode}: {words}")


def free_port() -> int:
    """A TCP port of the loopback that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _keeper() -> ThreadPoolExecutor:
    """The one thread that starts every child of this process."""
    with _lock:
        keeper = _keepers.get(os.getpid())
        if keeper is None:
            _children.clear()  # after a fork they are our parent's, not ours
            keeper = _keepers[os.getpid()] = ThreadPoolExecutor(1, thread_name_prefix="keeper")
            atexit.register(_stop_all, os.getpid())
        return keeper


def _stop_all(pid: int) -> None:
    """An orderly exit leaves nothing behind, on every system."""
    if pid != os.getpid():
        return
    for child in reversed(_children):
        if child.poll() is None:
            stop_child(child, timeout=5.0)
