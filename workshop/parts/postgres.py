"""A real Postgres as a child of this process, for the demo, the tests and `up --local`.

The programs come from a wheel and are run directly, never through the wheel's own helper (as root that one
creates users and opens the permissions of parent folders). The server is gone when this process is gone.
"""

from __future__ import annotations

import secrets
import shutil
import signal
import time
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql

from workshop.parts.cache import RunFolder
from workshop.parts.postgres_files import new_data_folder, server_programs, server_user
from workshop.parts.processes import Child, free_port, start_child, stop_child

_SETTINGS = {
    "shared_buffers": "32MB",
    "max_connections": "100",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "wal_level": "replica",
    "max_wal_senders": "0",
}
# Commits survive the server's own death, whatever kills it; only a power failure could lose them.
_UNSYNCED = {"fsync": "off", "full_page_writes": "off"}
_ACCESS = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"


class EmbeddedPostgres:
    """One server with its own data folder. Use it as a context manager or with `start` and `stop`.

    `folder` keeps the data there over restarts of this process (`None`: a temporary folder, removed by `stop`).
    `loopback` also listens on a free port of 127.0.0.1, with a password. `durable` syncs to disk.
    `programs` names the folder of another Postgres' programs (default: the wheel's). `in_memory` keeps a temporary
    folder off the disk where it can: a database for a test is copied ten times as fast there.
    """

    def __init__(
        self,
        *,
        folder: Path | None = None,
        loopback: bool = False,
        durable: bool = False,
        programs: Path | None = None,
        in_memory: bool = False,
    ) -> None:
        self._programs = programs or server_programs()
        self._run: RunFolder | None = RunFolder(in_memory=in_memory)
        self._socket_folder = self._run.path
        self._keep = folder
        self._data: Path | None = None
        self._settings = _SETTINGS | ({} if durable else _UNSYNCED)
        self._password = secrets.token_urlsafe(24)
        self.port: int | None = free_port() if loopback else None
        self._child: Child | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """Process id of the server, `None` while it is not running."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def url(self, database: str = "postgres", *, user: str = "postgres", loopback: bool = False) -> str:
        """A connection URL over the unix socket, or over the loopback (then as `postgres`, with its password)."""
        if loopback:
            return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/{quote(database)}"
        place = urlencode({"host": str(self._socket_folder), "port": str(self.port or 5432)})
        return f"postgresql://{quote(user)}@/{quote(database)}?{place}"

    def start(self, *, patience: float = 60.0) -> None:
        """Start the server and wait until it answers, `patience` seconds at most. Raises `RuntimeError`."""
        if self.pid is not None:
            return
        if self._run is None:
            raise RuntimeError("this Postgres was stopped for good and its data removed")
        if self._data is None:
            self._prepare()
        deadline = time.monotonic() + patience
        while not self._launch(deadline):
            # After a kill the old server's last processes may still hold the data folder for a moment.
            if time.monotonic() > deadline:
                raise RuntimeError(f"the embedded Postgres did not start: {self._last_words()}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the server orderly and remove a temporary data folder. Idempotent."""
        self.pause()
        if self._run is not None:
            self._run.remove()
            self._run = None

    def pause(self) -> None:
        """Stop the server at once but keep its data; `start` brings it back."""
        if self._child is not None:
            stop_child(self._child, with_signal=signal.SIGINT)  # "fast": ends the sessions, then writes all out
            self._child = None

    def restart(self) -> None:
        """Stop and start again on the same data and address; every session is cut."""
        self.pause()
        self.start()

    def kill(self) -> None:
        """`kill -9` the server, as a test of recovery; `start` brings it back from its log."""
        if self._child is not None:
            stop_child(self._child, with_signal=signal.SIGKILL)
            self._child = None

    def create_database(self, name: str, *, template: str = "template0", owner: str = "postgres") -> str:
        """Create a database as a copy of `template` and return its URL (as `postgres`)."""
        statement = sql.SQL("create database {} owner {} template {} strategy file_copy")
        self._run_sql(statement.format(sql.Identifier(name), sql.Identifier(owner), sql.Identifier(template)))
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, cutting whoever is still connected."""
        self._run_sql(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    def _run_sql(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)

    def _prepare(self) -> None:
        """Find or make the data folder."""
        kept = self._keep
        if kept is not None:
            kept.mkdir(parents=True, exist_ok=True)
        if kept is not None and (kept / "data").exists():
            self._data = kept / "data"
        else:
            self._data = new_data_folder(self._programs, kept or self._socket_folder)
        if (user := server_user()) is not None:
            shutil.chown(self._socket_folder, user)
        (self._socket_folder / "access.conf").write_text(_ACCESS)
        (self._socket_folder / "access.conf").chmod(0o644)

    def _launch(self, deadline: float) -> bool:
        """Start the program once; true when it answers, false when it ended instead."""
        folder = self._socket_folder
        settings = self._settings | {
            "unix_socket_directories": str(folder),
            "hba_file": str(folder / "access.conf"),
            "listen_addresses": "127.0.0.1" if self.port else "",
            "port": str(self.port or 5432),
        }
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (folder / "log").open("ab") as log:
            # SIGQUIT is "immediate": the server takes its own children along before it goes.
            self._child = start_child(
                command, user=server_user(), death_signal=signal.SIGQUIT, cwd="/", stdout=log, stderr=log
            )
        while self._child.poll() is None:
            if self._answers():
                return True
            if time.monotonic() > deadline:
                stop_child(self._child)
                break
            time.sleep(0.02)
        return False

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), autocommit=True, connect_timeout=5) as connection:
                if self.port:
                    statement = sql.SQL("alter role postgres password {}").format(sql.Literal(self._password))
                    connection.execute(statement)
        except psycopg.OperationalError:
            return False
        return True

    def _last_words(self) -> str:
        log = self._socket_folder / "log"
        return log.read_text(errors="replace")[-1000:] if log.exists() else "it left no log"
