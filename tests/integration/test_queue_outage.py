"""Redis emptied, restarted, gone for a while, or gone between a write and its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import pytest

from shared.queue.jobs import Job, RetryLater
from shared.redis import RedisError, connect_redis
from tests.support.redis import NOW, QUICK, Workplace, command_counts, wait_until
from workshop.parts.redis import EmbeddedRedis
from workshop.parts.wire import Wire

pytestmark = pytest.mark.real_redis

Places = Callable[..., Workplace]


def jobs(*keys: str) -> list[Job]:
    return [Job("work", key, {"key": key}) for key in keys]


@pytest.fixture
def server() -> Iterator[EmbeddedRedis]:
    """A server of the test's own, whose data survive a restart."""
    with EmbeddedRedis(appendonly=True) as own:
        yield own


class Gate:
    """Jobs that wait until they may end."""

    def __init__(self, place: Workplace, *keys: str) -> None:
        self.event = threading.Event()
        for key in keys:
            place.rules[key] = partial(self.event.wait, 20)

    def open(self) -> None:
        self.event.set()


def test_an_emptied_redis_is_no_error_and_jobs_in_hand_finish(redis_url: str, queue_on: Places) -> None:
    place = queue_on(redis_url)
    keys = [f"k{number}" for number in range(20)]
    gate = Gate(place, *keys[:4])
    place.huey.push(jobs(*keys), NOW)
    place.consume()
    place.wait_for_runs(4)
    with connect_redis(redis_url) as client:
        client.flushall()
        gate.open()
        place.wait_for_runs(4)
        place.wait_until_settled()
        place.huey.push(jobs("later"), NOW)
        wait_until(lambda: "later" in place.runs)
        place.wait_until_settled()
        assert client.hlen(place.huey.storage.jobs) == 0
    assert len(place.runs) == 11, "four were running, six in hand; ten waited and are for the rescue to find"
    assert len(set(place.runs)) == 11, "nothing ran twice"
    assert place.huey.dead_letters.list() == []


def test_a_late_acknowledgement_does_not_touch_the_same_jobs_successor(redis_url: str, queue_on: Places) -> None:
    place = queue_on(redis_url)
    gate = Gate(place, "a")
    place.huey.push(jobs("a"), NOW)
    consumer = place.consume(workers=1)
    place.wait_for_runs(1)
    with connect_redis(redis_url) as client:
        client.flushall()
        assert place.huey.push(jobs("a"), NOW).enqueued == 1
        gate.open()
        place.wait_for_runs(2)
        wait_until(lambda: not consumer.fetcher.holdings)
        place.wait_until_settled()
    assert place.runs == ["a", "a"]


@pytest.mark.parametrize("pushed", [(), ("b",), ("a",)], ids=["alone", "beside another", "pushed again"])
def test_a_retry_outlives_an_emptied_redis_and_runs_once(
    redis_url: str, queue_on: Places, pushed: tuple[str, ...]
) -> None:
    place = queue_on(redis_url)
    failed = threading.Event()

    def fail_once() -> None:
        if not failed.is_set():
            failed.set()
            raise RetryLater(3.0, "not yet")

    place.rules["a"] = fail_once
    place.huey.push(jobs("a"), NOW)
    consumer = place.consume()
    wait_until(lambda: place.huey.counts().delayed == 1)
    with connect_redis(redis_url) as client:
        client.flushall()
        assert place.huey.push(jobs(*pushed), NOW).enqueued == len(pushed)
        if "b" in pushed:  # whatever it tells Redis next, the consumer finds out what was forgotten
            wait_until(lambda: bool(client.hexists(place.huey.storage.jobs, "a")))
            assert (place.huey.push(jobs("a"), NOW).enqueued, place.runs) == (0, ["a", "b"])
    place.wait_for_runs(2 + ("b" in pushed))
    place.wait_until_settled()
    wait_until(lambda: not consumer.fetcher.holdings)
    assert sorted(place.runs) == sorted(["a", "a", *(key for key in pushed if key == "b")])


