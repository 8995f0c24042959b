"""A look at a listing: read in one call, committed in one, each section by itself, in the order of observation."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.checks.check import CheckError
from shared.checks.look import Look, Looker, LookReport
from shared.database import Database, DatabaseError, connect_postgres
from shared.sections.changes import EventKind
from shared.sections.section import Section
from shared.source.answers import Broken, Found, Gone, Listing, ListingAnswer, Reading, Row, Throttled, Unreadable
from shared.source.breaker import Permit
from tests.support.redis import wait_until
from tests.support.world import NOON, World, facts, minutes, see
from workshop.parts.postgres import EmbeddedPostgres

CSE = Listing("2267", "CSE")
NUMBERS = [f"{12400 + i}" for i in range(40)]


class Catalog:
    """A source that tells what the test wrote down."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.is_complete = True
        self.answer: ListingAnswer | None = None
        self.calls = 0
        self.struck: list[str] = []

    def show(self, seats: Mapping[str, int | None], source: str = "asu", instructor: str = "Staff") -> None:
        self.rows |= {number: Found(facts(count, instructor), source) for number, count in seats.items()}

    def read(self, _listing: Listing, _timeout: float, _permit: Permit | None = None) -> ListingAnswer:
        self.calls += 1
        return self.answer or Reading(dict(self.rows), self.is_complete, 1, "asu")

    def strike(self, section: Section, _at: datetime, _tick: str | None, _now: datetime | None) -> int:
        self.struck.append(section.class_nbr)
        return 0


class Counted:
    """A gateway whose calls are counted."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.calls: list[str] = []
        self.before: Callable[[str], None] = lambda _name: None

    def call(self, function: str, **arguments: Any) -> Any:
        self.calls.append(function)
        self.before(function)
        return self.database.call(function, **arguments)


@pytest.fixture
def world(postgres: psycopg.Connection[Any]) -> World:
    return World(postgres)


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture
def counted(database: Database) -> Counted:
    return Counted(database)


@pytest.fixture
def looker(counted: Counted, catalog: Catalog) -> Looker:
    return Looker(counted, catalog.read, catalog.strike, lambda: NOON)


def look(looker: Looker, at: datetime, **more: Any) -> LookReport:
    """One whole look that began at `at`."""
    looker.refresh([CSE], at)
    return looker.commit([looker.look(CSE, 60, now=at)], now=at, **more)[0]


def seen(world: World, class_nbr: str = NUMBERS[0]) -> dict[str, Any]:
    """What is known of a section, its listing's looks included."""
    found = world.one("select to_jsonb(c) from pickmyclass.checks_seen() c where class_nbr = %s", class_nbr)
    return dict(found) if found else {}


def at(row: dict[str, Any], name: str = "observed_at") -> datetime:
    return datetime.fromisoformat(row[name]).astimezone(NOON.tzinfo)


def watch_all(world: World, numbers: list[str] = NUMBERS) -> None:
    user = None
    for n, number in enumerate(numbers):
        user = world.add_user() if n % 10 == 0 else user
        world.add_watch(Section("2267", number), user)


def versions(world: World) -> set[tuple[str, str, str]]:
    """Every version of every row that stands: whatever is written makes a new one."""
    tables = world.rows(
        "select schemaname || '.' || tablename from pg_tables where schemaname in ('public', 'pickmyclass')"
    )
    return {
        (str(table), str(place), str(by))
        for (table,) in tables
        for place, by in world.rows(f"select ctid::text, xmin::text from {table}")
    }


def written(before: set[tuple[str, str, str]], after: set[tuple[str, str, str]]) -> Counter[str]:
    """Rows written between two counts, by table."""
    return Counter(table for table, _, _ in after - before)


# What a look says -----------------------------------------------------------------------------------------------


