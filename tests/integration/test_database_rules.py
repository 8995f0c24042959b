"""What the database decides: what is due, who owns it, when a section retires, whose tick it is, who is dead."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from shared.database import Database, DatabaseError
from shared.sections.section import Known, Observation, Section
from shared.sections.slots import group_of, latest_slot, slot_start
from tests.support.world import NOON, SECTION, World, check_json, facts, minutes, read, see

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


@pytest.fixture
def world(postgres: psycopg.Connection[Any]) -> World:
    return World(postgres)


def section(number: int, term: str = "2267") -> Section:
    return Section(term, f"{number:05d}")


def due(database: Database, group: str = "all", **more: Any) -> list[str]:
    """The numbers of the due sections in their order."""
    arguments: dict[str, Any] = {"p_group": group, "p_now": NOON} | more
    return [row["class_nbr"] for row in database.call("pmc_due_sections", **arguments)["sections"]]


def watched(world: World, numbers: Iterable[int]) -> None:
    for number in numbers:
        world.add_watch(section(number))


def strike(database: Database, at: Any, target: Section = SECTION) -> dict[str, Any]:
    slot = latest_slot(group_of(target.class_nbr), at)
    arguments = {"p_slot": slot, "p_observed_at": at, "p_tick_id": "tick", "p_now": at}
    answer = database.call("pmc_strike_section", p_term=target.term, p_class_nbr=target.class_nbr, **arguments)
    assert isinstance(answer, dict)
    return answer


# Slots ----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=st.datetimes(min_value=NOON.replace(tzinfo=None)), digit=st.integers(0, 9))
def test_the_database_counts_slots_as_the_program_does(world: World, moment: Any, digit: int) -> None:
    at = moment.replace(tzinfo=NOON.tzinfo)
    if at.year > 9000:
        at = at.replace(year=2000)
    assert world.one("select pickmyclass.slot_of(%s, %s)", f"1234{digit}", at) == latest_slot(
        group_of(f"1234{digit}"), at
    )


# Due sections ---------------------------------------------------------------------------------------------------


def test_a_group_is_chosen_by_the_last_digit(database: Database, world: World) -> None:
    watched(world, [10000, 10001, 10002, 10003])
    assert due(database, "even") == ["10000", "10002"]
    assert due(database, "odd") == ["10001", "10003"]
    assert len(due(database, "all")) == 4
    with pytest.raises(DatabaseError):
        due(database, "both")


def test_never_checked_comes_first_then_the_longest_unchecked(database: Database, world: World) -> None:
    watched(world, [10000, 10002, 10004, 10006])
    for number, ago in ((10000, 1), (10002, 3), (10006, 2)):
        see(database, facts(1), NOON - ago * HOUR, section=section(number))
    assert due(database) == ["10004", "10002", "10006", "10000"]


def test_a_section_is_due_once_however_many_watch_it(database: Database, world: World) -> None:
    watched(world, [10000, 10000, 10000])
    assert due(database) == ["10000"]


def test_sections_that_nobody_may_be_told_about_are_not_checked(database: Database, world: World) -> None:  # O16
    world.add_watch(section(10000), world.add_user(email_bounced=True))
    world.add_watch(section(10002), world.add_user(notifications_enabled=False))
    world.add_watch(section(10004, "2261"))  # a term that ended in May
    world.add_watch(section(10006, "2999"))  # a term that nobody knows is never over
    assert due(database) == ["10006"]


def test_a_number_that_no_scraper_takes_does_not_spoil_the_tick(database: Database, world: World) -> None:
    user = world.add_user()
    for term, class_nbr in (("2267", "123"), ("22671", "12345"), ("2267", "１２３４5"), ("2267", "12346")):
        world.postgres.execute(
            "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr) values (%s, %s, 'A', '1', %s)",
            [user, term, class_nbr],
        )
    assert due(database) == ["12346"]


def test_baselines_ride_along(database: Database, world: World) -> None:
    watched(world, [10000, 10002])
    see(database, facts(2), NOON - HOUR, section=section(10000))
    rows = {row["class_nbr"]: row for row in database.call("pmc_due_sections", p_group="even", p_now=NOON)["sections"]}
    memory = {"instructor_unsaid": False, "last_instructor": None, "reserved_unsaid": False}
    assert rows["10000"]["facts"] == facts(2).as_json() | {"memory": memory}
    assert rows["10000"]["version"] == 1
    assert (rows["10002"]["facts"], rows["10002"]["version"], rows["10002"]["observed_at"]) == (None, 0, None)


def test_pages_hold_every_section_once(database: Database, world: World) -> None:
    watched(world, range(10000, 10020, 2))
    for number in range(10000, 10010, 2):
        see(database, facts(1), NOON - HOUR - minutes(number % 4), section=section(number))
    seen, after, started = [], None, None
    while True:
        page = database.call(
            "pmc_due_sections", p_group="even", p_now=NOON, p_after=after, p_limit=3, p_started_at=started
        )
        seen += [row["class_nbr"] for row in page["sections"]]
        after, started = page["next"], page["started_at"]
        if after is None:
            break
        see(database, facts(1), NOON, section=section(int(seen[-1])))  # moves to the end of the order meanwhile
    assert len(seen) == 10
    assert set(seen) == {str(number) for number in range(10000, 10020, 2)}


def test_rescue_finds_what_has_no_ended_attempt_in_its_latest_slot(database: Database, world: World) -> None:
    watched(world, [10000, 10002, 10004, 10001, 10003])
    see(database, facts(1), NOON, section=section(10000))
    see(database, facts(1), NOON - minutes(30), section=section(10001))
    see(database, facts(1), NOON - HOUR, section=section(10004))
    give_up = {"p_term": "2267", "p_class_nbr": "10002", "p_slot": NOON, "p_error": "scraper said 500"}
    database.call("pmc_end_attempt", **give_up)
    assert set(due(database, p_now=NOON + minutes(5), p_unattempted_only=True)) == {"10003", "10004"}


def test_rescue_leaves_a_slot_alone_that_has_just_begun(database: Database, world: World) -> None:
    watched(world, [10000, 10001])
    assert due(database, p_now=NOON + minutes(1), p_unattempted_only=True) == ["10001"]
    assert set(due(database, p_now=NOON + minutes(2), p_unattempted_only=True)) == {"10000", "10001"}


# Seeding --------------------------------------------------------------------------------------------------------


def test_a_section_at_first_sight_takes_over_what_the_old_side_saw(database: Database, world: World) -> None:
    watched(world, [10000, 10002])
    world.old_upsert(section(10000), facts(0), NOON - HOUR)
    world.old_upsert(section(10002, "2261"), facts(0), NOON - HOUR)  # the same number, another term (O6)
    page = database.call("pmc_due_sections", p_group="even", p_now=NOON)["sections"]
    known = {row["class_nbr"]: (row["version"], row["facts"]) for row in page}
    assert known == {"10000": (1, facts(0).as_json() | {"memory": {}}), "10002": (0, None)}
    assert see(database, facts(1), NOON, section=section(10000))["emails_queued"] == 1
    assert see(database, facts(1), NOON, section=section(10002))["first_observation"]


def test_a_single_read_seeds_too_and_never_from_the_future(database: Database, world: World) -> None:
    world.old_upsert(SECTION, facts(3), NOON + DAY)
    known = read(database)
    assert (known.facts, known.version, known.observed_at) == (facts(3), 1, NOON)
    world.old_upsert(SECTION, facts(9))
    assert read(database).facts == facts(3)  # once, at first sight


def test_a_check_that_lands_while_a_reader_seeds_is_not_overwritten(
    database: Database, world: World, postgres_url: str
) -> None:
    world.old_upsert(SECTION, facts(0), NOON - HOUR)
    check = check_json(Known(), Observation(NOON, facts(5)))
    with psycopg.connect(postgres_url) as session, ThreadPoolExecutor(1) as pool:
        session.execute("select pmc_commit_check(%s::jsonb, %s)", [Jsonb(check), NOON])
        reading = pool.submit(read, database)
        world.wait_until_blocked()
        session.commit()
        assert reading.result(30).facts == facts(5)


def test_a_section_known_by_its_failures_only_is_still_seeded(database: Database, world: World) -> None:
    database.call("pmc_end_attempt", p_term="2267", p_class_nbr="12431", p_slot=NOON, p_error="timed out")
    world.old_upsert(SECTION, facts(0), NOON - HOUR)
    assert read(database).facts == facts(0)


# Strikes and retirement -----------------------------------------------------------------------------------------


def test_one_strike_a_slot_and_no_more(database: Database, world: World) -> None:
    world.add_watch()
    assert strike(database, NOON)["result"] == "struck"
    assert strike(database, NOON + minutes(1)) == {"result": "repeated", "strikes": 1, "emails_queued": 0}
    assert strike(database, NOON + HOUR)["strikes"] == 2
    assert world.rows("select kind from pickmyclass.section_events") == [("not_found",)]


def test_a_found_check_clears_the_strikes(database: Database, world: World) -> None:
    world.add_watch()
    for hour in range(2):
        strike(database, NOON + hour * HOUR)
    see(database, facts(1), NOON + 2 * HOUR)
    assert strike(database, NOON + 30 * HOUR)["strikes"] == 1


def test_three_strikes_within_a_day_do_not_retire(database: Database, world: World) -> None:
    world.add_watch()
    results = [strike(database, NOON + hour * HOUR)["result"] for hour in range(5)]
    assert results == ["struck"] * 5


def test_three_strikes_and_a_day_retire_with_one_last_mail(database: Database, world: World) -> None:
    told = world.add_watch()
    world.add_watch(user=world.add_user(spam_complained=True))
    other = world.add_watch(section(12431, "2271"))
    see(database, facts(2), NOON - HOUR)
    strike(database, NOON)
    strike(database, NOON + HOUR)
    answer = strike(database, NOON + DAY)
    assert answer == {"result": "retired", "strikes": 3, "emails_queued": 1}
    assert world.outbox() == [("section_removed", told, "pending")]
    assert world.rows("select id::text from class_watches") == [(other,)]
    assert world.one("select payload -> 'facts' ->> 'title' from pickmyclass.outbox") == facts().title
    assert world.rows("select kind from pickmyclass.section_events order by id") == [("not_found",), ("retired",)]


def test_a_section_that_is_watched_again_starts_without_strikes(database: Database, world: World) -> None:
    world.add_watch()
    for at in (NOON, NOON + HOUR, NOON + DAY):
        strike(database, at)
    world.add_watch()
    assert strike(database, NOON + 2 * DAY) == {"result": "struck", "strikes": 1, "emails_queued": 0}


@pytest.mark.parametrize(("missing", "result"), [(4, "retired"), (5, "guarded")])
def test_when_too_many_are_missing_the_source_is_broken_and_not_they(
    database: Database, world: World, missing: int, result: str
) -> None:
    numbers = range(10000, 10020, 2)
    watched(world, numbers)
    for number in list(numbers)[:missing]:
        for at in (NOON, NOON + HOUR):
            strike(database, at, section(number))
    assert strike(database, NOON + DAY, section(10000))["result"] == result
    assert world.one("select count(*) from class_watches") == (10 if result == "guarded" else 9)


def test_five_missing_of_very_many_are_retired(database: Database, world: World) -> None:
    numbers = range(10000, 10060, 2)
    watched(world, numbers)
    for number in list(numbers)[:5]:
        for at in (NOON, NOON + HOUR):
            strike(database, at, section(number))
    assert strike(database, NOON + DAY, section(10000))["result"] == "retired"


def test_a_number_that_nobody_watches_leaves_no_trace(database: Database, world: World) -> None:
    assert strike(database, NOON) == {"result": "unwatched", "strikes": 0, "emails_queued": 0}
    assert world.baseline() == {}
    assert world.one("select count(*) from pickmyclass.section_events") == 0


def test_a_stale_or_foreign_not_found_is_no_strike(database: Database, world: World) -> None:
    world.add_watch()
    see(database, facts(1), NOON)
    assert strike(database, NOON - HOUR)["result"] == "superseded"
    database.call("pmc_switch_ownership", p_owner="workers")
    assert strike(database, NOON + HOUR)["result"] == "not_owned"
    assert world.baseline()["not_found_strikes"] == 0


# Attempts -------------------------------------------------------------------------------------------------------


def test_an_attempt_that_ended_late_does_not_hide_a_newer_outcome(database: Database, world: World) -> None:
    end = {"p_term": "2267", "p_class_nbr": "12431"}
    see(database, facts(1), NOON + minutes(31))
    database.call("pmc_end_attempt", **end, p_slot=NOON + minutes(30), p_error="a straggler of the same slot")
    assert world.baseline()["last_error"] is None
    database.call("pmc_end_attempt", **end, p_slot=NOON + minutes(90), p_error="x" * 2000)
    assert len(world.baseline()["last_error"]) == 500
    database.call("pmc_end_attempt", **end, p_slot=NOON - minutes(30), p_error="a straggler of an older slot")
    assert world.baseline()["last_error"].startswith("xxx")
    assert world.baseline()["attempt_slot"].startswith("2026-11-22T13:30")


# Ticks ----------------------------------------------------------------------------------------------------------


def begin(database: Database, tick_id: str, **more: Any) -> str:
    arguments = {"p_slot": NOON, "p_group": "even", "p_source": "scheduler", "p_worker": "w", "p_now": NOON} | more
    return str(database.call("pmc_begin_tick", p_tick_id=tick_id, **arguments)["result"])


def test_a_slot_is_ticked_by_one_scheduler(database: Database) -> None:
    assert begin(database, "one") == "begun"
    assert begin(database, "two") == "already"
    assert begin(database, "one") == "begun"  # the same tick, asked again after a lost answer
    assert begin(database, "three", p_group="odd", p_slot=NOON + minutes(30)) == "begun"


def test_a_call_over_http_always_runs(database: Database) -> None:
    assert [begin(database, tick_id, p_source="http") for tick_id in ("one", "two")] == ["begun", "begun"]
    assert begin(database, "three") == "begun"


def test_a_tick_that_failed_or_never_ended_may_be_begun_again(database: Database, world: World) -> None:
    begin(database, "one")
    database.call("pmc_finish_tick", p_tick_id="one", p_error="RedisError while queueing")
    assert begin(database, "two") == "begun"
    assert begin(database, "three") == "already"
    world.postgres.execute("update pickmyclass.ticks set started_at = now() - interval '11 minutes'")
    assert begin(database, "four") == "begun"
    database.call("pmc_finish_tick", p_tick_id="four", p_enqueued=5, p_already_queued=1)
    world.postgres.execute("update pickmyclass.ticks set started_at = now() - interval '11 minutes'")
    assert begin(database, "five") == "already"
    assert database.call("pmc_finish_tick", p_tick_id="one") == {"finished": False}


def test_the_latest_ticks_say_what_is_missing(database: Database) -> None:
    assert database.call("pmc_latest_ticks", p_now=NOON) == {"even": None, "odd": None}
    begin(database, "old", p_slot=NOON - HOUR)
    database.call("pmc_finish_tick", p_tick_id="old", p_enqueued=0, p_already_queued=0)
    begin(database, "new")
    begin(database, "future", p_slot=NOON + HOUR)
    begin(database, "http", p_source="http", p_group="odd", p_slot=NOON - minutes(30))
    latest = database.call("pmc_latest_ticks", p_now=NOON + minutes(1))
    assert latest == {"even": {"tick_id": "new", "slot": NOON.isoformat(), "finished": False}, "odd": None}
    assert database.call("pmc_latest_ticks", p_now=NOON - minutes(1))["even"]["finished"] is True


# Workers --------------------------------------------------------------------------------------------------------


def beat(database: Database, worker_id: str, **more: Any) -> dict[str, Any]:
    worker = {"worker_id": worker_id, "worker_name": "vps", "host": "host", "max_concurrent_jobs": 4, "current_jobs": 1}
    answer = database.call("pmc_beat", p_worker=worker | more)
    assert isinstance(answer, dict)
    return answer


def silence(world: World, worker_id: str, seconds: float) -> None:
    world.postgres.execute(
        "update pickmyclass.workers set last_heartbeat = clock_timestamp() - make_interval(secs => %s)"
        " where worker_id = %s",
        [seconds, worker_id],
    )


def test_a_worker_is_dead_a_minute_after_its_last_beat(database: Database, world: World) -> None:
    for worker in ("quiet", "late", "alive"):
        beat(database, worker)
    silence(world, "quiet", 61)
    silence(world, "late", 50)
    assert beat(database, "alive")["dead"] == ["quiet"]
    assert beat(database, "alive", dead_after_seconds=6)["dead"] == ["quiet", "late"]


def test_a_beat_tells_how_many_threads_the_others_have_that_take_jobs(database: Database, world: World) -> None:
    assert beat(database, "alone")["others"] == 0
    for worker in ("quiet", "paused", "cut-off"):
        beat(database, worker, figures={"redis": {"connected": worker != "cut-off"}})
    beat(database, "big", max_concurrent_jobs=12)
    silence(world, "quiet", 61)
    database.call("pmc_set_worker_status", p_worker_id="paused", p_status="paused")
    assert beat(database, "alone")["others"] == 12
    assert beat(database, "big", max_concurrent_jobs=12)["others"] == 4


def test_a_dead_worker_goes_offline_when_its_jobs_were_taken_over(database: Database, world: World) -> None:
    beat(database, "quiet")
    silence(world, "quiet", 61)
    assert beat(database, "alive")["dead"] == ["quiet"]
    assert beat(database, "alive")["dead"] == ["quiet"]
    database.call("pmc_set_worker_status", p_worker_id="quiet", p_status="offline")
    assert beat(database, "alive")["dead"] == []
    assert beat(database, "quiet")["status"] == "active"  # it was only asleep


@pytest.mark.parametrize("status", ["paused", "draining"])
def test_what_an_operator_set_stays_set(database: Database, status: str) -> None:
    beat(database, "one")
    assert database.call("pmc_set_worker_status", p_worker_id="one", p_status=status) == {"found": True}
    assert beat(database, "one")["status"] == status
    assert database.call("pmc_set_worker_status", p_worker_id="nobody", p_status=status) == {"found": False}
    with pytest.raises(DatabaseError):
        database.call("pmc_set_worker_status", p_worker_id="one", p_status="asleep")


def test_workers_are_listed_with_what_their_last_beat_said(database: Database, world: World) -> None:
    beat(database, "one", figures={"waiting": 3}, capabilities={"queue": "1"})
    beat(database, "gone")
    database.call("pmc_set_worker_status", p_worker_id="gone", p_status="offline")
    world.postgres.execute(
        "update pickmyclass.workers set updated_at = now() - interval '2 days' where worker_id = 'gone'"
    )
    (listed,) = database.call("pmc_list_workers")
    assert (listed["worker_id"], listed["figures"], listed["current_jobs"]) == ("one", {"waiting": 3}, 1)


def test_a_beat_tells_an_idle_mailer_that_mail_waits(database: Database, world: World) -> None:
    assert beat(database, "one")["mail_due"] is False
    world.add_watch()
    see(database, facts(0), NOON)
    see(database, facts(1), NOON + minutes(1))
    assert beat(database, "one")["mail_due"] is True


# Health ---------------------------------------------------------------------------------------------------------


def health(database: Database, at: Any = NOON) -> dict[str, Any]:
    answer = database.call("pmc_read_health", p_now=at)
    assert isinstance(answer, dict)
    return answer


def test_health_counts_the_mail_that_waits_and_no_other(database: Database, world: World) -> None:
    for _ in range(2):
        world.add_watch()
    see(database, facts(0), NOON)
    see(database, facts(3), NOON + minutes(1))
    assert health(database)["email"]["pending"] == 2
    world.postgres.execute(
        "update pickmyclass.outbox set status = 'sent' where id = (select min(id) from pickmyclass.outbox)"
    )
    assert health(database)["email"]["pending"] == 1


def test_the_days_picture_has_a_bar_for_each_half_hour_and_the_opening_in_its_own(
    database: Database, world: World
) -> None:
    world.add_watch()
    see(database, facts(0), NOON - timedelta(hours=2))
    see(database, facts(3), NOON - timedelta(hours=1))
    slots = database.call("pmc_read_history", p_now=NOON + minutes(40))["slots"]
    times = [datetime.fromisoformat(one["slot"]) for one in slots]
    assert (len(times), times[-1]) == (48, slot_start(NOON + minutes(40)))
    assert {later - earlier for earlier, later in pairwise(times)} == {timedelta(minutes=30)}
    opened = latest_slot(group_of(SECTION.class_nbr), NOON - timedelta(hours=1))
    assert {slot: one["openings"] for slot, one in zip(times, slots, strict=True) if one["openings"]} == {opened: 1}


def test_health_of_an_empty_database_is_quiet(database: Database) -> None:
    answer = health(database)
    assert answer["freshness"] == {
        "watched_sections": 0,
        "overdue_sections": 0,
        "oldest_check_seconds": None,
        "last_completed_check_at": None,
        "struck_sections": 0,
        "failed_sections": 0,
    }
    assert (answer["last_tick"], answer["ticks"], answer["workers"]) == (None, {"even": None, "odd": None}, [])
    assert answer["email"]["pending"] == 0


def test_a_section_is_overdue_when_a_full_slot_has_passed_it_by(database: Database, world: World) -> None:
    world.add_watch(section(10000), since=NOON - DAY)
    world.add_watch(section(10002), since=NOON + minutes(10))  # watched only since the slot began
    see(database, facts(1), NOON - HOUR, section=section(10000))
    overdue = [health(database, NOON + minutes(m))["freshness"]["overdue_sections"] for m in (0, 29, 30, 59, 60)]
    assert overdue == [0, 0, 1, 1, 1]
    give_up = {"p_term": "2267", "p_class_nbr": "10000", "p_slot": NOON, "p_error": "scraper said 500"}
    database.call("pmc_end_attempt", **give_up)
    freshness = health(database, NOON + minutes(45))["freshness"]
    assert (freshness["overdue_sections"], freshness["failed_sections"]) == (0, 1)
    assert freshness["oldest_check_seconds"] == 105 * 60


def test_the_last_tick_counts_what_became_of_its_sections(database: Database, world: World) -> None:
    watched(world, [10000, 10002, 10001])
    begin(database, "one")
    database.call("pmc_finish_tick", p_tick_id="one", p_enqueued=2, p_already_queued=0)
    see(database, facts(1), NOON, section=section(10000))
    see(database, facts(1), NOON + minutes(30), section=section(10001))
    database.call("pmc_end_attempt", p_term="2267", p_class_nbr="10002", p_slot=NOON, p_error="timed out")
    tick = health(database)["last_tick"]
    assert (tick["group"], tick["enqueued"], tick["checked"], tick["failed"]) == ("even", 2, 1, 1)
    assert health(database)["ticks"]["even"]["tick_id"] == "one"


def test_the_delay_that_counts_runs_from_the_commit_to_the_acceptance(database: Database, world: World) -> None:
    world.add_watchers(20)
    see(database, facts(0), NOON)
    see(database, facts(1), NOON + minutes(1))
    world.postgres.execute(
        "update pickmyclass.outbox set status = 'sent', sent_at = created_at + interval '2 seconds' where id % 20 <> 0"
    )
    world.postgres.execute(
        "update pickmyclass.outbox set status = 'sent', sent_at = created_at + interval '9 seconds' where id % 20 = 0"
    )
    delay = health(database)["email_delay"]
    assert (delay["count"], delay["p50_seconds"]) == (20, 2)
    assert 2 < delay["p95_seconds"] < 9
