"""Both sides of the move on one database and one section, and the operator between them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import pytest

from shared.database import Database
from tests.support.world import SECTION, World, facts, see
from workshop.compare.origin.origin import Letter, Origin
from workshop.compare.origin.store import Store
from workshop.compare.replay.breaker import MemoryBreaker

EVERYTHING = None
THIS = [{"term": SECTION.term, "class_nbr": SECTION.class_nbr}]


@dataclass(slots=True)
class OldSide:
    """The Workers; `told` are the addresses that they mailed."""

    store: Store
    told: list[str] = field(default_factory=list)

    def check(
        self,
        seats: int,
        meanwhile: Callable[[], object] = lambda: None,
        instructor: str = "Staff",
        unreserved: int | None = None,
    ) -> None:
        """One check that sees so many seats; `meanwhile` happens before its scraper answers."""

        def scrape(_: object) -> tuple[int, bytes, int]:
            data = facts(seats, instructor, unreserved).as_json()
            data["instructor"] = data.pop("instructor_name")
            meanwhile()
            return 200, json.dumps({"success": True, "data": data}).encode(), 0

        Origin(self.store, MemoryBreaker(lambda: 0), scrape, self._send, lambda _: False).check(
            (SECTION.term, SECTION.class_nbr)
        )

    def sections(self) -> list[tuple[str, str]]:
        """What it is told to check."""
        return self.store.sections_to_check("all")

    def _send(self, letters: Any) -> bool:
        sent: list[Letter] = list(letters)
        self.told += [letter.recipient for letter in sent]
        return True


@dataclass(slots=True)
class Move:
    """Both sides on one section that two students watch, and the operator between them."""

    database: Database
    world: World
    old: OldSide
    watches: list[str]
    emails: list[str]

    def give_to(self, owner: str, sections: list[dict[str, str]] | None = EVERYTHING) -> dict[str, Any]:
        """Switch."""
        answer: dict[str, Any] = self.database.call("pmc_switch_ownership", p_owner=owner, p_sections=sections)
        return answer

    def see(self, seats: int, instructor: str = "Staff", **words: Any) -> dict[str, Any]:
        """A check of ours, seen now."""
        return see(self.database, facts(seats, instructor), self.now(), **words)

    def now(self) -> datetime:
        """The server's time."""
        moment: datetime = self.world.one("select clock_timestamp()")
        return moment

    def let_a_day_pass(self) -> None:
        """Every claim expires."""
        self.world.postgres.execute("update notifications_sent set expires_at = now() - interval '1 hour'")

    def told_by_us(self) -> list[str]:
        """Who is owed an email by our side, oldest first."""
        owed = "select u.email from pickmyclass.outbox o join auth.users u on u.id = o.user_id order by event_id, 1"
        return [email for (email,) in self.world.rows(owed)]

    def waits(self, words: str, work: Future[Any]) -> bool:
        """Whether this work, a statement with these words, comes to wait for a lock before it is done."""
        waiting = (
            "select exists (select from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and strpos(query, %s) > 0 and pid <> pg_backend_pid())"
        )
        while not work.done():
            if self.world.one(waiting, words):
                return True
            self.world.postgres.execute("select pg_sleep(0.01)")
        return False


@pytest.fixture
def move(database: Database, postgres: psycopg.Connection[Any], postgres_url: str) -> Iterator[Move]:
    """The section is full, both sides know it, and it belongs to the Workers."""
    world, store = World(postgres), Store(postgres_url)
    watches = [world.add_watch(), world.add_watch()]
    emails = [email for (email,) in world.rows("select email from auth.users order by 1")]
    move = Move(database, world, OldSide(store), watches, emails)
    move.see(0)
    move.give_to("workers")
    move.old.check(0)
    yield move
    store.close()