def test_first_sight_of_a_listing_is_a_baseline_for_each_and_tells_nobody(
    looker: Looker, catalog: Catalog, world: World
) -> None:
    watch_all(world, NUMBERS[:3])
    catalog.show(dict.fromkeys(NUMBERS[:5], 4))
    report = look(looker, NOON)
    assert (report.events, report.emails_queued, report.covered) == ([], 0, set(NUMBERS[:3]))
    assert seen(world)["seats_available"] == 4
    assert seen(world)["source"] == "asu"
    assert seen(world, NUMBERS[4]) == {}


def test_an_opening_owes_mail_in_the_transaction_that_saw_it(looker: Looker, catalog: Catalog, world: World) -> None:
    watch_all(world)
    catalog.show(dict.fromkeys(NUMBERS, 0))
    for minute in (0, 5, 10):
        look(looker, NOON + minutes(minute))
    catalog.show({NUMBERS[7]: 2})
    report = look(looker, NOON + minutes(15))
    assert report.events == [(NUMBERS[7], EventKind.SEAT_AVAILABLE)]
    assert report.emails_queued == 1
    assert [kind for kind, _, _ in world.outbox(Section("2267", NUMBERS[7]))] == ["seat_available"]
    payload = world.one("select payload from pickmyclass.outbox")
    assert at(payload, "last_full_at") == NOON + minutes(10)
    assert at(payload, "previous_observed_at") == NOON + minutes(10)
    assert world.one("select last_full_at from pickmyclass.section_events where kind = 'seat_available'") == (
        NOON + minutes(10)
    )


def test_a_look_that_saw_nothing_new_costs_one_row_and_is_every_sections_last(
    looker: Looker, catalog: Catalog, counted: Counted, world: World
) -> None:
    watch_all(world)
    catalog.show(dict.fromkeys(NUMBERS, 0))
    look(looker, NOON)
    look(looker, NOON + minutes(5))
    before, counted.calls = versions(world), []
    look(looker, NOON + minutes(10))
    assert written(before, versions(world)) == {"pickmyclass.listings": 1}
    assert counted.calls == ["pmc_read_listings", "pmc_commit_looks"]
    for number in (NUMBERS[0], NUMBERS[39]):
        assert at(seen(world, number)) == NOON + minutes(10)
        assert at(seen(world, number), "full_at") == NOON + minutes(10)


def test_what_has_not_changed_since_it_was_read_is_not_read_again(
    looker: Looker, catalog: Catalog, database: Database, world: World
) -> None:
    watch_all(world)
    catalog.show(dict.fromkeys(NUMBERS, 3))
    look(looker, NOON)
    [first] = database.call("pmc_read_listings", p_listings=[{"term": "2267", "subject": "CSE"}], p_now=NOON)
    again = [{"term": "2267", "subject": "CSE", "version": first["version"]}]
    assert len(first["sections"]) == 40
    assert database.call("pmc_read_listings", p_listings=again, p_now=NOON) == again
    world.add_watch(Section("2267", "12999"))
    [more] = database.call("pmc_read_listings", p_listings=again, p_now=NOON)
    assert len(more["sections"]) == 41


def test_the_floors_look_shows_its_time_on_the_dashboard(looker: Looker, catalog: Catalog, world: World) -> None:
    watch_all(world, NUMBERS[:4])
    catalog.show(dict.fromkeys(NUMBERS, 0))
    look(looker, NOON)
    before = versions(world)
    look(looker, NOON + minutes(5), touch=True)
    assert written(before, versions(world)) == {"public.class_states": 4, "pickmyclass.listings": 1}


def test_a_look_ends_the_attempt_of_each_slot_that_it_falls_into(
    looker: Looker, catalog: Catalog, database: Database, world: World
) -> None:
    watch_all(world, NUMBERS[:4])
    catalog.show(dict.fromkeys(NUMBERS, 0))
    look(looker, NOON)
    look(looker, NOON + minutes(35))
    due = {"p_group": "all", "p_unattempted_only": True, "p_now": NOON + minutes(36)}
    assert database.call("pmc_due_sections", **due)["sections"] == []
    due["p_now"] = NOON + minutes(63)  # the even ones' next slot has begun
    assert [one["class_nbr"] for one in database.call("pmc_due_sections", **due)["sections"]] == ["12400", "12402"]


