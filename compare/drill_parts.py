"""The parts of a rehearsal: the local stack on the origin's database, the old side's stand-in, a gate for each side."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import requests

from compare.drill_gate import Gate
from compare.front import Front
from compare.origin_http import Settings, Workers
from compare.origin_rules import NONE
from local.stack import Stack
from local.web import Server
from shared.settings import ROOT, load
from shared.wiring import Wiring

TERM = "2267"
OLD_KEY = "the service-role key"
_PATIENCE = 60.0  # seconds


class DrillError(Exception):
    """A step did not come to its end; the message says which."""


class _OriginStack(Stack):
    """The local stack on a database that is the origin's, not migrated yet."""

    origin = ""

    def _start_postgres(self) -> None:
        self.postgres.start()
        with psycopg.connect(self.postgres.url(), autocommit=True) as session:
            session.execute(self.origin.encode())


class Parts:
    """Everything that runs. Use it as a context manager."""

    def __init__(self, origin: Path, before: Callable[[], None]) -> None:
        """`origin` is SQL that makes the origin's project; `before` plays while the old side is still alone."""
        self._origin, self._play_before = origin, before
        self._files = tempfile.TemporaryDirectory(prefix="pickmyclass-drill-")
        self.closing = ExitStack()

    def __enter__(self) -> Self:
        self.closing.callback(self._files.cleanup)
        self.stack = _OriginStack(["--tape", str(self._write_tape()), "--term", TERM], replay=False)
        self.stack.origin = self._origin.read_text()
        self.closing.push(self.stack)
        try:
            self.stack.start(before_product=self._start_old)
            self.product = Wiring(load(self.stack.environment, None))
            self.closing.callback(self.product.close)
        except BaseException:
            self.closing.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.close()

    def run(self, *words: str, **settings: str) -> None:
        """One of the project's commands, with the settings of the rehearsal. Raises `DrillError` when it fails."""
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "commands.py", *words],
            cwd=ROOT,
            env={**os.environ, **self.stack.environment, **settings},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
        if done.returncode != 0:
            raise DrillError(f"{' '.join(words)}: {(done.stderr or done.stdout)[-1000:]}")

    def migrate(self, *words: str) -> None:
        """Our migrations, as the project's owner, to whom everything in the database belongs."""
        self.run("migrate", *words, DATABASE_URL=self.stack.postgres.url(user="project_owner"))

    def show(self, class_nbr: str, **values: int | str) -> None:
        """What the campus says of a section from now on."""
        body = {"class_nbr": class_nbr, **values}
        requests.post(f"{self.stack.campus_url}/control/section", json=body, timeout=_PATIENCE).raise_for_status()

    def _start_old(self) -> None:
        """The old side alone, on a database that we have not touched; then our migrations."""
        stack = self.stack
        self.session = self.closing.enter_context(psycopg.connect(stack.postgres.url(), autocommit=True))
        self.old_gate, self.new_gate = Gate(stack.campus_url), Gate(stack.campus_url)
        old_scraper = self.closing.enter_context(Server(self.old_gate))
        new_scraper = self.closing.enter_context(Server(self.new_gate))
        secrets = (stack.cron_secret, stack.environment["SUPABASE_JWT_SECRET"], OLD_KEY)
        url = stack.postgres.url()
        workers = Workers(
            Settings(url, old_scraper.url, stack.scraper_token, stack.inbox_url, stack.resend_key, *secrets), NONE
        )
        self.closing.callback(workers.close)
        self.old = self.closing.enter_context(Server(workers))
        self.front = self.closing.enter_context(Front(Path(self._files.name), self.old.url))
        # The rehearsal ticks by hand: a tick of the clock's own would make it a matter of luck who looks first.
        stack.environment |= {
            "SCRAPER_URL": new_scraper.url,
            "UNSUBSCRIBE_LEGACY_SECRET": OLD_KEY,
            "CRON_SCHEDULE": "off",
        }
        self._play_before()
        self.migrate()

    def _write_tape(self) -> Path:
        """Twelve full sections."""
        lines = ["time_ms,section,course,code,instructor,seats_available,seats_total"]
        lines += [f"1700000000000,{12000 + i},CSE {100 + i},A01,Staff,0,30" for i in range(1, 13)]
        tape = Path(self._files.name) / "campus.csv"
        tape.write_text("\n".join(lines) + "\n")
        return tape
