"""Looks at listings on the whole product: the floor's jobs, the looks between the ticks, one scheduler at a time."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
import requests
from click.testing import CliRunner

from shared.checks.look import Looker, Reads
from shared.checks.looks import Looks, Pace
from shared.checks.queued import Looked, look_queued
from shared.checks.tick import TickOrder, job_for_listing
from shared.cli.main import ops
from shared.queue.jobs import Delivery, GiveUp, Job, RetryLater
from shared.sections.section import Section
from shared.settings import ROOT, names
from shared.source.answers import Broken, Listing
from tests.support.redis import wait_until
from tests.support.stage import EVEN, ODD, Stage, consuming
from tests.support.term import TERM
from tests.support.world import minutes
from workshop.campus.asu import BASE
from workshop.parts.processes import Child, start_child

CSE = Listing(TERM, "CSE")


@pytest.fixture
def catalog(stage: Stage) -> Stage:
    """The product with the catalog as its source, and both sections watched."""
    url = stage.environment["SCRAPER_URL"] + BASE
    asu = {"SOURCE": "asu", "ASU_CATALOG_URL": url, "SOURCE_CONTACT": "ops@example.edu", "LOOKS_PER_MINUTE": "600"}
    stage.environment.update(asu)
    stage.rewire()
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    return stage


def calls(stage: Stage) -> int:
    told = requests.get(stage.environment["SCRAPER_URL"] + "/control/calls", timeout=10).json()
    return Counter(call["source"] for call in told["calls"])["asu"]


def scheduler(stage: Stage, worker: str, read: Reads | None = None, a_minute: float = 30) -> Looks:
    """Another consumer's."""
    parts = stage.parts
    looker = Looker(parts.database, read or parts.checker.read_listing, parts.checker.strike, stage.clock)
    return Looks(
        parts.database,
        looker,
        parts.checker,
        listing_of=parts.sources.listing_of,
        pace=lambda: Pace(a_minute * 24 * 60, a_minute),
        worker=worker,
        timezone="America/Phoenix",
        clock=stage.clock,
        durations=parts.durations,
        replay=True,
    )


def minute(looks: Looks, woken: list[str] | None = None, *, busy: bool = False) -> int:
    return looks.minute(lambda: busy, lambda: (woken if woken is not None else []).append("mail"))


def end_lease(stage: Stage) -> None:
    """Whoever decided where to look has been gone for long enough."""
    stage.world.postgres.execute("update pickmyclass.look_scheduler set leased_until = now() - interval '1 s'")


def run(stage: Stage, *sections: Section) -> Looked:
    """The floor's job for these sections, as a consumer runs it."""
    job = job_for_listing(CSE, [one.class_nbr for one in sections], "a-tick", stage.clock(), replay=True)
    delivery = Delivery.of(job, "id", 0)
    return look_queued(stage.parts.checker, stage.parts.looker, delivery, stage.parts.durations, lambda low, high: high)


# Between the ticks ----------------------------------------------------------------------------------------------


def test_an_opening_between_the_ticks_is_owed_as_mail_within_the_minute(catalog: Stage) -> None:
    looks, woken = scheduler(catalog, "one"), list[str]()
    assert minute(looks) == 1
    catalog.show(seats_available=2)
    catalog.clock.at += minutes(3)
    assert minute(looks, woken) == 1
    assert woken == ["mail"]
    assert [kind for kind, _, _ in catalog.world.outbox(EVEN)] == ["seat_available"]
    assert calls(catalog) == 2
    (listing,) = looks.candidates()
    assert {one.section: one.open_seats for one in listing.sections} == {EVEN: 2, ODD: 0}


def test_nothing_is_looked_at_again_at_once_whoever_looked(catalog: Stage) -> None:
    looks = scheduler(catalog, "one")
    minute(looks)
    assert minute(looks) == 0
    catalog.clock.at += minutes(3)
    run(catalog, EVEN)  # the floor was there just now
    assert minute(looks) == 0
    catalog.clock.at += minutes(3)
    assert minute(looks) == 1


