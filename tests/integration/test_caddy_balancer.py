"""The real Caddy in front of the functions of two servers: who gets a call, and what becomes of it when one goes."""

from __future__ import annotations

import http.client
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.caddy import Caddy, needs_caddy, running_caddy
from tests.support.redis import wait_until
from workshop.parts.processes import Child, free_port, start_child, stop_child

pytestmark = needs_caddy

CHECK = "/api/queue/process-section"
SERVER = """
import sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.02)  # so that some are always on the way
        self.answer(200)

    def do_GET(self):
        self.answer(int(sys.argv[2]) if "probe=ready" in self.path else 200)

    def answer(self, status):
        body = sys.argv[1].encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words): pass

class Server(ThreadingHTTPServer):
    request_queue_size = 64

Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class Fleet:
    """Two servers, each of which answers with its port, and a Caddy in front of both."""

    def __init__(self) -> None:
        self.ports = [free_port(), free_port()]
        self.servers: dict[int, Child] = {}

    def start(self, port: int, ready: int = 200) -> None:
        """Let it run; `ready` is what it answers to the probe."""
        words = [sys.executable, "-c", SERVER, str(port), str(ready)]
        self.servers[port] = start_child(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(lambda: self.ask(port) == (200, str(port)))

    def kill(self, port: int) -> None:
        """`kill -9`."""
        self.servers[port].kill()
        self.servers[port].wait(10)

    @staticmethod
    def ask(port: int) -> tuple[int, str]:
        """Status and text of a check asked for at that port; 0 for no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", CHECK, body=b"{}")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    made = Fleet()
    yield made
    for server in made.servers.values():
        stop_child(server, timeout=5)


@pytest.fixture
def caddy(fleet: Fleet) -> Iterator[Caddy]:
    first, second = fleet.ports
    with running_caddy(f"127.0.0.1:{first}", others=f"127.0.0.1:{second}") as server:
        yield server


def test_a_server_that_dies_and_comes_back_costs_no_call(fleet: Fleet, caddy: Caddy) -> None:
    first, second = fleet.ports
    fleet.start(first)
    fleet.start(second)
    with ThreadPoolExecutor(8) as pool:
        calls = []
        for number in range(300):
            if number == 100:
                fleet.kill(second)
            if number == 200:
                fleet.start(second)
            calls.append(pool.submit(fleet.ask, caddy.balancer_port))
        answers = Counter(call.result() for call in calls)
    assert {status for status, _ in answers} == {200}
    assert set(answers) == {(200, str(first)), (200, str(second))}, "both had a share"


def test_a_server_that_is_not_ready_is_left_alone(fleet: Fleet, caddy: Caddy) -> None:
    first, second = fleet.ports
    fleet.start(first)
    fleet.start(second, ready=503)
    wait_until(lambda: {fleet.ask(caddy.balancer_port) for _ in range(10)} == {(200, str(first))})


def test_the_health_page_is_of_the_server_itself_also_when_it_is_not_ready(fleet: Fleet, caddy: Caddy) -> None:
    first, second = fleet.ports
    fleet.start(first, ready=503)
    fleet.start(second)
    assert {caddy.get("/api/monitoring/health").body for _ in range(10)} == {str(first).encode()}


def test_the_queue_stays_closed_to_the_world(fleet: Fleet, caddy: Caddy) -> None:
    fleet.start(fleet.ports[0])
    assert caddy.request("POST", CHECK, body=b"{}").status == 404
