"""The move, rehearsed on the loopback: the old stand-in and the real bundle on one database, behind one front door.

Real are Postgres with the origin's schema, Redis, functions, consumer, migrations, `ops ownership` and Caddy as the
switch; campus and inbox are the local ones. Every opening is written down with those who are to be told, and at the
end every email is counted.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
import requests

from compare.front import Front
from compare.origin_http import SENDER, Settings, Workers
from compare.origin_rules import NONE
from local.stack import Stack
from local.web import Server
from shared.settings import ROOT

TERM = "2267"
_PATIENCE, _ASK_AGAIN = 60.0, 0.5  # seconds
_WATCHERS = """select w.class_nbr, u.email from public.class_watches w join auth.users u on u.id = w.user_id
    join public.user_profiles p on p.user_id = w.user_id
    where w.term = %s and p.notifications_enabled and not p.email_bounced and not p.is_disabled"""
_UNFINISHED = """select count(*) from pickmyclass.our_sections(now()) s left join pickmyclass.section_checks c
    on c.term = s.term and c.class_nbr = s.class_nbr where coalesce(c.last_attempt_at < %s, true)"""
_UNSENT = "select count(*) from pickmyclass.outbox where status in ('pending', 'sending')"


class DrillError(Exception):
    """A step did not come to its end; the message says which."""


@dataclass(slots=True)
class Counts:
    """Emails, each known by section, person and the how-many-eth opening of that section."""

    owed: int = 0
    by_old: int = 0
    by_new: int = 0
    twice: list[tuple[str, str]] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)
    back_seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"owed {self.owed}, sent by the old side {self.by_old}, by the new side {self.by_new}, twice or too many"
            f" {len(self.twice)}, missed {len(self.missed)}; from 'switch back' to the old side serving"
            f" {self.back_seconds:.2f} s"
        )


class _OriginStack(Stack):
    """The local stack on a database that is the origin's, not migrated yet."""

    origin = ""

    def _start_postgres(self) -> None:
        self.postgres.start()
        with psycopg.connect(self.postgres.url(), autocommit=True) as session:
            session.execute(self.origin.encode())


