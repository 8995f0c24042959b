"""The order of a stop, and what a consumer shows of itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest
from huey import crontab
from redis.exceptions import ConnectionError as RedisConnectionError

from huey_app import heed
from shared.checks.duties import Heard
from shared.queue import Turn
from shared.queue.jobs import Job, RetryLater
from tests.support.redis import NOW, QUICK, Workplace, wait_until

Places = Callable[..., Workplace]


def jobs(*keys: str) -> list[Job]:
    return [Job("work", key, {"key": key}) for key in keys]


def test_a_stop_goes_in_the_documented_order(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    order: list[str] = []
    may_end = threading.Event()

    def work() -> None:
        may_end.wait(10)
        order.append("worker finished")

    @place.huey.control(every=3600.0)
    def scheduler(turn: Turn) -> None:
        turn.wait(3600.0)
        order.append("scheduler stopped")
        may_end.set()

    @place.huey.control(every=3600.0, stops_last=True)
    def mail(turn: Turn) -> None:
        turn.wait(3600.0)
        order.append("mail settled")

    place.huey.on_shutdown("close")(lambda: order.append("connections closed"))
    place.rules["a"] = work
    place.huey.push(jobs("a"), NOW)
    consumer = place.consume()
    place.wait_for_runs(1)
    place.stop(consumer)
    assert order == ["scheduler stopped", "worker finished", "mail settled", "connections closed"]
    assert consumer.left_cleanly
    assert place.huey.known_consumers() == set()


def test_a_hung_job_is_handed_back_and_the_stop_ends_in_time(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url, durations=replace(QUICK, drain=0.2, stop=0.5))
    hangs = threading.Event()
    place.rules["hung"] = partial(hangs.wait, 30)
    place.huey.push(jobs("hung", "b", "c"), NOW)
    consumer = place.consume(workers=1)
    place.wait_for_runs(1)
    began = time.monotonic()
    place.stop(consumer)
    assert time.monotonic() - began < 5
    assert consumer.left_cleanly
    counts = place.huey.counts()
    assert (counts.waiting, counts.leased) == (3, 0)
    other = queue_on(any_redis_url)
    other.consume("two")
    other.wait_for_runs(3)
    other.wait_until_settled()
    hangs.set()
    assert sorted(other.runs) == ["b", "c", "hung"]


def test_jobs_not_started_are_free_before_the_running_ones_have_finished(any_redis_url: str, queue_on: Places) -> None:
    place, other = queue_on(any_redis_url), queue_on(any_redis_url)
    may_end = threading.Event()
    place.rules["slow"] = partial(may_end.wait, 10)
    place.huey.push(jobs("slow", "b", "c", "d", "e"), NOW)
    first = place.consume("one", workers=1)
    place.wait_for_runs(1)
    first.request_stop()
    other.consume("two")
    other.wait_for_runs(4)
    assert first.snapshot().running.keys() == {"slow"}
    may_end.set()
    place.stop(first)
    assert place.huey.counts().leased == 0


def test_a_paused_consumer_takes_nothing_until_resumed(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    consumer = place.consume()
    heed(Heard("paused", False, share=1.0), consumer)
    place.huey.push(jobs("a", "b"), NOW)
    other = queue_on(any_redis_url)
    other.consume("two")
    other.wait_for_runs(2)
    assert place.runs == []
    consumer.resume(0.5)
    other.stop(other.consumers[0][0])
    place.huey.push(jobs("c"), NOW)
    place.wait_for_runs(1)


def test_a_paused_consumer_leaves_to_others_what_waits_for_a_retry_and_what_fails_from_then_on(
    any_redis_url: str, queue_on: Places
) -> None:
    place, other = queue_on(any_redis_url), queue_on(any_redis_url)
    consumer = place.consume(workers=2)
    may_fail = threading.Event()

    def fail(delay: float) -> None:
        raise RetryLater(delay, "not now")

    place.rules = {"a": lambda: fail(600.0), "b": lambda: may_fail.wait(20) and fail(0.01)}
    place.huey.push(jobs("a", "b"), NOW)
    wait_until(lambda: consumer.snapshot().delayed == 1)
    consumer.pause()
    successor = other.consume("two")
    wait_until(lambda: successor.snapshot().delayed == 1)
    may_fail.set()
    other.wait_for_runs(1)
    assert (sorted(place.runs), other.runs) == (["a", "b"], ["b"])


def test_a_consumer_that_cannot_beat_leaves_its_jobs_to_the_others_until_it_can(
    any_redis_url: str, queue_on: Places
) -> None:
    place, other = queue_on(any_redis_url), queue_on(any_redis_url)
    consumer = place.consume(workers=1)
    may_end = threading.Event()
    place.rules["a"] = may_end.wait
    place.huey.push(jobs("a", "b", "c"), NOW)
    place.wait_for_runs(1)
    wait_until(lambda: consumer.snapshot().buffered == 2)
    heed(None, consumer)
    other.consume("two")
    other.wait_for_runs(2)
    other.stop(other.consumers[0][0])
    may_end.set()
    place.huey.push(jobs("d"), NOW)
    heed(Heard("active", False, share=1.0), consumer)
    place.wait_for_runs(2)
    assert (place.runs, sorted(other.runs)) == (["a", "d"], ["b", "c"])


def test_a_goodbye_that_redis_did_not_hear_was_none(
    any_redis_url: str, queue_on: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = queue_on(any_redis_url)
    consumer = place.consume()

    def unheard(_worker: str) -> bool:
        raise RedisConnectionError

    monkeypatch.setattr(place.huey.storage, "leave", unheard)
    place.stop(consumer)
    assert not consumer.left_cleanly


def test_a_control_function_is_woken_at_once(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    turns: list[bool] = []

    @place.huey.control(every=3600.0)
    def mail(turn: Turn) -> None:
        turns.append(turn.is_stopping)

    place.consume()
    wait_until(lambda: len(turns) == 1)
    place.huey.wake("mail")
    wait_until(lambda: len(turns) == 2)


def test_a_control_function_that_fails_goes_on(any_redis_url: str, queue_on: Places, caplog: object) -> None:
    place = queue_on(any_redis_url)
    turns: list[None] = []

    @place.huey.control(every=0.01)
    def beat(turn: Turn) -> None:
        turns.append(None)
        raise RuntimeError("database down")

    place.consume()
    wait_until(lambda: len(turns) >= 3)


def test_a_control_function_says_when_it_wants_its_next_turn(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    turns: list[None] = []

    @place.huey.control(every=3600.0)
    def mail(turn: Turn) -> float | None:
        turns.append(None)
        return 0.01 if len(turns) < 3 else None

    place.consume()
    wait_until(lambda: len(turns) == 3)


def test_periodic_tasks_run_beside_the_queue_at_their_minute_of_their_timezone(
    any_redis_url: str, queue_on: Places
) -> None:
    place = queue_on(any_redis_url, timezone="Asia/Kolkata")  # half an hour off the full hour

    @place.huey.periodic_task(crontab(minute="0,30"), name="tick")
    def tick(turn: Turn) -> None: ...

    (control,) = place.huey.create_consumer(worker_id="x").controls
    assert control.next_due(datetime(2026, 11, 22, 12, 0, tzinfo=UTC)) == datetime(2026, 11, 22, 12, 30, tzinfo=UTC)
    assert control.next_due(datetime(2026, 11, 22, 12, 29, 59, tzinfo=UTC)) == datetime(
        2026, 11, 22, 12, 30, tzinfo=UTC
    )
    assert place.huey.counts().waiting == 0


def test_a_snapshot_tells_ages_and_counts_without_asking(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    may_end = threading.Event()
    place.rules["slow"] = partial(may_end.wait, 10)
    place.huey.push(jobs("slow", "b", "c"), NOW)
    consumer = place.consume(workers=1)
    place.wait_for_runs(1)
    snapshot = consumer.snapshot()
    assert snapshot.running.keys() == {"slow"}
    assert 0 <= snapshot.running["slow"] < 10, "seconds since it began"
    assert (snapshot.completed, snapshot.redis_connected, snapshot.stopping) == (0, True, False)
    assert snapshot.last_completed_at is None
    may_end.set()
    wait_until(lambda: consumer.snapshot().completed == 3)
    assert consumer.snapshot().threads_alive
    assert consumer.snapshot().last_completed_at
