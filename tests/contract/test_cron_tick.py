"""GET /api/cron, row by row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import Response

from functions.cron_tick.main import cron_tick
from shared.sections.section import Section
from tests.support.stage import EVEN, ODD, SECRET, Stage

EVEN_TIME = datetime(2026, 11, 22, 12, 3, tzinfo=UTC)
ODD_TIME = EVEN_TIME + timedelta(minutes=30)


def call(stage: Stage, **words: Any) -> Response:
    return stage.ask(cron_tick, **words)


def ms(moment: datetime) -> str:
    return str(int(moment.timestamp() * 1000))


@pytest.fixture
def watched(stage: Stage) -> Stage:
    stage.clock.at = EVEN_TIME
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    return stage


def test_without_a_secret_configured_it_is_our_error(stage: Stage) -> None:
    stage.rewire(CRON_SECRET=None)
    answer = call(stage)
    assert answer.status_code == 500
    assert answer.get_json() == {"success": False, "error": "Server configuration error"}


@pytest.mark.parametrize("secret", [None, "wrong", SECRET + "x", ""])
def test_a_bad_or_missing_bearer_is_unauthorized(stage: Stage, secret: str | None) -> None:
    answer = call(stage, secret=secret)
    assert answer.status_code == 401
    body = {"success": False, "error": "Unauthorized - this endpoint requires authentication"}
    assert answer.get_json() == body


def test_a_lock_held_by_another_run_is_a_conflict_and_is_tried_once(watched: Stage) -> None:
    # O27: the caller is told at once instead of waiting five minutes.
    watched.parts.lock.acquire("someone else")
    answer = call(watched)
    assert answer.status_code == 409
    body = answer.get_json()
    assert list(body) == ["success", "error", "details", "current_holder"]
    assert body["error"] == "Another cron job is already running"
    assert body["current_holder"] == "someone else"
    assert isinstance(body["details"], str)
    assert watched.parts.huey.counts().waiting == 0


def test_nothing_due_is_a_success_that_says_so(stage: Stage) -> None:
    stage.clock.at = EVEN_TIME
    answer = call(stage)
    assert answer.status_code == 200
    body = answer.get_json()
    assert (body["success"], body["message"], body["sections_enqueued"]) == (True, "No sections to check", 0)
    assert body["stagger_group"] == "even"
    assert isinstance(body["duration"], int)
    assert 0 <= body["duration"] < 120_000, "milliseconds of this call alone"


def test_the_due_half_is_queued_and_the_lock_is_free_again(watched: Stage) -> None:
    answer = call(watched)
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"success", "sections_enqueued", "stagger_group", "duration", "already_queued", "tick_id"}
    assert (body["sections_enqueued"], body["stagger_group"], body["already_queued"]) == (1, "even", 0)
    assert watched.parts.huey.counts().waiting == 1
    assert not watched.parts.lock.status().locked


def test_what_waits_already_is_counted_and_not_queued_twice(watched: Stage) -> None:
    call(watched)
    body = call(watched).get_json()
    assert (body["sections_enqueued"], body["already_queued"]) == (0, 1)
    assert "message" not in body
    assert watched.parts.huey.counts().waiting == 1


def test_the_minute_of_the_clock_decides_the_half(watched: Stage) -> None:
    watched.clock.at = ODD_TIME
    assert call(watched).get_json()["stagger_group"] == "odd"


def test_a_late_run_still_checks_the_half_of_its_scheduled_time(watched: Stage) -> None:
    # O28
    watched.clock.at = ODD_TIME
    body = call(watched, headers={"X-Cron-Scheduled-Time": ms(EVEN_TIME)}).get_json()
    assert body["stagger_group"] == "even"


@pytest.mark.parametrize("group", ["even", "odd", "all"])
def test_an_operator_can_force_a_group(watched: Stage, group: str) -> None:
    body = call(watched, query={"group": group}).get_json()
    assert (body["stagger_group"], body["sections_enqueued"]) == (group, 2 if group == "all" else 1)


@pytest.mark.parametrize("group", ["", "EVEN", "both", "even "])
def test_an_unknown_group_is_refused_and_nothing_is_queued(watched: Stage, group: str) -> None:
    # O36: it used to mean everything.
    answer = call(watched, query={"group": group})
    assert answer.status_code == 400
    assert answer.get_json()["details"][0]["field"] == "group"
    assert watched.parts.huey.counts().waiting == 0


@pytest.mark.parametrize(
    "header",
    ["soon", "", "-5", "1.5", "1e12", "９", "1577836799999", ms(EVEN_TIME + timedelta(days=1, seconds=1)), "9" * 30],
)
def test_a_scheduled_time_that_cannot_be_believed_is_refused(watched: Stage, header: str) -> None:
    answer = call(watched, headers={"X-Cron-Scheduled-Time": header})
    assert answer.status_code == 400
    assert answer.get_json()["details"][0]["field"] == "X-Cron-Scheduled-Time"
    assert watched.parts.huey.counts().waiting == 0


@pytest.mark.parametrize("moment", [datetime(2020, 1, 1, tzinfo=UTC), EVEN_TIME + timedelta(days=1)])
def test_scheduled_times_from_2020_to_one_day_ahead_are_believed(watched: Stage, moment: datetime) -> None:
    assert call(watched, headers={"X-Cron-Scheduled-Time": ms(moment)}).status_code == 200


def test_an_unreachable_lock_store_is_not_a_conflict_and_queues_nothing(watched: Stage) -> None:
    # O26: fail closed, and say what it is.
    watched.rewire(REDIS_URL="redis://127.0.0.1:9")
    answer = call(watched)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    body = answer.get_json()
    assert set(body) == {"success", "error", "duration"}
    assert body["error"] == "Lock store unavailable"
    assert watched.world.one("select count(*) from pickmyclass.ticks") == 0


def test_a_failing_database_is_told_for_a_person_and_the_lock_is_free_again(watched: Stage) -> None:
    watched.rewire(DATABASE_URL="postgresql://nobody@127.0.0.1:9/none?connect_timeout=1")
    watched.parts.__dict__["database"] = _Broken()
    answer = call(watched)
    assert answer.status_code == 500
    body = answer.get_json()
    assert set(body) == {"success", "error", "duration"}
    assert body["error"].startswith("Database")
    assert not watched.parts.lock.status().locked


def test_a_push_that_fails_is_noted_on_the_tick_and_may_be_repeated(
    watched: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis import RedisError

    def fail(*_words: Any) -> None:
        raise RedisError("gone")

    monkeypatch.setattr(watched.parts.huey.storage, "push", fail)
    answer = call(watched)
    assert (answer.status_code, set(answer.get_json())) == (500, {"success", "error", "duration"})
    assert "queueing" in watched.world.one("select error from pickmyclass.ticks")
    monkeypatch.undo()
    assert call(watched).get_json()["sections_enqueued"] == 1


def test_two_secrets_open_the_door_while_they_are_rotated(watched: Stage) -> None:
    watched.rewire(CRON_SECRET="the-new-one-of-two, the-old-one-of-two")
    assert {call(watched, secret=secret).status_code for secret in ("the-new-one-of-two", "the-old-one-of-two")} == {
        200
    }
    assert call(watched, secret="the-new-one-of-two, the-old-one-of-two").status_code == 401


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_only_get_is_allowed(stage: Stage, method: str) -> None:
    answer = call(stage, method=method)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")


def test_a_tick_by_http_always_runs_although_the_scheduler_has_ticked(watched: Stage) -> None:
    from shared.checks.tick import TickOrder

    watched.parts.ticker.tick(TickOrder(EVEN_TIME, "even", "scheduler", "server"))
    second = watched.parts.ticker.tick(TickOrder(EVEN_TIME, "even", "scheduler", "another"))
    assert not second.begun
    assert call(watched).get_json()["already_queued"] == 1


def test_sections_without_anyone_who_may_be_told_are_not_checked(stage: Stage) -> None:
    # O16
    stage.clock.at = EVEN_TIME
    stage.world.add_watch(EVEN, stage.world.add_user(is_disabled=True))
    stage.world.add_watch(Section("2241", "12342"))  # a term that is over
    assert call(stage).get_json()["sections_enqueued"] == 0


class _Broken:
    """A database that fails whatever is asked of it."""

    calls = 0

    def call(self, function: str, **_arguments: Any) -> Any:
        from shared.database import DatabaseError

        raise DatabaseError(f"{function}: failed", "XX000")

    def close(self) -> None:
        """Nothing is open."""
