"""POST /api/queue/process-section, row by row."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from flask import Response

from functions.health.main import health
from functions.process_section.main import process_section
from shared.durations import Durations
from shared.mail.send import send_due_mail
from shared.source.breaker import Permit
from tests.contract.test_cron_tick import _Broken
from tests.support.stage import EVEN, SECRET, Stage
from tests.support.term import TERM

BODY = {"class_nbr": EVEN.class_nbr, "term": TERM}
FIELDS = {
    *("success", "class_nbr", "term", "changes_detected", "emails_sent", "emails_queued"),
    *("first_observation", "processing_time_ms"),
}


def call(stage: Stage, body: Any = None, **words: Any) -> Response:
    return stage.ask(process_section, method="POST", body=BODY if body is None else body, **words)


def checked(stage: Stage) -> dict[str, Any]:
    answer = call(stage)
    assert answer.status_code == 200, answer.get_data()
    body: dict[str, Any] = answer.get_json()
    return body


@pytest.fixture
def watched(stage: Stage) -> Stage:
    """Two watchers of a full section that has been seen once."""
    for _ in range(2):
        stage.world.add_watch(EVEN)
    checked(stage)
    return stage


def test_without_a_secret_configured_it_is_our_error(stage: Stage) -> None:
    stage.rewire(CRON_SECRET=None)
    assert (call(stage).status_code, call(stage).get_json()) == (
        500,
        {"success": False, "error": "Server configuration error"},
    )


@pytest.mark.parametrize("secret", [None, "wrong"])
def test_a_bad_or_missing_bearer_is_unauthorized(stage: Stage, secret: str | None) -> None:
    answer = call(stage, secret=secret)
    assert (answer.status_code, answer.get_json()) == (401, {"success": False, "error": "Unauthorized"})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"term": TERM}, "class_nbr"),
        ({"class_nbr": "12340"}, "term"),
        ({"class_nbr": 12340, "term": TERM}, "class_nbr"),
        ({"class_nbr": "1234", "term": TERM}, "class_nbr"),
        ({"class_nbr": "12340\n", "term": TERM}, "class_nbr"),
        ({"class_nbr": "１２３４０", "term": TERM}, "class_nbr"),
        ({"class_nbr": "12340", "term": 2267}, "term"),
        ({"class_nbr": "12340", "term": "22 7"}, "term"),
        ([], "body"),
        ("x", "body"),
    ],
)
def test_a_wrong_body_is_refused_by_its_field_and_changes_nothing(stage: Stage, body: Any, field: str) -> None:
    answer = call(stage, body)
    assert answer.status_code == 400
    assert field in {detail["field"] for detail in answer.get_json()["details"]}
    assert stage.campus.campus.lookups.total() == 0
    assert stage.world.one("select count(*) from pickmyclass.section_checks") == 0


def test_the_first_look_is_a_baseline_and_nobody_is_told(stage: Stage) -> None:
    stage.world.add_watch(EVEN)
    stage.show(seats_available=5)
    body = checked(stage)
    assert set(body) == FIELDS
    nothing = {"seat_became_available": False, "instructor_assigned": False, "seats_filled": False}
    assert body["changes_detected"] == nothing
    assert (body["first_observation"], body["emails_sent"], body["emails_queued"]) == (True, 0, 0)
    assert stage.inbox.addresses() == []


def test_an_opening_is_mailed_to_every_watcher_during_the_call(watched: Stage) -> None:
    watched.show(seats_available=3)
    body = checked(watched)
    assert body["first_observation"] is False
    assert body["changes_detected"]["seat_became_available"] is True
    assert (body["emails_sent"], body["emails_queued"]) == (2, 2)
    assert len(set(watched.inbox.addresses())) == 2
    assert checked(watched)["emails_sent"] == 0
    assert len(watched.inbox.addresses()) == 2


def test_mail_that_left_is_not_pending_in_health(watched: Stage) -> None:
    watched.show(seats_available=3)
    assert checked(watched)["emails_sent"] == 2
    assert watched.ask(health).get_json()["checks"]["email"]["pending"] == 0


def of_course(stage: Stage, **changes: str) -> None:
    """Let the catalog say something else of the section's course."""
    timeline = stage.campus.campus._timelines[EVEN.class_nbr]
    timeline.course = replace(timeline.course, **changes)


