"""The dead-man service hears of ticks, and holds none of them up."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import pytest

from shared.health.heartbeat import Heartbeat
from workshop.parts.web import Answer, Request, Server


class Service:
    """A dead-man service that notes what it hears, and can be slow or refuse."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str, str]] = []
        self.status = 200
        self.free = threading.Event()
        self.free.set()

    def __call__(self, request: Request) -> Answer:
        self.free.wait(10)
        self.heard.append((request.method, request.path, request.body.decode()))
        return Answer(self.status, b"OK")


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def heart(service: Service) -> Iterator[Heartbeat]:
    with Server(service) as server:
        yield Heartbeat(f"{server.url}/ping/abc")
        service.free.set()


def test_start_success_and_failure_are_told_in_order(
    service: Service, heart: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    heart.start()
    heart.success(group="even", enqueued=600)
    heart.fail("the lock is held")
    assert heart.flush(5)
    assert [path for _, path, _ in service.heard] == ["/ping/abc/start", "/ping/abc", "/ping/abc/fail"]
    assert {method for method, _, _ in service.heard} == {"POST"}
    assert json.loads(service.heard[1][2]) == {"group": "even", "enqueued": 600}
    assert service.heard[2][2] == "the lock is held"
    assert caplog.messages == []


def test_a_slow_service_holds_up_nobody(service: Service, heart: Heartbeat) -> None:
    service.free.clear()
    began = time.monotonic()
    for _ in range(100):
        heart.start()
    assert time.monotonic() - began < 1
    assert heart.flush(0.05) is False


def test_a_refusing_service_is_logged_and_asked_again(
    service: Service, heart: Heartbeat, caplog: pytest.LogCaptureFixture
) -> None:
    service.status = 404
    heart.start()
    assert heart.flush(5)
    assert "heartbeat refused" in caplog.text
    service.status = 200
    heart.success(enqueued=1)
    assert heart.flush(5)
    assert len(service.heard) == 2


def test_a_service_that_is_away_is_logged_without_its_address(caplog: pytest.LogCaptureFixture) -> None:
    heart = Heartbeat("http://127.0.0.1:9/secret-uuid")
    heart.start()
    assert heart.flush(5)
    assert "heartbeat not sent" in caplog.text
    assert "secret-uuid" not in caplog.text


def test_without_an_address_nothing_happens() -> None:
    heart = Heartbeat(None)
    heart.start()
    heart.success(enqueued=1)
    heart.fail("")
    assert heart.flush(0)
