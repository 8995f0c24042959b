"""Nothing due is forgotten: a server down over the slot's start, several schedulers, an emptied Redis, the dead."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from redis import RedisError

from huey_app import build, declare_ticks
from shared.checks.duties import Duties, Worker
from shared.checks.tick import TickOrder
from shared.queue import Turn
from shared.schedule import latest_slots
from shared.sections.section import Section
from shared.sections.slots import Group
from shared.wiring import Wiring
from tests.support.redis import wait_until
from tests.support.stage import EVEN, ODD, Stage, consuming
from tests.support.term import TERM

SCHEDULE = ("0,30 * * * *", "UTC")
AT = datetime(2026, 11, 22, 12, 3, tzinfo=UTC)


def never_stopping(_seconds: float) -> bool:
    return False


def duties(parts: Wiring, name: str = "one") -> Duties:
    worker = Worker(f"{name}:1:abc", name, "box", 4, {})
    return Duties(
        parts.database, parts.huey, parts.ticker, worker, parts.durations, parts.clock, pick=lambda low, _: low
    )


def due(stage: Stage) -> dict[Group, datetime]:
    return latest_slots(*SCHEDULE, stage.clock())


def queued(stage: Stage) -> int:
    return stage.parts.huey.counts().waiting


@pytest.fixture
def watched(stage: Stage) -> Stage:
    stage.clock.at = AT
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    return stage


def test_a_server_that_was_down_over_both_slots_runs_both_ticks_late_and_each_for_its_own_half(watched: Stage) -> None:
    ran = duties(watched.parts).catch_up(due(watched), never_stopping)
    assert [report.group for report in ran] == ["odd", "even"]
    assert [report.enqueued for report in ran] == [1, 1]
    slots = watched.world.rows("select slot, stagger_group from pickmyclass.ticks order by slot")
    assert slots == [(AT.replace(hour=11, minute=30), "odd"), (AT.replace(minute=0), "even")]


def test_nothing_is_caught_up_twice(watched: Stage) -> None:
    one = duties(watched.parts)
    one.catch_up(due(watched), never_stopping)
    assert one.catch_up(due(watched), never_stopping) == []
    assert duties(watched.parts, "two").catch_up(due(watched), never_stopping) == []


def test_a_system_that_was_born_just_now_has_missed_nothing(watched: Stage, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="shared")
    one = duties(watched.parts)
    one.catch_up(due(watched), never_stopping)
    assert "first tick" in caplog.messages
    assert {record.levelname for record in caplog.records} == {"INFO"}
    watched.clock.at = AT + timedelta(hours=1)
    one.catch_up(due(watched), never_stopping)
    missed = [record.levelname for record in caplog.records if record.message == "catching up with a missed tick"]
    assert missed == ["WARNING", "WARNING"]


def test_what_was_caught_up_with_a_moment_ago_is_not_rescued_yet_and_what_stays_late_is_searched_for(
    watched: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    searches: list[bool] = []
    is_late = iter([True, False, False])

    def rescue(_one: Duties, *, search: bool) -> bool:
        searches.append(search)
        return next(is_late)

    monkeypatch.setattr(Duties, "rescue", rescue)
    declare_ticks(watched.parts.huey, duties(watched.parts), *SCHEDULE)
    control = next(control for control in watched.parts.huey.controls if control.name == "rescue")
    control.function(Turn(threading.Event()))
    assert (queued(watched), len(searches)) == (2, 0)
    for _ in range(3):
        control.function(Turn(threading.Event()))
    assert searches == [False, True, False]


def test_whatever_is_declared_is_carried_out_by_the_consumer_looks_between_the_ticks_too(watched: Stage) -> None:
    consumer = build(watched.rewire(LOOKS_PER_MINUTE="30"))
    carried_out = {control.name for control in consumer.controls}
    assert {control.name for control in watched.parts.huey.controls} <= carried_out
    assert {"looks", "rescue", "mail", "beat", "alerts"} <= carried_out


def test_a_tick_that_failed_is_caught_up(watched: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    one = duties(watched.parts)

    def unreachable(*_: object) -> None:
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(watched.parts.huey, "push", unreachable)
        with pytest.raises(ConnectionError):
            watched.parts.ticker.tick(TickOrder(AT, "even", "scheduler"))
    assert queued(watched) == 0
    one.catch_up(due(watched), never_stopping)
    assert queued(watched) == 2


def test_two_consumers_make_one_tick_of_a_slot(watched: Stage) -> None:
    both = [duties(watched.parts, name) for name in ("one", "two")]
    reports = []
    threads = [
        threading.Thread(target=lambda one=one: reports.append(one.tick(AT, threading.Event().wait))) for one in both
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert watched.world.one("select count(*) from pickmyclass.ticks where source = 'scheduler'") == 1
    assert sum(report.enqueued for report in reports if report and report.begun) == 1
    assert queued(watched) == 1


def test_a_second_consumer_that_comes_later_does_not_even_ask_for_the_lock(watched: Stage) -> None:
    duties(watched.parts).tick(AT, never_stopping)
    watched.parts.lock.acquire("somebody else")
    assert duties(watched.parts, "two").tick(AT, never_stopping) is None


def test_an_emptied_redis_is_filled_again_by_the_rescue(watched: Stage) -> None:
    one = duties(watched.parts)
    one.catch_up(due(watched), never_stopping)
    watched.redis.flush()
    assert queued(watched) == 0
    one.rescue()
    assert queued(watched) == 2


def test_the_rescue_lets_the_tick_go_first(watched: Stage) -> None:
    watched.clock.at = AT.replace(minute=1)
    duties(watched.parts).rescue()
    assert queued(watched) == 1, "only the odd half: the even slot began a minute ago"


def test_the_grace_of_a_slot_is_one_of_the_durations(watched: Stage) -> None:
    watched.clock.at = AT.replace(minute=0, second=13)
    quick = Wiring(
        watched.parts.settings, clock=watched.clock, durations=watched.parts.durations.divided_by(10)
    )  # fmt: skip
    try:
        duties(quick).rescue()
    finally:
        quick.close()
    assert queued(watched) == 2


def test_the_rescue_leaves_ended_attempts_alone(watched: Stage) -> None:
    watched.parts.database.call(
        "pmc_end_attempt", p_term=TERM, p_class_nbr=EVEN.class_nbr, p_slot=AT.replace(minute=0), p_error="failed"
    )
    duties(watched.parts).rescue()
    assert queued(watched) == 1


def test_jobs_of_a_consumer_that_the_registry_calls_offline_are_given_back_by_the_rescue(watched: Stage) -> None:
    # It woke after it had been replaced, took jobs, and died before its next beat.
    one = duties(watched.parts)
    one.register(never_stopping)
    one.catch_up(due(watched), never_stopping)
    take_everything(watched, "stray:1:abc")
    assert queued(watched) == 0
    one.rescue()
    assert queued(watched) == 2


def test_jobs_in_nobodys_hands_are_put_back_by_the_rescue(watched: Stage) -> None:
    one = duties(watched.parts)
    one.register(never_stopping)
    one.catch_up(due(watched), never_stopping)
    storage = watched.parts.huey.storage
    watched.parts.redis.sadd(storage.consumers, one.worker.incarnation)  # somebody is known to hold something
    watched.parts.redis.delete(storage.waiting)  # as if an answer had been lost with them
    assert watched.parts.huey.counts().limbo == 2
    one.rescue()
    assert (queued(watched), watched.parts.huey.counts().limbo) == (2, 0)
    assert watched.parts.huey.found_lost == 2


def test_the_rescue_says_what_is_late_and_the_next_one_may_search_for_whoever_has_it(watched: Stage) -> None:
    one = duties(watched.parts)
    one.register(never_stopping)
    one.catch_up(due(watched), never_stopping)
    take_everything(watched, "stray:1:abc")
    assert one.rescue(search=False)
    assert queued(watched) == 0, "whoever has them may be at work"
    assert one.rescue()
    assert queued(watched) == 2


def test_a_rescue_that_failed_has_the_next_one_search(watched: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    one = duties(watched.parts)
    one.catch_up(due(watched), never_stopping)

    def fails() -> set[str]:
        raise RedisError

    monkeypatch.setattr(watched.parts.huey, "find_lost", fails)
    assert one.rescue()


def test_where_nothing_is_overdue_the_rescue_asks_redis_nothing(
    watched: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = duties(watched.parts)
    for section in (EVEN, ODD):
        watched.parts.database.call(
            "pmc_end_attempt", p_term=TERM, p_class_nbr=section.class_nbr, p_slot=AT.replace(minute=0)
        )
    monkeypatch.setattr(watched.parts.huey.storage.client, "execute_command", None)
    one.rescue()


def test_jobs_of_a_living_consumer_are_left_where_they_are(watched: Stage) -> None:
    one, other = duties(watched.parts), duties(watched.parts, "other")
    for each in (one, other):
        each.register(never_stopping)
    one.catch_up(due(watched), never_stopping)
    take_everything(watched, other.worker.incarnation)
    one.rescue()
    assert queued(watched) == 0


def take_everything(stage: Stage, worker: str) -> None:
    """What a consumer's take does to Redis, without a lease that would have to run out first."""
    storage = stage.parts.huey.storage
    entries = stage.parts.redis.lrange(storage.waiting, 0, -1)
    stage.parts.redis.delete(storage.waiting)
    stage.parts.redis.set(storage.held_key(worker), "".join(f"B {entry}\n" for entry in entries))
    stage.parts.redis.sadd(storage.consumers, worker)