def test_a_call_that_a_minute_does_not_hold_is_saved_up_for(catalog: Stage) -> None:
    looks, made = scheduler(catalog, "one", a_minute=0.25), []
    for _ in range(9):
        made.append(minute(looks))
        catalog.clock.forward(seconds=60)
    assert made == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_one_consumer_decides_at_a_time_and_another_goes_on_when_it_is_gone(catalog: Stage) -> None:
    one, two = scheduler(catalog, "one"), scheduler(catalog, "two")
    assert (minute(one), minute(two)) == (1, 0)
    catalog.clock.at += minutes(5)
    assert minute(two) == 0
    end_lease(catalog)
    assert (minute(two), minute(one)) == (1, 0)
    two.leave()
    catalog.clock.at += minutes(5)
    assert minute(one) == 1


def test_who_cannot_reach_the_source_lets_another_consumer_decide(catalog: Stage) -> None:
    one = scheduler(catalog, "one", lambda *_: Broken("asu cannot be reached", is_reached=False))
    two = scheduler(catalog, "two")
    assert minute(one) == 0
    assert minute(one) == 0, "it rests for a minute, so that another gets the lease"
    assert minute(two) == 1
    catalog.clock.at += minutes(5)
    assert (minute(one), minute(two)) == (0, 1)


def test_the_floors_own_checks_go_first(catalog: Stage) -> None:
    assert minute(scheduler(catalog, "one"), busy=True) == 0
    assert calls(catalog) == 0


def test_a_look_that_fails_is_left_alone_for_a_while_and_changes_nothing(catalog: Stage) -> None:
    looks = scheduler(catalog, "one")
    catalog.campus.catalog.faults.add({"kind": "error", "status": 500, "count": 1})
    assert minute(looks) == 0
    catalog.clock.at += minutes(3)
    assert minute(looks) == 0
    catalog.clock.at += minutes(3)
    assert minute(looks) == 1


def test_without_listings_single_sections_are_looked_up(stage: Stage) -> None:
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    looks = scheduler(stage, "one")
    assert minute(looks) == 2
    stage.show(seats_available=1)
    stage.clock.at += minutes(3)
    before = stage.world.state(ODD.class_nbr)
    assert minute(looks) == 2
    assert len(stage.world.outbox(EVEN)) == 1
    assert stage.world.state(ODD.class_nbr) == before, "what did not change is not shown anew"


def test_single_sections_are_left_to_another_consumer_too_when_the_source_cannot_be_reached(stage: Stage) -> None:
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    there = scheduler(stage, "there")
    stage.rewire(SCRAPER_URL="http://127.0.0.1:9")
    here = scheduler(stage, "here")
    assert minute(here) == 0
    assert (minute(here), minute(there)) == (0, 2)


def test_a_section_that_somebody_begins_to_watch_is_looked_at_within_minutes(stage: Stage) -> None:
    stage.world.add_watch(EVEN)
    looks = scheduler(stage, "one")
    assert minute(looks) == 1
    stage.clock.at += minutes(3)
    stage.world.add_watch(ODD, since=stage.clock())
    assert minute(looks) == 2


def test_a_scheduler_that_only_shows_what_it_would_do_takes_no_lease(catalog: Stage) -> None:
    looks = scheduler(catalog, "one")
    looks.read()
    assert [one.what for one in looks.picks()] == [CSE]
    assert minute(scheduler(catalog, "two")) == 1


# The floor ------------------------------------------------------------------------------------------------------


def test_a_tick_queues_a_listing_once_and_counts_its_sections(catalog: Stage) -> None:
    order = TickOrder(catalog.clock(), "all", "http")
    report = catalog.parts.ticker.tick(order)
    assert (report.enqueued, report.already_queued) == (2, 0)
    # Which subject a section belongs to is known once somebody has seen it, or from its watch.
    again = catalog.parts.ticker.tick(order)
    assert (again.enqueued, again.already_queued) == (0, 2)
    assert catalog.parts.huey.pending_count() == 1


