"""`compare http` against sides that answer what a test wants."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote

import pytest

from shared.environment import prefixed
from workshop.compare.findings import Difference, Findings
from workshop.compare.http.case_file import Case
from workshop.compare.http.compare import NothingComparedError, UnreachableError, compare_http, explained
from workshop.compare.http.expected import ABSENT
from workshop.compare.report import render
from workshop.parts.web import Answer, Handler, Request, Server, json_answer

CASE = Case(name="a", method="GET", path="/a")


@contextmanager
def running(*handlers: Handler) -> Iterator[list[str]]:
    """A side for each handler; their addresses."""
    with ExitStack() as open_:
        yield [open_.enter_context(Server(handler)).url for handler in handlers]


def between(old: Handler, new: Handler, *cases: Case, **options: Any) -> Findings:
    with running(old, new) as (one, other):
        return compare_http(one, other, cases or [CASE], options.pop("values", {}), **options)


def of_answers(old: Answer, new: Answer, case: Case = CASE) -> dict[str, tuple[str, str]]:
    """The fields in which two answers differ, with both values."""
    return {one.what: (one.old, one.new) for one in members(between(lambda _: old, lambda _: new, case))}


def of_bodies(old: Any, new: Any, case: Case = CASE) -> dict[str, tuple[str, str]]:
    return of_answers(json_answer(old), json_answer(new), case)


def members(findings: Findings) -> list[Difference]:
    return [one for group in findings.groups for one in group.members]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (True, 1, ("true", "1")),
        (0, False, ("0", "false")),
        (1, "1", ("1", '"1"')),
        (None, "null", ("null", '"null"')),
        ({}, "an object", ("an object", '"an object"')),
        (["a"], [], ("a list of 1", "a list of 0")),
    ],
)
def test_values_of_different_types_differ(old: Any, new: Any, told: tuple[str, str]) -> None:
    assert of_bodies({"x": old}, {"x": new})["body.x"] == told


def test_null_is_not_absent() -> None:
    assert of_bodies({"x": None}, {}) == {"body.x": ("null", "(absent)")}


def test_what_only_the_new_side_has_is_an_addition() -> None:
    findings = between(lambda _: json_answer({}), lambda _: json_answer({"more": 1}))
    assert findings.good
    assert ("Fields that only one side has", "", "1") in findings.figures


def test_the_order_of_a_list_counts_unless_the_case_says_otherwise() -> None:
    old, new = {"x": [{"n": 1}, {"n": 2}]}, {"x": [{"n": 2}, {"n": 1}]}
    assert of_bodies(old, new) == {"body.x.0.n": ("1", "2"), "body.x.1.n": ("2", "1")}
    anyhow = CASE.model_copy(update={"unordered": ("body.x",)})
    assert not of_bodies(old, new, anyhow)
    assert of_bodies(old, {"x": [{"n": 2}, {"n": 3}]}, anyhow)


def test_of_times_durations_and_row_ids_only_the_type_counts() -> None:
    old = {"id": "1", "created_at": "2026-01-01", "latency_ms": 3, "user_id": "me"}
    assert not of_bodies(old, old | {"id": "2", "created_at": "2026-01-02", "latency_ms": 4})
    assert of_bodies(old, old | {"latency_ms": 4.5}) == {"body.latency_ms": ("a whole number", "a number")}
    assert of_bodies(old, old | {"user_id": "you"}) == {"body.user_id": ('"me"', '"you"')}


def test_a_case_says_of_which_fields_nothing_counts_or_only_that_they_are_there() -> None:
    case = CASE.model_copy(update={"ignore": ("body.gone",), "presence": ("body.own",)})
    assert not of_bodies({"gone": 1, "own": {"a": 1}}, {"own": 5}, case)
    assert of_bodies({"own": 1}, {}, case) == {"body.own": ("present", "(absent)")}


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [("Location", "/b", "/c"), ("Allow", "GET", "GET, POST"), ("Retry-After", "5", "Sun, 06 Nov 1994 08:49:37 GMT")],
)
def test_headers_are_compared_by_what_they_say(name: str, old: str, new: str) -> None:
    told = of_answers(json_answer({}, headers={name: old}), json_answer({}, headers={name: new}))
    assert set(told) == {f"header {name.lower()}"}
    assert set(of_answers(json_answer({}, headers={name: old}), json_answer({}))) == {f"header {name.lower()}"}


def test_headers_that_say_the_same_in_other_words_are_equal() -> None:
    def old(request: Request) -> Answer:
        headers = {"Location": f"http://{request.headers['host']}/b", "Allow": "get,POST", "Retry-After": "5"}
        return Answer(200, b"{}", "application/json; charset=utf-8", headers)

    assert not members(
        between(old, lambda _: json_answer({}, 200, {"Location": "/b", "Allow": "POST, GET", "Retry-After": "7"}))
    )


def test_the_kind_of_a_body_and_the_words_of_a_plain_one_count() -> None:
    page, asks = (Answer(200, text, "text/html") for text in (b"<p>", b"<form>"))
    assert of_answers(page, asks) == {"body": ("a page", "a page that asks")}
    assert not of_answers(page, Answer(200, b"<h1>", "text/html"))
    assert of_answers(Answer(200, b"fine", "text/plain"), Answer(200, b"bad", "text/plain"))
    assert set(of_answers(page, json_answer({}))) == {"header content-type", "body"}


def test_a_field_in_which_the_old_side_differs_from_itself_is_noise_and_named() -> None:
    asked: list[str] = []

    def old(request: Request) -> Answer:
        asked.append(request.path)
        return json_answer({"count": len(asked), "kept": 1})

    findings = between(old, lambda _: json_answer({"count": 0, "kept": 2}))
    assert asked == ["/a", "/a"]
    assert [one.what for one in members(findings)] == ["body.kept"]
    assert ("Fields that differ from themselves", "1", "") in findings.figures
    assert "a: body.count of the old side differs from itself." in findings.notes


def test_what_writes_is_asked_once_of_each_side_and_only_with_leave() -> None:
    asked: list[str] = []

    def side(request: Request) -> Answer:
        asked.append(request.path)
        return json_answer({})

    case = Case(name="w", method="POST", path="/w")
    findings = between(side, side, CASE, case)
    assert asked == ["/a"] * 3
    assert findings.notes == ["w was left out: writes, which takes --allow-writes.", "Compared 1 of 2 cases."]
    assert ("Cases", "1 of 2", "1 of 2") in findings.figures
    asked.clear()
    between(side, side, case, allow_writes=True)
    assert asked == ["/w"] * 2


def test_where_nothing_can_be_compared_that_is_said() -> None:
    case = Case(name="w", method="GET", path="/${NAME}")
    with pytest.raises(NothingComparedError, match="w was left out: needs COMPARE_NAME"):
        compare_http("http://127.0.0.1:1", "http://127.0.0.1:1", [case], {})
    with pytest.raises(NothingComparedError):
        compare_http("http://127.0.0.1:1", "http://127.0.0.1:1", [], {})


def test_every_value_of_the_environment_reaches_its_place() -> None:
    values = prefixed("COMPARE_", {"COMPARE_WORD": "a b/c", "COMPARE_EMPTY": "", "OTHER": "x"})
    assert values == {"WORD": "a b/c"}
    seen: list[Request] = []

    def side(request: Request) -> Answer:
        seen.append(request)
        return json_answer({})

    case = Case(name="a", method="POST", path="/${WORD}", headers={"X": "${WORD}"}, body={"w": "${WORD}"}, writes=False)
    between(side, side, case, values=values)
    assert (seen[0].path, seen[0].headers["x"], seen[0].json()) == ("/a b/c", "a b/c", {"w": "a b/c"})


def test_no_cookie_goes_from_one_case_to_the_next() -> None:
    seen: list[str | None] = []

    def side(request: Request) -> Answer:
        seen.append(request.headers.get("cookie"))
        return json_answer({}, headers={"Set-Cookie": "a=b"})

    between(side, side)
    assert seen == [None] * 3


def test_what_a_case_added_is_taken_back_on_the_same_side_and_that_answer_is_compared() -> None:
    kept: dict[str, list[str]] = {"old": [], "new": []}

    def side(name: str, removed: dict[str, Any]) -> Handler:
        def answer(request: Request) -> Answer:
            kept[name].append(f"{request.method} {request.query.get('id', '')}")
            return (
                json_answer(removed) if request.method == "DELETE" else json_answer({"row": {"id": f"{name} 1"}}, 201)
            )

        return answer

    case = Case(name="add", method="POST", path="/rows", undo="/rows?id={row.id}")
    old, new = side("old", {"success": True}), side("new", {"success": False})
    findings = between(old, new, case, allow_writes=True)
    assert kept == {"old": ["POST ", "DELETE old 1"], "new": ["POST ", "DELETE new 1"]}
    assert [one.what for one in members(findings)] == ["undo.body.success"]


def test_what_could_not_be_taken_back_is_told() -> None:
    def side(request: Request) -> Answer:
        return json_answer({}, 500) if request.method == "DELETE" else json_answer({"id": 1}, 201)

    def mute(_: Request) -> Answer:
        return json_answer({"other": 1}, 201)

    case = Case(name="add", method="POST", path="/rows", undo="/rows?id={id}")
    findings = between(side, mute, case, allow_writes=True)
    for name in ("old", "new"):
        assert f"add: what it added on the {name} side could not be taken back." in findings.notes


def hanging(ended: threading.Event) -> Callable[[Request], Answer]:
    def answer(request: Request) -> Answer:
        if request.path == "/hang":
            ended.wait(20)
        return json_answer({"x": 1})

    return answer


def test_an_answer_that_does_not_come_is_told_with_side_and_case_and_the_others_go_on() -> None:
    ended, other = threading.Event(), lambda _: json_answer({"x": 2})
    cases = [Case(name="hang", method="GET", path="/hang"), CASE]
    began = time.monotonic()
    for old, new, column in ((hanging(ended), other, "old"), (other, hanging(ended), "new")):
        ended.clear()
        told = members(between(old, new, *cases, seconds=1.0))
        ended.set()
        assert [(one.where, one.what, one.id) for one in told] == [("hang", "status", None), ("a", "body.x", None)]
        assert getattr(told[0], column) == "no answer (not finished within 1 s)"
    assert time.monotonic() - began < 15


def test_two_sides_that_do_not_answer_are_no_agreement() -> None:
    cut = Answer(cut=True)
    findings = between(lambda _: cut, lambda _: cut)
    assert not findings.good
    assert members(findings)[0].old == members(findings)[0].new == "no answer (ConnectionError)"


@contextmanager
def dripping(head: bytes) -> Iterator[str]:
    """A side that sends a part of its answer and then a byte every tenth of a second."""
    ended, door = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while not ended.is_set():
            try:
                caller, _ = door.accept()
            except OSError:
                return
            with caller:
                caller.sendall(head)
                while not ended.wait(0.1):
                    caller.sendall(b"a")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{door.getsockname()[1]}"
    ended.set()
    door.shutdown(socket.SHUT_RDWR)
    door.close()
    thread.join(5)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
def test_a_side_that_sends_a_byte_now_and_then_is_given_up_in_time(head: bytes) -> None:
    began = time.monotonic()
    with dripping(head) as old, running(lambda _: json_answer({})) as (new,):
        told = members(compare_http(old, new, [CASE], {}, seconds=0.5))
    assert told[0].old == "no answer (not finished within 0.5 s)"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'"' + b"a" * 1_000_000 + b'"', "larger than 1,000,000 bytes"),
        (b"[" * 400_000, "nested too deeply"),
        (json.dumps([0] * 20_000).encode(), "more than 20,000 fields"),
    ],
)
def test_an_answer_beyond_all_bounds_is_none(body: bytes, why: str) -> None:
    findings = between(lambda _: Answer(200, body), lambda _: json_answer({}))
    assert [(one.what, one.old, one.new) for one in members(findings)] == [("status", f"no answer ({why})", "200")]


def test_a_side_that_is_not_there_is_named_at_once() -> None:
    asked: list[str] = []

    def there(request: Request) -> Answer:
        asked.append(request.path)
        return json_answer({})

    with running(there) as (url,):
        with pytest.raises(UnreachableError, match=r"^The old side cannot be reached \(ConnectionError\)\.$"):
            compare_http("http://127.0.0.1:1", url, [CASE, CASE], {})
        with pytest.raises(UnreachableError, match=r"^The new side cannot be reached \(ConnectionError\)\.$"):
            compare_http(url, "http://127.0.0.1:1", [CASE, CASE], {})
    assert len(asked) == 3


def test_no_secret_reaches_a_report_however_a_side_spells_it() -> None:
    secret = 'pass/word+&"é 12'
    spellings = {
        "plain": secret,
        "upper": secret.upper(),
        "quoted": json.dumps(secret),
        "address": f"/?q={quote(secret, safe='')}",
        "coded": base64.b64encode(f"user:{secret}".encode()).decode(),
        "web": base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="),
        "hex": secret.encode().hex(),
        "long": "." * 70 + secret,
    }
    calls = iter(range(9))

    def old(_: Request) -> Answer:
        body = {**spellings, secret: 1, f"{secret} of call {next(calls)}": 1}
        return json_answer(body, headers={"Location": f"/{quote(secret)}"})

    findings = between(old, lambda _: json_answer({}), values={"ANY": secret, "TERM": "2267"})
    assert len(members(findings)) == len(spellings) + 2
    told = [render([findings]), json.dumps(findings.as_json()), str(findings.notes)]
    bare = [one for text in spellings.values() for one in (text, json.dumps(text)[1:-1], text[-17:])]
    bare += ["pass/word", "PASS/WORD", "pass%2Fword", "." * 70 + "p"]
    assert not [one for one in bare if any(one in text for text in told)]
    assert len([one for one in members(findings) if "***" in one.old + one.what]) == len(spellings) + 2
    assert [note for note in findings.notes if "*** of call 0" in note]


def test_section_numbers_are_no_secrets() -> None:
    findings = between(lambda _: json_answer({"x": "2267"}), lambda _: json_answer({"x": 1}), values={"TERM": "2267"})
    assert members(findings)[0].old == '"2267"'


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    told = of_answers(Answer(200, json.dumps({"\x1b[31mx": "\ud800\x1b"}).encode()), json_answer({}))
    assert not [text for one in told.items() for text in (one[0], *one[1]) if "\x1b" in text or "\ud800" in text]


DETAILS = Case(name="fetch-class-details-anonymous", method="POST", path="/api/fetch-class-details", writes=False)
SHOWN = {"subject": "CSE", "catalog_nbr": "110", "title": "T", "instructor_name": None, "seats_available": 1}
SHOWN |= {"seats_capacity": 2, "location": None, "meeting_times": None}


def anonymous(new: Answer) -> Findings:
    return between(lambda _: json_answer(SHOWN), lambda _: new, DETAILS)


def test_the_register_explains_the_very_answer_that_it_expects() -> None:
    findings = anonymous(json_answer({"error": "Unauthorized"}, 401))
    assert {group.id for group in findings.groups} == {"O40"}


@pytest.mark.parametrize(
    ("answer", "unexplained"),
    [
        (json_answer({"error": "x", "stack": "at line 1"}, 500), {"status", "body.error", "body.stack"}),
        (json_answer({"error": "Unauthorized", "stack": "at line 1"}, 401), {"body.stack"}),
        (json_answer({"error": "No"}, 401), {"body.error"}),
        (json_answer({}, 401), {"body.error"}),
        (json_answer({"error": "Unauthorized", "subject": "CSE 111"}, 401), {"body.subject"}),
    ],
)
def test_the_register_explains_no_other_answer(answer: Answer, unexplained: set[str]) -> None:
    findings = anonymous(answer)
    assert {one.what for one in members(findings) if one.id is None} == unexplained
    assert not findings.good


def test_an_expected_difference_that_does_not_appear_is_told_with_its_case() -> None:
    findings = anonymous(json_answer(SHOWN))
    assert "O40 is expected in fetch-class-details-anonymous and did not appear." in findings.notes
    assert not [note for note in findings.notes if note.startswith("O17")]


HEALTHY: dict[str, Any] = {
    "timestamp": "now",
    "status": "healthy",
    "checks": {
        "database": {"status": "healthy", "latency_ms": 1},
        "circuit_breaker": {"status": "healthy", "state": "CLOSED"},
        "configuration": {"status": "healthy"},
        "email": {"status": "healthy", "configured": True},
    },
    "response_time_ms": 1,
}
NOBODY = {"workers": {"status": "unhealthy"}}


def health(name: str, answer: Answer) -> set[str]:
    """The fields of the new side's health that nothing explains."""
    case = Case(name=name, method="GET", path="/api/monitoring/health")
    return {one.what for one in members(between(lambda _: json_answer(HEALTHY), lambda _: answer, case)) if not one.id}


