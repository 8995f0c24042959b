"""A queued check: what the scraper's and the stores' moods mean for the job, and what is left on the section."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from shared.checks.check import Outcome
from shared.checks.queued import check_queued
from shared.checks.tick import TickOrder
from shared.database import Database, DatabaseError
from shared.queue.jobs import Delivery, GiveUp, HandOn, Park, PauseQueue, RetryLater
from shared.sections.slots import latest_slot
from shared.source.breaker import Permit
from tests.contract.test_cron_tick import _Broken
from tests.support.stage import EVEN, Stage


def deliver(stage: Stage, attempts: int = 0, **payload: Any) -> Delivery:
    return Delivery(EVEN.key, "id", "process_section", {"tick_id": "a-tick", **payload}, attempts=attempts)


def check(stage: Stage, attempts: int = 0, delivery: Delivery | None = None):
    return check_queued(
        stage.parts.checker, delivery or deliver(stage, attempts), stage.parts.durations, lambda low, high: high
    )


def ended_slot(stage: Stage) -> Any:
    return stage.world.baseline(EVEN).get("attempt_slot")


def test_the_baseline_that_rides_along_saves_a_database_call(stage: Stage) -> None:
    stage.clock.at = datetime.fromisoformat("2026-11-22T12:03:00+00:00")
    stage.world.add_watch(EVEN)
    stage.parts.ticker.tick(TickOrder(stage.clock(), "even", "http"))
    before = stage.parts.database.calls
    check(stage, delivery=deliver(stage, version=0, observed_at=None, facts=None))
    assert stage.parts.database.calls - before == 1


def test_a_stale_baseline_is_compared_again_with_the_fresh_one_without_scraping_again(stage: Stage) -> None:
    stage.world.add_watch(EVEN)
    check(stage)
    stage.show(seats_available=2)
    looked = stage.campus.campus.lookups.total()
    report = check(stage, delivery=deliver(stage, version=0, observed_at=None, facts=None))
    assert report.outcome is Outcome.COMMITTED
    assert report.emails_queued == 1
    assert stage.campus.campus.lookups.total() == looked + 1


def test_the_mail_of_a_queued_check_is_left_to_the_mailer(stage: Stage) -> None:
    stage.world.add_watch(EVEN)
    check(stage)
    stage.show(seats_available=2)
    report = check(stage)
    assert (report.emails_queued, report.emails_leased) == (1, 0)
    assert stage.inbox.addresses() == []


def test_an_open_breaker_parks_the_job_without_ending_its_attempt(stage: Stage) -> None:
    # O8
    for _ in range(10):
        stage.parts.breaker.record_failure(Permit())
    with pytest.raises(Park):
        check(stage)
    assert ended_slot(stage) is None
    assert stage.campus.campus.lookups.total() == 0


@pytest.mark.parametrize("attempts", [0, 2])
def test_a_scraper_that_cannot_be_reached_from_here_leaves_the_job_to_others_without_spending_an_attempt(
    stage: Stage, attempts: int
) -> None:
    stage.rewire(SCRAPER_URL="http://127.0.0.1:9")
    with pytest.raises(HandOn):
        check(stage, attempts)
    assert ended_slot(stage) is None
    assert stage.parts.breaker.status().failure_count == 1


def test_a_lost_breaker_store_parks_the_job(stage: Stage) -> None:
    stage.rewire(REDIS_URL="redis://127.0.0.1:9")
    with pytest.raises(Park):
        check(stage)


def test_too_many_requests_pause_everybody_for_as_long_as_the_scraper_says(stage: Stage) -> None:
    stage.scraper_fails("rate_limit", retry_after=7)
    with pytest.raises(PauseQueue) as paused:
        check(stage)
    assert paused.value.seconds == 7
    assert ended_slot(stage) is None


@pytest.mark.parametrize(("attempts", "longest"), [(0, 1.0), (1, 2.0)])
def test_a_failure_is_tried_again_later_and_its_attempt_has_not_ended(
    stage: Stage, attempts: int, longest: float
) -> None:
    stage.scraper_fails("error")
    with pytest.raises(RetryLater) as later:
        check(stage, attempts)
    assert later.value.delay == longest
    assert ended_slot(stage) is None


def test_the_last_failure_ends_the_attempt_and_leaves_its_reason_on_the_section(stage: Stage) -> None:
    stage.scraper_fails("error")
    with pytest.raises(RetryLater):
        check(stage, attempts=2)
    slot = latest_slot("even", stage.clock())
    assert datetime.fromisoformat(ended_slot(stage)) == slot
    assert "scraper failed" in stage.world.baseline(EVEN)["last_error"]


@pytest.mark.parametrize("kind", ["bad_request", "token"])
def test_what_cannot_get_better_is_given_up_at_once(stage: Stage, kind: str) -> None:
    stage.scraper_fails(kind)
    with pytest.raises(GiveUp):
        check(stage)
    assert ended_slot(stage) is not None
    assert stage.parts.breaker.status().failure_count == 0


def test_a_failing_database_is_tried_again_and_never_passes_for_first_sight(stage: Stage) -> None:
    # O3, O4
    stage.parts.__dict__["database"] = _Broken()
    stage.parts.__dict__.pop("checker", None)
    with pytest.raises(RetryLater):
        check(stage, attempts=2)


class _ForgetfulRead:
    """A database whose reads of a baseline fail, and nothing else does."""

    def __init__(self, inner: Database) -> None:
        self.inner, self.fails = inner, True

    @property
    def calls(self) -> int:
        return self.inner.calls

    def call(self, function: str, **arguments: Any) -> Any:
        if function == "pmc_read_section" and self.fails:
            raise DatabaseError(f"{function}: failed", "XX000")
        return self.inner.call(function, **arguments)

    def close(self) -> None:
        self.inner.close()


def test_a_read_that_fails_alone_is_never_first_sight(stage: Stage) -> None:
    # O4
    stage.world.add_watch(EVEN)
    check(stage)
    stage.show(seats_available=3)
    database = stage.parts.__dict__["database"] = _ForgetfulRead(stage.parts.database)
    stage.parts.__dict__.pop("checker", None)
    with pytest.raises(RetryLater):
        check(stage)
    assert stage.world.baseline(EVEN)["seats_available"] == 0
    database.fails = False
    assert check(stage).emails_queued == 1


def test_a_replay_lends_its_time_to_the_check(stage: Stage) -> None:
    then = datetime.fromisoformat("2026-10-01T12:00:00+00:00")
    delivery = deliver(stage)
    delivery.now = int(then.timestamp() * 1000)
    check(stage, delivery=delivery)
    row = stage.world.baseline(EVEN)
    assert datetime.fromisoformat(row["observed_at"]) == then
    assert datetime.fromisoformat(row["checked_at"]) == then
