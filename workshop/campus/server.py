"""The campus over HTTP: the scraper's contract (docs/architecture.md), the catalog's own interface (`asu`), and
`/control/` for whoever plays with it.

`POST /scrape` with a bearer token and `{sectionNumber, term}`:

| case | answer |
|---|---|
| found | 200 `{success: true, data}` |
| not found | 500 `{success: false, error: "Section N not found for term T"}`, as the real one does |
| wrong format | 400 |
| wrong token | 401 |
| anything a fault asks for | 200 to 500, late, cut, or nonsense |
"""

from __future__ import annotations

import hmac
import json
import re
import threading
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import requests

from workshop.campus.asu import PATH as CATALOG_PATH
from workshop.campus.asu import AsuCatalog
from workshop.campus.calls import Calls
from workshop.campus.campus import Campus
from workshop.parts.faults import Fault, Faults, Kinds
from workshop.parts.web import Answer, BadRequest, Request, json_answer, page_answer

_NONSENSE: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "html": lambda _: Answer(200, b"<html><body>Just a moment...</body></html>", "text/html"),
    "broken": lambda _: Answer(200, b'{"success": true, "data": {"subject": "CS'),
    "empty": lambda _: Answer(200, b""),
    "list": lambda _: json_answer([]),
    "no_data": lambda _: json_answer({"success": True}),
    "bare": lambda _: json_answer({"success": True, "data": {}}),
    "types": lambda data: json_answer({"success": True, "data": {**data, "subject": 7, "seats_available": "many"}}),
    "negative": lambda data: json_answer({"success": True, "data": {**data, "seats_available": -1}}),
    "too_many": lambda data: json_answer({"success": True, "data": {**data, "seats_available": 10**9}}),
    "huge": lambda data: json_answer({"success": True, "data": {**data, "title": "x" * 8_000_000}}),
}
FAULTS: Kinds = {
    "error": {"status": 500},
    "refuse": {"message": "Page did not load"},
    "hang": {"seconds": 120.0},
    "nonsense": {"shape": tuple(_NONSENSE)},
    "rate_limit": {"retry_after": 60},
    "not_found": {"status": 500},
    "token": {"status": 401},
    "bad_request": {},
    "cut": {},
    "redirect": {"location": "/scrape"},
}


