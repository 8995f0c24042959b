"""What a server costs on which nothing happens, event by event, and what its processes have loaded for it."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime

import pytest
import redis

import huey_app
from functions.health.main import health
from shared.checks.duties import Duties, Worker
from shared.durations import Durations
from shared.health.pulse import Pulse
from shared.mail.send import send_due_mail
from shared.settings import ROOT
from tests.support.redis import command_counts
from tests.support.stage import Stage

SLOT = datetime(2026, 11, 22, 12, 30, tzinfo=UTC)


def duties(stage: Stage, name: str) -> Duties:
    parts = stage.parts
    worker = Worker(f"{name}:1:abc", name, "box", 4, {})
    return Duties(
        parts.database, parts.huey, parts.ticker, worker, parts.durations, parts.clock, pick=lambda low, _: low
    )


@pytest.mark.real_redis
def test_an_idle_tick_costs_six_commands_and_a_further_consumers_none(
    stage: Stage, redis_url: str, redis_client: redis.Redis
) -> None:
    stage.rewire(REDIS_URL=redis_url)
    first, second = duties(stage, "first"), duties(stage, "second")
    stage.clock.at = SLOT
    assert stage.parts.lock.acquire("warm-up")
    stage.parts.lock.release("warm-up")

    redis_client.config_resetstat()
    report = first.tick(SLOT, lambda _: False)
    assert report is not None
    assert report.begun
    assert sum(command_counts(redis_client).values()) == 6

    redis_client.config_resetstat()
    assert second.tick(SLOT, lambda _: False) is None
    assert command_counts(redis_client) == {}


@pytest.mark.real_redis
def test_beats_rescues_mailers_and_public_probes_ask_redis_nothing(
    stage: Stage, redis_url: str, redis_client: redis.Redis
) -> None:
    parts = stage.rewire(REDIS_URL=redis_url)
    mine = duties(stage, "first")
    consumer = huey_app.build(parts, replay=True)
    pulse = Pulse(parts, consumer)
    redis_client.config_resetstat()
    for _ in range(10):
        assert mine.beat(pulse.current_jobs, pulse.figures()) is not None
        mine.rescue()
        assert send_due_mail(parts.mail, "first:mail").state == "idle"
        assert stage.ask(health, secret=None).status_code in (200, 503)
        assert stage.ask(health, secret=None, query={"probe": "live"}).status_code == 200
    assert command_counts(redis_client) == {}


def test_public_probes_ask_the_database_once_a_minute(stage: Stage) -> None:
    stage.ask(health, secret=None)
    before = stage.parts.database.calls
    for _ in range(20):
        stage.ask(health, secret=None)
    assert stage.parts.database.calls == before


def test_an_idle_day_stays_within_a_thousand_commands_and_three_hundred_for_each_further_consumer() -> None:
    doorbells = 24 * 3600 / Durations().doorbell
    peeks = doorbells / 72 * 3  # once in six hours: a script and two commands inside of it
    assert doorbells + peeks + 48 * 6 <= 1000
    assert doorbells + peeks <= 300


HEAVY = ("supabase", "postgrest", "httpx", "psycopg", "resend", "charset_normalizer", "rich", "fakeredis", "workshop")


@pytest.mark.parametrize("start", ["import huey_app", "from shared.web.host import build; build()"])
def test_a_process_has_loaded_nothing_that_it_may_never_need(start: str) -> None:
    code = f"import sys, json, commands; {start}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    assert json.loads(done.stdout.splitlines()[-1]) == []
