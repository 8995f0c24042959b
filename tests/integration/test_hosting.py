"""Both ways to serve: all functions behind one port, and each one alone by the Functions Framework's command line."""

from __future__ import annotations

import contextlib
import http.client
import json
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from commands import commands
from shared.settings import ROOT, names
from shared.web.routes import ROUTES
from tests.support.stage import EVEN, SECRET, Stage
from tests.support.term import TERM
from workshop.parts.processes import Child, free_port, start_child, stop_child

BEARER = {"Authorization": f"Bearer {SECRET}"}


def get(url: str, method: str = "GET", **words: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(method, url, timeout=20, allow_redirects=False, **words)


def start(command: list[str], environment: dict[str, str], url: str) -> Child:
    """A served process, once it answers; every setting is ours, so that no `.env` leaks in."""
    everything = {
        **dict.fromkeys(set(names()) - {"WORKERS"}, ""),
        **environment,
        "PATH": "/usr/bin:/bin",
        "HOME": "/nonexistent",
    }
    child = start_child([sys.executable, *command], cwd=ROOT, env=everything)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and child.poll() is None:
        try:
            requests.get(url, timeout=25)
        except requests.ConnectionError:
            time.sleep(0.05)
        else:
            return child
    raise AssertionError(f"{command} did not begin to answer")


@pytest.fixture
def host(stage: Stage) -> Iterator[tuple[str, Child]]:
    """All functions in one process: its address, and the process."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    child = start(["commands.py", "functions"], {**stage.environment, "PORT": str(port)}, url)
    yield url, child
    stop_child(child)


def test_a_function_alone_does_not_need_the_script_of_an_environment_that_was_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[list[str]] = []
    monkeypatch.setattr("os.execve", lambda program, words, _environment: started.append([program, *words]))
    function = commands.commands["function"].callback
    assert function is not None
    function("health", 8123)
    (command,) = started
    assert command[:4] == [sys.executable, sys.executable, "-m", "functions_framework"]
    assert command[-4:] == ["--host", "127.0.0.1", "--port", "8123"]


def test_every_route_is_served_behind_one_port_without_redirects(host: tuple[str, Child], stage: Stage) -> None:
    url, _ = host
    stage.world.add_watch(EVEN)
    tick = get(f"{url}/api/cron?group=even", headers=BEARER)
    assert tick.status_code == 200
    assert tick.json()["sections_enqueued"] == 1
    body = {"class_nbr": EVEN.class_nbr, "term": TERM}
    check = get(f"{url}/api/queue/process-section", "POST", headers=BEARER, json=body)
    assert check.json()["first_observation"] is True
    health = get(f"{url}/api/monitoring/health", headers=BEARER)
    assert health.json()["checks"]["database"]["status"] == "healthy"
    head = get(f"{url}/api/monitoring/health?probe=live", "HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for route in ROUTES:
        assert get(url + route.path, "TRACE").status_code == 405
    assert get(url).text.startswith("<!doctype html>")
    assert get(f"{url}/robots.txt").text.startswith("User-agent")
    for path in ("/x", "/api", "/api/cron/", "/API/CRON", "/api//cron", "/app", "/classes/2267/1/2"):
        missing = get(url + path, headers=BEARER)
        assert (missing.status_code, missing.json()) == (404, {"success": False, "error": "Not found"}), path
        assert missing.headers["X-Request-Id"]


def test_a_body_that_is_too_large_is_refused_however_it_is_sent(host: tuple[str, Child]) -> None:
    url = host[0] + "/api/queue/process-section"
    assert get(url, "POST", headers=BEARER, data=b"x" * 70_000).status_code == 413
    assert get(url, "POST", headers=BEARER, data=iter([b"x" * 35_000] * 2)).status_code == 413


@pytest.mark.parametrize("body", ["zz\r\nabc\r\n0\r\n\r\n", "5\r\nabc\r\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n"])
def test_a_malformed_chunk_of_anyone_is_refused_as_json(host: tuple[str, Child], body: str) -> None:
    port = int(host[0].rpartition(":")[2])
    lines = ["POST /api/queue/process-section HTTP/1.1", "Host: here", "Transfer-Encoding: chunked", "", body]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode())
        connection.shutdown(socket.SHUT_WR)
        head, _, answer = connection.makefile("rb").read().decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 400 ")
    assert "X-Request-Id: " in head
    assert json.loads(answer)["success"] is False


def test_a_process_that_starts_says_so(stage: Stage) -> None:
    port = free_port()
    words = {**stage.environment, "PORT": str(port), "LOG_FORMAT": "json"}
    environment = {**dict.fromkeys(names(), ""), "WORKERS": "4", **words, "PATH": "/usr/bin:/bin"}
    child = start_child([sys.executable, "commands.py", "functions"], cwd=ROOT, env=environment, stderr=subprocess.PIPE)
    assert child.stderr is not None
    first = json.loads(child.stderr.readline())
    stop_child(child)
    child.stderr.close()
    assert (first["message"], first["address"]) == ("functions are served", f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("command", ["functions", "function"])
def test_a_taken_port_is_said_with_what_to_do(stage: Stage, command: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environment = {**dict.fromkeys(names(), ""), "WORKERS": "4", **stage.environment, "PORT": port}
        words = [sys.executable, "commands.py", command, *(["health", port] if command == "function" else [])]
        ended = subprocess.run(
            words, cwd=ROOT, env=environment | {"PATH": "/usr/bin:/bin"}, capture_output=True, text=True
        )
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith(f"Error: 127.0.0.1:{port} is taken; `ss -ltnp` says by whom.")
    assert "Traceback" not in ended.stderr


def test_what_is_no_request_is_refused_as_json_without_repeating_it(host: tuple[str, Child]) -> None:
    port = int(host[0].rpartition(":")[2])
    for lines, status in (
        ("secret-word", 400),
        (f"GET /{'secret-word' * 800} HTTP/1.1\r\nHost: here", 414),
        (f"GET / HTTP/1.1\r\nHost: here\r\nCookie: {'secret-word' * 7000}", 431),
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(lines.encode() + b"\r\n\r\n")
            answer = connection.makefile("rb").read().decode()
        head, _, body = answer.partition("\r\n\r\n")
        assert head.startswith(f"HTTP/1.1 {status} ")
        assert "Content-Type: application/json" in head
        assert "X-Request-Id: " in head
        assert json.loads(body)["success"] is False
        assert "secret-word" not in answer


def test_an_idle_connection_is_kept_for_whoever_is_in_front(host: tuple[str, Child]) -> None:
    line = http.client.HTTPConnection(host[0].removeprefix("http://"), timeout=20)
    with contextlib.closing(line):
        line.request("GET", "/api/monitoring/health?probe=live")
        assert b"ok" in line.getresponse().read()
        assert not select.select([line.sock], [], [], 3)[0], "closed within three seconds"


def test_a_cookie_of_many_chunks_arrives(host: tuple[str, Child]) -> None:
    chunks = "; ".join(f"sb-abcdefgh-auth-token.{number}={'x' * 3180}" for number in range(16))
    answer = get(f"{host[0]}/api/class-watches", headers={"Cookie": chunks})
    assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})


def wait_until_refused(url: str) -> str:
    """Until the port is closed, in which words; whoever connects before that is answered."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            assert get(f"{url}/api/monitoring/health?probe=live").status_code == 200
        except requests.ConnectionError as error:
            return str(error)
    raise AssertionError("the port stayed open")


def test_a_stopping_process_finishes_what_runs_and_refuses_new_callers(host: tuple[str, Child], stage: Stage) -> None:
    url, child = host
    stage.scraper_fails("hang", seconds=1.0)
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as connection:
        body = json.dumps({"class_nbr": EVEN.class_nbr, "term": TERM}).encode()
        lines = [
            "POST /api/queue/process-section HTTP/1.1",
            "Host: here",
            f"Authorization: Bearer {SECRET}",
            "Content-Type: application/json",
            f"Content-Length: {len(body)}",
        ]
        connection.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        while stage.campus.faults.as_json():  # until the scraper hangs on our look-up
            time.sleep(0.01)
        child.send_signal(signal.SIGTERM)
        assert "refused" in wait_until_refused(url)  # not reset: nobody is cut off
        connection.settimeout(30)
        assert connection.recv(100).startswith(b"HTTP/1.1 ")
    assert child.wait(30) == 0


@pytest.mark.parametrize("name", ["cron_tick", "process_section", "health"])
def test_a_function_is_served_alone_by_the_frameworks_own_command_line(name: str, stage: Stage, tmp_path: Path) -> None:
    port = free_port()
    source = str(ROOT / "functions" / name / "main.py")
    framework = str(Path(sys.executable).with_name("functions-framework"))
    words = [framework, "--source", source, "--target", name, "--host", "127.0.0.1", "--port", str(port)]
    url = f"http://127.0.0.1:{port}/"
    child = start(words, stage.environment, url)
    try:
        if name == "process_section":
            body = {"class_nbr": EVEN.class_nbr, "term": TERM}
            answer = get(url, "POST", headers=BEARER, json=body)
            assert answer.json()["success"] is True
        elif name == "cron_tick":
            answer = get(url, headers=BEARER)
            assert answer.json()["message"] == "No sections to check"
        else:
            answer = get(url, headers=BEARER)
            assert answer.json()["checks"]["redis"]["connected"] is True
        assert get(url).status_code in (401, 405, 500)
    finally:
        stop_child(child)