def outline(status: str, code: int, more: dict[str, Any]) -> Answer:
    checks = {name: {"status": check["status"]} for name, check in HEALTHY["checks"].items()}
    return json_answer(HEALTHY | {"status": status, "checks": checks | more}, code)


def test_health_may_tell_the_public_less_and_be_worse_by_what_only_the_new_side_looks_at() -> None:
    assert not health("health-public", outline("healthy", 200, {}))
    assert not health("health-public", outline("unhealthy", 500, NOBODY))
    assert not health("health-public", outline("degraded", 503, {"queue": {"status": "degraded"}}))
    full = HEALTHY["checks"] | {"workers": [{"alive": False}]}
    assert not health("health-operator", json_answer(HEALTHY | {"status": "unhealthy", "checks": full}, 500))


def test_a_health_that_is_worse_for_no_reason_or_says_less_than_it_must_is_not_explained() -> None:
    assert {"status", "body.status", "body.checks"} <= health("health-public", json_answer({}, 500))
    assert health("health-public", outline("unhealthy", 500, {})) == {"status", "body.status"}
    assert health("health-public", outline("unhealthy", 503, NOBODY)) == {"status"}
    assert health("health-public", outline("degraded", 503, NOBODY)) == {"status", "body.status"}
    assert health("health-public", outline("unhealthy", 500, NOBODY | {"email": {}})) == {"body.checks.email.status"}
    blind = {"circuit_breaker": {"status": "unhealthy"}}
    assert not health("health-public", outline("unhealthy", 500, NOBODY | blind))
    assert health("health-public", outline("healthy", 200, blind)) == {"body.checks.circuit_breaker.status"}
    bare = outline("healthy", 200, {})
    lost = {"database.latency_ms", "circuit_breaker.state", "email.configured"}
    assert health("health-operator", bare) == {f"body.checks.{name}" for name in lost}
    alive = HEALTHY["checks"] | {"workers": [{"alive": True}]}
    worse = json_answer(HEALTHY | {"status": "unhealthy", "checks": alive}, 500)
    assert health("health-operator", worse) == {"status", "body.status"}


def test_an_entry_explains_its_own_case_and_field_only() -> None:
    assert explained("unsubscribe-get", "status", 200, 500, {}) is None
    assert explained("fetch-class-details-anonymous", "status", 200, 401, {}) == "O40"
    assert explained("fetch-class-details", "status", 200, 401, {}) is None
    assert explained("fetch-class-details-anonymous", "body.title", ABSENT, ABSENT, {}) is None