# What a look does not say --------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", [None, Unreadable()], ids=["absent", "unreadable"])
def test_a_look_says_nothing_of_what_it_did_not_see(
    looker: Looker, catalog: Catalog, world: World, row: Row | None
) -> None:
    watch_all(world, NUMBERS[:3])
    catalog.show({NUMBERS[0]: 0, NUMBERS[1]: 4, NUMBERS[2]: 0})
    look(looker, NOON)
    look(looker, NOON + minutes(5))
    del catalog.rows[NUMBERS[1]]
    if row:
        catalog.rows[NUMBERS[1]] = row
    report = look(looker, NOON + minutes(10))
    assert report.covered == {NUMBERS[0], NUMBERS[2]}
    assert at(seen(world, NUMBERS[1])) == NOON + minutes(5)
    look(looker, NOON + minutes(15))
    assert (at(seen(world, NUMBERS[1])), seen(world, NUMBERS[1])["full_at"]) == (NOON + minutes(5), None)
    assert catalog.struck == []
    catalog.show({NUMBERS[1]: 4})
    look(looker, NOON + minutes(20))
    assert at(seen(world, NUMBERS[1])) == NOON + minutes(20)


def test_a_cancelled_row_is_a_section_that_was_not_found(looker: Looker, catalog: Catalog, world: World) -> None:
    watch_all(world, NUMBERS[:2])
    catalog.show(dict.fromkeys(NUMBERS[:2], 0))
    look(looker, NOON)
    catalog.rows[NUMBERS[0]] = Gone()
    report = look(looker, NOON + minutes(5))
    assert (report.gone, catalog.struck) == ({NUMBERS[0]}, [NUMBERS[0]])


def test_a_struck_section_that_is_back_has_its_strikes_cleared(
    looker: Looker, catalog: Catalog, database: Database, world: World
) -> None:
    watch_all(world, NUMBERS[:2])
    catalog.show(dict.fromkeys(NUMBERS[:2], 0))
    look(looker, NOON)
    strike = {"p_term": "2267", "p_class_nbr": NUMBERS[0], "p_slot": NOON, "p_now": NOON + minutes(2)}
    database.call("pmc_strike_section", p_observed_at=NOON + minutes(2), **strike)
    assert seen(world)["not_found_strikes"] == 1
    look(looker, NOON + minutes(5))
    assert seen(world)["not_found_strikes"] == 0


def test_unknown_seats_do_not_count_as_seen_full(looker: Looker, catalog: Catalog, world: World) -> None:
    watch_all(world, NUMBERS[:1])
    catalog.show({NUMBERS[0]: 0})
    look(looker, NOON)
    catalog.show({NUMBERS[0]: None})
    look(looker, NOON + minutes(5))
    assert (at(seen(world)), at(seen(world), "full_at")) == (NOON + minutes(5), NOON)


@pytest.mark.parametrize("answer", [Broken("no answer"), Throttled(9.0)], ids=lambda one: type(one).__name__)
def test_what_is_no_reading_changes_nothing(
    looker: Looker, catalog: Catalog, counted: Counted, answer: ListingAnswer
) -> None:
    catalog.answer = answer
    with pytest.raises(CheckError):
        looker.look(CSE, 60)
    assert counted.calls == []


# Who else looks ------------------------------------------------------------------------------------------------