def test_half_a_character_in_a_title_hides_no_opening(watched: Stage) -> None:
    of_course(watched, title="Design \ud83c")
    watched.show(seats_available=3)
    assert checked(watched)["emails_sent"] == 2
    assert watched.world.baseline(EVEN)["title"] == "Design"


def test_a_number_that_means_another_course_tells_its_watchers_that_their_section_is_gone(watched: Stage) -> None:
    of_course(watched, subject="ART", catalog_nbr="201")
    watched.show(seats_available=3)
    body = checked(watched)
    assert (body["first_observation"], body["changes_detected"]["seat_became_available"]) == (True, False)
    assert body["emails_queued"] == 2
    send_due_mail(watched.parts.mail, "mailer")
    mails = [mail.body for mail in watched.inbox.app.mailbox.mails()]
    assert {mail["subject"] for mail in mails} == {f"\U0001f4ed Section Removed: CSE 110 ({EVEN.class_nbr})"}
    assert all("ART 201" in mail["text"] and "ART 201" in mail["html"] for mail in mails)
    assert watched.world.one("select count(*) from class_watches") == 0
    assert watched.world.baseline(EVEN)["subject"] == "ART"


def test_a_cancelled_section_whose_seats_look_open_is_not_open(watched: Stage) -> None:
    of_course(watched, title="CANCELLED - Design")
    watched.show(seats_available=30)
    assert checked(watched)["section_status"] == "not_found"
    assert watched.inbox.addresses() == []


def test_more_students_than_seats_means_that_none_is_open_and_the_next_one_is_told_again(watched: Stage) -> None:
    told = []
    for seats in (2, -1, 1):
        watched.show(seats_available=seats)
        told.append(checked(watched)["emails_sent"])
    assert told == [2, 0, 2]


def test_an_instructor_is_mailed_too_and_a_fill_is_only_told(watched: Stage) -> None:
    watched.show(instructor="Ada Lovelace", seats_available=1)
    first = checked(watched)
    assert first["changes_detected"]["instructor_assigned"] is True
    assert first["emails_sent"] == 4
    watched.show(seats_available=0)
    second = checked(watched)["changes_detected"]
    assert second == {"seat_became_available": False, "instructor_assigned": False, "seats_filled": True}


def test_fields_that_the_old_queue_sent_along_decide_nothing(stage: Stage) -> None:
    answer = call(stage, {**BODY, "enqueued_at": "yesterday", "stagger_group": 7})
    assert answer.status_code == 200


def test_mail_that_resend_does_not_take_now_is_queued_not_lost(watched: Stage) -> None:
    # O2
    watched.inbox.misbehave("error", accepted=False)
    watched.show(seats_available=3)
    body = checked(watched)
    assert (body["emails_sent"], body["emails_queued"]) == (0, 2)
    unsettled = "select count(*) from pickmyclass.outbox where status in ('pending', 'sending')"
    assert watched.world.one(unsettled) == 2


def test_without_a_key_mail_stays_pending(watched: Stage) -> None:
    watched.rewire(RESEND_API_KEY=None)
    watched.show(seats_available=3)
    body = checked(watched)
    assert (body["emails_sent"], body["emails_queued"]) == (0, 2)
    assert watched.world.one("select count(*) from pickmyclass.outbox where status = 'pending'") == 2


def test_an_open_breaker_answers_503_with_the_wait_and_does_not_scrape(stage: Stage) -> None:
    for _ in range(10):
        stage.parts.breaker.record_failure(Permit())
    answer = call(stage)
    assert answer.status_code == 503
    wait = int(answer.headers["Retry-After"])
    assert 1 <= wait <= 120
    assert answer.get_json() == {"success": False, "error": f"Circuit breaker is OPEN. Retry in {wait}s"}
    assert stage.campus.campus.lookups.total() == 0


