"""What the operating system and Redis count: memory and CPU of process trees, commands by kind and on the wire."""

from __future__ import annotations

import os
import socket
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import redis

_OURS = ("info", "config|resetstat", "monitor", "auth", "hello")
"""Commands that the meter itself sends, or that only a new connection costs."""


def tree(pid: int) -> list[int]:
    """`pid` and all its descendants that live now."""
    pids = [pid]
    for one in pids:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            pids += [int(word) for word in _read(task).split()]
    return pids


def cpu_seconds(pid: int) -> float:
    """What a process that runs has worked so far, its own and the system's part."""
    times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(int(one) for one in times) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> float:
    """Proportional memory of a process tree in MB (10^6 bytes are not meant: 2^20, as `free -m` shows)."""
    return sum(_pss_kb(one) for one in tree(pid)) / 1024


def _pss_kb(pid: int) -> int:
    for line in _read(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def alone_mb(pids: list[int]) -> float:
    """What the process trees of `pids` would take if nobody else had mapped the same files: PSS shares those out."""
    anonymous, files = 0, Counter[str]()
    for one in {one for pid in pids for one in tree(pid)}:
        own, mapped = _parts_kb(one)
        anonymous += own
        for name, size in mapped.items():
            files[name] = max(files[name], size)
    return (anonymous + files.total()) / 1024


def _parts_kb(pid: int) -> tuple[int, Counter[str]]:
    """The memory of a process that is its own, and how much of each file it has in memory."""
    own, mapped, name, resident = 0, Counter[str](), "", 0
    for line in _read(Path(f"/proc/{pid}/smaps")).splitlines():
        head, _, rest = line.partition(" ")
        if not head.endswith(":"):  # the first line of a mapping: range, rights, offset, device, inode, file
            name = (rest.split(maxsplit=4)[4:] or [""])[0]
        elif head == "Rss:":
            resident = int(rest.split()[0])
        elif head == "Anonymous:":
            anonymous = int(rest.split()[0])
            own += anonymous
            if name.startswith("/"):
                mapped[name] += resident - anonymous
    return own, mapped


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # the process has ended meanwhile
        return ""


@dataclass(frozen=True, slots=True)
class Commands:
    """How many commands Redis has run, those inside of scripts included, and how many of them were sent to it."""

    total: int
    wire: int
    by_name: dict[str, int]

    def since(self, before: Commands) -> Commands:
        """What came on top of `before`."""
        names = {name: count - before.by_name.get(name, 0) for name, count in self.by_name.items()}
        return Commands(
            self.total - before.total, self.wire - before.wire, {name: count for name, count in names.items() if count}
        )


class CommandMeter:
    """Counts the commands of one Redis server: all of them by its statistics, those on the wire by MONITOR.

    Logging in (AUTH) is not counted: it belongs to a connection, and a consumer keeps its own for days.
    """

    def __init__(self, client: redis.Redis, host: str, port: int, password: str | None) -> None:
        """`client` is a connection of the meter's own."""
        self._client = client
        self._wire = 0
        self._listener = socket.create_connection((host, port), timeout=10)
        login = f"AUTH {password}\r\n" if password else ""
        self._listener.sendall(f"{login}MONITOR\r\n".encode())
        self._heard = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="monitor", daemon=True)
        self._thread.start()
        if not self._heard.wait(10):
            raise RuntimeError("Redis does not let us MONITOR it")

    def read(self) -> Commands:
        """The counts so far; only the difference of two readings means something."""
        mark = os.urandom(8).hex()
        self._client.echo(mark)  # what MONITOR has shown when it shows this
        with self._shown:
            self._shown.wait_for(lambda: self._last_echo == mark, timeout=10)
        stats: dict[str, Any] = self._client.info("commandstats")
        names = {name.removeprefix("cmdstat_"): int(entry["calls"]) for name, entry in stats.items()}
        names = {name: count for name, count in names.items() if name not in (*_OURS, "echo")}
        return Commands(sum(names.values()), self._wire, names)

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    _shown = threading.Condition()
    _last_echo = ""

    def _listen(self) -> None:
        """Count the lines; those of commands inside a script name `lua` as their sender."""
        self._listener.settimeout(None)
        with self._listener.makefile("rb") as lines:
            for line in lines:
                if b'"ECHO"' in line:
                    with self._shown:
                        self._last_echo = line.decode().rsplit('"', 2)[1]
                        self._shown.notify_all()
                elif line.startswith(b"+OK"):
                    self._heard.set()
                elif b" lua] " not in line and not any(word in line[:80].upper() for word in _UNCOUNTED):
                    self._wire += 1


_UNCOUNTED = (b'"AUTH"', b'"INFO"', b'"HELLO"', b'"CONFIG"')