def test_a_stale_answer_is_discarded_after_a_look_that_wrote_no_row_of_its_own(
    looker: Looker, catalog: Catalog, database: Database, world: World
) -> None:  # O41
    watch_all(world, NUMBERS[:2])
    catalog.show(dict.fromkeys(NUMBERS[:2], 0))
    look(looker, NOON)
    look(looker, NOON + minutes(10))
    section = Section("2267", NUMBERS[0])
    assert see(database, facts(5), NOON + minutes(9), section=section)["result"] == "superseded"
    assert see(database, facts(5), NOON + minutes(11), section=section)["result"] == "committed"


def test_a_look_that_began_earlier_is_discarded_for_each_that_was_seen_since(
    looker: Looker, catalog: Catalog, database: Database, world: World
) -> None:
    watch_all(world, NUMBERS[:2])
    catalog.show(dict.fromkeys(NUMBERS[:2], 0))
    look(looker, NOON)
    see(database, facts(3), NOON + minutes(10), section=Section("2267", NUMBERS[0]))
    catalog.show(dict.fromkeys(NUMBERS[:2], 7))
    report = look(looker, NOON + minutes(5))
    assert report.events == [(NUMBERS[1], EventKind.SEAT_AVAILABLE)]
    assert [seen(world, number)["seats_available"] for number in NUMBERS[:2]] == [3, 7]


def test_who_left_for_the_old_side_is_not_spoken_for_by_later_looks(
    looker: Looker, catalog: Catalog, database: Database, world: World
) -> None:
    watch_all(world, NUMBERS[:2])
    catalog.show(dict.fromkeys(NUMBERS[:2], 0))
    look(looker, NOON)
    look(looker, NOON + minutes(5))
    gone = [{"term": "2267", "class_nbr": NUMBERS[0]}]
    database.call("pmc_switch_ownership", p_owner="workers", p_sections=gone)
    assert look(looker, NOON + minutes(10)).covered == {NUMBERS[1]}
    assert at(seen(world)) == NOON + minutes(5)
    world.old_upsert(Section("2267", NUMBERS[0]), facts(2), NOON + minutes(8))
    database.call("pmc_switch_ownership", p_owner="server", p_sections=gone)
    assert (seen(world)["seats_available"], seen(world)["source"]) == (2, "scraper")


def test_another_source_is_compared_like_with_like(
    looker: Looker, catalog: Catalog, database: Database, world: World
) -> None:
    section = Section("2267", NUMBERS[0])
    world.add_watch(section)
    see(database, facts(4, "A. Lovelace", unreserved=0), NOON, section=section, source="scraper")
    catalog.rows[NUMBERS[0]] = Found(facts(4, "Ada Lovelace", unreserved=3), "asu")
    report = look(looker, NOON + minutes(5))
    assert (report.events, report.covered) == ([], {NUMBERS[0]})
    catalog.rows[NUMBERS[0]] = Found(facts(4, "Ada Lovelace", unreserved=0), "asu")
    assert look(looker, NOON + minutes(10)).events == [(NUMBERS[0], EventKind.SEATS_FILLED)]


@pytest.mark.parametrize("is_fresh", [False, True], ids=["the same process", "another one"])
def test_reserved_seats_are_set_free_by_two_looks_in_a_row_that_are_apart(
    looker: Looker, catalog: Catalog, database: Database, world: World, is_fresh: bool
) -> None:
    world.add_watch(Section("2267", NUMBERS[0]))
    events = []
    for minute, unreserved in ((0, 0), (5, None), (10, 0), (15, None), (16, None), (19, None)):
        catalog.rows[NUMBERS[0]] = Found(facts(3, unreserved=unreserved), "asu")
        if is_fresh:
            looker = Looker(database, catalog.read, catalog.strike, lambda: NOON)
        events.append(len(look(looker, NOON + minutes(minute)).events))
    assert events == [0, 0, 0, 0, 0, 1]


