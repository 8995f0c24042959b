"""What the queue costs in Redis commands, as the server counts them, those inside of scripts included."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import redis
from huey.api import Task

from shared.durations import Durations
from shared.queue.jobs import Delivery, Job
from tests.support.redis import NOW, Workplace, command_counts, wait_until

pytestmark = pytest.mark.real_redis

Places = Callable[..., Workplace]
FACTS = {"title": "Principles of Programming", "instructor_name": "Staff", "seats_available": 0, "seats_capacity": 90}


def sections(count: int) -> list[Job]:
    """A tick's jobs with their baselines, some 400 bytes each."""
    return [
        Job("work", f"2261:{10_000 + number}", {"key": str(number), "baseline": FACTS, "padding": "x" * 200})
        for number in range(count)
    ]


def one_tick(place: Workplace, client: redis.Redis, count: int) -> dict[str, int]:
    """The commands of a tick from lock to the last acknowledgement; the consumer is idle before and after."""

    @place.huey.task(name="check", context=True)
    def check(key: str, task: Task, **_baseline: object) -> None:
        delivery: Delivery = task.delivery
        assert delivery.permit, "it came with the job"
        place.huey.breaker.record_success(delivery.permit)
        place.runs.append(key)

    jobs = [Job("check", job.key, job.payload, NOW + 3_600_000) for job in sections(count)]
    consumer = place.consume()
    wait_until(lambda: consumer.fetcher.intake.left == 0)
    warm_up = [Job("check", "warm-up", jobs[0].payload)]
    place.huey.lock.acquire("warm-up")
    place.huey.push(warm_up, NOW)
    place.huey.lock.release("warm-up")
    wait_until(lambda: consumer.snapshot().completed == 1 and not consumer.fetcher.holdings)
    client.config_resetstat()
    place.huey.lock.acquire("tick")
    place.huey.push(jobs, NOW)
    place.huey.lock.release("tick")
    wait_until(lambda: consumer.snapshot().completed == count + 1 and not consumer.fetcher.holdings, 30)
    return command_counts(client)


@pytest.mark.parametrize(("count", "budget"), [(200, 0.5), (1000, 0.15), (2000, 0.15)])
def test_a_check_stays_within_its_budget_all_inclusive(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, count: int, budget: float
) -> None:
    place = queue_on(redis_url, durations=Durations(), clock=lambda: NOW)
    counts = one_tick(place, redis_client, count)
    total = sum(counts.values())
    assert total / count <= budget, f"{total} commands for {count} checks: {counts}"


def test_an_idle_consumer_blocks_and_asks_nothing(redis_url: str, redis_client: redis.Redis, queue_on: Places) -> None:
    place = queue_on(redis_url, durations=Durations())
    consumer = place.consume()
    wait_until(lambda: consumer.fetcher.intake.left == 0 and not consumer.fetcher._doorbell._silent.is_set())
    wait_until(lambda: any(client["cmd"] == "brpoplpush" for client in redis_client.client_list()))
    redis_client.config_resetstat()
    assert not threading.Event().wait(0.5)
    assert command_counts(redis_client) == {}


def test_a_day_of_idling_fits_the_budget() -> None:
    durations, ticks, lock_commands = Durations(), 48, 6
    silences = 24 * 3600 / durations.doorbell
    peeks = silences / 72 * 3  # a take that finds nothing: the script and two commands inside
    assert silences + peeks + ticks * lock_commands == 588, "the first consumer; 1,000 are allowed"
    assert silences + peeks == 300, "a further one, whose ticks look at the database first"


def test_a_push_of_jobs_that_are_queued_already_writes_nothing(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    place.huey.push(sections(100), NOW)
    redis_client.config_resetstat()
    place.huey.push(sections(100), NOW)
    assert command_counts(redis_client) == {"evalsha": 1, "hmget": 1, "llen": 1, "lpush": 1}


def test_a_push_of_jobs_that_are_all_held_wakes_nobody(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    may_end = threading.Event()
    job = Job("work", "a", {"key": "a"})
    place.rules["a"] = may_end.wait
    place.huey.push([job], NOW)
    place.consume()
    place.wait_for_runs(1)
    redis_client.config_resetstat()
    place.huey.push([job], NOW)
    assert "lpush" not in command_counts(redis_client)
    may_end.set()


def test_who_is_alone_rings_for_nobody(redis_url: str, redis_client: redis.Redis, queue_on: Places) -> None:
    place = queue_on(redis_url)
    consumer = place.consume(workers=1)
    wait_until(lambda: consumer.fetcher.intake.left == 0)
    consumer.resume(1.0)
    redis_client.config_resetstat()
    place.huey.push([Job("work", str(number), {"key": str(number)}) for number in range(250)], NOW)
    place.wait_for_runs(250)
    assert command_counts(redis_client)["lpush"] == 2, "the jobs, and the ring of who pushed them"


def test_twenty_thousand_sections_are_pushed_in_chunks_and_each_runs_once(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url, durations=Durations(), clock=lambda: NOW)
    redis_client.config_resetstat()
    jobs = [Job("work", f"2261:{number}", {"key": str(number)}) for number in range(20_000)]
    result = place.huey.push(jobs, NOW)
    assert (result.enqueued, result.already_queued) == (20_000, 0)
    scripts = command_counts(redis_client)
    assert scripts["evalsha"] + scripts["eval"] <= 6
    place.consume()
    place.wait_for_runs(20_000, 60)
    place.wait_until_settled()
    assert sorted(place.runs, key=int) == [str(number) for number in range(20_000)]
    assert redis_client.hlen(place.huey.storage.jobs) == 0
