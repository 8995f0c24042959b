"""The very moment of a switch, on a real Postgres: who waits for whom, and who tells whom, both ways.

The old side is its stand-in on the same database; what happens while one of its checks is on its way is done inside
its scrape.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from compare.breaker import Breaker
from compare.origin import Letter, Origin
from compare.origin_store import Store
from shared.core.sections import Observation
from shared.stores.database import Database
from tests.support.world import SECTION, World, check_json, facts, read, see

EVERYTHING = None
THIS = [{"term": SECTION.term, "class_nbr": SECTION.class_nbr}]


@dataclass(slots=True)
class OldSide:
    """The Workers; `told` are the addresses that they mailed."""

    store: Store
    told: list[str] = field(default_factory=list)

    def check(self, seats: int, meanwhile: Callable[[], object] = lambda: None, instructor: str = "Staff") -> None:
        """One check that sees so many seats; `meanwhile` happens before its scraper answers."""

        def scrape(_: object) -> tuple[int, bytes, int]:
            data = facts(seats, instructor).as_json()
            data["instructor"] = data.pop("instructor_name")
            meanwhile()
            return 200, json.dumps({"success": True, "data": data}).encode(), 0

        Origin(self.store, Breaker(lambda: 0), scrape, self._send, lambda _: False).check(
            (SECTION.term, SECTION.class_nbr)
        )

    def sections(self) -> list[tuple[str, str]]:
        """What it is told to check."""
        return self.store.sections_to_check("all")

    def _send(self, letters: Any) -> bool:
        sent: list[Letter] = list(letters)
        self.told += [letter.recipient for letter in sent]
        return True


@dataclass(slots=True)
class Move:
    """Both sides on one section that two students watch, and the operator between them."""

    database: Database
    world: World
    old: OldSide
    watches: list[str]
    emails: list[str]

    def give_to(self, owner: str, sections: list[dict[str, str]] | None = EVERYTHING) -> dict[str, Any]:
        """Switch."""
        answer: dict[str, Any] = self.database.call("pmc_switch_ownership", p_owner=owner, p_sections=sections)
        return answer

    def see(self, seats: int, instructor: str = "Staff", **words: Any) -> dict[str, Any]:
        """A check of ours, seen now."""
        return see(self.database, facts(seats, instructor), self.now(), **words)

    def now(self) -> datetime:
        """The server's time."""
        moment: datetime = self.world.one("select clock_timestamp()")
        return moment

    def let_a_day_pass(self) -> None:
        """Every claim expires."""
        self.world.postgres.execute("update notifications_sent set expires_at = now() - interval '1 hour'")

    def told_by_us(self) -> list[str]:
        """Who is owed an email by our side, oldest first."""
        owed = "select u.email from pickmyclass.outbox o join auth.users u on u.id = o.user_id order by event_id, 1"
        return [email for (email,) in self.world.rows(owed)]

    def waits(self, words: str, work: Future[Any]) -> bool:
        """Whether this work, a statement with these words, comes to wait for a lock before it is done."""
        waiting = (
            "select exists (select from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and strpos(query, %s) > 0 and pid <> pg_backend_pid())"
        )
        while not work.done():
            if self.world.one(waiting, words):
                return True
            self.world.postgres.execute("select pg_sleep(0.01)")
        return False


@pytest.fixture
def move(database: Database, postgres: psycopg.Connection[Any], postgres_url: str) -> Iterator[Move]:
    """The section is full, both sides know it, and it belongs to the Workers."""
    world, store = World(postgres), Store(postgres_url)
    watches = [world.add_watch(), world.add_watch()]
    emails = [email for (email,) in world.rows("select email from auth.users order by 1")]
    move = Move(database, world, OldSide(store), watches, emails)
    move.see(0)
    move.give_to("workers")
    move.old.check(0)
    yield move
    store.close()


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