def test_looks_and_single_checks_at_once_leave_one_story(
    looker: Looker, catalog: Catalog, postgres_url: str, world: World
) -> None:
    watch_all(world, NUMBERS[:6])
    catalog.show(dict.fromkeys(NUMBERS[:6], 0))
    look(looker, NOON)
    started = threading.Barrier(4)

    def single(worker: int) -> None:
        with closing(connect_postgres(postgres_url)) as own:
            started.wait(30)
            for step in range(1, 25):
                at, section = NOON + minutes(step), Section("2267", NUMBERS[step % 6])
                see(own, facts((step + worker) % 2), at, section=section)

    def listing() -> None:
        with closing(connect_postgres(postgres_url)) as own:
            another = Looker(own, catalog.read, catalog.strike, lambda: NOON)
            started.wait(30)
            for step in range(1, 25):
                catalog.show({NUMBERS[step % 6]: step % 3})
                with suppress(CheckError):  # it gives up when the listing changes faster than it can compare
                    look(another, NOON + minutes(step))

    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(single, 0), pool.submit(single, 1), pool.submit(listing), pool.submit(listing)]:
            future.result(120)
    for number in NUMBERS[:6]:
        kinds = [kind for (kind,) in world.rows(
            "select kind from pickmyclass.section_events where class_nbr = %s order by id", number)]  # fmt: skip
        assert kinds == [("seat_available", "seats_filled")[n % 2] for n in range(len(kinds))]


def test_a_check_that_waited_for_its_section_waits_for_nobody_who_waits_for_it(
    looker: Looker, catalog: Catalog, postgres_url: str, world: World
) -> None:
    watch_all(world, NUMBERS[:1])
    catalog.show({NUMBERS[0]: 0})
    look(looker, NOON)
    world.postgres.execute("update pickmyclass.section_checks set listing = null")
    lock = "select from pickmyclass.listings where subject = 'CSE' for update"
    speak = "update pickmyclass.section_checks set listing = 'CSE'"
    waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"

    def single() -> None:
        with closing(connect_postgres(postgres_url)) as own:
            see(own, facts(1), NOON + minutes(1), section=Section("2267", NUMBERS[0]))

    def another_look() -> None:
        with psycopg.connect(postgres_url) as own:
            own.execute(lock)
            own.execute(speak)

    with psycopg.connect(postgres_url) as first, ThreadPoolExecutor(2) as pool:
        first.execute(lock)
        first.execute(speak)
        done = [pool.submit(single)]
        wait_until(lambda: world.one(waiting) == 1)
        done.append(pool.submit(another_look))
        wait_until(lambda: world.one(waiting) == 2)
        first.commit()
        for future in done:
            future.result(30)