def test_an_unreachable_breaker_store_fails_closed(stage: Stage) -> None:
    # O25
    stage.rewire(REDIS_URL="redis://127.0.0.1:9")
    answer = call(stage)
    assert answer.status_code == 503
    assert answer.get_json() == {"success": False, "error": "Circuit breaker unavailable"}
    assert stage.campus.campus.lookups.total() == 0


@pytest.mark.parametrize(
    ("kind", "options", "failures"),
    [
        ("error", {}, 1),
        ("refuse", {}, 1),
        ("cut", {}, 1),
        ("redirect", {}, 1),
        *(("nonsense", {"shape": shape}, 1) for shape in ("html", "broken", "empty", "list", "bare", "types", "huge")),
        ("bad_request", {}, 0),
        ("token", {}, 0),
        ("rate_limit", {}, 0),
    ],
)
def test_a_failing_scraper_answers_500_and_counts_only_what_is_its_fault(
    stage: Stage, kind: str, options: dict[str, Any], failures: int
) -> None:
    stage.scraper_fails(kind, **options)
    answer = call(stage)
    assert answer.status_code == 500
    assert set(answer.get_json()) == {"success", "error", "processing_time_ms"}
    assert stage.parts.breaker.status().failure_count == failures
    assert stage.world.baseline(EVEN).get("observed_at") is None


def test_a_hanging_scraper_is_not_waited_for_longer_than_its_time(stage: Stage) -> None:
    stage.parts.durations = Durations(scrape=0.2)
    stage.scraper_fails("hang", seconds=600.0)  # whoever waits for it is stopped by the test's own time limit
    answer = call(stage)
    assert (answer.status_code, answer.get_json()["error"]) == (500, "scraper did not answer within 0.2 s")


def test_a_call_goes_through_while_queued_jobs_are_paused(stage: Stage) -> None:
    stage.parts.huey.storage.pause(60)
    assert call(stage).status_code == 200


def test_a_failing_database_answers_500_and_says_no_more(stage: Stage) -> None:
    # O4: a failing read is an error, never "first time seen".
    stage.parts.__dict__["database"] = _Broken()
    answer = call(stage)
    assert answer.status_code == 500
    assert answer.get_json()["error"] == "database failed"
    assert stage.campus.campus.lookups.total() == 0


def test_a_section_that_the_source_does_not_know_is_a_strike_not_a_failure(watched: Stage) -> None:
    # O7
    watched.show(missing=True)
    body = checked(watched)
    assert (body["section_status"], body["emails_sent"]) == ("not_found", 0)
    assert not any(body["changes_detected"].values())
    assert watched.parts.breaker.status().failure_count == 0
    assert watched.world.baseline(EVEN)["not_found_strikes"] == 1


def test_the_third_strike_after_a_day_retires_the_section_and_tells_its_watchers(watched: Stage) -> None:
    watched.show(missing=True)
    for hours in (0, 12, 13):
        watched.clock.forward(hours=hours)
        body = checked(watched)
        watched.world.postgres.execute(
            "update pickmyclass.section_checks set first_strike_at = first_strike_at - interval '13 hours',"
            " strike_slot = strike_slot - interval '13 hours', observed_at = observed_at - interval '13 hours'"
        )
    assert body["section_status"] == "retired"
    assert body["emails_queued"] == 2
    assert watched.world.one("select count(*) from class_watches") == 0


def test_a_section_that_the_workers_own_is_left_to_them(watched: Stage) -> None:
    watched.parts.database.call("pmc_switch_ownership", p_owner="workers")
    looked = watched.campus.campus.lookups.total()
    assert checked(watched)["section_status"] == "not_owned"
    assert watched.campus.campus.lookups.total() == looked


def test_a_success_resolves_the_dead_letter_of_the_section(stage: Stage) -> None:
    from shared.queue.dead_letters import letter_for
    from shared.queue.jobs import Delivery

    dead = Delivery(EVEN.key, "id", "process_section", {})
    stage.parts.huey.storage.client.hset(stage.parts.huey.storage.dead, EVEN.key, letter_for(dead, "x", "y", 1))
    checked(stage)
    assert stage.parts.huey.dead_letters.list() == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_allowed(stage: Stage, method: str) -> None:
    answer = stage.ask(process_section, method=method, secret=SECRET)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