def test_an_outage_while_jobs_run_loses_nothing(server: EmbeddedRedis, queue_on: Places) -> None:
    place = queue_on(server.url)
    keys = [f"k{number}" for number in range(40)]
    gate = Gate(place, *keys[:4])
    place.rules["k3"] = _fail_first(gate)
    place.huey.push(jobs(*keys), NOW)
    consumer = place.consume()
    place.wait_for_runs(4)
    server.kill()
    gate.open()
    wait_until(lambda: not consumer.snapshot().running)
    wait_until(lambda: not consumer.snapshot().redis_connected)
    begun = len(place.runs)
    with pytest.raises(RedisError):
        place.huey.push(jobs("pushed-in-vain"), NOW)
    server.start()
    wait_until(lambda: set(place.runs) == set(keys), 20)
    place.wait_until_settled()
    assert begun <= 8, "nothing was begun blindly"
    assert place.runs.count("k3") == 2, "the failed attempt was kept for its retry"
    assert all(place.runs.count(key) == 1 for key in keys if key != "k3")


def _fail_first(gate: Gate) -> Callable[[], None]:
    runs: list[None] = []

    def rule() -> None:
        gate.event.wait(20)
        runs.append(None)
        if len(runs) == 1:
            raise RetryLater(0.01, "scraper failed")

    return rule


def test_an_idle_consumer_notices_a_lost_redis_and_finds_it_again(server: EmbeddedRedis, queue_on: Places) -> None:
    place = queue_on(server.url)
    consumer = place.consume()
    wait_until(lambda: consumer.fetcher.intake.left == 0)
    server.kill()
    wait_until(lambda: not consumer.snapshot().redis_connected)
    server.start()
    wait_until(lambda: consumer.snapshot().redis_connected, 20)
    place.huey.push(jobs("a"), NOW)
    place.wait_for_runs(1)


def test_a_doorbell_that_alone_is_refused_is_asked_ever_more_slowly_and_jobs_run(
    server: EmbeddedRedis, queue_on: Places
) -> None:
    place = queue_on(server.url)
    consumer = place.consume()
    lease = consumer.fetcher.lease
    wait_until(lambda: consumer.fetcher.intake.left == 0)
    with connect_redis(server.url) as client:
        client.execute_command("ACL", "SETUSER", "default", "-brpoplpush")
        place.huey.push(jobs("a"), NOW)  # ends the wait that was allowed
        wait_until(lambda: not lease.connected and lease.reconnect_at - time.monotonic() > 1.0, 20)
        place.huey.push(jobs("b"), NOW)
        place.wait_for_runs(2, 20)
        client.execute_command("ACL", "SETUSER", "default", "+brpoplpush")
    wait_until(lambda: consumer.fetcher._doorbell._silent.is_set() is False and lease.connected, 20)


