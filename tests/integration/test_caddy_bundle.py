"""The real Caddy in front of the real functions: what the world gets, and what only the server itself gets."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from shared.settings import ROOT, names
from tests.support.caddy import Caddy, needs_caddy, running_caddy
from workshop.parts.processes import free_port, start_child, stop_child

pytestmark = needs_caddy

HEALTH = "/api/monitoring/health"
SECRET = "the-operators-secret"


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of the functions in a process of their own, with nothing behind them."""
    port = free_port()
    # An empty value means not set, so that no .env of a developer's gets in.
    environ = {**os.environ, **dict.fromkeys(names(), "")}
    environ |= {"HOST": "127.0.0.1", "PORT": str(port), "CRON_SECRET": SECRET, "LOG_FORMAT": "json"}
    command = [sys.executable, "-m", "commands", "functions"]
    child = start_child(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while not _is_up(port) and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.05)
    yield port
    stop_child(child)


def _is_up(port: int) -> bool:
    try:
        return direct(port, f"{HEALTH}?probe=live")[0] == 200
    except OSError:
        return False


def direct(port: int, path: str, **headers: str) -> tuple[int, bytes]:
    """A GET from this machine, past Caddy."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@pytest.fixture(scope="module")
def caddy(port: int) -> Iterator[Caddy]:
    with running_caddy(f"127.0.0.1:{port}") as server:
        yield server


def test_the_probe_passes_with_our_headers_and_the_request_id(caddy: Caddy) -> None:
    answer = caddy.get(f"{HEALTH}?probe=live", X_Request_Id="from-the-caller")
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert answer.headers["x-request-id"] == "from-the-caller"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers


def test_the_health_page_keeps_its_own_policy_and_is_compressed(caddy: Caddy) -> None:
    answer = caddy.get(HEALTH, Accept="text/html", Accept_Encoding="gzip")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["content-security-policy"] != "default-src 'none'; frame-ancestors 'none'"


def test_the_bearer_passes(caddy: Caddy) -> None:
    assert caddy.get("/api/cron").status == 401
    assert caddy.get("/api/cron", Authorization="Bearer wrong").status == 401
    assert caddy.get("/api/cron", Authorization=f"Bearer {SECRET}").status in {500, 503}, "nothing is behind it here"


def test_the_metrics_are_for_the_server_itself_and_for_nobody_through_caddy(caddy: Caddy, port: int) -> None:
    assert direct(port, "/metrics")[0] != 401, "whatever it can say with nothing behind it"
    assert direct(port, "/metrics", X_Forwarded_For="203.0.113.9")[0] == 401
    assert direct(port, "/metrics", Forwarded="for=203.0.113.9")[0] == 401
    for path in ("/metrics", "//metrics", "/METRICS", "/%6detrics/"):
        assert caddy.get(path, Authorization=f"Bearer {SECRET}").status == 404


def test_a_single_check_over_http_is_for_the_server_itself(caddy: Caddy, port: int) -> None:
    assert direct(port, "/api/queue/process-section")[0] == 405
    assert caddy.get("/api/queue/process-section", Authorization=f"Bearer {SECRET}").status == 404


def test_a_body_that_is_too_large_is_refused_alike_with_and_without_its_length(caddy: Caddy) -> None:
    told = caddy.request("POST", "/api/webhooks/resend", body=b"x" * 65537)
    untold = caddy.request("POST", "/api/webhooks/resend", body=iter([b"x" * 10_000] * 20))
    assert (told.status, untold.status) == (413, 413)
    assert told.json == untold.json


def test_a_path_that_only_looks_like_ours_is_refused_as_json(caddy: Caddy) -> None:
    answer = caddy.get("//api//cron", Authorization=f"Bearer {SECRET}")
    assert answer.status == 404
    assert json.loads(answer.body)["success"] is False
