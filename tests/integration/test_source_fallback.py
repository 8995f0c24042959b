"""Checks with the catalog as their source, and the scraper standing in for it, on the whole product."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import requests

from shared.checks.check import BreakerOpenError, CheckOrder, Outcome
from shared.checks.queued import check_queued
from shared.queue.jobs import Delivery, GiveUp, PauseQueue
from shared.sections.section import Section
from shared.source.answers import Found
from shared.source.breaker import Permit
from tests.support.redis import command_counts
from tests.support.stage import EVEN, ODD, Stage
from tests.support.term import TERM
from workshop.campus.asu import BASE

ASU = {"SOURCE_CONTACT": "ops@example.edu", "LOOKS_PER_MINUTE": "600"}


def wire(stage: Stage, source: str, **changes: str) -> None:
    url = stage.environment["SCRAPER_URL"] + BASE
    stage.rewire(**ASU, SOURCE=source, ASU_CATALOG_URL=url, **changes)


def looks(stage: Stage) -> tuple[int, int]:
    """(calls to the catalog, look-ups at the scraper) so far."""
    told = requests.get(stage.environment["SCRAPER_URL"] + "/control/calls", timeout=10).json()
    asked = Counter(call["source"] for call in told["calls"])
    return asked["asu"], asked["scraper"]


def catalog_fails(stage: Stage, kind: str, count: int | None = None, **options: Any) -> None:
    stage.campus.catalog.faults.add({"kind": kind, "count": count, **options})


def run(stage: Stage, section: Section = EVEN) -> Any:
    delivery = Delivery(section.key, "id", "process_section", {"tick_id": "a-tick"}, permit=Permit())
    return check_queued(stage.parts.checker, delivery, stage.parts.durations, lambda low, high: high)


def test_an_opening_that_the_catalog_tells_is_owed_as_mail(stage: Stage) -> None:
    wire(stage, "asu")
    stage.world.add_watch(EVEN)
    assert run(stage).outcome is Outcome.COMMITTED
    stage.show(seats_available=2)
    assert run(stage).emails_queued == 1
    assert looks(stage) == (2, 0)
    assert stage.world.baseline(EVEN)["seats_available"] == 2


def test_the_scraper_stands_in_while_the_catalog_refuses_us(stage: Stage) -> None:
    wire(stage, "asu,scraper")
    stage.world.add_watch(EVEN)
    catalog_fails(stage, "refuse", status=403)
    assert [run(stage).outcome for _ in range(3)] == [Outcome.COMMITTED] * 3
    assert looks(stage) == (1, 3), "the catalog is left alone after its first word"


def test_the_scraper_stands_in_while_the_catalogs_breaker_is_open(stage: Stage) -> None:
    wire(stage, "asu,scraper")
    stage.world.add_watch(EVEN)
    for _ in range(10):
        stage.parts.breakers["asu"].record_failure(Permit())
    assert run(stage).outcome is Outcome.COMMITTED
    assert looks(stage) == (0, 1)
    stage.parts.breakers["asu"].reset()
    assert run(stage).outcome is Outcome.COMMITTED
    assert looks(stage) == (1, 1)


def test_when_neither_may_be_asked_the_queue_waits_for_the_first_that_may(stage: Stage) -> None:
    wire(stage, "asu,scraper")
    for breaker in stage.parts.breakers.values():
        for _ in range(10):
            breaker.record_failure(Permit())
    with pytest.raises(PauseQueue) as paused:
        run(stage)
    assert 100 < paused.value.seconds <= 120
    with pytest.raises(BreakerOpenError):
        stage.parts.checker.check(CheckOrder(EVEN, 60))
    assert looks(stage) == (0, 0)


def test_a_catalog_that_refuses_us_alone_is_told_on_the_section_and_left_alone(stage: Stage) -> None:
    wire(stage, "asu")
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    catalog_fails(stage, "refuse", status=401)
    with pytest.raises(GiveUp):
        run(stage)
    assert "takes no visitors" in stage.world.baseline(EVEN)["last_error"]
    for _ in range(5):
        with pytest.raises(PauseQueue):
            run(stage, ODD)
    assert looks(stage) == (1, 0)


@pytest.mark.parametrize("kind", ["rate_limit", "empty", "challenge"])
def test_everybody_leaves_a_catalog_alone_that_wants_to_be(stage: Stage, kind: str) -> None:
    wire(stage, "asu")
    stage.world.add_watch(EVEN)
    catalog_fails(stage, kind)
    for _ in range(5):
        with pytest.raises(PauseQueue):
            run(stage)
    wire(stage, "asu")  # another process
    with pytest.raises(PauseQueue):
        run(stage)
    assert looks(stage) == (1, 0)


def test_a_scraper_that_asks_for_no_wait_gets_one_all_the_same(stage: Stage) -> None:
    stage.world.add_watch(EVEN)
    stage.scraper_fails("rate_limit", None, retry_after=0)
    waits = []
    for _ in range(4):
        with pytest.raises(PauseQueue) as paused:
            run(stage)
        waits.append(paused.value.seconds)
    assert all(4 < wait <= 5 for wait in waits), "the same pause, not four of them"


def test_the_pause_of_a_scraper_alone_holds_the_queue_and_no_people(stage: Stage) -> None:
    stage.world.add_watch(EVEN)
    stage.scraper_fails("rate_limit", retry_after=60)
    with pytest.raises(PauseQueue):
        run(stage)
    assert stage.parts.checker.look_up(ODD, 10) is not None


def test_each_source_keeps_a_breaker_of_its_own(stage: Stage) -> None:
    wire(stage, "asu,scraper")
    stage.parts.breakers["asu"].record_failure(Permit())
    failures = {name: breaker.status().failure_count for name, breaker in stage.parts.breakers.items()}
    assert failures == {"asu": 1, "scraper": 0}
    prefix = stage.parts.settings.redis_prefix
    assert [breaker.key for breaker in stage.parts.breakers.values()] == [
        f"{prefix}circuit:asu",
        f"{prefix}circuit:scraper",
    ]


def test_with_one_source_its_breaker_is_the_queues_own(stage: Stage) -> None:
    wire(stage, "asu")
    assert stage.parts.huey.breaker.key.endswith("circuit:asu")
    assert stage.parts.breaker is stage.parts.huey.breaker


def test_a_look_for_the_queue_costs_redis_nothing_while_it_has_turns(stage: Stage) -> None:
    wire(stage, "asu,scraper")
    stage.parts.lane = "queue"
    leaves = []
    for number in range(8):
        if number == 3:
            stage.parts.huey.storage.client.config_resetstat()
        leave = stage.parts.sources.leave()
        leaves.append(leave.look_up(EVEN, 60))  # type: ignore[union-attr]  # it is given
    assert all(isinstance(answer, Found) for answer in leaves)
    assert sum(command_counts(stage.parts.huey.storage.client).values()) <= 11, "five looks, one grant more"


def test_go_leads_to_the_page_of_the_first_source(stage: Stage) -> None:
    wire(stage, "asu")
    assert f"term={TERM}" in stage.parts.page_of(EVEN)