@pytest.mark.parametrize("missing", [False, True], ids=["found", "not found"])
def test_over_several_slots_with_the_rescue_running_each_section_is_looked_up_once_in_each_of_its_own(
    watched: Stage, missing: bool
) -> None:
    one, queue = duties(watched.parts), watched.parts.huey
    one.register(never_stopping)
    for section in (EVEN, ODD):
        watched.show(section, missing=missing)
    with consuming(watched.parts):
        for half_hour in range(6):
            watched.clock.at = AT.replace(minute=0) + half_hour * timedelta(minutes=30)
            one.tick(watched.clock(), never_stopping)
            for _ in range(3):
                wait_until(lambda: (seen := queue.counts()).waiting + seen.leased + seen.delayed == 0, 20)
                watched.clock.at += timedelta(minutes=6)
                one.rescue()
    before_the_first_tick = 1  # the odd one's slot of 11:30, which nobody ticked
    assert watched.campus.campus.lookups == {EVEN.class_nbr: 3, ODD.class_nbr: 3 + before_the_first_tick}


LOST = {"redis": {"status": "unhealthy", "connected": False}}


def test_jobs_of_a_consumer_that_lives_and_has_lost_redis_are_taken_over_at_the_next_beat(watched: Stage) -> None:
    one, other = duties(watched.parts), duties(watched.parts, "other")
    for each in (one, other):
        each.register(never_stopping)
    one.catch_up(due(watched), never_stopping)
    take_everything(watched, other.worker.incarnation)
    other.beat(2, LOST)
    assert queued(watched) == 0
    one.beat(0, {})
    assert queued(watched) == 2
    listed = watched.parts.database.call("pmc_list_workers")
    assert [row["status"] for row in listed] == ["active", "active"], "it may come back at any moment"


