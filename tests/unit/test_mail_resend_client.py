"""The Resend client against a real HTTP server: what each answer means, and what never leaks."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import resend

from shared.mail.resend import (
    Accepted,
    Invalid,
    Outcome,
    Parked,
    RateLimited,
    ResendClient,
    RowError,
    Unknown,
    Unreachable,
)
from workshop.parts.processes import free_port
from workshop.parts.web import Answer, Request, Server, json_answer

KEY = "re_very_secret_key"
BODY = '[{"to":["ä@example.edu"]},{"to":["b@example.edu"]}]'


class Resend:
    """A server that answers whatever a test tells it to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.answer: Callable[[Request], Answer] = lambda request: json_answer({"data": [{"id": "1"}, {"id": "2"}]})
        self.server = Server(self._handle)
        self.connections: set[int] = set()

    def _handle(self, request: Request) -> Answer:
        self.requests.append(request)
        self.connections.add(threading.get_ident())
        return self.answer(request)

    def send(self, seconds: float = 5.0) -> Outcome:
        return ResendClient(self.server.url, KEY, seconds=seconds).send_batch("key-1", BODY, 2)

    def refuse(self, status: int, name: str, message: str = "no", headers: dict[str, str] | None = None) -> Outcome:
        body = {"statusCode": status, "name": name, "message": message}
        self.answer = lambda request: json_answer(body, status, headers)
        return self.send()


@pytest.fixture
def server() -> Iterator[Resend]:
    """A server on the loopback."""
    made = Resend()
    with made.server:
        yield made


def test_the_frozen_bytes_go_out_as_they_are(server: Resend) -> None:
    assert server.send() == Accepted(("1", "2"))
    request = server.requests[0]
    assert (request.method, request.path, request.body) == ("POST", "/emails/batch", BODY.encode())
    assert request.headers["idempotency-key"] == "key-1"
    assert request.headers["x-batch-validation"] == "permissive"
    assert request.headers["content-type"] == "application/json"
    assert request.bearer == KEY


def test_many_batches_share_one_connection(server: Resend) -> None:
    client = ResendClient(server.server.url, KEY)
    for number in range(20):
        client.send_batch(f"key-{number}", BODY, 2)
    assert len(server.requests) == 20
    assert len(server.connections) == 1


def test_many_threads_never_mix_their_batches_up(server: Resend) -> None:
    client = ResendClient(server.server.url, KEY)
    server.answer = lambda request: json_answer({"data": [{"id": request.headers["idempotency-key"]}]})
    wrong: list[object] = []

    def work(name: str) -> None:
        for number in range(25):
            key = f"{name}-{number}"
            if client.send_batch(key, json.dumps([key]), 1) != Accepted((key,)):
                wrong.append(key)

    threads = [threading.Thread(target=work, args=(f"t{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
    assert all(request.body == json.dumps([request.headers["idempotency-key"]]).encode() for request in server.requests)


def test_in_permissive_mode_ids_are_told_apart_from_errors(server: Resend) -> None:
    errors = [{"index": 0, "message": "Invalid `to`: ä@example.edu"}]
    server.answer = lambda request: json_answer({"data": [{"id": "only"}], "errors": errors})
    assert server.send() == Accepted((None, "only"), (RowError(0, "Invalid `to`: <address>"),))


@pytest.mark.parametrize(
    "answer",
    [
        {"data": []},
        {"data": [{"id": "1"}]},
        {"data": [{"id": "1"}, {"id": "2"}, {"id": "3"}]},
        {"data": [{"id": "1"}], "errors": [{"index": 7, "message": "x"}]},
        {"data": [{"id": "1"}], "errors": [{"index": "x"}]},
        {"data": "yes"},
        {"data": None},
        {},
        [],
        "yes",
        7,
        None,
    ],
)
def test_an_answer_that_does_not_fit_is_an_unknown_outcome(server: Resend, answer: Any) -> None:
    server.answer = lambda request: json_answer(answer)
    assert isinstance(server.send(), Unknown)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, b"<html>hello</html>", "text/html"),
        Answer(200, b"{broken", "application/json"),
        Answer(200, b"", "application/json"),
        Answer(200, b"\xff\xfe", "application/json"),
        Answer(302, b"", "text/html", {"Location": "https://elsewhere.example/"}),
        Answer(307, b"{}", "application/json", {"Location": "https://elsewhere.example/"}),
        Answer(502, b"<html>Bad Gateway</html>", "text/html"),
        Answer(500, b"", "text/plain"),
        Answer(cut=True),
        Answer(200, b" " * 2_000_000 + b"{}", "application/json"),
    ],
)
def test_nonsense_redirects_and_failures_are_unknown_outcomes(server: Resend, answer: Answer) -> None:
    server.answer = lambda request: answer
    outcome = server.send()
    assert isinstance(outcome, Unknown)
    assert not outcome.busy
    assert len(server.requests) == 1  # neither followed nor repeated


def test_a_timeout_is_an_unknown_outcome(server: Resend) -> None:
    release = threading.Event()
    server.answer = lambda request: (release.wait(10), json_answer({}))[1]
    assert server.send(seconds=0.2) == Unknown("Resend: no answer within 0.2 s")
    release.set()


