"""A peer that sends a byte now and then: however it drips, an exchange ends when its time is over."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
import requests

from shared.deadline import Deadline, TooLongError, bounded_session, read_body
from shared.sections.section import Section
from shared.source.answers import Broken
from shared.source.scraper import Scraper

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
DRIPS = {
    "headers": (HEAD, b"X-Drip: drop\r\n"),
    "a body of known length": (HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "a body in chunks": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "a body until the end": (HEAD + b"\r\n", b" "),
}


class Dripping:
    """A server that answers every call with a head and then drop by drop, until its caller has gone."""

    def __init__(self) -> None:
        self.head, self.drop = DRIPS["headers"]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def _run(self) -> None:
        while not self._stopped.is_set():
            with suppress(OSError):
                connection, _ = self._listener.accept()
                with connection:
                    connection.recv(65536)
                    connection.sendall(self.head)
                    while not self._stopped.wait(0.02):
                        connection.sendall(self.drop)

    def stop(self) -> None:
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def dripping() -> Iterator[Dripping]:
    server = Dripping()
    yield server
    server.stop()


@pytest.mark.parametrize("how", DRIPS)
def test_an_exchange_that_drips_is_cut_when_its_time_is_over(dripping: Dripping, how: str) -> None:
    dripping.head, dripping.drop = DRIPS[how]
    with (
        bounded_session() as session,
        pytest.raises(requests.Timeout),
        Deadline(0.3),
        session.get(dripping.url, timeout=60, stream=True) as response,
    ):
        read_body(response, 1_000_000)


@pytest.mark.parametrize("how", DRIPS)
def test_a_scraper_that_drips_has_not_answered_in_time(dripping: Dripping, how: str) -> None:
    dripping.head, dripping.drop = DRIPS[how]
    answer = Scraper(dripping.url, "token").look_up(Section("2267", "12431"), 0.3)
    assert answer == Broken("scraper did not answer within 0.3 s")


def test_a_body_that_is_too_long_is_not_read_to_its_end(dripping: Dripping) -> None:
    dripping.head, dripping.drop = DRIPS["a body in chunks"]
    with (
        bounded_session() as session,
        pytest.raises(TooLongError),
        Deadline(60),
        session.get(dripping.url, timeout=60, stream=True) as response,
    ):
        read_body(response, 3)


def ask_and_fail(session: requests.Session, url: str) -> None:
    with suppress(requests.RequestException):
        session.get(url, timeout=60)
    raise KeyError


def test_the_error_of_the_caller_goes_before_the_time(dripping: Dripping) -> None:
    with bounded_session() as session, pytest.raises(KeyError), Deadline(0.05):
        ask_and_fail(session, dripping.url)


def test_after_one_was_cut_the_next_exchange_has_its_own_time(dripping: Dripping) -> None:
    with bounded_session() as session:
        for _ in range(3):
            with pytest.raises(requests.Timeout), Deadline(0.05):
                session.get(dripping.url, timeout=60)


def test_what_is_asked_without_a_deadline_is_never_cut(dripping: Dripping) -> None:
    dripping.head, dripping.drop = HEAD + b"Content-Length: 40\r\n\r\n", b" "
    with bounded_session() as session:
        with pytest.raises(requests.Timeout), Deadline(0.05):
            session.get(dripping.url, timeout=60)
        assert len(session.get(dripping.url, timeout=60).content) == 40