# Every way to look gives the same events ------------------------------------------------------------------------


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["listing", "single"]),
        st.integers(0, 12),  # minute at which the look began
        st.lists(st.sampled_from([0, 0, 2, None]), min_size=3, max_size=3),
        st.sets(st.integers(0, 2), min_size=1, max_size=3),  # whom it sees
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture(scope="module")
def twins(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[tuple[str, str]]:
    names = ("looked_at_together", "looked_at_alone")
    yield tuple(postgres_server.create_database(name, template=migrated_template) for name in names)  # type: ignore[misc]  # two of them
    for name in names:
        postgres_server.drop_database(name)


@given(steps=_STEPS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_interleaving_gives_the_events_of_looking_at_one_after_another(
    twins: tuple[str, str], steps: list[tuple[str, int, list[int | None], set[int]]]
) -> None:
    """Looks at listings and single look-ups, also late ones, against the same in single look-ups only."""
    stories = []
    for url, together in zip(twins, (True, False), strict=True):
        with psycopg.connect(url, autocommit=True) as session, closing(connect_postgres(url)) as database:
            world, catalog = World(session), Catalog()
            session.execute("truncate auth.users, pickmyclass.section_checks, pickmyclass.listings,"
                            " pickmyclass.section_events, class_states restart identity cascade")  # fmt: skip
            watch_all(world, NUMBERS[:3])
            looker = Looker(database, catalog.read, catalog.strike, lambda: NOON)
            for kind, minute, seats, whom in steps:
                shown = {NUMBERS[n]: seats[n] for n in sorted(whom)}
                if kind == "listing" and together:
                    catalog.rows = {}
                    catalog.show(shown)
                    look(looker, NOON + minutes(minute))
                    continue
                for number, count in shown.items():
                    section = Section("2267", number)
                    see(database, facts(count), NOON + minutes(minute), section=section, source="asu")
            stories.append(
                (
                    world.rows("select class_nbr, kind, observed_at from pickmyclass.section_events order by 1, id"),
                    world.rows("select class_nbr, notification_type, status from pickmyclass.outbox order by 1, id"),
                    world.rows(
                        "select class_nbr, seats_available, observed_at from pickmyclass.checks_seen() order by 1"
                    ),
                    world.rows(
                        "select w.class_nbr from notifications_sent n join class_watches w on w.id = n.class_watch_id"
                        " order by 1"
                    ),
                )
            )
    assert stories[0] == stories[1]


# What dies on the way -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["before", "after"])
def test_a_commit_whose_answer_is_lost_is_done_again_without_harm(
    looker: Looker, catalog: Catalog, counted: Counted, database: Database, world: World, lost: str
) -> None:
    watch_all(world, NUMBERS[:3])
    catalog.show(dict.fromkeys(NUMBERS[:3], 0))
    look(looker, NOON)
    catalog.show({NUMBERS[0]: 3})
    looker.refresh([CSE], NOON)
    told = looker.look(CSE, 60, now=NOON + minutes(5))

    def cut(function: str) -> None:
        if function == "pmc_commit_looks":
            counted.before = lambda _name: None
            if lost == "after":
                looker.commit([told], now=NOON + minutes(5))
            raise DatabaseError("the line was cut")

    counted.before = cut
    with pytest.raises(CheckError):
        looker.commit([told], now=NOON + minutes(5))
    again: list[Look] = [told]
    looker.commit(again, now=NOON + minutes(5))
    assert world.rows("select kind from pickmyclass.section_events") == [("seat_available",)]
    assert len(world.outbox(Section("2267", NUMBERS[0]))) == 1


def test_a_commit_that_conflicts_is_compared_again_without_another_look(
    looker: Looker, catalog: Catalog, counted: Counted, database: Database, world: World
) -> None:
    watch_all(world, NUMBERS[:3])
    catalog.show(dict.fromkeys(NUMBERS[:3], 0))
    look(looker, NOON)
    catalog.show({NUMBERS[0]: 3, NUMBERS[1]: 3})
    calls = catalog.calls

    def meanwhile(function: str) -> None:
        if function == "pmc_commit_looks":
            counted.before = lambda _name: None
            see(database, facts(3), NOON + minutes(4), section=Section("2267", NUMBERS[0]))

    counted.before = meanwhile
    report = look(looker, NOON + minutes(5))
    assert report.events == [(NUMBERS[1], EventKind.SEAT_AVAILABLE)]
    assert catalog.calls == calls + 1
    assert world.rows("select class_nbr, count(*) from pickmyclass.outbox group by 1 order by 1") == [
        (NUMBERS[0], 1),
        (NUMBERS[1], 1),
    ]


def test_five_hundred_sections_that_all_open_are_committed_within_the_limit(
    catalog: Catalog, postgres_url: str, world: World
) -> None:
    numbers = [f"{20000 + i}" for i in range(500)]
    watch_all(world, numbers)
    limited = f"{postgres_url}&options=-c%20statement_timeout%3D8s"  # what the service has on Supabase
    with closing(connect_postgres(limited)) as database:
        looker = Looker(database, catalog.read, catalog.strike, lambda: NOON)
        catalog.show(dict.fromkeys(numbers, 0))
        look(looker, NOON)
        catalog.show(dict.fromkeys(numbers, 1))
        assert len(look(looker, NOON + minutes(5)).events) == 500
