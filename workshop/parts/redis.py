"""A Redis of our own for demo, development and tests: a real server when the machine has one, else a stand-in."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import redis

from workshop.parts.processes import Child, free_port, start_child, stop_child

_ROOT = Path(__file__).resolve().parents[2]
_TRIES = 3  # another process may take the free port before our server does


class EmbeddedRedis:
    """One server on the loopback that goes when this process goes.

    `real` tells whether it is a Redis or Valkey server; the stand-in knows no password and keeps nothing on disk.
    """

    def __init__(self, *, password: bool = True, appendonly: bool = False, stand_in: bool = False) -> None:
        """With `appendonly` a real server's data survive `restart` and `kill`; `stand_in` forces the stand-in."""
        self._program = None if stand_in else find_server()
        self._password = secrets.token_urlsafe(24) if password and self._program else None
        self._folder = tempfile.TemporaryDirectory(prefix="pickmyclass-redis-") if appendonly else None
        self._child: Child | None = None
        self._words: IO[bytes] | None = None  # what the server printed
        self.port = 0

    @property
    def real(self) -> bool:
        """Whether a real server runs, or would."""
        return self._program is not None

    @property
    def url(self) -> str:
        """How to reach it, with its password."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self, timeout: float = 10.0) -> EmbeddedRedis:
        """Start it and wait until it answers; on the same port as before, if there was one.

        Raises `RuntimeError` with the server's own words when it does not.
        """
        fixed = self.port != 0
        for attempt in range(1, _TRIES + 1):
            if not fixed:
                self.port = free_port()
            self._child = self._spawn()
            try:
                self._wait(time.monotonic() + timeout)
            except RuntimeError:
                self.kill()
                if fixed or attempt == _TRIES:
                    raise
            else:
                return self
        raise AssertionError("unreachable")

    def stop(self) -> None:
        """Let it end in an orderly way; `start` brings it back on the same port, empty without `appendonly`."""
        if self._child:
            stop_child(self._child, timeout=5.0)
        if self._words:
            self._words.close()

    def close(self) -> None:
        """Stop it for good, and remove what it kept on disk."""
        self.stop()
        if self._folder:
            self._folder.cleanup()

    def restart(self) -> None:
        """Stop it and start it again."""
        self.stop()
        self.start()

    def kill(self) -> None:
        """`kill -9`; `start` brings it back on the same port."""
        if self._child and self._child.poll() is None:
            self._child.kill()
            self._child.wait(10)

    def flush(self) -> None:
        """Empty it."""
        with self.connect() as client:
            client.flushall()

    def connect(self) -> redis.Redis:
        """A new client. It fails at once when the server is down."""
        return redis.Redis.from_url(self.url, protocol=2, driver_info=None, socket_timeout=5)

    def __enter__(self) -> EmbeddedRedis:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self) -> Child:
        if self._words:
            self._words.close()
        self._words = output = tempfile.TemporaryFile()  # noqa: SIM115 - as long as the server
        if self._program is None:
            command = [sys.executable, "-m", "workshop.parts.redis_standin", str(self.port)]
            return start_child(command, cwd=_ROOT, stdout=output, stderr=output)
        # The settings go in by standard input: arguments could be read by every user of the machine.
        child = start_child([self._program, "-"], stdin=subprocess.PIPE, stdout=output, stderr=output)
        assert child.stdin is not None
        with child.stdin as settings:
            settings.write(self._settings().encode())
        return child

    def _settings(self) -> str:
        lines = [f"port {self.port}", "bind 127.0.0.1", 'save ""', "loglevel warning"]
        if self._password:
            lines.append(f"requirepass {self._password}")
        if self._folder:
            lines += ["appendonly yes", f'dir "{self._folder.name}"']
        return "\n".join([*lines, ""])

    def _wait(self, deadline: float) -> None:
        """Until it answers a PING; raises `RuntimeError` when it ended or the time is over."""
        assert self._child is not None
        with self.connect() as client:
            while True:
                try:
                    client.ping()
                except (redis.ConnectionError, redis.TimeoutError):
                    if self._child.poll() is not None or time.monotonic() > deadline:
                        raise RuntimeError(f"the embedded Redis did not start: {self._last_words()}") from None
                    time.sleep(0.01)
                else:
                    return

    def _last_words(self) -> str:
        assert self._words is not None
        self.kill()
        self._words.seek(0)
        return self._words.read().decode(errors="replace").strip()[-1000:] or "it said nothing"


def find_server() -> str | None:
    """The path of a Redis or Valkey server on this machine."""
    return shutil.which("redis-server") or shutil.which("valkey-server")
