"""A Redis for the tests: `redis_url` is a real server, emptied for each test, `any_redis_url` also the stand-in.

`queue_on` makes queues whose durations are short and whose consumers run in threads of the test; all of them are
stopped when the test ends. `consumer_process` starts a consumer that can be killed.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import redis
from huey.api import Task

from shared.durations import Durations
from shared.queue import LeasedHuey
from shared.queue.consumer import LeasedConsumer
from shared.queue.jobs import Delivery
from shared.redis import connect_redis
from workshop.parts.processes import Child, start_child
from workshop.parts.redis import EmbeddedRedis, find_server

ROOT = Path(__file__).resolve().parents[2]
QUICK = replace(Durations().divided_by(10), doorbell=2.0, drain=2.0, stop=4.0)
NOW = 1_764_000_000_000
"""A time for tests whose clock stands still, in epoch milliseconds."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--lost-answers 100000` lets the model of lost answers run for hours."""
    parser.addoption("--lost-answers", type=int, default=30, help="examples of the model of lost answers")


@pytest.fixture(scope="session")
def redis_server() -> Iterator[EmbeddedRedis]:
    """The real server of this session."""
    if not find_server():
        pytest.skip("needs redis-server or valkey-server on the path")
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_stand_in() -> Iterator[EmbeddedRedis]:
    """The stand-in of this session."""
    with EmbeddedRedis(stand_in=True) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """An empty real server."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(params=[pytest.param("redis_server", marks=pytest.mark.real_redis), "redis_stand_in"])
def any_redis_url(request: pytest.FixtureRequest) -> str:
    """An empty server: once real, once the stand-in."""
    server: EmbeddedRedis = request.getfixturevalue(request.param)
    server.flush()
    return server.url


@pytest.fixture
def redis_client(redis_url: str) -> Iterator[redis.Redis]:
    """A client of the real server, for looking behind the code."""
    client = connect_redis(redis_url)
    yield client
    client.close()


def wait_until(condition: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait for `condition`; fails after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def command_counts(client: redis.Redis) -> dict[str, int]:
    """What the server has run since `client.config_resetstat()`, commands inside of scripts included."""
    stats: dict[str, Any] = client.info("commandstats")
    counts = {name.removeprefix("cmdstat_"): entry["calls"] for name, entry in stats.items()}
    return {name: count for name, count in counts.items() if not name.startswith(("info", "config"))}


@dataclass
class Workplace:
    """A queue with the task `work`, which does what `rules` says for the job's key and notes each run."""

    huey: LeasedHuey
    runs: list[str] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    rules: dict[str, Callable[[], object]] = field(default_factory=dict)
    consumers: list[tuple[LeasedConsumer, threading.Thread]] = field(default_factory=list)

    def consume(self, worker_id: str = "one", workers: int = 4) -> LeasedConsumer:
        """Start a consumer in a thread."""
        consumer = self.huey.create_consumer(workers=workers, worker_id=worker_id)
        thread = threading.Thread(target=consumer.run, name=worker_id, daemon=True)
        self.consumers.append((consumer, thread))
        thread.start()
        return consumer

    def stop(self, consumer: LeasedConsumer) -> None:
        """Stop one consumer in the documented order and wait for it."""
        consumer.request_stop()
        for other, thread in self.consumers:
            if other is consumer:
                thread.join(10)
                assert not thread.is_alive()

    def wait_for_runs(self, count: int, timeout: float = 10.0) -> None:
        """Until so many runs have been noted."""
        wait_until(lambda: len(self.runs) >= count, timeout)

    def wait_until_settled(self) -> None:
        """Until Redis counts nothing as waiting, leased or delayed."""
        wait_until(lambda: _total(self.huey) == 0)


def _total(huey: LeasedHuey) -> int:
    counts = huey.counts()
    return counts.waiting + counts.leased + counts.delayed


@pytest.fixture
def queue_on() -> Iterator[Callable[..., Workplace]]:
    """`queue_on(url, durations=…, clock=…)` makes a `Workplace`."""
    places: list[Workplace] = []

    def make(url: str, **options: Any) -> Workplace:
        place = Workplace(LeasedHuey(redis_url=url, **{"durations": QUICK} | options))

        @place.huey.task(name="work", context=True)
        def work(key: str, task: Task) -> None:
            place.deliveries.append(task.delivery)
            place.runs.append(key)
            place.rules.get(key, lambda: None)()

        places.append(place)
        return place

    yield make
    for place in places:
        for consumer, thread in place.consumers:
            consumer.request_stop()
            thread.join(10)
        place.huey.close()


@dataclass
class ConsumerProcess:
    """A consumer in a process of its own; see `tests/support/consumer_process.py`."""

    child: Child
    log: Path

    @property
    def events(self) -> list[dict[str, Any]]:
        """What its jobs have noted so far: {"event": "begin" or "end", "key", "at", "beside"}."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def keys(self, event: str) -> list[str]:
        """The keys of the jobs that began, or ended, in order."""
        return [entry["key"] for entry in self.events if entry["event"] == event]

    def kill(self) -> None:
        """`kill -9`."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait(10)

    def terminate(self, timeout: float = 15.0) -> int:
        """SIGTERM; returns the exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(timeout)


@pytest.fixture
def consumer_process(tmp_path: Path) -> Iterator[Callable[..., ConsumerProcess]]:
    """`consumer_process(url, worker_id, divisor=…)` starts a consumer that can be killed."""
    started: list[ConsumerProcess] = []

    def start(url: str, worker_id: str, *, divisor: float = 30.0) -> ConsumerProcess:
        log = tmp_path / f"{worker_id}.jsonl"
        log.touch()
        command = [sys.executable, "-m", "tests.support.consumer_process", url, worker_id, str(divisor), log]
        process = ConsumerProcess(start_child([str(word) for word in command], cwd=ROOT), log)
        started.append(process)
        wait_until(lambda: any(entry["event"] == "ready" for entry in process.events))
        return process

    yield start
    for process in started:
        process.kill()
