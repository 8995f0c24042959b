"""A peer that sends a byte now and then: however it drips, an exchange ends when its time is over."""

from __future__ import annotations

import errno
import gzip
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Self

import pytest
import requests

from shared import exchange
from shared.exchange import NotConnectedError, TooLongError, UnreachableError, bounded_session
from shared.sections.section import Section
from shared.source.answers import Broken
from shared.source.scraper import Scraper
from tests.support.tls import self_signed
from workshop.parts.processes import free_port

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


class Saying:
    """A server that says the same to everybody and hangs up."""

    def __init__(self, said: bytes, folder: Path | None = None) -> None:
        self.said, self.calls, self.heard, self.hung_up = said, 0, b"", threading.Event()
        self._listener, self._tls = socket.create_server(("127.0.0.1", 0)), None
        if folder:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.url = f"http{'s' if folder else ''}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._listener.accept()
                with suppress(OSError), self._tls.wrap_socket(plain, True) if self._tls else plain as connection:
                    self.heard += connection.recv(65536)
                    self.calls += 1
                    connection.sendall(self.said)
                plain.close()
                self.hung_up.set()


@pytest.fixture
def dripping() -> Iterator[Dripping]:
    server = Dripping()
    yield server
    server.stop()


@pytest.mark.parametrize("how", DRIPS)
def test_an_exchange_that_drips_is_cut_when_its_time_is_over(dripping: Dripping, how: str) -> None:
    dripping.head, dripping.drop = DRIPS[how]
    with bounded_session(1_000_000) as session, pytest.raises(requests.Timeout):
        session.get(dripping.url, timeout=0.3)


@pytest.mark.parametrize("how", DRIPS)
def test_a_scraper_that_drips_has_not_answered_in_time(dripping: Dripping, how: str) -> None:
    dripping.head, dripping.drop = DRIPS[how]
    answer = Scraper(dripping.url, "token").look_up(Section("2267", "12431"), 0.3)
    assert answer == Broken("scraper did not answer within 0.3 s")


def test_a_body_that_is_too_long_is_not_read_to_its_end(dripping: Dripping) -> None:
    dripping.head, dripping.drop = DRIPS["a body in chunks"]
    with bounded_session(3) as session, pytest.raises(TooLongError):
        session.get(dripping.url, timeout=60)


def test_after_one_was_cut_the_next_exchange_has_its_own_time(dripping: Dripping) -> None:
    with bounded_session(1000) as session:
        for _ in range(3):
            with pytest.raises(requests.Timeout):
                session.get(dripping.url, timeout=0.05)
        dripping.head, dripping.drop = HEAD + b"Content-Length: 40\r\n\r\n", b" "
        assert len(session.get(dripping.url, timeout=60).content) == 40


def test_nobody_asks_without_a_limit(dripping: Dripping) -> None:
    with bounded_session(1000) as session, pytest.raises(ValueError, match="timeout"):
        session.get(dripping.url)


@pytest.mark.parametrize(
    "said",
    [
        HEAD + b"Content-Length: 9\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
        b"",
        b"no http at all\r\n\r\n",
    ],
)
def test_an_answer_that_is_cut_off_or_none_is_a_failure(said: bytes) -> None:
    with Saying(said) as server, bounded_session(1000) as session, pytest.raises(requests.ConnectionError) as caught:
        session.get(server.url, timeout=10)
    assert not isinstance(caught.value, NotConnectedError)


def test_a_kept_connection_that_the_server_has_closed_is_made_anew() -> None:
    with Saying(HEAD + b"Content-Length: 2\r\n\r\n{}") as server, bounded_session(1000) as session:
        for _ in range(3):
            assert session.get(server.url, timeout=10).json() == {}
            server.hung_up.wait(10)
            server.hung_up.clear()
    assert server.calls == 3


def test_nobody_there_is_told_apart_from_a_cut_connection() -> None:
    with bounded_session(1000) as session:
        for url in (
            f"http://127.0.0.1:{free_port()}",
            f"https://127.0.0.1:{free_port()}",
            f"http://{'x' * 64}.invalid",
        ):
            with pytest.raises(NotConnectedError):
                session.get(url, timeout=10)


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("https", 443)])
def test_an_address_without_a_port_has_its_schemes_own(monkeypatch: pytest.MonkeyPatch, scheme: str, port: int) -> None:
    asked: list[tuple[str, int]] = []

    def connect(address: tuple[str, int], _seconds: float) -> None:
        asked.append(address)
        raise OSError

    monkeypatch.setattr("shared.exchange.socket", SimpleNamespace(create_connection=connect))
    with bounded_session(1000) as session, pytest.raises(NotConnectedError):
        session.get(f"{scheme}://example.edu/x", timeout=10)
    assert asked == [("example.edu", port)]


def test_a_server_whose_certificate_nobody_vouches_for_is_not_told_anything(tmp_path: Path) -> None:
    self_signed(tmp_path)
    with (
        Saying(HEAD + b"Content-Length: 2\r\n\r\n{}", tmp_path) as server,
        bounded_session(1000) as session,
        pytest.raises(NotConnectedError),
    ):
        session.post(server.url, data=b"secret", timeout=10)
    assert server.heard == b""


def packed(body: bytes) -> bytes:
    body = gzip.compress(body)
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def test_a_packed_body_is_unpacked() -> None:
    with Saying(packed(b"[1, 2]")) as server, bounded_session(100) as session:
        assert session.get(server.url, timeout=5).json() == [1, 2]


def test_a_packed_body_is_measured_while_it_is_unpacked() -> None:
    with Saying(packed(bytes(50_000_000))) as server, bounded_session(100_000) as session, pytest.raises(TooLongError):
        session.get(server.url, timeout=5)


def test_what_only_claims_to_be_packed_is_left_as_it_came() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n"
    with Saying(head + b"plain") as server, bounded_session(100) as session:
        assert session.get(server.url, timeout=5).content == b"plain"


@pytest.mark.parametrize("number", [errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH])
def test_a_peer_whose_network_is_gone_is_told_from_one_that_is_slow(
    dripping: Dripping, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def gone(*_: object) -> int:
        raise OSError(number, "the system's, when its probes stay unanswered or a router says so")

    monkeypatch.setattr(exchange._Reader, "readinto", gone)
    with bounded_session(1000) as session, pytest.raises(UnreachableError):
        session.get(dripping.url, timeout=5)
    assert Scraper(dripping.url, "token").look_up(Section("2267", "12431"), 5) == Broken(
        "scraper cannot be reached", is_reached=False
    )


def test_a_silent_peer_is_probed_and_given_up_after_twenty_seconds(dripping: Dripping) -> None:
    with socket.create_connection(("127.0.0.1", int(dripping.url.rsplit(":", 1)[1]))) as plain:
        exchange._set_up(plain)
        assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2, "TCP_USER_TIMEOUT": 20_000}
        told = {name: plain.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in wanted}
        assert told == wanted
