"""What becomes of a job, on a real server and on the stand-in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
import redis

from huey_app import heed
from shared.checks.duties import Heard
from shared.queue.holdings import Holdings, Settlement
from shared.queue.intake import Intake
from shared.queue.jobs import GiveUp, HandOn, Job, Park, PauseQueue, PushResult, RetryLater
from shared.redis import connect_redis
from tests.support.redis import NOW, QUICK, Workplace, command_counts, wait_until

Places = Callable[..., Workplace]
HOUR = 3_600_000


def jobs(*keys: str, expires_at: int | None = None, urgent: bool = False, now: int | None = None) -> list[Job]:
    return [Job("work", key, {"key": key}, expires_at=expires_at, urgent=urgent, now=now) for key in keys]


def raising(*errors: BaseException) -> Callable[[], None]:
    """A rule that raises the errors one run after the other, then succeeds."""
    left = list(errors)

    def rule() -> None:
        if left:
            raise left.pop(0)

    return rule


def test_every_job_runs_once_and_leaves_nothing_behind(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    keys = [f"2261:{number}" for number in range(10_000, 10_300)]
    assert place.huey.push(jobs(*keys), NOW) == PushResult(300, 0)
    place.consume()
    place.wait_for_runs(300)
    place.wait_until_settled()
    assert sorted(place.runs) == keys
    with connect_redis(any_redis_url) as client:
        assert client.hlen(place.huey.storage.jobs) == 0


def test_a_waiting_job_is_not_queued_twice(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    assert place.huey.push(jobs("a", "b", "a"), NOW) == PushResult(2, 1)
    assert place.huey.push(jobs("b", "c"), NOW) == PushResult(1, 1)
    assert place.huey.counts().waiting == 3


def test_a_running_job_is_not_queued_again_but_a_finished_one_is(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    may_end = threading.Event()
    place.rules["a"] = partial(may_end.wait, 10)
    place.huey.push(jobs("a"), NOW)
    place.consume()
    place.wait_for_runs(1)
    assert place.huey.push(jobs("a"), NOW) == PushResult(0, 1)
    may_end.set()
    place.wait_until_settled()
    assert place.huey.push(jobs("a"), NOW) == PushResult(1, 0)
    place.wait_for_runs(2)


def test_a_finished_job_can_be_queued_again_while_others_of_its_batch_run(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    may_end = threading.Event()
    place.rules["slow"] = partial(may_end.wait, 10)
    place.huey.push(jobs("a", "slow", *(f"k{number}" for number in range(20))), NOW)
    consumer = place.consume(workers=2)
    place.wait_for_runs(8)
    assert "a" in place.runs
    wait_until(lambda: "a" not in consumer.snapshot().running)
    assert place.huey.push(jobs("a", "slow"), NOW) == PushResult(1, 1)
    may_end.set()
    place.wait_until_settled()
    assert place.runs.count("a") == 2


def test_a_failing_listener_changes_nothing(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)

    @place.huey.signal()
    def listen(*_: object) -> None:
        raise RuntimeError("bug")

    place.huey.push(jobs("a"), NOW)
    place.consume()
    place.wait_until_settled()
    assert place.runs == ["a"]


def test_an_error_without_words_is_an_error_too(any_redis_url: str, queue_on: Places) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    place = queue_on(any_redis_url)
    place.rules["a"] = raising(MuteError(), MuteError(), MuteError())
    place.huey.push(jobs("a"), NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 1)
    letter = place.huey.dead_letters.show("a")
    assert letter
    assert letter.error == "MuteError"


def test_an_expired_waiting_job_is_replaced_by_a_push_and_runs_once(any_redis_url: str, queue_on: Places) -> None:
    clock = [NOW]
    place = queue_on(any_redis_url, clock=lambda: clock[0])
    place.huey.push(jobs("a", "b", expires_at=NOW + HOUR), NOW)
    assert place.huey.push(jobs("a", expires_at=NOW + 2 * HOUR), NOW + HOUR - 1) == PushResult(0, 1)
    clock[0] = NOW + HOUR
    assert place.huey.push(jobs("a", expires_at=NOW + 2 * HOUR), NOW + HOUR) == PushResult(1, 0)
    place.consume()
    place.wait_until_settled()
    assert place.runs == ["a"], "b expired, and so did the first a"
    assert place.huey.dead_letters.list() == [], "expiry is no failure"
    with connect_redis(any_redis_url) as client:
        assert client.hlen(place.huey.storage.jobs) == 0


def test_an_expired_running_job_still_counts_as_queued(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url, clock=lambda: NOW)
    may_end = threading.Event()
    place.rules["a"] = partial(may_end.wait, 10)
    place.huey.push(jobs("a", expires_at=NOW + HOUR), NOW)
    place.consume()
    place.wait_for_runs(1)
    assert place.huey.push(jobs("a"), NOW + 2 * HOUR) == PushResult(0, 1)
    may_end.set()
    place.wait_until_settled()


def test_a_delayed_job_that_expires_makes_room_for_the_next(any_redis_url: str, queue_on: Places) -> None:
    clock = [NOW]
    place = queue_on(any_redis_url, clock=lambda: clock[0])
    place.rules["a"] = raising(RetryLater(1.0, "later"))
    place.huey.push(jobs("a", expires_at=NOW + HOUR), NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().delayed == 1)
    assert place.huey.push(jobs("a"), NOW) == PushResult(0, 1)
    clock[0] = NOW + HOUR
    assert place.huey.push(jobs("a", expires_at=NOW + 2 * HOUR), NOW + HOUR) == PushResult(1, 0)
    place.wait_for_runs(2)
    place.wait_until_settled()
    assert place.runs == ["a", "a"], "the retry was dropped when it was due"


def test_a_replays_job_is_judged_by_its_own_clock(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url, clock=lambda: NOW + 10 * HOUR)
    place.huey.push(jobs("fresh", now=NOW, expires_at=NOW + HOUR), NOW)
    place.huey.push(jobs("stale", now=NOW, expires_at=NOW), NOW - 1)
    place.consume()
    place.wait_until_settled()
    assert place.runs == ["fresh"]


def test_a_failed_job_is_retried_twice_and_then_given_up(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    attempts: list[tuple[int, bool]] = []

    def fail() -> None:
        delivery = place.deliveries[-1]
        attempts.append((delivery.attempt, delivery.is_last_attempt))
        raise RetryLater(0.01, "scraper failed")

    place.rules["a"] = fail
    place.huey.push(jobs("a"), NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 1)
    place.wait_until_settled()
    assert attempts == [(1, False), (2, False), (3, True)]
    letter = place.huey.dead_letters.show("a")
    assert letter
    assert (letter.reason, letter.error, letter.attempts, letter.payload) == (
        "attempts",
        "scraper failed",
        3,
        {"key": "a"},
    )


@pytest.mark.parametrize("error", [RuntimeError("bug"), SystemExit(3), KeyboardInterrupt()])
def test_whatever_a_task_raises_is_a_failed_attempt_and_the_thread_lives_on(
    any_redis_url: str, queue_on: Places, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    place = queue_on(any_redis_url)
    place.rules["a"] = raising(error)
    place.huey.push(jobs("a"), NOW)
    place.consume(workers=1)
    place.wait_for_runs(2)
    place.wait_until_settled()
    assert place.runs == ["a", "a"]
    assert "task work failed" in caplog.text


def test_giving_up_goes_straight_to_the_dead_letters(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    place.rules["a"] = raising(GiveUp("bad request", "the scraper refused our request"))
    place.huey.push(jobs("a"), NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 1)
    letter = place.huey.dead_letters.show("a")
    assert letter
    assert (letter.reason, letter.attempts, letter.deaths) == ("bad request", 1, 0)


def test_the_next_success_of_a_key_resolves_its_dead_letter(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    for key in ("a", "b"):
        place.rules[key] = raising(GiveUp("bad request", "refused"))
    place.huey.push(jobs("a", "b"), NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 2)
    place.wait_until_settled()
    place.huey.push(jobs("a"), NOW)
    wait_until(lambda: place.huey.counts().dead == 1)
    assert [letter.key for letter in place.huey.dead_letters.list()] == ["b"]


def test_what_a_job_of_another_key_has_checked_too_is_resolved_and_nothing_is_asked_where_nothing_is_dead(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    letters = place.huey.dead_letters
    place.rules["a"] = raising(GiveUp("bad request", "refused"))
    place.rules["listing"] = lambda: letters.resolve_seen(["a", "c"])
    redis_client.config_resetstat()
    place.huey.push(jobs("listing"), NOW)
    place.consume()
    place.wait_until_settled()
    assert command_counts(redis_client)["hdel"] == 1, "the finished job's"
    place.huey.push(jobs("a"), NOW)
    wait_until(lambda: place.huey.counts().dead == 1)
    place.huey.push(jobs("listing"), NOW)
    wait_until(lambda: place.huey.counts().dead == 0)


def test_an_unknown_task_is_kept_with_its_reason(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    place.huey.push([Job("renamed", "a", {"term": "2261"})], NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 1)
    letter = place.huey.dead_letters.show("a")
    assert letter
    assert (letter.reason, letter.task, letter.payload) == ("unknown task", "renamed", {"term": "2261"})


def test_arguments_that_the_task_does_not_take_are_failures(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    place.huey.push([Job("work", "a", {"unknown": 1})], NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 1)
    letter = place.huey.dead_letters.show("a")
    assert letter
    assert "TypeError" in letter.error


@pytest.mark.parametrize("body", ["", "no json", '{"id":"x1","deaths":0}', b"\xff\xfe\x00", "[1,2]", "null"])
def test_an_unreadable_message_is_buried_and_stops_nobody(
    any_redis_url: str, queue_on: Places, body: str | bytes
) -> None:
    place = queue_on(any_redis_url)
    with connect_redis(any_redis_url) as client:
        client.hset(place.huey.storage.jobs, "a", body)
        client.lpush(place.huey.storage.waiting, "a x1")
    place.huey.push(jobs("b"), NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 1)
    place.wait_until_settled()
    letter = place.huey.dead_letters.show("a")
    assert letter
    assert letter.reason == "unreadable"
    assert place.runs == ["b"]


def test_a_parked_job_comes_back_without_having_spent_an_attempt(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    attempts: list[int] = []
    parks = [Park(), Park(), Park(), Park()]

    def park() -> None:
        attempts.append(place.deliveries[-1].attempt)
        if parks:
            raise parks.pop()

    place.rules["a"] = park
    place.huey.push(jobs("a"), NOW)
    place.consume()
    wait_until(lambda: len(attempts) == 5)
    place.wait_until_settled()
    assert attempts == [1, 1, 1, 1, 1]


def test_what_cannot_be_done_here_is_done_elsewhere_and_here_one_at_a_time_is_tried_from_then_on(
    any_redis_url: str, queue_on: Places
) -> None:
    here, there = queue_on(any_redis_url, durations=replace(QUICK, hand_on=0.05)), queue_on(any_redis_url)
    reached = threading.Event()

    def reach() -> None:
        if not reached.is_set():
            raise HandOn

    names = [f"job-{number}" for number in range(12)]
    here.rules = dict.fromkeys(names, reach)
    consumer = here.consume("here", workers=4)
    held = consumer.fetcher.holdings
    here.huey.push(jobs(*names), NOW)
    wait_until(lambda: len(here.runs) > 6)  # the first four together, then one after each wait
    assert held.is_wary
    assert held.can_run <= 1
    there.consume("there", workers=4)
    wait_until(lambda: set(there.runs) == set(names))
    here.wait_until_settled()
    assert here.huey.counts().dead == 0
    there.stop(there.consumers[0][0])
    reached.set()
    here.huey.push(jobs(*names), NOW)
    wait_until(lambda: not held.is_wary)
    here.wait_until_settled()


def test_a_pause_holds_the_queued_jobs_of_every_consumer(any_redis_url: str, queue_on: Places) -> None:
    first, second = queue_on(any_redis_url), queue_on(any_redis_url)
    first.rules["a"] = raising(PauseQueue(600.0))
    first.huey.push(jobs("a"), NOW)
    first.consume("one")
    first.wait_for_runs(1)
    wait_until(lambda: first.huey.counts().waiting == 1)
    second.consume("two")
    first.huey.push(jobs("b", "c"), NOW)
    wait_until(lambda: second.consumers[0][0].fetcher.intake.ask_at > 0)
    counts = first.huey.counts()
    assert (counts.waiting, counts.leased) == (3, 0)
    assert 590 < counts.paused_for <= 600
    assert (first.runs, second.runs) == (["a"], [])
    first.huey.storage.resume()
    wait_until(lambda: len(first.runs) + len(second.runs) == 4)
    first.wait_until_settled()


def test_urgent_jobs_go_first(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    place.huey.push(jobs("a", "b", "c"), NOW)
    place.huey.push(jobs("operator", urgent=True), NOW)
    place.consume(workers=1)
    place.wait_for_runs(4)
    assert place.runs == ["operator", "a", "b", "c"]


def test_whoever_takes_some_of_what_waits_rings_for_the_rest(any_redis_url: str, queue_on: Places) -> None:
    patient = replace(QUICK, doorbell=300.0)
    one, two = queue_on(any_redis_url, durations=patient), queue_on(any_redis_url, durations=patient)
    works = {"one": threading.Event(), "two": threading.Event()}

    def wait_for_both(name: str) -> None:
        works[name].set()
        assert all(other.wait(10) for other in works.values())

    for name, place in (("one", one), ("two", two)):
        place.rules = dict.fromkeys("abcd", partial(wait_for_both, name))
        consumer = place.consume(name, workers=1)
        wait_until(lambda consumer=consumer: consumer.fetcher.intake.left == 0)
    one.huey.push(jobs("a", "b", "c", "d"), NOW)
    wait_until(lambda: all(event.is_set() for event in works.values()))
    one.wait_until_settled()


@pytest.mark.parametrize(("share", "taken"), [(1.0, 20), (0.25, 5), (0.01, 4)])
def test_a_consumer_takes_its_share_of_what_waits_but_as_many_as_it_has_threads(
    any_redis_url: str, queue_on: Places, share: float, taken: int
) -> None:
    place = queue_on(any_redis_url)
    place.huey.push(jobs(*(f"job-{number}" for number in range(20))), NOW)
    intake, held = Intake(), Holdings(4)
    intake.share = share
    answer = place.huey.storage.take("one", "", "", Settlement(), intake.wish(held, flows=False))
    assert (len(answer.deliveries), answer.left) == (taken, 20 - taken)


def test_the_share_is_what_the_registry_says(any_redis_url: str, queue_on: Places) -> None:
    consumer = queue_on(any_redis_url).consume()
    heed(Heard("active", False, share=0.2), consumer)
    assert consumer.fetcher.intake.share == 0.2


def test_hueys_own_call_queues_a_job(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    ran = threading.Event()
    task = place.huey.task(name="called")(lambda term: ran.set() if term == "2261" else None)
    place.consume()
    task(term="2261")
    assert ran.wait(10)


def test_dead_letters_can_be_listed_queued_again_and_dropped(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    dead = place.huey.dead_letters
    for key in ("a", "b"):
        place.rules[key] = raising(GiveUp("bad request", "refused"))
    place.huey.push(jobs("a", "b", expires_at=NOW + 10**12), NOW)
    place.consume(workers=1)
    wait_until(lambda: place.huey.counts().dead == 2)
    place.wait_until_settled()
    assert {letter.key for letter in dead.list()} == {"a", "b"}
    assert dead.requeue("a", NOW) == PushResult(1, 0)
    assert dead.requeue("nothing", NOW) is None
    place.wait_for_runs(3)
    assert dead.drop("b")
    assert not dead.drop("b")
    assert dead.list() == []


def test_a_key_that_fails_again_keeps_its_first_failure(any_redis_url: str, queue_on: Places) -> None:
    clock = [NOW]
    place = queue_on(any_redis_url, clock=lambda: clock[0])
    place.rules["a"] = raising(GiveUp("one", "first"), GiveUp("two", "second"))
    place.consume()
    for moment in (NOW, NOW + HOUR):
        clock[0] = moment
        place.huey.push(jobs("a"), moment)
        wait_until(lambda: any(letter.last_failure == clock[0] for letter in place.huey.dead_letters.list()))
        place.wait_until_settled()
    (letter,) = place.huey.dead_letters.list()
    assert (letter.reason, letter.first_failure, letter.last_failure) == ("two", NOW, NOW + HOUR)


def test_no_more_than_500_dead_letters_are_kept_the_latest(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    place.huey.push([Job("nothing", f"old{number}") for number in range(3)], NOW)
    place.consume()
    wait_until(lambda: place.huey.counts().dead == 3)
    time.sleep(0.005)  # a later millisecond
    place.huey.push([Job("nothing", f"new{number}") for number in range(500)], NOW)
    place.wait_until_settled()
    wait_until(lambda: not place.consumers[0][0].fetcher.holdings)
    assert {letter.key for letter in place.huey.dead_letters.list()} == {f"new{number}" for number in range(500)}
