"""A whole bundle for the tests of operators' tools: real Postgres, real Redis (or its stand-in), a clock in hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from flask import Request, Response
from werkzeug.test import EnvironBuilder

from shared import wiring
from shared.durations import Durations
from shared.health.beats import beat_figures
from shared.queue import Snapshot
from shared.queue.dead_letters import letter_for
from shared.queue.jobs import Delivery
from shared.settings import load
from shared.source.breaker import Permit
from shared.wiring import Wiring
from tests.support.world import World, facts, see
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.redis import EmbeddedRedis

SECRET = "a-secret-of-operators"
IDLE = Snapshot({}, 0, 0, 0, 7, 1, None, True, True, False)
"""A consumer that has completed seven jobs, failed one, and waits."""


@dataclass(slots=True)
class Hand:
    """A clock that stands where it is put."""

    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.at

    def forward(self, **words: float) -> None:
        """Later by `timedelta(**words)`."""
        self.at += timedelta(**words)


@dataclass(slots=True)
class Bundle:
    """The parts of a process, with hands in what they stand on."""

    parts: Wiring
    clock: Hand
    world: World
    redis: EmbeddedRedis
    environment: dict[str, str]

    def beat(self, name: str = "one", *, age: float = 0.0, **words: Any) -> str:
        """A consumer's beat of `age` seconds ago; `words` are other columns of its row. Returns its id."""
        worker = f"{name}:1:abc"
        row = {"worker_id": worker, "worker_name": name, "host": "box", "max_concurrent_jobs": 4, "current_jobs": 1}
        self.parts.database.call("pmc_beat", p_worker=row | words)
        self.world.postgres.execute(
            "update pickmyclass.workers set last_heartbeat = clock_timestamp() - make_interval(secs => %s)"
            " where worker_id = %s",
            [age, worker],
        )
        return worker

    def tick(self, *, ago: timedelta = timedelta(), enqueued: int = 3, error: str | None = None) -> str:
        """A finished tick of the scheduler in the slot of `ago` before the clock. Returns its id."""
        at = self.clock() - ago
        slot = at.replace(minute=at.minute // 30 * 30, second=0, microsecond=0)
        tick, group = f"tick-{slot:%H%M}", "even" if slot.minute == 0 else "odd"
        call = self.parts.database.call
        call("pmc_begin_tick", p_tick_id=tick, p_slot=slot, p_group=group, p_source="scheduler", p_worker="one")
        call("pmc_finish_tick", p_tick_id=tick, p_enqueued=enqueued, p_already_queued=0, p_error=error)
        return tick

    def ask(self, query: str = "", *, secret: str | None = SECRET, **headers: str) -> Response:
        """The health function's answer, as an operator, or with `secret=None` as anyone."""
        from functions.health.main import health

        if secret is not None:
            headers |= {"Authorization": f"Bearer {secret}"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        environ = EnvironBuilder(path="/api/monitoring/health", query_string=query, headers=named).get_environ()
        return health(Request(environ))

    def health(self, **words: Any) -> dict[str, Any]:
        """The body of that answer."""
        body: dict[str, Any] = json.loads(self.ask(**words).get_data())
        return body

    def open_breaker(self) -> None:
        """Ten failures in a row."""
        for _ in range(10):
            self.parts.breaker.record_failure(Permit(self.parts.breaker.last_seen.last_state_change or 0))
        assert self.parts.breaker.status().state == "OPEN"

    def bury(self, *keys: str) -> None:
        """Dead letters with these keys."""
        for key in keys:
            job = Delivery(key, "a1", "process_section", {"tick_id": "t"}, attempts=3)
            letter = letter_for(job, "attempts", "scraper cannot be reached", self.now_ms())
            with self.redis.connect() as client:
                client.hset("pickmyclass:queue:class-check:dlq", key, letter)

    def owe(self, *, age_minutes: int = 0) -> None:
        """The watched section opens; its mail is owed since so many minutes."""
        see(self.parts.database, facts(2), self.clock() + timedelta(seconds=1))
        self.world.postgres.execute(
            "update pickmyclass.outbox set created_at = clock_timestamp() - make_interval(mins => %s)", [age_minutes]
        )

    def now_ms(self) -> int:
        """The clock, as the queue reads it."""
        return int(self.clock().timestamp() * 1000)

    def with_settings(self, **changed: str) -> Wiring:
        """The parts of a process with other settings, made the process's own."""
        self.environment |= changed
        return self.without()

    def commands(self) -> int:
        """How many commands Redis has processed so far."""
        with self.redis.connect() as client:
            return int(client.info("stats")["total_commands_processed"])

    def counting(self) -> int:
        """How many of them one such count adds itself."""
        before = self.commands()
        return self.commands() - before

    def without(self, *names: str) -> Wiring:
        """The parts of a process that lacks these settings, made the process's own."""
        environment = {name: value for name, value in self.environment.items() if name not in names}
        parts = Wiring(load(environment, None), clock=self.clock)
        wiring.use(parts)
        return parts


@pytest.fixture(scope="session")
def ops_redis_server() -> Iterator[EmbeddedRedis]:
    """One Redis for the tests of this kind."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture
def ops_redis(ops_redis_server: EmbeddedRedis) -> EmbeddedRedis:
    """That Redis, running and empty."""
    if ops_redis_server.pid is None:
        ops_redis_server.start()
    ops_redis_server.flush()
    return ops_redis_server


@pytest.fixture(scope="session")
def ops_postgres_url(postgres_server: EmbeddedPostgres, migrated_template: str) -> str:
    """One migrated database for the tests of this kind: emptying it is quicker than copying a new one."""
    return postgres_server.create_database("ops", template=migrated_template)


@pytest.fixture
def ops_postgres(ops_postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A session in that database, which is as it was when it was new."""
    with psycopg.connect(ops_postgres_url, autocommit=True) as connection:
        connection.execute(_EMPTY)
        yield connection


_EMPTY = """
do $$
declare v_tables text;
begin
    select string_agg(format('%I.%I', schemaname, tablename), ', ') into v_tables from pg_tables
    where schemaname in ('auth', 'public', 'pickmyclass')
      and tablename not in ('terms', 'settings', 'schema_migrations', 'schema_routines');
    execute 'truncate ' || v_tables || ' restart identity cascade';
    insert into pickmyclass.mail_hold default values;
    insert into pickmyclass.ownership (owner) values ('server');
end $$
"""


@pytest.fixture
def bundle(ops_postgres_url: str, ops_postgres: psycopg.Connection[Any], ops_redis: EmbeddedRedis) -> Iterator[Bundle]:
    """Parts over the test's own database, made the process's own, with a clock in the test's hand."""
    environment = {
        "DATABASE_URL": ops_postgres_url,
        "REDIS_URL": ops_redis.url,
        "SCRAPER_URL": "http://127.0.0.1:9",
        "LOOKS_PER_MINUTE": "0",
        "SCRAPER_SECRET_TOKEN": "scraper-token",
        "CRON_SECRET": SECRET,
        "UNSUBSCRIBE_SIGNING_SECRET": "unsubscribe-secret",
        "SITE_URL": "https://example.edu",
        "RESEND_API_KEY": "re_test",
        "RESEND_API_URL": "http://127.0.0.1:9",
        "NOTIFICATION_FROM_EMAIL": "PickMyClass <hello@example.edu>",
    }
    clock = Hand()
    parts = Wiring(load(environment, None), clock=clock, durations=Durations())
    wiring.use(parts)
    yield Bundle(parts, clock, World(ops_postgres), ops_redis, environment)
    wiring.use(None)
    parts.close()


@pytest.fixture
def well(bundle: Bundle) -> Bundle:
    """A bundle in which all is well: a consumer beats, the slot was ticked, the watched section was checked."""
    bundle.beat(figures=beat_figures(bundle.parts, IDLE))
    bundle.tick()
    bundle.world.add_watch(since=bundle.clock() - timedelta(days=1))
    see(bundle.parts.database, facts(), bundle.clock())
    return bundle