def test_the_floors_look_ends_each_sections_attempt(catalog: Stage) -> None:
    assert run(catalog, EVEN, ODD) == Looked(0, [EVEN, ODD], [])
    rows = catalog.world.rows("select class_nbr, attempt_slot is not null, last_error from pickmyclass.checks_seen()")
    assert sorted(rows) == [(EVEN.class_nbr, True, None), (ODD.class_nbr, True, None)]


def test_the_floors_look_resolves_the_dead_letters_of_the_sections_that_it_spoke_for(catalog: Stage) -> None:
    run(catalog, EVEN, ODD)  # now it is known which listing tells of them
    catalog.clock.at += minutes(60)
    huey, now_ms = catalog.parts.huey, round(catalog.clock().timestamp() * 1000)
    with consuming(catalog.parts):
        huey.push([Job("of another release", EVEN.key, {}), Job("of another release", f"{TERM}:99999", {})], now_ms)
        wait_until(lambda: huey.counts().dead == 2)
        catalog.parts.ticker.tick(TickOrder(catalog.clock(), "all", "http"))
        wait_until(lambda: huey.counts().dead == 1)
    assert [letter.key for letter in huey.dead_letters.list()] == [f"{TERM}:99999"]


def test_a_due_section_that_the_listing_does_not_show_is_looked_up_alone(catalog: Stage) -> None:
    run(catalog, EVEN, ODD)
    catalog.show(ODD, missing=True)
    catalog.clock.at += minutes(60)
    assert run(catalog, EVEN, ODD) == Looked(0, [EVEN], [ODD])
    assert catalog.world.baseline(ODD)["not_found_strikes"] == 0


def test_a_floors_look_that_cannot_be_made_is_recorded_on_each_section_in_the_end(catalog: Stage) -> None:
    run(catalog, EVEN, ODD)
    catalog.clock.at += minutes(60)
    catalog.campus.catalog.faults.add({"kind": "error", "status": 500, "count": None})
    job = job_for_listing(CSE, [EVEN.class_nbr, ODD.class_nbr], "a-tick", catalog.clock(), replay=True)
    for attempts in range(3):
        delivery = Delivery.of(job, "id", 0)
        delivery.attempts = attempts
        with pytest.raises((RetryLater, GiveUp)):
            look_queued(catalog.parts.checker, catalog.parts.looker, delivery, catalog.parts.durations)
    errors = catalog.world.rows("select last_error is not null from pickmyclass.checks_seen()")
    assert errors == [(True,), (True,)]


def test_where_another_source_stands_in_the_sections_are_looked_up_alone(catalog: Stage) -> None:
    url = catalog.environment["SCRAPER_URL"] + BASE
    catalog.rewire(SOURCE="asu,scraper", ASU_CATALOG_URL=url, SOURCE_CONTACT="ops@example.edu", LOOKS_PER_MINUTE="600")
    catalog.campus.catalog.faults.add({"kind": "refuse", "status": 403, "count": 1})
    assert run(catalog, EVEN, ODD) == Looked(0, [], [EVEN, ODD])


def test_the_lease_outlives_a_minute(catalog: Stage) -> None:
    minute(scheduler(catalog, "one"))
    left = catalog.world.one("select leased_until - now() from pickmyclass.look_scheduler")
    assert timedelta(minutes=2) < left <= timedelta(minutes=3)


# Whatever dies on the way ---------------------------------------------------------------------------------------


@pytest.fixture
def doomed(catalog: Stage) -> Iterator[Callable[[str], Child]]:
    """Starts a process that looks for a minute, and kills itself after a step."""
    children: list[Child] = []

    def start(step: str) -> Child:
        environment = {**os.environ, **dict.fromkeys(names(), ""), **catalog.environment}
        command = [sys.executable, "-m", "tests.support.look_process", step, catalog.clock.at.isoformat()]
        children.append(start_child(command, cwd=ROOT, env=environment))
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait(10)


def opens(catalog: Stage) -> None:
    """A seat opens on a campus that has been looked at before."""
    minute(scheduler(catalog, "one"))
    catalog.show(seats_available=2)
    catalog.clock.at += minutes(3)
    end_lease(catalog)


