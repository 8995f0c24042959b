"""The real Caddy in front of a backend that tells what reached it: TLS, paths, headers, limits, logs, the site."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator

import httpx
import pytest

from shared.web.routes import ROUTES
from tests.support.caddy import CADDYFILE, Answer, Backend, Caddy, needs_caddy, running_caddy
from workshop.parts.processes import free_port

pytestmark = needs_caddy

PUBLIC = "/api/monitoring/health"


@pytest.fixture(scope="module")
def functions() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def site() -> Iterator[Backend]:
    backend = Backend()
    yield backend
    backend.close()


@pytest.fixture(scope="module")
def caddy(functions: Backend, site: Backend) -> Iterator[Caddy]:
    with running_caddy(functions.address, f"http://{site.address}") as server:
        yield server


def test_the_caddyfile_is_valid_and_formatted() -> None:
    command = ["caddy", "validate", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
    assert subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    formatted = subprocess.run(["caddy", "fmt", str(CADDYFILE)], capture_output=True, text=True, timeout=30).stdout
    assert formatted == CADDYFILE.read_text()


def test_every_public_route_is_let_through_and_no_other_path() -> None:
    words = re.search(r"@ours path (.*)", CADDYFILE.read_text())
    assert words
    closed = {"/metrics", "/api/queue/process-section"}
    assert {route.path for route in ROUTES} - closed == set(words[1].split())


def test_plain_http_is_sent_on_to_https(caddy: Caddy) -> None:
    answer = caddy.get_in_the_clear(PUBLIC)
    assert answer.status == 308
    assert answer.headers["location"].startswith("https://localhost")


def test_http_2_is_spoken_and_http_3_offered(caddy: Caddy) -> None:
    with httpx.Client(http2=True, verify=caddy.trust(), timeout=20) as client:
        answer = client.get(f"https://localhost:{caddy.https_port}{PUBLIC}")
    assert answer.http_version == "HTTP/2"
    assert answer.headers["alt-svc"].startswith(f'h3=":{caddy.https_port}"')


def test_our_answers_carry_the_security_headers(caddy: Caddy) -> None:
    headers = caddy.get(PUBLIC).headers
    assert headers["strict-transport-security"] == "max-age=31536000"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert headers["cache-control"] == "no-store"
    assert "server" not in headers


CLOSED = [
    "/metrics",
    "/metrics/",
    "/metrics/x",
    "//metrics",
    "/METRICS",
    "/%6Detrics",
    "/./metrics",
    "/x/../metrics",
    "/x/%2e%2e/metrics",
    "/metrics?x=1",
    "/api/queue",
    "/api/queue/process-section",
    "/api/queue/process-section/",
    "/api//queue/process-section",
    "/api/Queue/Process-Section",
    "/api/queue%2Fprocess-section",
    "/api/%71ueue/process-section",
    "/api/cron/../queue/process-section",
    "/api/cron/..%2Fqueue/process-section",
    "//api///queue//process-section//",
]


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_closed_path_reaches_nobody_however_it_is_spelt(
    caddy: Caddy, functions: Backend, site: Backend, path: str, method: str
) -> None:
    before = len(functions.paths), len(site.paths)
    answer = caddy.request(method, path, headers={"Authorization": "Bearer right"})
    assert (answer.status, answer.json) == (404, {"success": False, "error": "Not found"})
    assert (len(functions.paths), len(site.paths)) == before


NOT_OURS = ["/", "/api/cronx", "/api/cron/", "/api/auth/callback", "/metrics.txt", "/apix", "/api/queued", "/metrics;a"]


@pytest.mark.parametrize("path", NOT_OURS)
def test_what_is_not_ours_goes_to_the_site(caddy: Caddy, functions: Backend, site: Backend, path: str) -> None:
    before = len(functions.paths)
    assert caddy.get(path).json["path"] == path
    assert site.paths[-1] == path
    assert len(functions.paths) == before


def test_the_site_keeps_its_own_headers_and_is_asked_by_its_own_name(caddy: Caddy, site: Backend) -> None:
    answer = caddy.get("/own?page=2")
    assert answer.headers["x-frame-options"] == "SAMEORIGIN"
    assert "content-security-policy" not in answer.headers
    assert "session=" in answer.headers["set-cookie"]
    assert answer.json["path"] == "/own?page=2"
    assert answer.json["headers"]["Host"] == site.address
    assert answer.json["headers"]["X-Forwarded-Host"] == f"localhost:{caddy.https_port}"
    assert answer.json["headers"]["X-Forwarded-Proto"] == "https"


def test_the_sites_bodies_may_be_larger_than_ours(caddy: Caddy) -> None:
    assert caddy.request("POST", "/upload", body=b"x" * 200_000).json["length"] == 200_000


def test_a_caller_cannot_pass_for_the_server_itself(caddy: Caddy) -> None:
    forged = {
        "X-Forwarded-For": "203.0.113.9",
        "Forwarded": "for=127.0.0.1",
        "Connection": "close, X-Forwarded-For, X-Forwarded-Proto",
        "SCRIPT_NAME": "/api",
        "PATH_INFO": "/metrics",
        "X_Forwarded_For": "127.0.0.1",
    }
    seen = caddy.request("GET", PUBLIC, headers=forged).json["headers"]
    assert seen["X-Forwarded-For"] in {"127.0.0.1", "::1"}, "Caddy's own word about the caller is always there"
    assert "Forwarded" not in seen
    assert not [name for name in seen if "_" in name]


def test_the_bearer_and_the_scheduled_time_reach_the_functions(caddy: Caddy) -> None:
    seen = caddy.get("/api/cron?group=all", Authorization="Bearer one", X_Cron_Scheduled_Time="1").json
    assert seen["path"] == "/api/cron?group=all"
    assert seen["headers"]["Authorization"] == "Bearer one"
    assert seen["headers"]["X-Cron-Scheduled-Time"] == "1"


def test_a_body_of_64_kb_passes_and_one_byte_more_is_refused(caddy: Caddy, functions: Backend) -> None:
    assert caddy.request("POST", PUBLIC, body=b"x" * 65536).json["length"] == 65536
    before = len(functions.paths)
    answer = caddy.request("POST", PUBLIC, body=b"x" * 65537)
    assert (answer.status, answer.json["success"]) == (413, False)
    assert len(functions.paths) == before


def test_a_body_of_unknown_length_is_cut_where_the_function_will_notice(caddy: Caddy) -> None:
    pieces = iter([b"x" * 10_000] * 20)
    answer = caddy.request("POST", PUBLIC, body=pieces)
    assert answer.status == 413 or answer.json["length"] == 65537


def test_a_length_that_is_not_a_number_is_refused(caddy: Caddy) -> None:
    assert caddy.request("POST", PUBLIC, headers={"Content-Length": "12x"}).status == 400


def test_answers_are_compressed_for_those_who_ask(caddy: Caddy) -> None:
    packed = caddy.get("/big", Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < 1000
    assert "content-encoding" not in caddy.get("/big", Accept_Encoding="identity").headers


def test_a_restart_of_the_functions_is_waited_for(site: Backend) -> None:
    port = free_port()
    answers: list[Answer] = []
    with running_caddy(f"127.0.0.1:{port}", f"http://{site.address}") as caddy:
        asking = threading.Thread(target=lambda: answers.append(caddy.request("POST", PUBLIC, body=b"{}")))
        asking.start()
        asking.join(0.4)
        assert asking.is_alive(), "no answer while nobody listens"
        functions = Backend(port)
        asking.join(20)
        functions.close()
    assert (answers[0].status, answers[0].json["length"]) == (200, 2)


def test_without_another_site_the_pages_are_ours(functions: Backend) -> None:
    with running_caddy(functions.address) as caddy:
        for path in ("/", "/dashboard", "/app", "/no/such/page"):
            answer = caddy.get(path)
            assert (answer.status, answer.json["path"]) == (200, path)
            assert answer.headers["strict-transport-security"]
        assert caddy.request("POST", "/login", body=b"x" * 70_000).status == 413
        assert caddy.get(PUBLIC).status == 200
        assert caddy.get("/metrics").status == 404


def test_beside_another_site_the_pages_are_ours_below_app(caddy: Caddy, functions: Backend, site: Backend) -> None:
    for path in ("/app", "/app/dashboard"):
        assert caddy.get(path).status == 200
        assert functions.paths[-1] == path
    for path in ("/", "/dashboard", "/apple"):
        assert caddy.get(path).status == 200
        assert site.paths[-1] == path


def test_neither_log_holds_a_token_a_bearer_or_a_cookie(functions: Backend) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with running_caddy(functions.address, dead) as caddy:
        caddy.get("/api/unsubscribe?token=SECRET-token", Authorization="Bearer SECRET-bearer", Cookie="a=SECRET-cookie")
        caddy.get("/api/webhooks/resend", Svix_Signature="v1,SECRET-signature", Referer="https://x.test/?token=SECRET")
        caddy.get_in_the_clear("/api/unsubscribe?token=SECRET-token")
        broken = caddy.get("/auth/confirm?token_hash=SECRET-hash", Cookie="sb=SECRET-cookie")
        assert broken.status == 502
        caddy.close()
        lines = [json.loads(line) for line in caddy.access_log.read_text().splitlines()]
        logged = [(line["request"]["uri"], line["status"]) for line in lines]
        assert "SECRET" not in caddy.access_log.read_text()
        assert "SECRET" not in caddy.words
    assert ("/api/unsubscribe?...", 200) in logged
    assert ("/auth/confirm?...", 502) in logged
