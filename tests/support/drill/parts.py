"""The parts of a rehearsal: the local stack on the origin's database, the old side's stand-in, a gate for each side."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import requests

from shared.settings import ROOT, load
from shared.wiring import Wiring
from tests.support.drill.front import Front
from tests.support.drill.gate import Turnstile
from tests.support.term import TERM
from workshop.compare.origin.http import Settings, Workers
from workshop.compare.origin.rules import NONE
from workshop.parts.stack import Stack
from workshop.parts.web import Server

OLD_KEY = "the service-role key"
_PATIENCE = 60.0  # seconds
_WRITTEN_TERM = "2267"
"""Of the watches in the origin's SQL; they are played in one that is not over, whenever that is."""
_UNSENT = "select count(*) from pickmyclass.outbox where status in ('pending', 'sending')"


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
        self.stack.origin = self._origin.read_text().replace(f"'{_WRITTEN_TERM}'", f"'{TERM}'")
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
        done = subprocess.run(
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

    def cron_old(self) -> None:
        """The Cron Trigger of the Workers, both halves, and all that it leads to."""
        now = datetime.now(UTC)
        for moment in (now, now + timedelta(minutes=30)):
            self._cron(self.old.url, {"X-Cron-Scheduled-Time": str(int(moment.timestamp() * 1000))})

    def cron_new(self) -> None:
        """Our cron, both halves; what it queues goes on by itself."""
        self._cron(self.stack.functions_url, {}, "?group=all")

    def is_idle(self) -> bool:
        """Whether our queue is empty and, as a check owes its mail before it leaves the queue, no mail is left."""
        jobs = self.product.huey.counts()
        return not (jobs.waiting or jobs.leased or jobs.delayed or self.one(_UNSENT))

    def old_answers(self) -> bool:
        """Whether the front door leads to the old side: it tells everyone about its health."""
        answer = requests.get(f"{self.front.url}/api/monitoring/health?probe=live", timeout=_PATIENCE)
        return answer.status_code == 200 and "checks" in answer.json()

    def one(self, statement: str, *values: Any) -> Any:
        """The only value that a statement gives."""
        row = self.session.execute(statement.encode(), values).fetchone()
        return row[0] if row else None

    def _cron(self, base: str, headers: dict[str, str], query: str = "") -> None:
        headers = {"Authorization": f"Bearer {self.stack.cron_secret}", **headers}
        answer = requests.get(f"{base}/api/cron{query}", headers=headers, timeout=_PATIENCE)
        if answer.status_code != 200:
            raise DrillError(f"a tick was answered with {answer.status_code}")

    def _start_old(self) -> None:
        """The old side alone, on a database that we have not touched; then our migrations."""
        stack = self.stack
        self.session = self.closing.enter_context(psycopg.connect(stack.postgres.url(), autocommit=True))
        self.old_gate, self.new_gate = Turnstile(stack.campus_url), Turnstile(stack.campus_url)
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
            "LOOKS_PER_MINUTE": "0",
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