def test_a_refused_connection_is_certain() -> None:
    outcome = ResendClient(f"http://127.0.0.1:{free_port()}", KEY).send_batch("key", BODY, 2)
    assert outcome == Unreachable("Resend: cannot be reached")


def test_a_host_that_does_not_exist_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nobody)
    outcome = ResendClient("http://resend.example", KEY).send_batch("key", BODY, 2)
    assert outcome == Unreachable("Resend: cannot be reached")


@pytest.mark.parametrize(
    ("status", "name", "kind"),
    [
        (400, "validation_error", Invalid),
        (422, "validation_error", Invalid),
        (422, "missing_required_field", Invalid),
        (413, "application_error", Invalid),
        (451, "security_error", Invalid),
        (400, "invalid_idempotency_key", Parked),
        (422, "invalid_from_address", Parked),
        (401, "missing_api_key", Parked),
        (401, "restricted_api_key", Parked),
        (403, "invalid_api_key", Parked),
        (403, "validation_error", Parked),
        (404, "not_found", Parked),
        (405, "method_not_allowed", Parked),
        (408, "request_timeout", Unreachable),
        (429, "daily_quota_exceeded", Parked),
        (429, "monthly_quota_exceeded", Parked),
        (429, "rate_limit_exceeded", RateLimited),
        (429, "a_name_from_the_future", RateLimited),
        (409, "invalid_idempotent_request", Unknown),
        (409, "concurrent_idempotent_requests", Unknown),
        (500, "application_error", Unknown),
        (500, "internal_server_error", Unknown),
        (503, "service_unavailable", Unknown),
    ],
)
def test_what_an_error_means(server: Resend, status: int, name: str, kind: type) -> None:
    outcome = server.refuse(status, name)
    assert type(outcome) is kind
    assert isinstance(outcome, Unknown) is (status == 409 or status >= 500)
    if isinstance(outcome, Unknown):
        assert outcome.busy is (status == 409)


def test_an_error_page_instead_of_json_is_judged_by_its_status(server: Resend) -> None:
    server.answer = lambda request: Answer(403, b"<html>blocked</html>", "text/html")
    assert isinstance(server.send(), Parked)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": "2.5"}, 2.5),
        ({"ratelimit-reset": "3"}, 3.0),
        ({"retry-after": "Tue, 03 Mar 2026 17:00:09 GMT", "Date": "Tue, 03 Mar 2026 17:00:00 GMT"}, 9.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "-5"}, 0.1),
        ({"retry-after": "nan"}, 1.0),
        ({"retry-after": "9999999"}, 600.0),
        ({}, 1.0),
    ],
)
def test_a_rate_limit_says_how_long(server: Resend, headers: dict[str, str], wait: float) -> None:
    outcome = server.refuse(429, "rate_limit_exceeded", headers=headers)
    assert isinstance(outcome, RateLimited)
    assert outcome.wait_seconds == wait


def test_rate_limits_in_a_row_wait_ever_longer_whatever_they_ask_for_until_one_is_accepted(server: Resend) -> None:
    client = ResendClient(server.server.url, KEY)
    limit = {"statusCode": 429, "name": "rate_limit_exceeded", "message": "no"}
    refused = lambda request: json_answer(limit, 429, {"retry-after": "0"})  # noqa: E731 - said twice
    accepted, server.answer = server.answer, refused
    waits = [
        outcome.wait_seconds for _ in range(15) if isinstance(outcome := client.send_batch("k", BODY, 2), RateLimited)
    ]
    assert waits[:6] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2]
    assert waits[-1] == 600
    server.answer = accepted
    assert isinstance(client.send_batch("k", BODY, 2), Accepted)
    server.answer = refused
    again = client.send_batch("k", BODY, 2)
    assert isinstance(again, RateLimited)
    assert again.wait_seconds == 0.1


def test_a_quota_is_not_asked_again_within_the_second(server: Resend) -> None:
    outcome = server.refuse(429, "daily_quota_exceeded", headers={"retry-after": "1", "ratelimit-reset": "1"})
    assert isinstance(outcome, Parked)
    assert outcome.wait_seconds == 3600


def test_a_rate_that_is_used_up_is_told_with_the_acceptance(server: Resend) -> None:
    headers = {"RateLimit-Remaining": "0", "RateLimit-Reset": "2"}
    server.answer = lambda request: json_answer({"data": [{"id": "1"}, {"id": "2"}]}, 200, headers)
    assert server.send() == Accepted(("1", "2"), wait_seconds=2.0)


def test_neither_key_nor_address_is_in_any_error(server: Resend) -> None:
    outcome = server.refuse(
        422, "validation_error", f"Bad: <b@example.edu>, 'ä@example.edu' with\r\n{KEY} " + "x" * 999
    )
    assert isinstance(outcome, Invalid)
    assert KEY not in outcome.error
    assert "@" not in outcome.error
    assert "\n" not in outcome.error
    assert len(outcome.error) <= 300


def test_the_environment_decides_nothing(server: Resend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(resend, "api_key", "somebody else's")
    monkeypatch.setattr(resend, "api_url", "http://somewhere.else.invalid")
    assert isinstance(server.send(), Accepted)
    assert server.requests[0].bearer == KEY