def expect_one_event_and_one_mail(catalog: Stage) -> None:
    """Whatever the dead process left behind: another one's minute makes good what is missing, and no more."""
    end_lease(catalog)
    catalog.clock.at += minutes(3)
    minute(scheduler(catalog, "two"))
    assert catalog.world.rows("select kind from pickmyclass.section_events") == [("seat_available",)]
    assert [kind for kind, _, _ in catalog.world.outbox(EVEN)] == ["seat_available"]
    assert catalog.world.one("select pickmyclass.is_mail_due()"), "the next beat wakes the mailer"


@pytest.mark.parametrize(
    ("step", "events"),
    [
        ("lease taken", 0),
        ("baselines read", 0),
        ("source asked", 0),
        ("about to commit", 0),
        ("committed", 1),
        ("mail woken", 1),
    ],
)
def test_kill_9_between_two_steps_of_a_look_loses_no_mail_and_doubles_none(
    catalog: Stage, doomed: Callable[[str], Child], step: str, events: int
) -> None:
    opens(catalog)
    assert doomed(step).wait(60) == -signal.SIGKILL
    assert catalog.world.one("select count(*) from pickmyclass.section_events") == events
    expect_one_event_and_one_mail(catalog)


def test_kill_9_while_the_commit_is_under_way_loses_no_mail_and_doubles_none(
    catalog: Stage, doomed: Callable[[str], Child], postgres_url: str
) -> None:
    opens(catalog)
    with psycopg.connect(postgres_url) as other:
        other.execute("select from pickmyclass.section_checks where class_nbr = %s for update", [EVEN.class_nbr])
        child = doomed("mail woken")
        catalog.world.wait_until_blocked()
        child.kill()
        assert child.wait(10) == -signal.SIGKILL
    expect_one_event_and_one_mail(catalog)


def test_a_server_that_dies_in_the_middle_of_a_commit_has_written_nothing(catalog: Stage, postgres_url: str) -> None:
    minute(scheduler(catalog, "one"))
    catalog.show(EVEN, seats_available=2)
    catalog.show(ODD, seats_available=2)
    catalog.clock.at += minutes(3)
    with psycopg.connect(postgres_url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("select from pickmyclass.section_checks where class_nbr = %s for update", [ODD.class_nbr])
        looking = pool.submit(minute, scheduler(catalog, "one"))
        catalog.world.wait_until_blocked()  # the first section is committed, the second waits
        catalog.world.postgres.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and wait_event_type = 'Lock'"
        )
        looking.result(60)
    assert catalog.world.rows("select kind from pickmyclass.section_events") == []
    catalog.clock.at += minutes(6)
    minute(scheduler(catalog, "one"))
    assert catalog.world.rows("select kind from pickmyclass.section_events") == [("seat_available",)] * 2


def test_an_operator_sees_what_comes_next_and_why(catalog: Stage) -> None:
    first = CliRunner().invoke(ops, ["looks", "--json"])
    assert json.loads(first.output)["looks"][0]["why"] == "never seen"
    minute(scheduler(catalog, "one"))
    catalog.clock.at += minutes(3)
    shown = CliRunner().invoke(ops, ["looks", "--json"])
    assert json.loads(shown.output)["looks"] == [
        {"look": f"{TERM}:CSE", "calls": 1, "watched": 2, "minutes": 3, "why": "2 full, 2 watching"}
    ]


def test_the_planner_is_told_of_each_section_once_with_its_own_seats(catalog: Stage) -> None:
    catalog.show(EVEN, seats_available=3)
    run(catalog, EVEN, ODD)
    asked = {"p_since": catalog.clock(), "p_all": True, "p_timezone": "UTC", "p_now": catalog.clock()}
    told = catalog.parts.database.call("pmc_read_looks", **asked)["sections"]
    assert sorted((row[1], row[4]) for row in told) == [(EVEN.class_nbr, 3), (ODD.class_nbr, 0)]
