"""The real HAProxy in front of the functions of two servers: who gets a call, and what becomes of it when one goes."""

from __future__ import annotations

import http.client
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deploy.balancer import BALANCER, configuration
from shared.settings import ROOT, Settings
from shared.web.host import KEEP_ALIVE_SECONDS
from tests.support.caddy import needs_caddy, running_caddy
from tests.support.redis import wait_until
from workshop.parts.processes import Child, free_port, start_child, stop_child

pytestmark = pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed (Debian package)")

CHECK = "/api/queue/process-section"
WATCH = "/api/class-watches"
SERVER = """
import os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        sent = self.rfile.read(int(self.headers["Content-Length"]))
        if sent == b"die":
            os._exit(1)
        time.sleep(0.02)  # so that some are always on the way
        self.answer(200 if sent == b"{}" else 400)

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
    """Two servers, each of which answers with its port, and what stands in front of both at `front`."""

    def __init__(self, folder: Path) -> None:
        self.ports = [free_port(), free_port()]
        self.servers: dict[int, Child] = {}
        self.front = free_port()
        own, other = self.ports
        text = configuration(Settings.model_validate({"port": own, "upstreams": f"127.0.0.1:{other}"}))
        file = folder / "haproxy.cfg"
        file.write_text(
            text.replace(BALANCER, f"127.0.0.1:{self.front}").replace("\tuser haproxy\n\tgroup haproxy\n", "")
        )
        words = ["haproxy", "-db", "-f", str(file)]
        self.balancer = start_child(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._listens)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.front)) == 0

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
    def ask(port: int, path: str = CHECK, body: bytes = b"{}") -> tuple[int, str]:
        """Status and text of a request at that port; 0 for no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            connection.request("POST", path, body=body)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(tmp_path)
    yield made
    for server in (made.balancer, *made.servers.values()):
        stop_child(server, timeout=5)


@pytest.fixture
def both(fleet: Fleet) -> Fleet:
    """With both servers running, and known to."""
    for port in fleet.ports:
        fleet.start(port)
    wait_until(lambda: len({fleet.ask(fleet.front) for _ in range(10)}) == 2)
    return fleet


def test_a_server_that_dies_and_comes_back_costs_no_call(both: Fleet) -> None:
    first, second = both.ports
    with ThreadPoolExecutor(8) as pool:
        calls = []
        for number in range(300):
            if number == 100:
                both.kill(second)
            if number == 200:
                both.start(second)
            calls.append(pool.submit(both.ask, both.front))
        answers = Counter(call.result() for call in calls)
    assert set(answers) == {(200, str(first)), (200, str(second))}, "none failed, and both had a share"


@pytest.mark.parametrize(("path", "dead"), [(CHECK, 2), (WATCH, 1)])
def test_what_may_have_reached_a_server_is_repeated_with_its_body_only_where_that_is_harmless(
    both: Fleet, path: str, dead: int
) -> None:
    assert both.ask(both.front, path, b"die")[0] in (502, 503)
    wait_until(lambda: sum(server.poll() is not None for server in both.servers.values()) == dead)


def test_a_server_that_is_not_ready_is_left_alone(fleet: Fleet) -> None:
    first, second = fleet.ports
    fleet.start(first)
    fleet.start(second, ready=503)
    wait_until(lambda: {fleet.ask(fleet.front) for _ in range(10)} == {(200, str(first))})


def test_calls_wait_for_servers_that_are_all_restarting(both: Fleet) -> None:
    first, second = both.ports
    for port in (first, second):
        both.kill(port)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(both.ask, both.front) for _ in range(4)]
        both.start(first)
        assert {call.result() for call in calls} == {(200, str(first))}


def test_while_nobody_is_ready_this_server_answers_for_itself(fleet: Fleet) -> None:
    first, second = fleet.ports
    for port in (first, second):
        fleet.start(port, ready=503)
    wait_until(lambda: {fleet.ask(fleet.front) for _ in range(10)} == {(200, str(first))})


@needs_caddy
def test_the_world_reaches_all_servers_but_the_health_page_is_this_ones_and_the_queue_stays_closed(both: Fleet) -> None:
    first, second = (str(port).encode() for port in both.ports)
    with running_caddy(f"127.0.0.1:{both.ports[0]}", balancer=f"127.0.0.1:{both.front}") as caddy:
        assert {caddy.get("/api/live").body for _ in range(10)} == {first, second}
        assert {caddy.get("/api/monitoring/health").body for _ in range(10)} == {first}
        assert caddy.request("POST", CHECK, body=b"{}").status == 404


def test_whoever_calls_lets_an_idle_connection_go_before_whoever_is_called() -> None:
    """A POST over a connection that was just closed would be lost: nobody may send it again by himself."""
    callers = re.findall(r"^\s*keepalive (\d+)s$", (ROOT / "Caddyfile").read_text(), re.MULTILINE)
    balancer = re.findall(
        r"^\s*timeout http-keep-alive (\d+)s$", (ROOT / "deploy/haproxy.cfg").read_text(), re.MULTILINE
    )
    assert max(map(int, callers)) * 2 < min(KEEP_ALIVE_SECONDS, *map(int, balancer))
