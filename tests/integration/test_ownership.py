"""Who checks and mails a section during the move, and what goes along when that changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from shared.database import Database, DatabaseError
from shared.migrations import POST_CUTOVER
from shared.sections.section import Section
from tests.support.world import NOON, SECTION, World, facts, minutes, read, see

HOUR = timedelta(hours=1)
OTHER = Section("2267", "10000")


@pytest.fixture
def world(postgres: psycopg.Connection[Any]) -> World:
    return World(postgres)


def test_the_sections_of_the_workers_are_neither_due_nor_seeded(database: Database, world: World) -> None:
    world.add_watch(OTHER)
    world.add_watch(Section("2267", "10002"))
    world.old_upsert(OTHER, facts(0))
    database.call("pmc_switch_ownership", p_owner="workers", p_sections=[{"term": "2267", "class_nbr": "10000"}])
    due = database.call("pmc_due_sections", p_group="all", p_now=NOON)["sections"]
    assert [row["class_nbr"] for row in due] == ["10002"]
    answer = database.call("pmc_read_section", p_term="2267", p_class_nbr="10000", p_now=NOON)
    assert answer == {"owner": "workers", "version": 0, "observed_at": None, "source": None, "facts": None}
    assert world.rows("select class_nbr from get_sections_to_check('all')") == [("10000",)]


def test_a_switch_of_everything_clears_the_exceptions(database: Database, world: World) -> None:
    twice = [{"term": "2267", "class_nbr": "10000"}] * 2
    database.call("pmc_switch_ownership", p_owner="workers", p_sections=twice)
    assert database.call("pmc_show_ownership")["exception_count"] == 1
    database.call("pmc_switch_ownership", p_owner="workers")
    shown = database.call("pmc_show_ownership")
    assert (shown["default"], shown["exceptions"]) == ("workers", [])
    with pytest.raises(DatabaseError):
        database.call("pmc_switch_ownership", p_owner="nobody")


def test_what_the_old_side_saw_comes_along_and_makes_checks_on_the_way_compare_again(
    database: Database, world: World
) -> None:
    watch = world.add_watch()
    now = world.one("select now()")
    see(database, facts(4), now - HOUR, now=now)
    on_its_way = read(database, now=now)
    database.call("pmc_switch_ownership", p_owner="workers", p_now=now)
    world.old_upsert(SECTION, facts(0))
    database.call("pmc_switch_ownership", p_owner="server")
    later = world.one("select clock_timestamp()") + minutes(1)
    assert see(database, facts(2), later, known=on_its_way, now=later)["emails_queued"] == 1
    assert world.outbox() == [("seat_available", watch, "pending")]


def test_what_we_saw_is_shown_to_the_old_side_at_a_switch_back(database: Database, world: World) -> None:
    see(database, facts(4), NOON)
    world.postgres.execute("delete from class_states")
    database.call("pmc_switch_ownership", p_owner="workers")
    assert world.state()["seats_available"] == 4


def test_mail_that_we_owe_stays_owed_after_a_switch_away(database: Database, world: World) -> None:
    watch = world.add_watch()
    see(database, facts(0), NOON)
    see(database, facts(1), NOON + minutes(1))
    database.call("pmc_switch_ownership", p_owner="workers")
    assert world.outbox() == [("seat_available", watch, "pending")]


def test_mail_that_the_guard_holds_is_released_when_its_section_goes_to_the_workers(
    database: Database, world: World
) -> None:
    watch = world.add_watch()
    see(database, facts(0), NOON)
    see(database, facts(1), NOON + minutes(1))
    world.postgres.execute("update pickmyclass.outbox set held = true, last_error = 'held: a mass event'")
    assert database.call("pmc_switch_ownership", p_owner="workers")["owed"] == 1
    assert world.rows("select held, confirmed, last_error from pickmyclass.outbox") == [(False, True, None)]
    assert world.outbox() == [("seat_available", watch, "pending")]


def test_only_the_sections_that_go_are_released(database: Database, world: World) -> None:
    world.add_watch()
    see(database, facts(0), NOON)
    see(database, facts(1), NOON + minutes(1))
    world.postgres.execute("update pickmyclass.outbox set held = true")
    database.call("pmc_switch_ownership", p_owner="workers", p_sections=[{"term": "2267", "class_nbr": "10000"}])
    assert world.rows("select held from pickmyclass.outbox") == [(True,)]


def test_after_the_point_of_no_return_nothing_goes_back_to_the_workers(database: Database, world: World) -> None:
    world.postgres.execute(next(POST_CUTOVER.glob("*.sql")).read_bytes())
    with pytest.raises(DatabaseError, match="post-cutover"):
        database.call("pmc_switch_ownership", p_owner="workers")
    assert database.call("pmc_show_ownership")["default"] == "server"


def test_an_exception_that_says_what_the_default_says_is_none(database: Database, world: World) -> None:
    one = [{"term": "2267", "class_nbr": "10000"}]
    assert database.call("pmc_switch_ownership", p_owner="workers", p_sections=one)["unwatched"] == 1
    database.call("pmc_switch_ownership", p_owner="server", p_sections=one)
    assert database.call("pmc_show_ownership")["exceptions"] == []


def test_reserved_seats_go_along_at_a_switch_back(database: Database, world: World) -> None:
    see(database, facts(4, unreserved=2), NOON)
    world.postgres.execute("update class_states set non_reserved_seats = 4")
    assert database.call("pmc_switch_ownership", p_owner="workers")["carried"] == 1
    assert world.state()["non_reserved_seats"] == 2


def test_what_the_old_side_saw_by_a_clock_that_runs_ahead_counts_as_of_now(database: Database, world: World) -> None:
    see(database, facts(4), NOON, now=NOON)
    database.call("pmc_switch_ownership", p_owner="workers", p_now=NOON)
    world.old_upsert(SECTION, facts(0))  # by the server's clock, which is not NOON
    database.call("pmc_switch_ownership", p_owner="server", p_now=NOON + minutes(30))
    assert read(database, now=NOON).observed_at == NOON + minutes(30)
