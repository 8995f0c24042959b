"""GET /api/monitoring/health, row by row: what each check says, and what it makes of the whole."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from functions.health.main import health
from shared import wiring
from shared.database import DatabaseUnavailable
from shared.health.probes import Probes
from shared.queue.jobs import Job
from shared.sections.section import Section
from tests.support.ops import SECRET, Bundle
from tests.support.world import SECTION, facts, see
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.web import Answer, Server
from workshop.parts.web import Request as GatewayRequest

NAMES = [
    *("database", "redis", "circuit_breaker", "cron_lock", "configuration"),
    *("email", "queue", "scheduler", "workers", "freshness", "looks"),
]


def test_the_answer_has_exactly_these_fields(well: Bundle) -> None:
    body = well.health()
    assert list(body) == ["timestamp", "status", "checks", "response_time_ms"]
    assert list(body["checks"]) == NAMES
    assert body["timestamp"] == well.clock().isoformat()
    assert isinstance(body["response_time_ms"], int)


def test_all_is_healthy_when_everything_works(well: Bundle) -> None:
    answer = well.ask()
    assert answer.status_code == 200
    assert answer.get_json()["status"] == "healthy"
    assert {check["status"] for name, check in answer.get_json()["checks"].items() if name != "workers"} == {"healthy"}
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_get_is_allowed(bundle: Bundle, method: str) -> None:
    answer = health(Request(EnvironBuilder(method=method).get_environ()))
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


# ---- database, redis


def test_database_tells_its_latency(well: Bundle) -> None:
    check = well.health()["checks"]["database"]
    assert check["status"] == "healthy"
    assert isinstance(check["latency_ms"], int)


def test_redis_answers_a_real_ping(well: Bundle) -> None:
    check = well.health()["checks"]["redis"]
    assert (check["status"], check["connected"]) == ("healthy", True)
    assert isinstance(check["latency_ms"], int)


def test_a_stopped_redis_is_named_within_three_seconds_and_healthy_again_when_it_is_back(well: Bundle) -> None:
    well.redis.kill()
    began = time.monotonic()
    answer = well.ask()
    assert time.monotonic() - began < 3
    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (500, "unhealthy")
    assert body["checks"]["redis"]["status"] == "unhealthy"
    assert body["checks"]["redis"]["connected"] is False
    assert body["checks"]["circuit_breaker"]["state"] == "UNKNOWN"
    assert body["checks"]["cron_lock"]["status"] == "unknown"
    assert body["checks"]["database"]["status"] == "healthy"
    assert "127.0.0.1" not in str(body)
    well.redis.start()
    assert well.ask().status_code == 200


def test_a_hanging_redis_is_named_within_three_seconds(well: Bundle) -> None:
    pid = well.redis.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        body = well.health()
        assert time.monotonic() - began < 3
        assert body["checks"]["redis"]["status"] == "unhealthy"
        assert body["checks"]["database"]["status"] == "healthy"
    finally:
        os.kill(pid, signal.SIGCONT)
    assert well.health()["status"] == "healthy"


def test_a_stopped_postgres_is_named_within_three_seconds(bundle: Bundle) -> None:
    with EmbeddedPostgres() as server:
        url = server.create_database("soon_gone")
        parts = bundle.with_settings(DATABASE_URL=url)
        assert bundle.health()["checks"]["database"]["error"]  # there is nothing of ours in it
    began = time.monotonic()
    answer = bundle.ask()
    assert time.monotonic() - began < 3
    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (500, "unhealthy")
    assert body["checks"]["database"]["status"] == "unhealthy"
    assert "socket" not in body["checks"]["database"]["error"]
    assert "/tmp" not in str(body)
    assert body["checks"]["redis"]["status"] == "healthy"
    assert body["checks"]["freshness"] == {"status": "unknown"}
    assert body["checks"]["workers"] == []
    parts.close()


def test_a_database_that_takes_no_writes_is_named_at_once_and_nobody_is_missed(well: Bundle) -> None:
    well.beat(age=500)  # nobody's beat can be kept there
    writable = well.environment["DATABASE_URL"]
    parts = well.with_settings(DATABASE_URL=read_only(writable))
    answer = well.ask()
    check = answer.get_json()["checks"]["database"]
    assert (answer.status_code, check["status"], check["code"]) == (500, "unhealthy", "no_writes")
    assert [one.cause for one in parts.health.full().troubles()] == ["database takes no writes"]
    ready = well.ask("probe=ready", secret=None)
    assert (ready.status_code, ready.get_json()["database"]) == (503, False)
    parts.close()


def test_a_refused_key_is_its_own_trouble_with_its_own_remedy(well: Bundle) -> None:
    def gateway(_request: GatewayRequest) -> Answer:
        return Answer(401, b'{"message": "Legacy API keys are disabled"}')

    with Server(gateway) as server:
        parts = well.with_settings(
            SUPABASE_URL=server.url, SUPABASE_SERVICE_ROLE_KEY="k" * 40, DATABASE_TRANSPORT="supabase"
        )
        (found,) = [one for one in parts.health.full().troubles() if one.cause.startswith("database")]
        parts.close()
    assert (found.cause, found.status) == ("database key", "unhealthy")
    assert "SUPABASE_SERVICE_ROLE_KEY" in found.remedy
    assert "goes on by itself" not in found.remedy


def test_a_hanging_postgres_neither_holds_up_the_answer_nor_piles_up_threads(well: Bundle) -> None:
    free = threading.Event()
    real = well.parts.database

    class Hanging:
        calls = 0

        def call(self, function: str, **arguments: Any) -> Any:
            free.wait(30)
            raise DatabaseUnavailable("too late")

        def close(self) -> None:
            """Nothing to close."""

    well.parts.__dict__["database"] = Hanging()
    before = threading.active_count()
    try:
        well.parts.health._probes = Probes(deadline=0.2)
        for _ in range(4):
            assert well.health()["checks"]["database"]["error"] == "no answer within 0.2 s"
        assert threading.active_count() <= before + 1
    finally:
        free.set()
        well.parts.__dict__["database"] = real
        well.parts.health._probes = Probes()
    assert well.health()["status"] == "healthy"


# ---- circuit_breaker, cron_lock


def test_a_closed_breaker_is_healthy(well: Bundle) -> None:
    check = well.health()["checks"]["circuit_breaker"]
    assert datetime.fromisoformat(check["last_state_change"]).tzinfo  # closed since it was first looked at
    assert well.health()["checks"]["circuit_breaker"] == check
    assert check | {"last_state_change": None} == {
        "status": "healthy",
        "type": "redis",
        "state": "CLOSED",
        "failure_count": 0,
        "success_count": 0,
        "last_failure": None,
        "last_state_change": None,
    }


def test_an_open_breaker_is_unhealthy_and_degrades_the_whole(well: Bundle) -> None:
    well.open_breaker()
    answer = well.ask()
    check = answer.get_json()["checks"]["circuit_breaker"]
    assert (answer.status_code, answer.get_json()["status"]) == (503, "degraded")
    assert (check["status"], check["state"], check["failure_count"]) == ("unhealthy", "OPEN", 10)
    assert datetime.fromisoformat(check["last_failure"]).tzinfo
    assert datetime.fromisoformat(check["last_state_change"]).tzinfo


def test_a_half_open_breaker_leaves_the_whole_as_it_is(well: Bundle) -> None:
    well.open_breaker()
    with well.redis.connect() as client:
        key = "pickmyclass:circuit:scraper"
        client.set(key, client.get(key).replace(b"OPEN", b"HALF_OPEN"))
    answer = well.ask()
    assert (answer.status_code, answer.get_json()["status"]) == (200, "healthy")
    assert answer.get_json()["checks"]["circuit_breaker"]["status"] == "degraded"


def test_a_held_lock_is_shown_with_its_holder(well: Bundle) -> None:
    assert well.health()["checks"]["cron_lock"]["locked"] is False
    well.parts.lock.acquire("scheduler:box:1")
    well.clock.forward(seconds=2)
    check = well.health()["checks"]["cron_lock"]
    assert (check["status"], check["type"], check["locked"]) == ("healthy", "redis", True)
    assert check["lock_holder"] == "scheduler:box:1"
    assert check["time_held_ms"] >= 0
    assert datetime.fromisoformat(check["lock_acquired_at"]) < datetime.fromisoformat(check["expires_at"])


# ---- configuration


def test_missing_settings_are_named_for_operators_and_nothing_crashes(well: Bundle) -> None:
    parts = well.without("REDIS_URL", "SCRAPER_URL")
    answer = well.ask()
    body = answer.get_json()
    assert (answer.status_code, body["status"]) == (500, "unhealthy")
    assert body["checks"]["configuration"] == {"status": "unhealthy", "missing_vars": ["REDIS_URL", "SCRAPER_URL"]}
    assert body["checks"]["redis"]["error"] == "not set: REDIS_URL"
    assert body["checks"]["database"]["status"] == "healthy"
    parts.close()


def test_settings_that_cannot_be_read_are_a_check_and_not_a_crash(bundle: Bundle, monkeypatch: Any) -> None:
    wiring.use(None)
    monkeypatch.setenv("REDIS_URL", "http://not-redis")
    answer = bundle.ask(secret=None)
    assert answer.status_code == 500
    assert answer.get_json()["checks"] == {"configuration": {"status": "unhealthy"}}


# ---- email


def test_mail_tells_what_waits(well: Bundle) -> None:
    check = well.health()["checks"]["email"]
    assert (check["status"], check["configured"], check["pending"], check["dead"]) == ("healthy", True, 0, 0)
    assert check["oldest_pending_seconds"] is None


def test_without_a_key_mail_is_not_configured_and_the_whole_is_well(well: Bundle) -> None:
    parts = well.without("RESEND_API_KEY")
    well.owe(age_minutes=60)
    body = well.health()
    assert body["checks"]["email"]["status"] == "not_configured"
    assert body["checks"]["email"]["configured"] is False
    assert body["checks"]["email"]["pending"] == 1
    assert body["status"] == "healthy"
    parts.close()


@pytest.mark.parametrize(("minutes", "status", "code"), [(14, "healthy", 200), (16, "degraded", 503)])
def test_mail_that_waits_over_fifteen_minutes_degrades(well: Bundle, minutes: int, status: str, code: int) -> None:
    well.owe(age_minutes=minutes)
    answer = well.ask()
    assert (answer.get_json()["checks"]["email"]["status"], answer.status_code) == (status, code)
    assert answer.get_json()["checks"]["email"]["oldest_pending_seconds"] >= minutes * 60


def test_a_batch_without_an_answer_counts_as_mail_that_waits(well: Bundle) -> None:
    well.owe(age_minutes=16)
    well.world.postgres.execute("update pickmyclass.outbox set status = 'sending'")
    assert well.health()["checks"]["email"]["status"] == "degraded"


def test_dead_mail_degrades(well: Bundle) -> None:
    well.owe(age_minutes=0)
    well.world.postgres.execute("update pickmyclass.outbox set status = 'dead'")
    body = well.health()
    assert (body["checks"]["email"]["dead"], body["status"]) == (1, "degraded")


@pytest.mark.parametrize(("days", "status"), [(2.9, "degraded"), (3.1, "healthy")])
def test_dead_mail_of_days_ago_is_history(well: Bundle, days: float, status: str) -> None:
    well.owe(age_minutes=0)
    well.world.postgres.execute(
        "update pickmyclass.outbox set status = 'dead', settled_at = clock_timestamp() - %s * interval '1 day'", [days]
    )
    assert well.health()["status"] == status


def test_dead_mail_that_an_operator_has_seen_degrades_no_more(well: Bundle) -> None:
    well.owe(age_minutes=0)
    well.world.postgres.execute("update pickmyclass.outbox set status = 'dead'")
    assert well.parts.database.call("pmc_ack_mail") == {"acked": 1}
    assert well.health()["status"] == "healthy"
    assert well.parts.database.call("pmc_ack_mail") == {"acked": 0}


# ---- queue


def test_the_queue_is_counted(well: Bundle) -> None:
    well.parts.huey.push([Job("process_section", f"2267:1000{n}", {}) for n in range(3)], well.now_ms())
    check = well.health()["checks"]["queue"]
    assert {name: check[name] for name in ("status", "type", "waiting", "active", "delayed", "dead")} == {
        "status": "healthy",
        "type": "huey",
        "waiting": 3,
        "active": 0,
        "delayed": 0,
        "dead": 0,
    }
    assert (check["completed"], check["failed"]) == (7, 1)


def test_an_unresolved_dead_letter_degrades(well: Bundle) -> None:
    well.bury(SECTION.key)
    body = well.health()
    assert (body["checks"]["queue"]["dead"], body["checks"]["queue"]["status"]) == (1, "degraded")
    assert body["status"] == "degraded"


def test_a_job_that_waits_longer_than_a_slot_degrades(well: Bundle) -> None:
    storage = well.parts.huey.storage
    real, storage.clock = storage.clock, lambda: real() - 31 * 60 * 1000
    well.parts.huey.push([Job("process_section", "2267:10000", {})], well.now_ms())
    storage.clock = real
    body = well.health()
    assert body["checks"]["queue"]["status"] == body["status"] == "degraded"


# ---- scheduler


def test_what_became_of_a_ticks_sections_is_read_from_its_own_slot_alone(well: Bundle) -> None:
    slot = (well.clock() + timedelta(hours=2)).replace(minute=30, second=0, microsecond=0)  # later than what is checked
    well.parts.database.call(
        "pmc_begin_tick", p_tick_id="one", p_slot=slot, p_group="odd", p_source="scheduler", p_worker="one"
    )
    failed = []
    for hours in (-1, 0, 1):
        well.parts.database.call(
            "pmc_end_attempt", p_term=SECTION.term, p_class_nbr=SECTION.class_nbr,
            p_slot=slot + timedelta(hours=hours), p_error="any words",
        )  # fmt: skip
        failed += well.world.rows(
            "select (pickmyclass.tick_health(t) ->> 'failed')::int from pickmyclass.ticks t where t.id = 'one'"
        )
    assert failed == [(0,), (1,), (0,)]


def test_the_scheduler_tells_last_and_next_tick(well: Bundle) -> None:
    well.clock.at = well.clock().replace(minute=10 if well.clock().minute < 30 else 40)
    check = well.health()["checks"]["scheduler"]
    assert (check["status"], check["running"]) == ("healthy", True)
    assert (check["schedule"], check["timezone"]) == ("0,30 * * * *", "America/Phoenix")
    assert set(check["last_tick"]) == {"group", "enqueued", "checked", "failed"}
    assert check["last_tick"]["enqueued"] == 3
    assert check["last_tick_at"]
    due = datetime.fromisoformat(check["next_tick_at"])
    assert due.minute in (0, 30)
    assert timedelta() < due - well.clock() <= timedelta(minutes=30)


def test_a_last_tick_older_than_two_slots_degrades(well: Bundle) -> None:
    slot = well.clock().replace(minute=well.clock().minute // 30 * 30, second=0, microsecond=0)
    well.clock.at = slot + timedelta(minutes=60)
    assert well.health()["checks"]["scheduler"]["status"] == "healthy"
    well.clock.forward(seconds=1)
    body = well.health()
    assert body["checks"]["scheduler"]["status"] == body["status"] == "degraded"


def test_a_tick_that_failed_does_not_count_as_one(well: Bundle) -> None:
    well.clock.forward(minutes=61)
    well.tick(error="OSError while queueing")
    check = well.health()["checks"]["scheduler"]
    assert (check["status"], check["last_tick_error"]) == ("degraded", "OSError while queueing")


# ---- workers


def test_workers_are_listed(well: Bundle) -> None:
    (worker,) = well.health()["checks"]["workers"]
    fields = {"worker_id", "host", "status", "last_heartbeat", "current_jobs", "max_concurrent_jobs"}
    assert fields <= set(worker)
    assert (worker["host"], worker["status"], worker["current_jobs"], worker["max_concurrent_jobs"]) == (
        *("box", "active", 1, 4),
    )


@pytest.mark.parametrize(("age", "status", "code"), [(85, "healthy", 200), (95, "unhealthy", 500)])
def test_a_consumer_counts_as_alive_for_ninety_seconds(well: Bundle, age: float, status: str, code: int) -> None:
    well.beat(age=age)
    answer = well.ask()
    assert (answer.get_json()["status"], answer.status_code) == (status, code)
    assert answer.get_json()["checks"]["workers"][0]["alive"] is (code == 200)


def test_one_of_two_consumers_is_enough(well: Bundle) -> None:
    well.beat("two", age=500)
    assert well.health()["status"] == "healthy"


# ---- freshness


def test_freshness_tells_the_last_completed_check(well: Bundle) -> None:
    check = well.health()["checks"]["freshness"]
    assert (check["status"], check["watched_sections"], check["overdue_sections"]) == ("healthy", 1, 0)
    assert check["oldest_check_seconds"] == 0
    assert datetime.fromisoformat(check["last_completed_check_at"]) == well.clock()


def test_a_section_overdue_for_a_full_slot_degrades(well: Bundle) -> None:
    well.clock.forward(hours=2)
    well.tick()
    body = well.health()
    assert body["checks"]["freshness"]["overdue_sections"] == 1
    assert body["checks"]["freshness"]["oldest_check_seconds"] == 7200
    assert body["checks"]["freshness"]["status"] == body["status"] == "degraded"


def test_a_source_that_knows_too_few_sections_degrades(well: Bundle) -> None:
    for number in range(10000, 10006):
        section = Section("2267", str(number))
        well.world.add_watch(section)
        see(well.parts.database, facts(), well.clock() - timedelta(hours=1), section=section)
        strike(well, str(number))
    check = well.health()["checks"]["freshness"]
    assert (check["status"], check["source_looks_broken"], check["struck_sections"]) == ("degraded", True, 6)


def test_a_source_that_has_known_nothing_yet_is_judged_by_all(bundle: Bundle) -> None:
    for number in range(10000, 10005):
        bundle.world.add_watch(Section("2267", str(number)))
        strike(bundle, str(number))
    assert bundle.health()["checks"]["freshness"]["source_looks_broken"] is True


def test_numbers_that_somebody_made_up_say_nothing_about_the_source(well: Bundle) -> None:
    for number in range(90000, 90010):
        well.world.add_watch(Section("2267", str(number)))
        strike(well, str(number))
    body = well.health()
    assert (body["status"], body["checks"]["freshness"]["struck_sections"]) == ("healthy", 0)
    assert body["checks"]["freshness"]["source_looks_broken"] is False


def test_a_refused_scraper_token_is_told_by_its_code(well: Bundle) -> None:
    well.parts.database.call(
        "pmc_end_attempt", p_term=SECTION.term, p_class_nbr=SECTION.class_nbr,
        p_slot=well.clock() + timedelta(hours=1), p_error="any words", p_code="token",
    )  # fmt: skip
    report = well.parts.health.full()
    assert "scraper token" in [one.cause for one in report.troubles()]
    see(well.parts.database, facts(), well.clock() + timedelta(hours=2))
    assert well.parts.health.full().troubles() == []


def strike(well: Bundle, class_nbr: str) -> None:
    well.parts.database.call(
        "pmc_strike_section", p_term="2267", p_class_nbr=class_nbr, p_slot=well.clock(),
        p_observed_at=well.clock(), p_now=well.clock(),
    )  # fmt: skip


def read_only(url: str) -> str:
    """The same database, as a server with a full disk shows it."""
    return url + ("&" if "?" in url else "?") + "options=-c%20default_transaction_read_only%3Don"


# ---- the whole only escalates


def test_something_degraded_does_not_soften_something_unhealthy(well: Bundle) -> None:
    well.bury(SECTION.key)
    well.beat(age=500)
    assert well.health()["status"] == "unhealthy"


# ---- what is wrong is never said under a heading that says that all is well


def test_mail_held_by_hand_is_not_healthy(well: Bundle) -> None:
    well.world.postgres.execute("update pickmyclass.mail_hold set held = true, held_reason = 'a bad template'")
    body = well.health()
    assert (body["status"], body["checks"]["email"]["status"]) == ("degraded", "degraded")


def test_mail_that_resend_parks_is_not_healthy_until_the_time_is_over(well: Bundle) -> None:
    park = "update pickmyclass.mail_hold set park_reason = 'quota', parked_until = now() + %s * interval '1 hour'"
    well.world.postgres.execute(park, [1])
    assert well.ask().status_code == 503
    well.world.postgres.execute(park, [-1])
    assert well.ask().status_code == 200


@pytest.mark.parametrize("status", ["paused", "draining"])
def test_consumers_of_which_none_takes_jobs_are_not_healthy(well: Bundle, status: str) -> None:
    well.parts.database.call("pmc_set_worker_status", p_worker_id="one:1:abc", p_status=status)
    answer = well.ask()
    assert (answer.status_code, answer.get_json()["status"]) == (503, "degraded")
    well.beat("two", status="active")
    assert well.health()["status"] == "healthy"


def test_a_time_that_no_date_can_hold_spoils_neither_the_answer_nor_the_page(well: Bundle) -> None:
    with well.redis.connect() as client:
        far = {
            "state": "OPEN",
            "failureCount": 10,
            "successCount": 0,
            "lastFailureTime": 10**17,
            "lastStateChange": 10**18,
        }
        client.set("pickmyclass:circuit:scraper", json.dumps(far))
        client.set("pickmyclass:lock:cron", "box", px=60000)
        client.set("pickmyclass:lock:cron:meta", json.dumps({"lockHolder": "box", "lockAcquiredAt": 10**18}))
    answer = well.ask()
    checks = answer.get_json()["checks"]
    assert answer.status_code == 503
    assert (checks["circuit_breaker"]["state"], checks["circuit_breaker"]["last_state_change"]) == ("OPEN", None)
    assert (checks["cron_lock"]["locked"], checks["cron_lock"]["lock_acquired_at"]) == (True, None)
    assert well.ask(Accept="text/html").status_code == 503


def test_a_check_whose_figures_make_no_sense_is_lost_alone(well: Bundle) -> None:
    well.world.postgres.execute("update pickmyclass.ticks set slot = 'infinity'")
    for secret in (SECRET, None):
        answer = well.ask(secret=secret)
        assert (answer.status_code, answer.get_json()["status"]) == (503, "degraded")
        assert answer.get_json()["checks"]["scheduler"]["status"] == "unknown"
    assert well.health()["checks"]["scheduler"]["code"] == "broken"
    assert well.health()["checks"]["freshness"]["status"] == "healthy"


def test_a_beat_that_makes_no_sense_counts_for_nothing(well: Bundle) -> None:
    well.world.postgres.execute(
        """update pickmyclass.workers set figures = figures || '{"queue": {"failed": "many"}}'"""
    )
    body = well.health()
    assert (body["status"], body["checks"]["queue"]["failed"]) == ("healthy", 0)
    assert well.health(secret=None)["checks"]["redis"] == {"status": "unknown"}
