"""GET /api/monitoring/health for anyone: names and statuses only, at no cost for Redis, and the two probes."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from shared import wiring
from shared.health.beats import beat_figures
from shared.health.probes import Probes
from shared.queue import Snapshot
from tests.support.ops import IDLE, SECRET, Bundle
from tests.support.world import SECTION

NAMES = [
    *("database", "redis", "circuit_breaker", "cron_lock", "configuration"),
    *("email", "queue", "scheduler", "workers", "freshness", "looks"),
]


def test_anyone_sees_names_and_statuses_only(well: Bundle) -> None:
    answer = well.ask(secret=None)
    body = answer.get_json()
    assert answer.status_code == 200
    assert list(body) == ["timestamp", "status", "checks", "response_time_ms"]
    assert body["checks"] == {name: {"status": "healthy"} for name in NAMES}


@pytest.mark.parametrize("secret", ["wrong", ""])
def test_a_wrong_bearer_sees_what_anyone_sees(well: Bundle, secret: str) -> None:
    assert well.health(secret=secret)["checks"]["database"] == {"status": "healthy"}


def test_either_of_two_secrets_opens_the_details_while_rotating(well: Bundle) -> None:
    parts = well.with_settings(CRON_SECRET=f"the-old-one-of-operators, {SECRET}")
    assert "latency_ms" in well.health(secret="the-old-one-of-operators")["checks"]["database"]
    assert "latency_ms" in well.health(secret=SECRET)["checks"]["database"]
    parts.close()


def test_without_a_secret_configured_nobody_is_an_operator(well: Bundle) -> None:
    parts = well.without("CRON_SECRET")
    body = well.health(secret="None")
    assert body["status"] == "unhealthy"
    assert body["checks"]["configuration"] == {"status": "unhealthy"}
    parts.close()


def test_a_public_probe_costs_no_redis_command(well: Bundle) -> None:
    well.health()  # what connects, connects now
    before = well.commands()
    for _ in range(5):
        assert well.ask(secret=None).status_code == 200
    assert well.commands() - before == well.counting()


def test_the_public_answer_is_computed_once_a_minute(well: Bundle) -> None:
    elapsed = [0.0]
    well.parts.health._timer = lambda: elapsed[0]
    first = well.health(secret=None)
    calls = well.parts.database.calls
    well.clock.forward(seconds=30)
    elapsed[0] = 59.9
    assert well.health(secret=None) == first
    assert well.parts.database.calls == calls
    elapsed[0] = 60.0
    assert well.health(secret=None)["timestamp"] == well.clock().isoformat()


def test_a_lost_redis_reaches_the_public_answer_by_the_beat(well: Bundle) -> None:
    lost = Snapshot({}, 0, 0, None, 7, 1, None, True, False, False)
    well.beat(figures=beat_figures(well.parts, lost))
    body = well.health(secret=None)
    assert body["status"] == "unhealthy"
    assert body["checks"]["redis"] == {"status": "unhealthy"}
    assert body["checks"]["circuit_breaker"] == {"status": "unhealthy"}
    assert body["checks"]["cron_lock"] == {"status": "unknown"}


def test_of_two_consumers_the_one_that_saw_the_breaker_change_is_believed(well: Bundle) -> None:
    well.beat("idle", figures=beat_figures(well.parts, IDLE))
    well.open_breaker()
    well.beat("busy", age=20, figures=beat_figures(well.parts, IDLE))
    body = well.health(secret=None)
    assert (body["status"], body["checks"]["circuit_breaker"]) == ("degraded", {"status": "unhealthy"})


def test_a_section_given_up_degrades_the_public_answer(well: Bundle) -> None:
    well.parts.database.call(
        "pmc_end_attempt", p_term=SECTION.term, p_class_nbr=SECTION.class_nbr,
        p_slot=well.clock() + timedelta(hours=1), p_error="scraper cannot be reached",
    )  # fmt: skip
    body = well.health(secret=None)
    assert (body["status"], body["checks"]["queue"]) == ("degraded", {"status": "degraded"})


def test_when_no_consumer_lives_the_public_answer_is_unhealthy(well: Bundle) -> None:
    well.beat(age=91)
    body = well.health(secret=None)
    assert body["status"] == "unhealthy"
    assert body["checks"]["redis"] == {"status": "unknown"}


# ---- probes


def test_live_touches_no_dependency(bundle: Bundle, monkeypatch: Any) -> None:
    wiring.use(None)
    monkeypatch.setenv("REDIS_URL", "nonsense")
    answer = bundle.ask("probe=live", secret=None)
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})


def test_ready_needs_database_and_redis_only(bundle: Bundle) -> None:
    answer = bundle.ask("probe=ready", secret=None)  # no worker, no tick
    assert (answer.status_code, answer.get_json()["status"]) == (200, "ready")


def test_not_ready_without_redis_and_ready_when_it_is_back(bundle: Bundle) -> None:
    bundle.redis.kill()
    answer = bundle.ask("probe=ready", secret=None)
    assert (answer.status_code, answer.get_json()) == (503, {"status": "not_ready", "database": True, "redis": False})
    bundle.redis.start()
    assert bundle.ask("probe=ready", secret=None).status_code == 200


def test_not_ready_without_a_database(bundle: Bundle) -> None:
    parts = bundle.without("DATABASE_URL")
    answer = bundle.ask("probe=ready", secret=None)
    assert (answer.status_code, answer.get_json()["database"]) == (503, False)
    parts.close()


def test_ready_asked_often_asks_redis_rarely(bundle: Bundle) -> None:
    bundle.ask("probe=ready", secret=None)
    before = bundle.commands()
    for _ in range(5):
        bundle.ask("probe=ready", secret=None)
    assert bundle.commands() - before == bundle.counting()


def test_the_ready_probe_does_not_wait_for_a_slow_summary(bundle: Bundle) -> None:
    asked, free = threading.Event(), threading.Event()
    real = bundle.parts.database

    class SlowFigures:
        calls = 0

        def call(self, function: str, **arguments: Any) -> Any:
            if function == "pmc_read_health":
                asked.set()
                free.wait(30)
            return real.call(function, **arguments)

        def close(self) -> None:
            """Nothing to close."""

    bundle.parts.__dict__["database"] = SlowFigures()
    bundle.parts.health._probes = Probes(deadline=30)
    summary = threading.Thread(target=bundle.ask, kwargs={"secret": None})
    summary.start()
    try:
        assert asked.wait(10)
        assert bundle.ask("probe=ready", secret=None).status_code == 200
        assert summary.is_alive()  # and still waits for its figures
    finally:
        free.set()
        summary.join(10)
        bundle.parts.__dict__["database"] = real


def test_an_unknown_probe_is_refused(bundle: Bundle) -> None:
    answer = bundle.ask("probe=startup", secret=None)
    assert answer.status_code == 400
    assert answer.get_json()["details"][0]["field"] == "probe"