class Drill:
    """All parts of a rehearsal. Use it as a context manager; the steps are its methods."""

    def __init__(self, origin: Path) -> None:
        """`origin` is SQL that makes the origin's project, with students and their watches in term 2267."""
        self._files = tempfile.TemporaryDirectory(prefix="pickmyclass-drill-")
        self._origin = origin
        self._owed: Counter[tuple[str, str]] = Counter()
        self._watchers: dict[str, list[str]] = {}
        self._closing = ExitStack()
        self.back_seconds = 0.0

    def __enter__(self) -> Self:
        self._closing.callback(self._files.cleanup)
        self.stack = _OriginStack(["--tape", str(self._write_tape()), "--term", TERM], replay=False)
        self.stack.origin = self._origin.read_text()
        self._closing.push(self.stack)
        try:
            self.stack.start(before_product=self._before)
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def open(self, class_nbr: str) -> None:
        """A seat opens, and everybody who watches is owed an email."""
        self._show(class_nbr, 5)
        self._owed.update((class_nbr, email) for email in self._watchers[class_nbr])

    def fill(self, class_nbr: str) -> None:
        """The seats are gone."""
        self._show(class_nbr, 0)

    def tick(self, *, old: bool = True) -> None:
        """Both sides' cron, the old one's first; returns when all that it led to is done."""
        if old:
            self.tick_old()
        self.tick_new()

    def tick_old(self) -> None:
        """The Cron Trigger of the Workers, both halves."""
        now = datetime.now(UTC)
        for moment in (now, now + timedelta(minutes=30)):
            scheduled = {"X-Cron-Scheduled-Time": str(int(moment.timestamp() * 1000))}
            self._cron(self._old.url, scheduled)

    def tick_new(self) -> None:
        """Our cron, all sections, and then until every check has ended and no mail is left.

        A section whose last check is not acknowledged yet counts as queued, so the cron is asked again until all had
        their turn.
        """
        began, asked = self._one("select clock_timestamp()"), 0.0

        def done() -> bool:
            nonlocal asked
            if not self._one(_UNFINISHED, began):
                return not self._one(_UNSENT)
            if time.monotonic() - asked > _ASK_AGAIN:
                self._cron(self.stack.functions_url, {}, "?group=all")
                asked = time.monotonic()
            return False

        self._until("our checks and mail", done)

    def give_to(self, owner: str, *class_nbrs: str) -> None:
        """`./run.sh ops ownership`: everything, or these sections."""
        words = [word for class_nbr in class_nbrs for word in (TERM, class_nbr)]
        self._run("ops", "ownership", owner, *words, *([] if words else ["--yes"]))

    def give_while_old_ticks(self, owner: str) -> None:
        """Switch everything in the very moment in which the old side checks."""
        ticking = threading.Thread(target=self.tick_old)
        ticking.start()
        self.give_to(owner)
        ticking.join(_PATIENCE)

    def serve_new(self) -> None:
        """The front door leads to the bundle."""
        self.front.lead_to(self.stack.functions_url)
        self._until("the new side's door", lambda: not self._old_answers())

    def switch_back(self) -> None:
        """Rollback as written, while our checks run: ownership and front door; how long until the old side serves."""
        self._cron(self.stack.functions_url, {}, "?group=all")
        began = time.monotonic()
        self.give_to("workers")
        self.front.lead_to(self._old.url)
        self._until("the old side's door", self._old_answers)
        self.back_seconds = time.monotonic() - began

    def migrate_after(self) -> None:
        """The point of no return."""
        self._run("migrate", "--post-cutover", "--yes", DATABASE_URL=self._owner_url)

    def count(self) -> Counts:
        """Who was told, by whom, against who was owed."""
        emails = requests.get(f"{self.stack.inbox_url}/control/emails", timeout=30).json()["emails"]
        sent = Counter((email["subject"].rstrip(")")[-5:], email["to"][0]) for email in emails)
        by_old = sum(email["from"] == SENDER for email in emails)
        counts = Counts(self._owed.total(), by_old, len(emails) - by_old, back_seconds=self.back_seconds)
        counts.twice, counts.missed = sorted((sent - self._owed).elements()), sorted((self._owed - sent).elements())
        return counts

    def _before(self) -> None:
        """The old side alone, on a database that we have not touched; then our migrations."""
        stack, url = self.stack, self.stack.postgres.url()
        self._session = self._closing.enter_context(psycopg.connect(url, autocommit=True))
        for class_nbr, email in self._session.execute(_WATCHERS, [TERM]):
            self._watchers.setdefault(class_nbr, []).append(email)
        secrets = (stack.cron_secret, stack.environment["SUPABASE_JWT_SECRET"], "the service-role key")
        settings = Settings(url, stack.campus_url, stack.scraper_token, stack.inbox_url, stack.resend_key, *secrets)
        workers = Workers(settings, NONE)
        self._closing.callback(workers.close)
        self._old = self._closing.enter_context(Server(workers))
        self.front = self._closing.enter_context(Front(Path(self._files.name), self._old.url))
        self.tick_old()
        self.open("12006")
        self.tick_old()
        self._run("migrate", DATABASE_URL=self._owner_url)

    @property
    def _owner_url(self) -> str:
        """The database as the project's owner, to whom everything in it belongs."""
        return self.stack.postgres.url(user="project_owner")

    def _run(self, *words: str, **settings: str) -> None:
        """One of the project's commands, with the settings of the rehearsal."""
        done = subprocess.run(  # noqa: S603 - our own words
            [sys.executable, "commands.py", *words],
            cwd=ROOT,
            env={**os.environ, **self.stack.environment, **settings},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
        )
        if done.returncode != 0:
            raise DrillError(f"{' '.join(words)}: {done.stderr[-1000:]}")

    def _cron(self, base: str, headers: dict[str, str], query: str = "") -> None:
        headers = {"Authorization": f"Bearer {self.stack.cron_secret}", **headers}
        answer = requests.get(f"{base}/api/cron{query}", headers=headers, timeout=_PATIENCE)
        if answer.status_code != 200:
            raise DrillError(f"a tick was answered with {answer.status_code}")

    def _old_answers(self) -> bool:
        """Whether the front door leads to the old side: it tells all of its health to everyone."""
        answer = requests.get(f"{self.front.url}/api/monitoring/health?probe=live", timeout=_PATIENCE)
        return answer.status_code == 200 and "checks" in answer.json()

    def _show(self, class_nbr: str, seats: int) -> None:
        body = {"class_nbr": class_nbr, "seats_available": seats}
        requests.post(f"{self.stack.campus_url}/control/section", json=body, timeout=30).raise_for_status()

    def _one(self, statement: str, *values: Any) -> Any:
        row = self._session.execute(statement.encode(), values).fetchone()
        return row[0] if row else None

    def _until(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not done():
            self.stack.check()
            if time.monotonic() > deadline:
                raise DrillError(f"{what}: not done within {_PATIENCE:g} s")
            time.sleep(0.02)

    def _write_tape(self) -> Path:
        """Twelve full sections."""
        lines = ["time_ms,section,course,code,instructor,seats_available,seats_total"]
        lines += [f"1700000000000,{12000 + i},CSE {100 + i},A01,Staff,0,30" for i in range(1, 13)]
        tape = Path(self._files.name) / "campus.csv"
        tape.write_text("\n".join(lines) + "\n")
        return tape
