"""The commit of a check: baseline and owed mail move together or not at all, whoever races whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.database import Database, DatabaseError, connect_postgres
from shared.sections.section import Known, Observation, Section
from tests.support.world import NOON, SECTION, World, check_json, facts, known_of, minutes, read, see
from workshop.parts.postgres import EmbeddedPostgres


@pytest.fixture
def world(postgres: psycopg.Connection[Any]) -> World:
    return World(postgres)


def open_then_see(database: Database, *seats: int) -> list[dict[str, Any]]:
    """Checks a minute apart, each seeing the next number of seats."""
    return [see(database, facts(count), NOON + minutes(i)) for i, count in enumerate(seats)]


def test_first_sight_is_a_baseline_and_tells_nobody(database: Database, world: World) -> None:
    world.add_watch()
    answer = see(database, facts(5))
    assert answer["result"] == "committed"
    assert answer["first_observation"]
    assert (answer["events"], answer["emails_queued"], world.outbox()) == ([], 0, [])
    assert world.baseline()["seats_available"] == 5
    assert world.state()["seats_available"] == 5


def test_an_opening_owes_one_mail_to_each_who_may_be_told(database: Database, world: World) -> None:
    told = [world.add_watch(since=NOON + minutes(i)) for i in (2, 1)]
    for column in ("email_bounced", "spam_complained", "is_disabled"):
        world.add_watch(user=world.add_user(**{column: True}))
    world.add_watch(user=world.add_user(notifications_enabled=False))
    without_profile = world.add_user()
    world.postgres.execute("delete from user_profiles where user_id = %s", [without_profile])
    told.append(world.add_watch(user=without_profile, since=NOON + minutes(3)))

    answer = open_then_see(database, 0, 3)[-1]
    assert answer["emails_queued"] == 3
    assert world.outbox() == [("seat_available", watch, "pending") for watch in (told[1], told[0], told[2])]
    assert world.claims() == {(watch, "seat_available") for watch in told}


def test_the_mail_says_what_was_seen_and_when_it_had_been_seen_before(database: Database, world: World) -> None:
    world.add_watch()
    open_then_see(database, 0, 3)
    payload = world.one("select payload from pickmyclass.outbox")
    assert payload["facts"] == facts(3).as_json()
    assert payload["before"] == facts(0).as_json()
    assert payload["observed_at"].startswith("2026-11-22T12:01")
    assert payload["previous_observed_at"].startswith("2026-11-22T12:00")


def test_a_filled_section_drops_what_waits_and_can_be_told_again(database: Database, world: World) -> None:
    watch = world.add_watch()
    open_then_see(database, 0, 3, 0)
    assert world.outbox() == [("seat_available", watch, "dropped")]
    assert world.claims() == set()
    see(database, facts(1), NOON + minutes(9))
    assert world.outbox()[1:] == [("seat_available", watch, "pending")]


def test_mail_that_is_being_sent_is_not_dropped(database: Database, world: World) -> None:
    watch = world.add_watch()
    open_then_see(database, 0, 3)
    world.postgres.execute("update pickmyclass.outbox set status = 'sending'")
    see(database, facts(0), NOON + minutes(5))
    assert world.outbox() == [("seat_available", watch, "sending")]


def test_back_to_staff_rearms_the_instructor_and_leaves_the_seats_alone(database: Database, world: World) -> None:
    watch = world.add_watch()
    see(database, facts(0, "Staff"), NOON)
    see(database, facts(2, "Ada Lovelace"), NOON + minutes(1))
    assert world.claims() == {(watch, "seat_available"), (watch, "instructor_assigned")}
    see(database, facts(2, None), NOON + minutes(2))
    assert world.claims() == {(watch, "seat_available")}
    see(database, facts(2, "Grace Hopper"), NOON + minutes(3))
    assert [kind for kind, _, _ in world.outbox()].count("instructor_assigned") == 2


def test_a_fresh_claim_owes_nothing_and_an_expired_one_is_taken_again(database: Database, world: World) -> None:
    fresh, expired = world.add_watch(), world.add_watch()
    for watch, expires_at in ((fresh, NOON + timedelta(hours=1)), (expired, NOON - timedelta(hours=1))):
        world.postgres.execute(
            "insert into notifications_sent (class_watch_id, notification_type, expires_at)"
            " values (%s, 'seat_available', %s)",
            [watch, expires_at],
        )
    open_then_see(database, 0, 3)
    assert world.outbox() == [("seat_available", expired, "pending")]
    expiry = world.one("select expires_at from notifications_sent where class_watch_id = %s", expired)
    assert expiry == NOON + minutes(1) + timedelta(hours=24)


def test_an_older_observation_is_discarded(database: Database, world: World) -> None:
    world.add_watch()
    see(database, facts(5), NOON)
    late = see(database, facts(0), NOON - minutes(1), now=NOON)
    assert late == {"result": "superseded"}
    assert world.baseline()["seats_available"] == 5
    assert world.rows("select kind from pickmyclass.section_events") == []


def test_a_superseded_check_ends_its_attempt(database: Database, world: World) -> None:
    see(database, facts(5), NOON + timedelta(hours=-1))
    end = {"p_term": "2267", "p_class_nbr": "12431", "p_slot": NOON - minutes(30), "p_error": "scraper timed out"}
    database.call("pmc_end_attempt", **end)
    assert world.baseline()["last_error"] == "scraper timed out"
    see(database, facts(0), NOON - timedelta(hours=2), now=NOON, slot=(NOON - minutes(30)).isoformat())
    assert world.baseline()["last_error"] is None
    assert world.baseline()["attempt_slot"].startswith("2026-11-22T11:30")


def test_a_check_against_another_version_gets_the_fresh_baseline_back(database: Database, world: World) -> None:
    world.add_watch()
    first = read(database)
    see(database, facts(0), NOON)
    check = check_json(first, Observation(NOON + minutes(1), facts(4)))
    answer = database.call("pmc_commit_check", p_check=check, p_now=NOON)
    assert answer["result"] == "conflict"
    assert known_of(answer) == Known(1, NOON, facts(0))
    assert world.baseline()["seats_available"] == 0


def test_a_check_that_saw_nothing_new_keeps_the_version(database: Database) -> None:
    answers = open_then_see(database, 2, 2, 3)
    assert [answer["version"] for answer in answers] == [1, 1, 2]


def test_a_commit_repeated_after_a_lost_answer_tells_nobody_twice(database: Database, world: World) -> None:
    world.add_watch()
    see(database, facts(0), NOON)
    known = read(database)
    for _ in range(3):
        see(database, facts(2), NOON + minutes(1), known=known)
    assert len(world.outbox()) == 1
    assert world.rows("select kind from pickmyclass.section_events") == [("seat_available",)]


def test_a_transaction_that_does_not_end_leaves_neither_baseline_nor_mail(
    database: Database, world: World, postgres_url: str
) -> None:
    world.add_watch()
    see(database, facts(0), NOON)
    check = check_json(read(database), Observation(NOON + minutes(1), facts(2)))
    with psycopg.connect(postgres_url) as session:
        session.execute("select pmc_commit_check(%s::jsonb, %s)", [psycopg.types.json.Jsonb(check), NOON])
        session.rollback()
    assert world.outbox() == []
    assert world.claims() == set()
    assert (world.baseline()["seats_available"], world.state()["seats_available"]) == (0, 0)
    assert see(database, facts(2), NOON + minutes(1))["emails_queued"] == 1


def test_a_section_of_the_workers_is_not_written(database: Database, world: World) -> None:
    world.add_watch()
    database.call("pmc_switch_ownership", p_owner="workers", p_sections=[{"term": "2267", "class_nbr": "12431"}])
    assert see(database, facts(4)) == {"result": "not_owned"}
    assert (world.baseline(), world.state()) == ({}, {})


def test_the_same_number_in_another_term_is_another_section(database: Database, world: World) -> None:
    spring = Section("2271", SECTION.class_nbr)
    watch = world.add_watch(SECTION)
    world.add_watch(spring)
    see(database, facts(0), NOON, section=SECTION)
    see(database, facts(0), NOON, section=spring)
    see(database, facts(4), NOON + minutes(1), section=SECTION)
    see(database, facts(0), NOON + minutes(2), section=spring)
    assert world.outbox(SECTION) == [("seat_available", watch, "pending")]
    assert world.outbox(spring) == []
    assert world.baseline(SECTION)["seats_available"] == 4
    assert world.state()["term"] == "2271"  # one row per number on the dashboard, until the cut-over
    see(database, facts(1), NOON + minutes(3), section=spring)
    see(database, facts(0), NOON + minutes(4), section=spring)
    assert world.claims() == {(watch, "seat_available")}
    assert world.outbox(SECTION) == [("seat_available", watch, "pending")]


def test_the_row_of_a_section_of_the_workers_is_not_overwritten(database: Database, world: World) -> None:
    theirs = Section("2271", SECTION.class_nbr)
    world.old_upsert(theirs, facts(7))
    database.call("pmc_switch_ownership", p_owner="workers", p_sections=[{"term": "2271", "class_nbr": "12431"}])
    assert see(database, facts(1))["result"] == "committed"
    assert (world.state()["term"], world.state()["seats_available"]) == ("2271", 7)


def test_unknown_seats_do_not_reach_the_dashboard_as_zero(database: Database, world: World) -> None:
    see(database, facts(None), NOON)
    assert world.state() == {}
    see(database, facts(6), NOON + minutes(1))
    see(database, facts(None), NOON + minutes(2))
    assert world.state()["seats_available"] == 6


def test_mail_of_a_call_is_leased_to_the_caller_up_to_its_limit(database: Database, world: World) -> None:
    first, second, _ = (world.add_watch(since=NOON + minutes(i)) for i in range(3))
    see(database, facts(0), NOON)
    answer = see(database, facts(2), NOON + minutes(1), lease_to="caller", lease_limit=2)
    assert (answer["emails_queued"], answer["leased"]) == (3, 2)
    leased = world.rows(
        "select watch_id::text from pickmyclass.outbox where leased_by = 'caller' order by watched_since"
    )
    assert leased == [(first,), (second,)]
    future = "select bool_and(leased_until > now()) from pickmyclass.outbox where leased_by is not null"
    assert world.one(future)


def test_the_limit_of_a_lease_counts_seats_and_instructor_together(database: Database, world: World) -> None:
    for _ in range(2):
        world.add_watch()
    see(database, facts(0), NOON)
    answer = see(database, facts(2, "Ada Lovelace"), NOON + minutes(1), lease_to="caller", lease_limit=3)
    assert (answer["emails_queued"], answer["leased"]) == (4, 3)


def test_the_first_commit_of_a_slot_is_what_the_mass_event_guard_sees(database: Database, world: World) -> None:
    see(database, facts(0), NOON - timedelta(hours=1))
    see(database, facts(2), NOON)
    see(database, facts(0), NOON + minutes(3))
    assert (world.baseline()["was_full"], world.baseline()["opened"]) == (True, True)
    see(database, facts(0), NOON + timedelta(hours=1))
    assert (world.baseline()["was_full"], world.baseline()["opened"]) == (True, False)


@pytest.mark.parametrize(("seats", "status", "confirmed"), [(2, "pending", True), (0, "dropped", False)])
def test_a_later_check_confirms_held_mail_or_drops_it(
    database: Database, world: World, seats: int, status: str, confirmed: bool
) -> None:
    world.add_watch()
    open_then_see(database, 0, 2)
    world.postgres.execute("update pickmyclass.outbox set held = true")
    see(database, facts(seats), NOON + minutes(2))
    assert world.rows("select status, held, confirmed from pickmyclass.outbox") == [(status, False, confirmed)]


def test_an_observation_from_the_future_does_not_silence_later_ones(database: Database, world: World) -> None:
    see(database, facts(0), NOON + timedelta(days=300), now=NOON)
    assert see(database, facts(1), NOON + minutes(1))["result"] == "committed"
    assert world.baseline()["seats_available"] == 1


def test_a_watch_that_goes_while_its_mail_is_written_is_left_out(
    database: Database, world: World, postgres_url: str
) -> None:
    leaving, staying = world.add_watch(), world.add_watch()
    see(database, facts(0), NOON)
    with psycopg.connect(postgres_url) as session, ThreadPoolExecutor(1) as pool:
        session.execute("delete from class_watches where id = %s", [leaving])
        committing = pool.submit(see, database, facts(2), NOON + minutes(1))
        world.wait_until_blocked()
        session.commit()
        assert committing.result(30)["emails_queued"] == 1
    assert world.outbox() == [("seat_available", staying, "pending")]


def test_a_switch_waits_for_the_commit_that_asked_before_it(
    database: Database, world: World, postgres_url: str
) -> None:
    world.add_watch()
    see(database, facts(0), NOON)
    check = check_json(read(database), Observation(NOON + minutes(1), facts(2)))
    with psycopg.connect(postgres_url) as session, ThreadPoolExecutor(1) as pool:
        session.execute("select pmc_commit_check(%s::jsonb, %s)", [psycopg.types.json.Jsonb(check), NOON])
        switching = pool.submit(database.call, "pmc_switch_ownership", p_owner="workers")
        world.wait_until_blocked()
        session.commit()
        assert switching.result(30)["owner"] == "workers"
    assert world.state()["seats_available"] == 2


@pytest.mark.parametrize(
    "broken", [{"slot": None}, {"observed_at": None}, {"facts": None}, {"events": [{"kind": "retired"}]}]
)
def test_a_malformed_check_writes_nothing(database: Database, world: World, broken: dict[str, Any]) -> None:
    check = check_json(Known(), Observation(NOON, facts(3))) | broken
    with pytest.raises(DatabaseError):
        database.call("pmc_commit_check", p_check=check, p_now=NOON)
    assert (world.baseline(), world.state()) == ({}, {})


def test_ten_thousand_watchers_are_owed_within_the_time_of_one_statement(postgres_url: str, world: World) -> None:
    database = connect_postgres(postgres_url, timeout=8)  # what hosted Supabase allows
    world.add_watchers(10_000)
    assert open_then_see(database, 0, 1)[-1]["emails_queued"] == 10_000
    assert see(database, facts(0), NOON + minutes(5))["result"] == "committed"
    database.close()
    assert world.rows("select status, count(*) from pickmyclass.outbox group by 1") == [("dropped", 10_000)]


# Racing checks, told by hypothesis -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def arena(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[tuple[Database, World]]:
    """One database for all examples; each plays with a section of its own."""
    url = postgres_server.create_database("arena", template=migrated_template)
    gateway = connect_postgres(url)
    with psycopg.connect(url, autocommit=True) as session:
        yield gateway, World(session)
    gateway.close()
    postgres_server.drop_database("arena")


_used: set[str] = set()


def new_section() -> Section:
    section = Section("2267", f"{20000 + len(_used):05d}")
    _used.add(section.class_nbr)
    return section


# When something was seen (in minutes, possibly several times), how many seats, and who teaches.
sightings = st.lists(
    st.tuples(st.integers(0, 8), st.sampled_from([0, 0, 1, 2]), st.sampled_from(["Staff", "Ada Lovelace"])),
    min_size=1,
    max_size=10,
)
property_test = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def race(jobs: list[Any], threads: int = 4) -> list[Any]:
    """Run the jobs in `threads` threads that begin together; return their results."""
    gate = threading.Barrier(threads)
    shares = [jobs[i::threads] for i in range(threads)]

    def work(share: list[Any]) -> list[Any]:
        gate.wait(30)
        return [job() for job in share]

    with ThreadPoolExecutor(threads) as pool:
        return [result for part in pool.map(work, shares) for result in part]


def assert_consistent(world: World, section: Section, told: set[str], ever_told_elsewhere: bool = False) -> None:
    """Baseline, events and owed mail tell one story, and each opening is owed once to each of `told`."""
    events = world.rows(
        "select id, kind, (after ->> 'seats_available')::int, observed_at from pickmyclass.section_events"
        " where term = %s and class_nbr = %s order by id",
        section.term,
        section.class_nbr,
    )
    assert [event[3] for event in events] == sorted(event[3] for event in events)
    edges = [kind for _, kind, _, _ in events if kind in ("seat_available", "seats_filled")]
    assert all(one != two for one, two in pairwise(edges)), "openings and fillings take turns"
    if edges:
        assert (edges[-1] == "seat_available") == (world.baseline(section)["seats_available"] > 0)
    assert world.state(section.class_nbr)["seats_available"] == world.baseline(section)["seats_available"]

    mail = world.rows(
        "select event_id, notification_type, watch_id::text, status from pickmyclass.outbox where class_nbr = %s",
        section.class_nbr,
    )
    assert len(mail) == len({row[:3] for row in mail})
    for event_id, kind, _, _ in events:
        if kind in ("seat_available", "instructor_assigned") and not ever_told_elsewhere:
            assert {watch for event, _, watch, _ in mail if event == event_id} == told
    for event_id, kind, _, status in mail:
        filled_later = any(e[0] > event_id and e[1] == "seats_filled" for e in events)
        assert status == ("dropped" if kind == "seat_available" and filled_later else "pending")


@property_test
@given(sightings=sightings, repeats=st.integers(1, 2), data=st.data())
def test_racing_stale_and_repeated_checks_tell_one_story(
    arena: tuple[Database, World], sightings: list[tuple[int, int, str]], repeats: int, data: st.DataObject
) -> None:
    database, world = arena
    section = new_section()
    told = {world.add_watch(section) for _ in range(2)}
    world.add_watch(section, user=world.add_user(email_bounced=True))
    order = data.draw(st.permutations(sightings * repeats))
    end = NOON + timedelta(hours=1)

    def job(minute: int, seats: int, name: str) -> Any:
        return lambda: see(database, facts(seats, name), NOON + minutes(minute), section=section, now=end)

    answers = race([job(*sighting) for sighting in order])
    assert {answer["result"] for answer in answers} <= {"committed", "superseded"}
    newest = max(minute for minute, _, _ in sightings)
    assert world.baseline(section)["observed_at"].startswith(f"2026-11-22T12:{newest:02d}")
    assert_consistent(world, section, told)


@property_test
@given(sightings=sightings)
def test_checks_in_their_order_owe_exactly_what_the_campus_did(
    arena: tuple[Database, World], sightings: list[tuple[int, int, str]]
) -> None:
    database, world = arena
    section = new_section()
    told = {world.add_watch(section)}
    for minute, (_, seats, name) in enumerate(sightings):
        see(database, facts(seats, name), NOON + minutes(minute), section=section)
    seen = [seats for _, seats, _ in sightings]
    names = [name for _, _, name in sightings]
    openings = sum(one == 0 and two > 0 for one, two in pairwise(seen))
    namings, last = 0, None
    for one, two in pairwise(names):
        last = one if one != "Staff" else last
        namings += one == "Staff" and two not in ("Staff", last)
    assert len(world.outbox(section)) == openings + namings
    assert_consistent(world, section, told)


@property_test
@given(sightings=sightings, other_term=st.booleans())
def test_the_old_codes_statements_in_between_break_nothing(
    arena: tuple[Database, World], sightings: list[tuple[int, int, str]], other_term: bool
) -> None:
    """The old side claims, releases, upserts and asks for its sections while we commit (a rollback rehearsed)."""
    database, world = arena
    section = new_section()
    watches = sorted(world.add_watch(section) for _ in range(2))
    end = NOON + timedelta(hours=1)
    url = world.postgres.info.dsn

    def ours(minute: int, seats: int, name: str) -> Any:
        return lambda: see(database, facts(seats, name), NOON + minutes(minute), section=section, now=end)

    def theirs() -> None:
        with psycopg.connect(url, autocommit=True) as session:
            old = World(session)
            old.rows("select * from get_sections_to_check('even')")
            for watch in watches:
                old.one("select try_record_notification(%s, 'seat_available')", watch)
            old.rows("select * from get_watchers_for_sections(%s)", [section.class_nbr])
            if other_term:
                old.old_upsert(Section("2271", section.class_nbr), facts(9))
            ids = [row[0] for row in old.rows("select id from class_watches where class_nbr = %s", section.class_nbr)]
            session.execute(
                "delete from notifications_sent"
                " where class_watch_id = any(%s) and notification_type = 'seat_available'",
                [ids],
            )

    race([ours(*sighting) for sighting in sightings] + [theirs, theirs])
    see(database, facts(sightings[-1][1]), end, section=section)
    assert_consistent(world, section, set(watches), ever_told_elsewhere=True)


@property_test
@given(count=st.integers(1, 6))
def test_an_edge_that_both_sides_see_is_told_by_exactly_one(arena: tuple[Database, World], count: int) -> None:
    database, world = arena
    section = new_section()
    watches = [world.add_watch(section) for _ in range(count)]
    now = world.one("select now()")  # claims of the old side go by the server's clock
    see(database, facts(0), now - minutes(1), section=section, now=now)
    url = world.postgres.info.dsn

    def theirs() -> set[str]:
        with psycopg.connect(url, autocommit=True) as session:
            claim = "select try_record_notification(%s, 'seat_available')"
            return {watch for watch in watches if World(session).one(claim, watch)}

    def ours() -> set[str]:
        see(database, facts(3), now, section=section, now=now)
        return set()

    told_by_them = set().union(*race([theirs, ours], threads=2))
    told_by_us = {watch for _, watch, _ in world.outbox(section)}
    assert told_by_them | told_by_us == set(watches)
    assert told_by_them & told_by_us == set()
