"""Consumers that are killed, stopped and frozen: nothing is lost, and what may have killed one runs alone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from shared.durations import Durations
from shared.queue import LeasedHuey
from shared.queue.holdings import Settlement
from shared.queue.intake import Wish
from shared.queue.jobs import Job
from tests.support.redis import NOW, QUICK, ConsumerProcess, wait_until
from workshop.parts.redis import EmbeddedRedis

pytestmark = pytest.mark.real_redis

Start = Callable[..., ConsumerProcess]


@pytest.fixture
def huey(redis_url: str) -> Iterator[LeasedHuey]:
    """The queue as a door sees it: it pushes, counts and takes over."""
    queue = LeasedHuey(redis_url=redis_url, durations=QUICK)
    yield queue
    queue.close()


def naps(prefix: str, count: int, seconds: float) -> list[Job]:
    return [Job("nap", f"{prefix}{number:03}", {"seconds": seconds}) for number in range(count)]


def shorten(huey: LeasedHuey, keys: list[str]) -> None:
    """What these jobs do will be over soon the second time."""
    for key in keys:
        job = huey.storage.client.hget(huey.storage.jobs, key)
        huey.storage.client.hset(huey.storage.jobs, key, str(job).replace("60.0", "0.05"))


def take_over(huey: LeasedHuey, worker_id: str, timeout: float = 20) -> tuple[int, int, int]:
    """As a beat does that sees an old one: again and again, until the lease is over."""
    found: list[tuple[int, int, int]] = []

    def try_it() -> bool:
        answer = huey.take_over(worker_id)
        found.extend([answer] if answer else [])
        return bool(found)

    wait_until(try_it, timeout)
    return found[0]


def test_kill_9_with_four_running_and_fifty_waiting_loses_nothing(
    redis_url: str, huey: LeasedHuey, consumer_process: Start
) -> None:
    first = consumer_process(redis_url, "first")
    huey.push(naps("slow", 4, 60.0), NOW)
    wait_until(lambda: len(first.keys("begin")) == 4)
    huey.push(naps("fast", 50, 0.01), NOW)
    wait_until(lambda: huey.counts().leased > 4)
    first.kill()
    assert sorted(first.keys("begin")) == ["slow000", "slow001", "slow002", "slow003"]
    assert huey.take_over("first") is None, "its lease stands: it could be alive"
    shorten(huey, first.keys("begin"))
    second = consumer_process(redis_url, "second")
    back, alone, poisoned = take_over(huey, "first")
    assert (alone, poisoned) == (4, 0)
    assert 0 < back < 50
    wait_until(lambda: len(second.keys("end")) == 54, 20)
    assert sorted(second.keys("end")) == sorted([f"fast{n:03}" for n in range(50)] + [f"slow00{n}" for n in range(4)])
    _assert_alone(second, {"slow000", "slow001", "slow002", "slow003"})
    wait_until(lambda: huey.counts().leased == 0)
    assert huey.storage.client.hlen(huey.storage.jobs) == 0


def _assert_alone(process: ConsumerProcess, keys: set[str]) -> None:
    """Between beginning and end of each of `keys` no other job ran in that consumer."""
    running: set[str] = set()
    for entry in process.events:
        if entry["event"] == "begin":
            running.add(entry["key"])
            assert len(running) == 1 or not running & keys, f"{running} ran together"
        elif entry["event"] == "end":
            running.discard(entry["key"])


def test_a_job_that_kills_its_consumer_three_times_is_buried_as_poison(
    redis_url: str, huey: LeasedHuey, consumer_process: Start
) -> None:
    huey.push([Job("suicide", "poison", {}), *naps("fast", 3, 0.01)], NOW)
    for number in range(3):
        victim = consumer_process(redis_url, f"victim{number}")
        victim.child.wait(20)
        assert "poison" in victim.keys("begin")
        _, alone, poisoned = take_over(huey, f"victim{number}")
        assert poisoned == (number == 2)
        assert number != 1 or alone == 1, "nobody else is blamed from then on"
    letter = huey.dead_letters.show("poison")
    assert letter
    assert (letter.reason, letter.deaths, letter.task) == ("poison", 3, "suicide")
    assert not huey.storage.client.hexists(huey.storage.jobs, "poison"), "or it would not be queued again"
    survivor = consumer_process(redis_url, "survivor")
    wait_until(lambda: huey.counts().waiting + huey.counts().leased == 0)
    assert "poison" not in survivor.keys("begin")


def test_sigterm_hands_everything_back_at_once_and_blames_nobody(
    redis_url: str, huey: LeasedHuey, consumer_process: Start
) -> None:
    first = consumer_process(redis_url, "first", divisor=50)  # drains for half a second
    huey.push(naps("slow", 4, 60.0), NOW)
    wait_until(lambda: len(first.keys("begin")) == 4)
    huey.push(naps("fast", 50, 0.01), NOW)
    wait_until(lambda: huey.counts().leased > 4)
    shorten(huey, first.keys("begin"))
    assert first.terminate() == 0
    assert first.keys("end") == []
    counts = huey.counts()
    assert (counts.waiting, counts.leased) == (54, 0), "free for anyone, without waiting for a lease"
    assert huey.known_consumers() == set(), "it said goodbye"
    second = consumer_process(redis_url, "second")
    wait_until(lambda: len(second.keys("end")) == 54, 20)
    assert max(entry["beside"] for entry in second.events) == 3, "four at a time: nobody has to run alone"
    assert huey.dead_letters.list() == []


def test_sigterm_lets_running_jobs_finish_and_a_second_one_changes_nothing(
    redis_url: str, huey: LeasedHuey, consumer_process: Start
) -> None:
    first = consumer_process(redis_url, "first")
    huey.push(naps("job", 4, 0.8), NOW)
    wait_until(lambda: len(first.keys("begin")) == 4)
    for _ in range(3):
        first.child.terminate()
    assert first.terminate() == 0
    assert len(first.keys("end")) == 4
    assert huey.counts().waiting == 0
    assert huey.storage.client.hlen(huey.storage.jobs) == 0


def test_an_idle_consumer_stops_at_once(redis_url: str, consumer_process: Start) -> None:
    first = consumer_process(redis_url, "first", divisor=1)
    assert first.terminate(5) == 0


def test_a_retry_survives_the_death_of_its_consumer(redis_url: str, huey: LeasedHuey, consumer_process: Start) -> None:
    first = consumer_process(redis_url, "first")
    huey.push([Job("fail", "job", {"delay": 3.0})], NOW)
    wait_until(lambda: huey.counts().delayed == 1)
    due = time.time() + 3.0
    wait_until(lambda: '"attempts":1' in str(huey.storage.client.hget(huey.storage.jobs, "job")))
    first.kill()
    second = consumer_process(redis_url, "second")
    assert take_over(huey, "first") == (1, 0, 0), "it was not running, so it is not blamed"
    wait_until(lambda: second.keys("begin") == ["job#2"])
    assert second.events[-1]["at"] >= due - 0.2, "the delay survived too"


def test_a_retry_due_in_a_second_runs_within_two(redis_url: str, huey: LeasedHuey, consumer_process: Start) -> None:
    first = consumer_process(redis_url, "first", divisor=1)
    huey.push([Job("fail", "job", {"delay": 1.0})], NOW)
    wait_until(lambda: len(first.keys("begin")) == 2)
    begun = [entry["at"] for entry in first.events if entry["event"] == "begin"]
    assert 0.95 <= begun[1] - begun[0] < 2.0
    assert first.keys("begin") == ["job#1", "job#2"]


def test_a_frozen_consumer_that_wakes_after_the_takeover_does_no_harm(
    redis_url: str, huey: LeasedHuey, consumer_process: Start
) -> None:
    first = consumer_process(redis_url, "first")
    huey.push(naps("job", 30, 0.3), NOW)
    wait_until(lambda: len(first.keys("end")) >= 4)
    first.child.send_signal(signal.SIGSTOP)
    second = consumer_process(redis_url, "second")
    take_over(huey, "first")
    wait_until(lambda: len(second.keys("begin")) >= 3)
    first.child.send_signal(signal.SIGCONT)
    everything = {f"job{number:03}" for number in range(30)}
    wait_until(lambda: set(first.keys("end")) | set(second.keys("end")) == everything, 20)
    wait_until(lambda: huey.counts().waiting + huey.counts().leased == 0)
    assert huey.storage.client.hlen(huey.storage.jobs) == 0
    again = huey.push(naps("job", 30, 0.0), NOW)
    assert again.enqueued == 30, "nothing is stuck"


def test_a_consumer_that_is_stopped_beside_a_frozen_redis_is_gone_in_time_and_its_jobs_run(
    redis_server: EmbeddedRedis, redis_url: str, huey: LeasedHuey, consumer_process: Start
) -> None:
    first = consumer_process(redis_url, "first", divisor=1)
    huey.push(naps("job", 40, 0.2), NOW)
    wait_until(lambda: len(first.keys("end")) >= 4)
    assert redis_server.pid
    os.kill(redis_server.pid, signal.SIGSTOP)
    try:
        code = first.terminate(Durations().stop)
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
    ended = set(first.keys("end"))
    assert (code, len(ended) < 40) == (1, True), "it says that it could not hand its jobs back"
    second = consumer_process(redis_url, "second")
    take_over(huey, "first", 2 * Durations().lease)
    wait_until(lambda: ended | set(second.keys("end")) == {f"job{number:03}" for number in range(40)}, 20)
    wait_until(lambda: huey.storage.client.hlen(huey.storage.jobs) == 0)
    again = ended & set(second.keys("begin"))
    assert len(again) <= 12, "only those whose end was on its way to Redis"


def test_takeover_of_a_consumer_that_held_nothing_rings_for_those_who_wait(
    redis_url: str, huey: LeasedHuey, redis_client: redis.Redis
) -> None:
    huey.push(naps("job", 1, 0.0), NOW)
    redis_client.delete(huey.storage.doorbell)  # as if the ring had died with the consumer
    assert huey.take_over("unknown") == (0, 0, 0)
    assert redis_client.llen(huey.storage.doorbell) == 1


def test_what_two_dead_consumers_ran_is_all_to_run_alone(huey: LeasedHuey, redis_client: redis.Redis) -> None:
    huey.push(naps("job", 2, 0.0), NOW)
    for worker in ("one", "two"):
        huey.storage.take(worker, "", "", Settlement(), Wish(jobs=1, may_start=1))
    assert [huey.take_over(worker) for worker in ("one", "two")] == [(0, 1, 0), (0, 1, 0)]
    suspects = str(redis_client.get(huey.storage.alone)).split("job")
    assert len(suspects) == 3, suspects


def test_the_only_job_that_may_have_killed_is_handed_out_with_no_other(huey: LeasedHuey) -> None:
    huey.push(naps("job", 1, 0.0), NOW)
    huey.storage.take("one", "", "", Settlement(), Wish(jobs=1, may_start=1))
    huey.take_over("one")
    huey.push(naps("other", 3, 0.0), NOW)
    taken = huey.storage.take("two", "", "", Settlement(), Wish(jobs=-1, may_start=4, is_empty=True))
    assert (taken.reason, [job.key for job in taken.deliveries]) == ("alone", ["job000"])
