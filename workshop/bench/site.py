"""The real product on embedded parts, with as many watched sections as a measurement wants."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg
import requests

from shared.checks.tick import TickOrder, TickReport
from shared.clock import now
from shared.sections.slots import Group
from shared.settings import load
from shared.wiring import Wiring
from workshop.bench.meters import CommandMeter
from workshop.parts.postgrest import EmbeddedPostgrest
from workshop.parts.stack import Part, Stack

_PATIENCE = 600.0


class _MeasuredStack(Stack):
    """A stack that can put PostgREST between the product and its database."""

    def __init__(self, campus: Sequence[str], *, transport: str, replay: bool, settings: dict[str, str]) -> None:
        super().__init__(campus, replay=replay)
        self._transport, self._more = transport, settings
        self.postgrest: EmbeddedPostgrest | None = None

    def _settings(self) -> dict[str, str]:
        # As the service units and the container set it: threads share two heaps instead of having one each.
        ours = super()._settings() | {"LOG_LEVEL": "WARNING", "MALLOC_ARENA_MAX": "2"} | self._more
        if self._transport == "supabase":
            parts = urlsplit(self.postgres.url())
            login = parts._replace(netloc=f"authenticator@{parts.netloc.rpartition('@')[2]}")
            self.postgrest = EmbeddedPostgrest(urlunsplit(login))
            self.postgrest.start()
            ours |= {
                "DATABASE_TRANSPORT": "supabase",
                "SUPABASE_URL": self.postgrest.url,
                "SUPABASE_SERVICE_ROLE_KEY": self.postgrest.service_role_key,
            }
        return ours

    def stop(self) -> None:
        if self.postgrest is not None:
            self.postgrest.stop()
        super().stop()


@dataclass(slots=True)
class Site:
    """A running product. `parts` are the measurement's own, for ticks; the product's are in their processes."""

    stack: Stack
    parts: Wiring
    term: str
    subjects: dict[str, str]
    """By class_nbr."""
    watched: int = 0

    @property
    def class_nbrs(self) -> list[str]:
        """Of all sections."""
        return list(self.subjects)

    def watch(self, count: int) -> None:
        """Let one student watch the first `count` sections."""
        with psycopg.connect(self.stack.postgres.url(), autocommit=True) as database:
            database.execute("alter table class_watches disable trigger user")  # one may not watch so many
            person = (
                database.execute("select id from auth.users limit 1").fetchone()
                or database.execute(
                    "insert into auth.users (email) values ('everyone@students.example.edu') returning id"
                ).fetchone()
            )
            assert person is not None
            database.cursor().executemany(
                "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
                " values (%s, %s, %s, '110', %s)",
                [(person[0], self.term, self.subjects[one], one) for one in self.class_nbrs[self.watched : count]],
            )
            database.execute("analyze")
        self.watched = count

    def tick(self, group: Group | Literal["all"] = "all") -> TickReport:
        """Queue the watched sections of `group`, as an operator's call does: lock, tick row, pages, pushes, release."""
        return self.parts.ticker.tick(TickOrder(now(), group, "http", "bench"))

    def lookups(self) -> int:
        """How often the scraper has been asked."""
        return int(self.campus("GET", "/status")["lookups"])

    def set_latency(self, milliseconds: int) -> None:
        """How long the scraper takes from now on."""
        self.campus("POST", "/control/latency", {"ms": milliseconds})

    def wait_for_lookups(self, count: int) -> None:
        """Until the scraper has been asked so often; costs the product nothing."""
        wait_until(lambda: self.lookups() >= count)

    def wait_until_settled(self) -> None:
        """Until the consumer has told Redis that everything has ended. Asks Redis: not while commands are counted."""
        wait_until(lambda: _left(self.parts) == 0)

    def check_all(self) -> TickReport:
        """One tick, and every check of it."""
        before = self.lookups()
        report = self.tick()
        self.wait_for_lookups(before + report.enqueued)
        time.sleep(1.5)  # finished jobs are acknowledged within a second
        return report

    def part(self, name: str) -> Part:
        """A process of the product: functions or consumer."""
        return next(part for part in self.stack.parts if part.name == name)

    def meter(self) -> CommandMeter:
        """Counts the commands of the product's Redis."""
        place = urlsplit(self.stack.redis.url)
        return CommandMeter(self.stack.redis.connect(), "127.0.0.1", place.port or 0, place.password)

    def campus(self, method: str, path: str, body: Any = None) -> Any:
        """What the campus answers at one of its own addresses."""
        answer = requests.request(method, self.stack.campus_url + path, json=body, timeout=60)
        answer.raise_for_status()
        return answer.json()


@contextmanager
def site(
    sections: int | Path, *, transport: str = "postgres", replay: bool = True, settings: dict[str, str] | None = None
) -> Iterator[Site]:
    """The product over `transport` beside a campus of so many sections, or of a tape's, none of them watched yet.

    With `replay` the consumer only checks and beats; without, it also ticks, rescues and mails by the clock.
    """
    campus = ["--tape", str(sections)] if isinstance(sections, Path) else ["--sections", str(sections), "--seed", "11"]
    stack = _MeasuredStack(campus, transport=transport, replay=replay, settings=settings or {})
    try:
        stack.start()
        answer = requests.get(f"{stack.campus_url}/control/sections", timeout=60).json()
        parts = Wiring(load(stack.environment, None))
        try:
            yield Site(stack, parts, answer["term"], {one["class_nbr"]: one["subject"] for one in answer["sections"]})
        finally:
            parts.close()
    finally:
        stack.stop()


def wait_until(condition: Callable[[], bool], patience: float = _PATIENCE, *, step: float = 0.05) -> None:
    """Ask for `condition` every `step` seconds; raises `TimeoutError` after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"a measurement waited {patience:g} s in vain")
        time.sleep(step)


def _left(parts: Wiring) -> int:
    counts = parts.huey.counts()
    return counts.waiting + counts.leased + counts.delayed