class CampusApp:
    """Answers the requests of one campus."""

    def __init__(self, campus: Campus, token: str, desk: str | None = None) -> None:
        """`token` is what the scraper's callers must show; `desk` is where the page's questions to the product go."""
        self.campus, self._desk = campus, desk
        self.faults = Faults(FAULTS)
        self.latency_ms = 0
        self._token = token
        self._stopping = threading.Event()
        self._calls = Calls(campus.clock.now_ms)
        self.catalog = AsuCatalog(campus, self._calls, self._stopping.wait)
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", "/scrape"): self._scrape,
            ("GET", CATALOG_PATH): self._search,
            ("GET", "/control/calls"): self._told_calls,
            ("GET", "/health"): lambda _: json_answer({"status": "ok"}),
            ("GET", "/status"): self._status,
            ("GET", "/control/clock"): self._clock,
            ("POST", "/control/clock"): self._clock,
            ("POST", "/control/latency"): self._set_latency,
            ("GET", "/control/sections"): self._sections,
            ("GET", "/control/section"): self._section,
            ("POST", "/control/section"): self._section,
            ("GET", "/"): lambda _: page_answer(files(__package__).joinpath("page.html").read_text()),
        }

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path == "/control/faults":
            return self.faults.answer(request)
        if request.path == "/control/catalog/faults":
            return self.catalog.faults.answer(request)
        if self._desk and request.path.startswith("/desk/"):
            return self._ask_desk(self._desk, request)
        route = self._routes.get((request.method, request.path))
        return route(request) if route else json_answer({"success": False, "error": "Not found"}, 404)

    def stop(self) -> None:
        """Let nobody hang any longer."""
        self._stopping.set()

    def _scrape(self, request: Request) -> Answer:
        if not hmac.compare_digest((request.bearer or "").encode(), self._token.encode()):
            return _failed("Unauthorized", 401)
        wanted = _wanted(request.body)
        if wanted is None:
            return _failed("Invalid section number or term format", 400)
        class_nbr, term = wanted
        with self._calls.note("scraper", request.headers.get("user-agent", ""), term=term, class_nbr=class_nbr):
            self._stopping.wait(self.latency_ms / 1000)
            fault = self.faults.take({class_nbr})
            if fault:
                return self._misbehave(fault, class_nbr, term)
            data = self.campus.look_up(class_nbr, term)
            return _not_found(class_nbr, term, 500) if data is None else json_answer({"success": True, "data": data})

    def _misbehave(self, fault: Fault, class_nbr: str, term: str) -> Answer:
        options = fault.options
        if fault.kind == "nonsense":
            return _NONSENSE[options["shape"]](self.campus.look_up(class_nbr, term) or {})
        if fault.kind == "not_found":
            return _not_found(class_nbr, term, options["status"])
        if fault.kind == "refuse":
            return _failed(options["message"], 200)
        if fault.kind == "rate_limit":
            return json_answer({"error": "Too many requests"}, 429, {"Retry-After": str(options["retry_after"])})
        if fault.kind == "redirect":
            return Answer(302, headers={"Location": options["location"]})
        if fault.kind == "hang":
            self._stopping.wait(options["seconds"])
        if fault.kind in ("hang", "cut"):
            return Answer(cut=True)
        if fault.kind == "bad_request":
            return _failed("Invalid section number format", 400)
        message = "Unauthorized" if fault.kind == "token" else "Navigation timeout exceeded"
        return _failed(message, options["status"])

    def _search(self, request: Request) -> Answer:
        self._stopping.wait(self.latency_ms / 1000)
        return self.catalog(request)

    def _told_calls(self, request: Request) -> Answer:
        after = request.query.get("after", "0")
        if not (after.isascii() and after.isdigit()):
            raise BadRequest("after must be the number of a call")
        return json_answer(self._calls.as_json(int(after)))

    def _ask_desk(self, desk: str, request: Request) -> Answer:
        """Hand a question of our page on: a page may only talk with the server that it came from."""
        with requests.Session() as http:
            http.trust_env = False
            try:
                answer = http.request(request.method, desk + request.path, data=request.body, timeout=120)
            except requests.RequestException:
                return json_answer({"error": "the desk does not answer"}, 502)
        return Answer(answer.status_code, answer.content)

    def _status(self, _: Request) -> Answer:
        return json_answer(
            {
                "status": "ok",
                "lookups": self.campus.lookups.total(),
                "faults": self.faults.as_json(),
            }
        )

    def _clock(self, request: Request) -> Answer:
        clock = self.campus.clock
        if request.method == "POST":
            fields = request.fields()
            now_ms, rate = fields.get("now_ms", clock.now_ms()), fields.get("rate", clock.rate)
            if type(now_ms) is not int or now_ms < 0:
                raise BadRequest("now_ms must be epoch milliseconds")
            if type(rate) not in (int, float) or not 0 <= rate <= 100_000:
                raise BadRequest("rate must be a number from 0 to 100000")
            clock.set(now_ms, rate)
        return json_answer({"now_ms": clock.now_ms(), "rate": clock.rate})

    def _set_latency(self, request: Request) -> Answer:
        latency = request.fields().get("ms")
        if type(latency) is not int or not 0 <= latency <= 600_000:
            raise BadRequest("ms must be a whole number from 0 to 600000")
        self.latency_ms = latency
        return json_answer({"ms": latency})

    def _sections(self, _: Request) -> Answer:
        clock = self.campus.clock
        head: dict[str, Any] = {
            "term": self.campus.term,
            "now_ms": clock.now_ms(),
            "rate": clock.rate,
            "latency_ms": self.latency_ms,
        }
        head |= {"desk": self._desk, "asked": self._calls.asked}
        return json_answer({**head, "sections": self.campus.sections_json()})

    def _section(self, request: Request) -> Answer:
        fields = dict(request.fields() if request.method == "POST" else request.query)
        class_nbr = str(fields.pop("class_nbr", ""))
        if request.method == "POST":
            self.campus.set_by_hand(class_nbr, fields)
        return json_answer(self.campus.section_json(class_nbr))


def _wanted(body: bytes) -> tuple[str, str] | None:
    """(class_nbr, term) of a well-formed scrape request."""
    try:
        value = json.loads(body)
    except ValueError:
        return None
    class_nbr, term = (value.get("sectionNumber"), value.get("term")) if isinstance(value, dict) else (None, None)
    if not isinstance(class_nbr, str) or not isinstance(term, str):
        return None
    if not re.fullmatch(r"[0-9]{5}", class_nbr) or not re.fullmatch(r"[0-9]{4}", term):
        return None
    return class_nbr, term


def _failed(message: str, status: int) -> Answer:
    return json_answer({"success": False, "error": message}, status)


def _not_found(class_nbr: str, term: str, status: int) -> Answer:
    return _failed(f"Section {class_nbr} not found for term {term}", status)