@pytest.mark.parametrize("refused", ["-client", "-client|unblock"])
def test_a_server_that_lets_nobody_be_called_by_name_costs_no_more_and_is_not_taken_for_lost(
    server: EmbeddedRedis, queue_on: Places, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    spent, refusals = [], []
    with connect_redis(server.url) as client:
        for rule in ("+client", refused):
            client.execute_command("ACL", "SETUSER", "default", rule)
            client.flushall()
            client.config_resetstat()
            place = queue_on(server.url, durations=replace(QUICK, doorbell=60.0, lease=60.0, lease_renewal=30.0))
            consumer = place.consume()
            for number, key in enumerate("abc", start=1):
                wait_until(lambda consumer=consumer: not consumer.fetcher._doorbell._silent.is_set())
                place.huey.push(jobs(key), NOW)
                place.wait_for_runs(number)
            place.wait_until_settled()
            wait_until(lambda consumer=consumer: not consumer.fetcher._doorbell._silent.is_set())
            consumer.fetcher._doorbell.interrupt()
            wait_until(lambda consumer=consumer: not consumer.fetcher._doorbell._silent.is_set())
            place.stop(consumer)
            spent.append(sum(command_counts(client).values()))
            told = client.info("commandstats")
            refusals.append(sum(one["rejected_calls"] for name, one in told.items() if "client" in name))
        client.execute_command("ACL", "SETUSER", "default", "+client")
    assert "queue: Redis does not answer" not in caplog.messages
    assert refusals == [0, 1], "what was refused once is not asked for again"
    assert spent[1] <= 2 * spent[0], "how many exchanges it takes depends on the machine; not on names"


def test_a_consumer_that_starts_before_redis_waits_for_it(server: EmbeddedRedis, queue_on: Places) -> None:
    server.kill()
    place = queue_on(server.url)
    consumer = place.consume()
    wait_until(lambda: not consumer.snapshot().redis_connected)
    server.start()
    place.huey.push(jobs("a"), NOW)
    place.wait_for_runs(1, 20)


def test_a_stop_during_an_outage_is_not_held_up(server: EmbeddedRedis, queue_on: Places) -> None:
    place = queue_on(server.url, durations=replace(QUICK, lease=1.0, lease_renewal=0.3))
    gate = Gate(place, "a")
    place.huey.push(jobs("a", "b"), NOW)
    consumer = place.consume(workers=1)
    place.wait_for_runs(1)
    server.kill()
    gate.open()
    place.stop(consumer)
    assert not consumer.left_cleanly, "the jobs stay leased, for a take-over"
    server.start()
    wait_until(lambda: place.huey.take_over("one") is not None, 20)
    second = queue_on(server.url)
    second.consume("two")
    wait_until(lambda: "b" in second.runs)


@pytest.fixture
def wire(redis_server: EmbeddedRedis, redis_url: str) -> Iterator[Wire]:
    """A way to `redis_url` that may lose answers."""
    with Wire(redis_server.port) as wire:
        yield wire


def through(wire: Wire, redis_server: EmbeddedRedis) -> str:
    return redis_server.url.replace(str(redis_server.port), str(wire.port))


def test_jobs_whose_take_was_never_answered_are_taken_again(
    redis_url: str, queue_on: Places, wire: Wire, redis_server: EmbeddedRedis
) -> None:
    door = queue_on(redis_url)
    place = queue_on(through(wire, redis_server))
    consumer = place.consume()
    wait_until(lambda: consumer.fetcher.intake.left == 0)
    keys = [f"k{number}" for number in range(30)]
    wire.lose(b":lease:one", times=1)  # only the take script is told the lease
    door.huey.push(jobs(*keys), NOW)
    place.wait_for_runs(30, 20)
    place.wait_until_settled()
    assert wire.lost == 1
    assert sorted(place.runs) == sorted(keys), "each once"
    assert door.huey.storage.client.hlen(door.huey.storage.jobs) == 0


def test_an_acknowledgement_that_was_never_answered_is_no_second_run(
    redis_url: str, queue_on: Places, wire: Wire, redis_server: EmbeddedRedis
) -> None:
    door = queue_on(redis_url)
    place = queue_on(through(wire, redis_server))
    gate = Gate(place, "a")
    consumer = place.consume(workers=1)
    door.huey.push(jobs("a"), NOW)
    place.wait_for_runs(1)
    wire.lose(b":lease:one", times=1)
    gate.open()
    wait_until(lambda: wire.lost == 1)
    wait_until(lambda: not consumer.fetcher.holdings and consumer.fetcher.lease.connected)
    assert door.huey.push(jobs("a"), NOW).enqueued == 1, "it was acknowledged"
    place.wait_for_runs(2)
    place.wait_until_settled()
    assert place.runs == ["a", "a"]


def test_a_push_that_was_never_answered_can_be_repeated(
    redis_url: str, queue_on: Places, wire: Wire, redis_server: EmbeddedRedis
) -> None:
    place = queue_on(through(wire, redis_server))
    wire.lose(b":doorbell", times=1)
    with pytest.raises(RedisError):
        place.huey.push(jobs("a", "b"), NOW)
    result = place.huey.push(jobs("a", "b", "c"), NOW)
    assert (result.enqueued, result.already_queued) == (1, 2)


def test_answers_that_are_held_and_then_cut_leave_no_job_in_nobodys_hands(
    redis_url: str, queue_on: Places, wire: Wire, redis_server: EmbeddedRedis
) -> None:
    door, place = queue_on(redis_url), queue_on(through(wire, redis_server))
    client, keys = door.huey.storage.client, [f"2261:{number}" for number in range(10_000, 10_400)]
    for key in keys:
        place.rules[key] = partial(time.sleep, 0.003)  # a check that takes its time
    place.consume()
    for tick, left in enumerate((70, 60, 50, 40, 30), 1):
        assert door.huey.push(jobs(*keys), NOW).enqueued == 400, "none is left of the tick before"
        # A take that runs and is never answered: first of a full batch, then where batches are small and marks few.
        for ended in (100, 400 - left):
            place.wait_for_runs(400 * (tick - 1) + ended, 20)
            wire.lose(b":lease:one", held=0.7, times=1)
        wait_until(lambda: client.hlen(door.huey.storage.jobs) == 0, 20)
        assert door.huey.counts().limbo == 0
    assert wire.lost == 10
    assert set(place.runs) == set(keys)
    assert len(place.runs) >= 2000
    assert door.huey.dead_letters.list() == []
