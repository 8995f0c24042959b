"""The very moment of a switch, on a real Postgres: who waits for whom, and who tells whom, both ways.

The old side is its stand-in on the same database; what happens while one of its checks is on its way is done inside
its scrape.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.types.json import Jsonb

from shared.database import DatabaseError
from shared.migrations import POST_CUTOVER
from shared.sections.section import Observation
from tests.support.move import THIS, Move
from tests.support.world import SECTION, check_json, facts, read, see

AFTER = next(POST_CUTOVER.glob("*.sql"))

# Who waits for whom -----------------------------------------------------------------------------------------------


def test_a_switch_waits_for_a_commit_that_itself_waits_and_carries_what_it_saw(move: Move, postgres_url: str) -> None:
    move.give_to("server")
    with ThreadPoolExecutor(2) as pool, psycopg.connect(postgres_url) as other:
        other.execute("select from pickmyclass.section_checks for update")
        committing = pool.submit(move.see, 3)
        assert move.waits("pmc_commit_check", committing)
        switching = pool.submit(move.give_to, "workers")
        assert move.waits("pmc_switch_ownership", switching)
        other.rollback()
        assert committing.result(30)["emails_queued"] == 2
        assert switching.result(30)["sections"] == 1
    move.old.check(3)
    assert (move.told_by_us(), move.old.told) == (move.emails, [])


def test_a_commit_that_comes_during_a_switch_away_waits_and_then_writes_nothing(move: Move, postgres_url: str) -> None:
    move.give_to("server")
    before = move.world.baseline()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as operator:
        operator.execute("select pmc_switch_ownership('workers')")
        committing = pool.submit(move.see, 3)
        assert move.waits("pmc_commit_check", committing)
        operator.commit()
        assert committing.result(30) == {"result": "not_owned"}
    assert (move.world.baseline(), move.world.claims(), move.told_by_us()) == (before, set(), [])
    move.old.check(3)
    assert sorted(move.old.told) == move.emails


def test_a_strike_that_comes_during_a_switch_away_waits_and_then_writes_nothing(move: Move, postgres_url: str) -> None:
    move.give_to("server")
    before, now = move.world.baseline(), move.now()
    strike = {"p_term": SECTION.term, "p_class_nbr": SECTION.class_nbr, "p_slot": now, "p_observed_at": now}
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as operator:
        operator.execute("select pmc_switch_ownership('workers')")
        striking = pool.submit(move.database.call, "pmc_strike_section", **strike)
        assert move.waits("pmc_strike_section", striking)
        operator.commit()
        assert striking.result(30)["result"] == "not_owned"
    assert move.world.baseline() == before


def test_a_commit_that_comes_during_a_switch_to_us_compares_with_what_came_along(move: Move, postgres_url: str) -> None:
    on_its_way = read(move.database)  # full; from the time before the old side had the section
    move.old.check(3)
    move.let_a_day_pass()
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as operator:
        operator.execute("select pmc_switch_ownership('server')")
        committing = pool.submit(move.see, 3, known=on_its_way)
        assert move.waits("pmc_commit_check", committing)
        operator.commit()
        assert committing.result(30)["result"] == "committed"
    assert (move.told_by_us(), sorted(move.old.told)) == ([], move.emails)


def test_two_switches_take_turns_and_the_second_sees_what_the_first_did(move: Move, postgres_url: str) -> None:
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as operator:
        operator.execute("select pmc_switch_ownership('server')")
        switching = pool.submit(move.give_to, "workers", THIS)
        assert move.waits("pmc_switch_ownership", switching)
        operator.commit()
        assert switching.result(30)["sections"] == 1
    assert move.old.sections() == [(SECTION.term, SECTION.class_nbr)]


def test_the_old_side_is_told_of_its_sections_until_the_switch_is_done_and_never_after(
    move: Move, postgres_url: str
) -> None:
    with psycopg.connect(postgres_url) as operator:
        operator.execute("select pmc_switch_ownership('server')")
        assert move.old.sections() == [(SECTION.term, SECTION.class_nbr)]
        operator.commit()
    assert move.old.sections() == []


def test_our_tick_is_given_a_section_only_while_it_is_ours(move: Move) -> None:
    def due() -> list[str]:
        page = move.database.call("pmc_due_sections", p_group="all", p_now=move.now())
        return [section["class_nbr"] for section in page["sections"]]

    assert due() == []
    move.give_to("server", THIS)
    assert due() == [SECTION.class_nbr]
    move.give_to("workers", THIS)
    assert due() == []


# Who tells whom ---------------------------------------------------------------------------------------------------


def test_the_old_side_in_flight_with_a_seat_tells_and_ours_then_does_not(move: Move) -> None:
    move.old.check(3, meanwhile=lambda: move.give_to("server"))
    assert move.see(3)["emails_queued"] == 0
    assert (move.told_by_us(), sorted(move.old.told)) == ([], move.emails)


def test_ours_tells_while_the_old_side_is_in_flight_with_the_same_seat(move: Move) -> None:
    move.old.check(3, meanwhile=lambda: (move.give_to("server"), move.see(3)))
    assert (move.told_by_us(), move.old.told) == (move.emails, [])


def test_our_check_in_flight_with_a_seat_writes_nothing_and_the_old_side_tells(move: Move) -> None:
    move.give_to("server")
    known, seen = read(move.database), Observation(move.now(), facts(3))
    before = move.world.baseline(), move.world.state()
    move.give_to("workers")
    check = check_json(known, seen)
    assert move.database.call("pmc_commit_check", p_check=check) == {"result": "not_owned"}
    assert (move.world.baseline(), move.world.state()) == before
    move.old.check(3)
    assert (move.told_by_us(), sorted(move.old.told)) == ([], move.emails)


def test_our_check_in_flight_over_a_switch_there_and_back_is_discarded(move: Move) -> None:
    move.give_to("server")
    check = check_json(read(move.database), Observation(move.now(), facts(3)))
    move.give_to("workers")
    move.old.check(3)
    move.let_a_day_pass()
    move.give_to("server")
    assert move.database.call("pmc_commit_check", p_check=check) == {"result": "superseded"}
    assert (move.told_by_us(), sorted(move.old.told)) == ([], move.emails)


def test_one_person_whom_the_old_side_claims_at_this_moment_is_not_told_by_our_commit(
    move: Move, postgres_url: str
) -> None:
    move.give_to("server")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as workers:
        workers.execute("select try_record_notification(%s, 'seat_available')", [move.watches[0]])
        committing = pool.submit(move.see, 3)
        assert move.waits("pmc_commit_check", committing)
        workers.commit()
        assert committing.result(30)["emails_queued"] == 1
    assert move.world.outbox() == [("seat_available", move.watches[1], "pending")]


@pytest.mark.parametrize("ends", ["commit", "rollback"])
def test_one_person_whom_our_commit_claims_at_this_moment_is_told_by_the_old_side_only_if_it_fails(
    move: Move, postgres_url: str, ends: str
) -> None:
    move.give_to("server")
    check = check_json(read(move.database), Observation(move.now(), facts(3)))
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as ours:
        ours.execute("select pmc_commit_check(%s)", [Jsonb(check)])
        claiming = pool.submit(move.old.store.claim, move.watches[0], "seat_available")
        assert move.waits("try_record_notification", claiming)
        getattr(ours, ends)()
        assert claiming.result(30) is (ends == "rollback")


def test_a_late_full_look_of_the_old_side_makes_nobody_be_told_again_after_a_switch_back(move: Move) -> None:
    move.old.check(0, meanwhile=lambda: (move.give_to("server"), move.see(3)))
    assert (move.told_by_us(), move.world.state()["seats_available"]) == (move.emails, 0)
    assert move.give_to("workers")["carried"] == 1
    move.old.check(3)
    assert move.old.told == []


def test_a_late_full_look_of_the_old_side_is_gone_from_the_dashboard_with_our_next_check(move: Move) -> None:
    move.old.check(0, meanwhile=lambda: (move.give_to("server"), move.see(3)))
    assert move.see(3)["events"] == []
    assert (move.told_by_us(), move.world.state()["seats_available"]) == (move.emails, 3)


# What goes along --------------------------------------------------------------------------------------------------


def test_what_the_old_side_told_and_is_still_open_is_not_told_again_a_day_later(move: Move) -> None:
    move.old.check(3)
    move.let_a_day_pass()
    assert move.give_to("server")["carried"] == 1
    assert move.see(3)["emails_queued"] == 0
    assert (move.told_by_us(), sorted(move.old.told)) == ([], move.emails)


def test_what_we_told_and_is_still_open_is_not_told_again_a_day_later(move: Move) -> None:
    move.give_to("server")
    move.see(3)
    move.let_a_day_pass()
    move.give_to("workers")
    move.old.check(3)
    assert (move.told_by_us(), move.old.told) == (move.emails, [])


def test_a_section_that_filled_at_the_old_side_and_opened_since_is_told_by_us(move: Move) -> None:
    move.give_to("server")
    move.see(3)
    move.give_to("workers")
    move.old.check(0)
    move.give_to("server")
    assert move.see(2)["emails_queued"] == 2
    assert move.told_by_us() == move.emails * 2


def test_a_section_that_filled_at_ours_and_opened_since_is_told_by_the_old_side(move: Move) -> None:
    move.old.check(3)
    move.give_to("server")
    move.see(3)
    move.see(0)
    move.give_to("workers")
    move.old.check(2)
    assert (move.told_by_us(), sorted(move.old.told)) == ([], sorted(move.emails * 2))


def test_an_instructor_named_while_nobody_had_looked_since_the_switch_is_told_by_us_alone(move: Move) -> None:
    move.give_to("server")
    assert move.see(0, "Grace Hopper")["emails_queued"] == 2
    move.give_to("workers")
    move.old.check(0, instructor="Grace Hopper")
    assert (move.told_by_us(), move.old.told) == (move.emails, [])


def test_an_instructor_whom_the_old_side_saw_and_told_is_not_told_by_us(move: Move) -> None:
    move.old.check(0, instructor="Grace Hopper", meanwhile=lambda: move.give_to("server"))
    move.see(0, "Grace Hopper")
    assert (move.told_by_us(), sorted(move.old.told)) == ([], move.emails)


def test_a_switch_back_that_comes_during_the_point_of_no_return_waits_and_is_refused(
    move: Move, postgres_url: str
) -> None:
    move.give_to("server")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as operator:
        operator.execute(AFTER.read_bytes())
        switching = pool.submit(move.give_to, "workers")
        assert move.waits("pmc_switch_ownership", switching)
        operator.commit()
        with pytest.raises(DatabaseError, match="per term"):
            switching.result(30)


def test_a_point_of_no_return_that_comes_during_a_switch_back_waits_and_is_refused(
    move: Move, postgres_url: str
) -> None:
    move.give_to("server")
    with ThreadPoolExecutor(1) as pool, psycopg.connect(postgres_url) as operator:
        operator.execute("select pmc_switch_ownership('workers')")
        with psycopg.connect(postgres_url) as other:
            going = pool.submit(other.execute, AFTER.read_bytes())
            assert move.waits("class_states", going)
            operator.commit()
            with pytest.raises(psycopg.Error, match="workers still own"):
                going.result(30)


def test_a_seat_that_the_old_side_tells_late_when_we_know_it_is_gone_is_told_again_when_it_opens(move: Move) -> None:
    move.old.check(3, meanwhile=lambda: (move.give_to("server"), move.see(0)))
    assert sorted(move.old.told) == move.emails
    move.see(0)
    move.see(2)
    assert move.told_by_us() == move.emails


def test_a_name_that_the_old_side_tells_late_when_we_know_of_none_is_told_again_when_there_is_one(move: Move) -> None:
    move.old.check(0, meanwhile=lambda: (move.give_to("server"), move.see(0)), instructor="Ada Byron")
    assert sorted(move.old.told) == move.emails
    move.see(0)
    move.see(0, "Ada Byron")
    assert move.told_by_us() == move.emails


def test_a_look_from_before_the_old_side_told_does_not_take_that_back(move: Move) -> None:
    before = move.now()
    move.old.check(3)
    move.give_to("server")
    see(move.database, facts(0), before)
    move.see(3)
    assert move.told_by_us() == []


def test_an_unreserved_seat_that_the_old_side_tells_late_is_told_again_when_only_reserved_ones_were_left(
    move: Move,
) -> None:
    def meanwhile() -> None:
        move.give_to("server")
        see(move.database, facts(5, unreserved=0), move.now())

    move.give_to("server")
    for seats in (0, 5):
        see(move.database, facts(seats, unreserved=0), move.now())
    move.give_to("workers")
    move.old.check(5, meanwhile=meanwhile, unreserved=3)
    assert sorted(move.old.told) == move.emails
    see(move.database, facts(5, unreserved=0), move.now())
    see(move.database, facts(5, unreserved=2), move.now())
    assert move.told_by_us() == move.emails


def test_whoever_we_told_of_reserved_seats_is_not_told_again_within_a_day(move: Move) -> None:
    move.give_to("server")
    move.see(5)
    for unreserved in (0, 0, 2):
        see(move.database, facts(5, unreserved=unreserved), move.now())
    assert move.told_by_us() == move.emails


def test_strikes_from_before_the_old_side_found_the_section_are_void(move: Move) -> None:
    move.give_to("server")
    move.world.postgres.execute(
        "update pickmyclass.section_checks set not_found_strikes = 2, first_strike_at = now() - interval '3 days'"
    )
    move.give_to("workers")
    move.old.check(0)
    move.give_to("server")
    assert move.world.rows("select not_found_strikes, first_strike_at from pickmyclass.section_checks") == [(0, None)]
