"""A Redis that answers and takes no writes is named at once, costs nothing while it is well, and needs no restart."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import redis

from functions.health.main import health
from shared.checks.tick import TickOrder
from shared.durations import Durations
from shared.health.beats import beat_figures
from shared.lock import Busy, Held, Unavailable
from shared.redis import RedisError, connect_redis
from shared.settings import load
from shared.wiring import Wiring
from tests.support.ops import IDLE, Bundle
from tests.support.redis import wait_until
from tests.support.stage import EVEN, Stage, consuming
from workshop.parts.redis import EmbeddedRedis

pytestmark = pytest.mark.real_redis


def full(client: redis.Redis, on: bool) -> None:
    client.config_set("maxmemory", "1" if on else "0")


def replica(client: redis.Redis, on: bool) -> None:
    client.replicaof(*(("127.0.0.1", 9) if on else ("NO", "ONE")))


@pytest.fixture(params=[full, replica])
def refuse(request: pytest.FixtureRequest, well: Bundle) -> Iterator[Callable[[bool], None]]:
    """Makes the server refuse writes, or take them again."""
    with well.redis.connect() as client:
        yield lambda on: request.param(client, on)
        request.param(client, False)


def test_operators_and_the_ready_probe_learn_it_at_once_and_also_when_it_is_over(
    well: Bundle, refuse: Callable[[bool], None]
) -> None:
    refuse(True)
    body = well.health()
    assert (body["status"], body["checks"]["redis"]["status"]) == ("unhealthy", "unhealthy")
    assert (body["checks"]["redis"]["connected"], body["checks"]["redis"]["code"]) == (True, "no_writes")
    assert well.ask("probe=ready", secret=None).status_code == 503
    refuse(False)
    assert well.health()["status"] == "healthy"
    assert well.ask("probe=ready", secret=None).status_code == 200


def test_anyone_learns_it_with_the_next_beat_of_a_consumer_that_was_refused(
    well: Bundle, refuse: Callable[[bool], None]
) -> None:
    refuse(True)
    assert isinstance(well.parts.lock.acquire("tick"), Unavailable)
    well.beat(figures=beat_figures(well.parts, IDLE))
    body = well.health(secret=None)
    assert (body["status"], body["checks"]["redis"]) == ("unhealthy", {"status": "unhealthy"})


def test_a_consumer_finds_out_by_itself_that_it_is_over(well: Bundle, refuse: Callable[[bool], None]) -> None:
    refuse(True)
    well.parts.lock.acquire("tick")
    assert beat_figures(well.parts, IDLE)["redis"]["status"] == "unhealthy"
    refuse(False)
    assert beat_figures(well.parts, IDLE)["redis"]["status"] == "healthy"
    assert isinstance(well.parts.lock.acquire("tick"), Held)


def test_a_full_redis_is_told_to_anyone_within_a_beat_of_a_consumer_at_work(
    stage: Stage, redis_server: EmbeddedRedis, caplog: pytest.LogCaptureFixture
) -> None:
    redis_server.flush()
    address, beat = {"REDIS_URL": redis_server.url}, 1.0
    parts = Wiring(
        load(stage.environment | address, None), clock=stage.clock, durations=replace(Durations(), beat=beat)
    )
    stage.world.add_watch(EVEN)

    def told() -> dict[str, Any]:
        """What a process that has just started, so that it remembers no answer, says of Redis."""
        stage.rewire(**address)
        line: dict[str, Any] = stage.ask(health, secret=None).get_json()["checks"]["redis"]
        return line

    with redis_server.connect() as client, consuming(parts):
        wait_until(lambda: told() == {"status": "healthy"}, 20)
        stage.campus.latency_ms = 1000
        parts.ticker.tick(TickOrder(stage.clock(), "even", "http"))
        wait_until(lambda: bool(stage.campus.campus.lookups))
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        with pytest.raises(redis.OutOfMemoryError):
            client.set("any", "thing")
        wait_until(lambda: parts.huey.storage.writes.refused)  # the check has ended, and cannot be acknowledged
        wait_until(lambda: told() == {"status": "unhealthy"}, 2 * beat)
        assert "queue: Redis takes no writes" in caplog.messages
        client.config_set("maxmemory", "0")
        wait_until(lambda: told() == {"status": "healthy"}, 2 * beat)
        wait_until(lambda: parts.huey.counts().leased == 0)
    parts.close()


def test_a_full_redis_is_told_to_anyone_by_a_consumer_that_has_nothing_to_write(
    stage: Stage, redis_server: EmbeddedRedis
) -> None:
    redis_server.flush()
    durations = replace(Durations(), beat=0.5, doorbell=1.0)
    parts = Wiring(load(stage.environment | {"REDIS_URL": redis_server.url}, None), durations=durations)

    def told() -> object:
        stage.rewire(REDIS_URL=redis_server.url)
        return stage.ask(health, secret=None).get_json()["checks"]["redis"]["status"]

    with redis_server.connect() as client, consuming(parts):
        wait_until(lambda: told() == "healthy" and client_waits(client), 20)
        full(client, True)
        wait_until(lambda: told() == "unhealthy", 10)
        full(client, False)
        wait_until(lambda: told() == "healthy" and client_waits(client), 20)
    parts.close()


def client_waits(client: redis.Redis) -> bool:
    return any(one["cmd"] == "brpoplpush" for one in client.client_list())


def test_a_beat_costs_no_command_while_all_is_well(well: Bundle) -> None:
    well.parts.lock.acquire("tick")
    before = well.commands()
    for _ in range(3):
        beat_figures(well.parts, IDLE)
    assert well.commands() - before == well.counting()


def test_after_a_fail_over_connections_to_the_old_master_are_not_kept() -> None:
    first, second = EmbeddedRedis(password=False), EmbeddedRedis(password=False)
    with first, second, Address(first.port) as address, first.connect() as old, second.connect() as new:
        client = connect_redis(f"redis://127.0.0.1:{address.port}/0")
        client.set("told", "by the old master")
        old.replicaof("127.0.0.1", 9)
        address.leads_to = second.port
        with pytest.raises(RedisError):
            client.set("told", "too early")
        client.set("told", "by the new master")
        assert new.get("told") == b"by the new master"
        client.close()


def test_a_lock_that_is_held_says_nothing_about_writes(well: Bundle) -> None:
    well.parts.lock.acquire("one")
    assert isinstance(well.parts.lock.acquire("two"), Busy)
    assert beat_figures(well.parts, IDLE)["redis"]["status"] == "healthy"


class Address:
    """A port that leads to one server, and after a fail-over to another; connections stay where they led."""

    def __init__(self, port: int) -> None:
        self.leads_to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Address:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            one.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.leads_to))
            self._open += [caller, server]
            for source, target in ((caller, server), (server, caller)):
                threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
