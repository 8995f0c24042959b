"""The word to systemd, on a real socket, and a watchdog that stays silent while something hangs."""

from __future__ import annotations

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.health.notify import Notifier, Watchdog, answers_http


class Supervisor:
    """The other end of NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(5)

    def hear(self) -> list[str]:
        """The lines of the next datagram; `TimeoutError` when none comes."""
        return self.socket.recv(4096).decode().split("\n")

    def is_told_nothing(self) -> bool:
        """Whether nothing is waiting to be heard."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(5)
        return False


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    listener = Supervisor(str(tmp_path / "notify"))
    yield listener
    listener.socket.close()


def test_each_state_is_one_datagram_in_systemds_words(supervisor: Supervisor) -> None:
    notifier = Notifier(supervisor.address)
    notifier.ready()
    notifier.alive()
    notifier.status("two\nlines  become one")
    notifier.stopping()
    heard = [supervisor.hear() for _ in range(4)]
    assert heard == [["READY=1"], ["WATCHDOG=1", "STATUS="], ["STATUS=two lines become one"], ["STOPPING=1"]]


def test_an_abstract_socket_is_reached_too(tmp_path: Path) -> None:
    listener = Supervisor(f"@pickmyclass-test-{tmp_path.name}-{id(tmp_path)}")
    Notifier(listener.address).ready()
    assert listener.hear() == ["READY=1"]
    listener.socket.close()


def test_without_a_supervisor_nothing_happens() -> None:
    Notifier(None).ready()
    Notifier("").stopping()


def test_a_supervisor_that_is_gone_does_not_stop_the_work(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("WARNING", logger="shared.health.notify"):
        Notifier(str(tmp_path / "nobody")).alive()
    assert "could not be told" in caplog.text


def test_ready_is_said_at_the_first_look_that_finds_all_well_and_only_once(supervisor: Supervisor) -> None:
    answers = iter(["still starting", None, None])
    watchdog = Watchdog(Notifier(supervisor.address), 60, lambda: next(answers))
    assert [watchdog.look(), watchdog.look(), watchdog.look()] == [False, True, True]
    heard = [supervisor.hear() for _ in range(4)]
    assert heard == [["STATUS=still starting"], ["READY=1"], ["WATCHDOG=1", "STATUS="], ["WATCHDOG=1", "STATUS="]]


def test_the_watchdog_is_not_put_off_while_a_worker_hangs(supervisor: Supervisor) -> None:
    hung: list[str | None] = [None]
    watchdog = Watchdog(Notifier(supervisor.address), 60, lambda: hung[0])
    watchdog.look()
    hung[0] = "worker 3 has run one job for 400 s"
    watchdog.look()
    heard = [supervisor.hear() for _ in range(3)]
    assert heard[2] == ["STATUS=worker 3 has run one job for 400 s"]
    assert supervisor.is_told_nothing()


def test_a_look_that_raises_counts_as_hung(supervisor: Supervisor) -> None:
    def broken() -> str | None:
        raise RuntimeError("secret words")

    assert not Watchdog(Notifier(supervisor.address), 60, broken).look()
    assert supervisor.hear() == ["STATUS=could not look: RuntimeError"]


def test_a_look_that_never_returns_keeps_the_watchdog_silent(supervisor: Supervisor) -> None:
    entered, release = threading.Event(), threading.Event()

    def hangs() -> str | None:
        entered.set()
        release.wait(20)
        return None

    watchdog = Watchdog(Notifier(supervisor.address), 0.01, hangs)
    watchdog.start()
    assert entered.wait(5)
    assert supervisor.is_told_nothing()
    watchdog.stop()
    assert supervisor.hear() == ["STOPPING=1"]
    release.set()


def test_it_looks_again_and_again_until_it_is_stopped(supervisor: Supervisor) -> None:
    watchdog = Watchdog(Notifier(supervisor.address), 0.03, lambda: None)
    watchdog.start()
    heard = [supervisor.hear() for _ in range(4)]
    watchdog.stop()
    watchdog.stop()
    while (last := supervisor.hear()) != ["STOPPING=1"]:
        heard.append(last)
    assert heard[0] == ["READY=1"]
    assert all(words == ["WATCHDOG=1", "STATUS="] for words in heard[1:])


def test_without_an_interval_it_ends_after_ready(supervisor: Supervisor) -> None:
    looks = threading.Semaphore(0)

    def look() -> str | None:
        looks.release()
        return None

    Watchdog(Notifier(supervisor.address), None, look).start()
    assert supervisor.hear() == ["READY=1"]
    assert supervisor.hear() == ["WATCHDOG=1", "STATUS="]
    assert looks.acquire(timeout=5)


class Answer(http.server.BaseHTTPRequestHandler):
    """Answers `/live` with 200, `/ill` with 500, and anything else only when it is let go."""

    let_go = threading.Event()

    def do_GET(self) -> None:
        if self.path not in {"/live", "/ill"}:
            self.let_go.wait(20)
        self.send_response(500 if self.path == "/ill" else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_server_is_alive_when_it_answers_its_own_request() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port = server.server_port
        assert answers_http("0.0.0.0", port, "/live", 5)() is None
        assert answers_http("127.0.0.1", port, "/ill", 5)() == "/ill answers 500"
        assert "no answer to /hangs" in (answers_http("127.0.0.1", port, "/hangs", 0.05)() or "")
        Answer.let_go.set()
        server.shutdown()
    assert answers_http("127.0.0.1", port, "/live", 1)() == "no answer to /live: ConnectionRefusedError"
