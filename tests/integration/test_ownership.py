"""Who checks and mails a section during the move, and what goes along when that changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from shared.database import Database, DatabaseError
from shared.migrations import POST_CUTOVER
from shared.sections.section import Section
from shared.sections.slots import group_of, latest_slot
from tests.support.world import NOON, SECTION, World, facts, minutes, read, see

HOUR = timedelta(hours=1)
OTHER = Section("2267", "10000")
ITS_TERM, ITS_NUMBER = Section("2267", "10002"), Section("2271", "10000")  # what a careless join takes for OTHER


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


# Several sections, of one term and of one number ----------------------------------------------------------------------


@pytest.fixture
def three(database: Database, world: World) -> dict[Section, str]:
    """Three watched sections, each seen full; their watches."""
    sections = (OTHER, ITS_TERM, ITS_NUMBER)
    for section in sections:
        see(database, facts(0), NOON, section=section)
    return {section: world.add_watch(section) for section in sections}


def switch(database: Database, owner: str, *sections: Section) -> dict[str, Any]:
    now = NOON + minutes(2)
    listed = [{"term": section.term, "class_nbr": section.class_nbr} for section in sections] or None
    answer: dict[str, Any] = database.call("pmc_switch_ownership", p_owner=owner, p_sections=listed, p_now=now)
    return answer


@pytest.mark.parametrize("as_default", [False, True])
def test_a_section_is_switched_alone_and_not_with_its_term_or_its_number(
    database: Database, world: World, three: dict[Section, str], as_default: bool
) -> None:
    if as_default:
        switch(database, "workers")
        assert switch(database, "server", ITS_TERM, ITS_NUMBER)["sections"] == 2
    else:
        assert switch(database, "workers", OTHER)["sections"] == 1
    kept = {ITS_TERM, ITS_NUMBER}
    due = database.call("pmc_due_sections", p_group="all", p_now=NOON + HOUR)["sections"]
    assert {Section(row["term"], row["class_nbr"]) for row in due} == kept
    assert world.rows("select class_nbr, term from get_sections_to_check('all')") == [("10000", "2267")]
    terms = [{"term": term, "subject": "CSE"} for term in ("2267", "2271")]
    listings = database.call("pmc_read_listings", p_listings=terms, p_now=NOON + HOUR)
    assert {Section(one["term"], row["class_nbr"]) for one in listings for row in one["sections"]} == kept
    for section in three:
        words = {"p_term": section.term, "p_class_nbr": section.class_nbr}
        answer = database.call("pmc_read_section", **words, p_now=NOON)
        assert answer["owner"] == ("server" if section in kept else "workers")
        at = NOON + HOUR
        slot = latest_slot(group_of(section.class_nbr), at)
        struck = database.call("pmc_strike_section", **words, p_slot=slot, p_observed_at=at, p_now=at)
        assert (struck["result"] == "not_owned") is (section not in kept)
        assert (see(database, facts(2), at + HOUR, section=section)["result"] == "committed") is (section in kept)
    assert {section for section in three if world.outbox(section)} == kept
    assert switch(database, "workers")["sections"] == 2, "the third is theirs already"


def test_each_section_takes_along_what_is_known_of_itself(
    database: Database, world: World, three: dict[Section, str]
) -> None:
    switch(database, "workers")
    for section, seats in ((OTHER, 4), (ITS_TERM, 7)):
        world.old_upsert(section, facts(seats), NOON + minutes(1))
    assert switch(database, "server", ITS_TERM)["carried"] == 1
    assert [world.baseline(section)["seats_available"] for section in three] == [0, 7, 0]
    assert switch(database, "server", OTHER, ITS_NUMBER)["carried"] == 1
    assert [world.baseline(section)["seats_available"] for section in three] == [4, 7, 0]
    world.postgres.execute("update class_states set seats_available = 9")
    assert switch(database, "workers", OTHER)["carried"] == 1
    assert (world.state("10000")["seats_available"], world.state("10002")["seats_available"]) == (4, 9)


def test_only_the_mail_of_a_section_that_goes_is_counted_and_released(
    database: Database, world: World, three: dict[Section, str]
) -> None:
    for section in three:
        see(database, facts(1), NOON + minutes(1), section=section)
    world.postgres.execute("update pickmyclass.outbox set held = true")
    unwatched = Section("2271", "10002")
    answer = switch(database, "workers", OTHER, unwatched)
    assert (answer["owed"], answer["unwatched"], answer["sections"]) == (1, 1, 2)
    held = world.rows("select term, class_nbr from pickmyclass.outbox where held order by term")
    assert held == [("2267", "10002"), ("2271", "10000")]