def test_a_consumer_that_has_lost_redis_keeps_its_jobs_while_its_lease_stands(watched: Stage) -> None:
    one, other = duties(watched.parts), duties(watched.parts, "other")
    for each in (one, other):
        each.register(never_stopping)
    one.catch_up(due(watched), never_stopping)
    take_everything(watched, other.worker.incarnation)
    watched.parts.huey.storage.renew_lease(other.worker.incarnation)
    other.beat(2, LOST)
    one.beat(0, {})
    assert queued(watched) == 0


def test_held_mail_is_looked_at_again_although_whoever_should_queue_it_died(watched: Stage) -> None:
    one = duties(watched.parts)
    for section in (EVEN, ODD):
        watched.parts.database.call(
            "pmc_end_attempt", p_term=TERM, p_class_nbr=section.class_nbr, p_slot=AT.replace(minute=30)
        )
    hold_mail_of(watched, EVEN)
    one.rescue()
    assert queued(watched) == 1


def hold_mail_of(stage: Stage, section: Section) -> None:
    event = stage.world.one(
        "insert into pickmyclass.section_events (term, class_nbr, kind, observed_at, slot)"
        " values (%s, %s, 'seat_available', %s, %s) returning id",
        *(section.term, section.class_nbr, AT, AT),
    )
    stage.world.postgres.execute(
        "insert into pickmyclass.outbox (event_id, watch_id, user_id, watched_since, term, class_nbr,"
        " notification_type, payload, event_at, slot, held)"
        " values (%s, gen_random_uuid(), gen_random_uuid(), %s, %s, %s, 'seat_available', '{}', %s, %s, true)",
        [event, AT, section.term, section.class_nbr, AT, AT],
    )


def test_a_look_that_is_still_acknowledged_is_asked_for_once_more_and_not_for_ever(
    watched: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The commit wakes the mailer at once, when the job that committed is not acknowledged yet.
    monkeypatch.setattr("shared.mail.send._RECHECK", 0.05)
    room, sections = watched.parts.mail, [EVEN, ODD]
    watched.parts.ticker.requeue(sections[:1], "first")
    room.recheck([{"term": section.term, "class_nbr": section.class_nbr} for section in sections])
    assert queued(watched) == 2
    watched.redis.flush()  # stands for the acknowledgement
    room.recheck([])
    assert queued(watched) == 0, "not before its time"
    wait_until(lambda: room.recheck([]) is None and not room.must_recheck)
    assert queued(watched) == 2


def test_after_a_missed_day_only_the_latest_slot_of_each_half_is_caught_up(watched: Stage) -> None:
    one = duties(watched.parts)
    one.catch_up(due(watched), never_stopping)
    watched.clock.at = AT + timedelta(days=1)
    ran: Sequence[object] = one.catch_up(due(watched), never_stopping)
    assert len(ran) == 2
