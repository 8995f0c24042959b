"""The same campus as the university's catalog tells it: `GET …/search/classes`, by subject or by number alone.

| case | answer |
|---|---|
| found | 200 `{classes, aggregations, scrollId, total}`, at most 200 rows; more with `scrollId` until none is left |
| nothing found | 200 with `classes: []` |
| not exactly `Authorization: Bearer null` | 401 |
| a scroll that is over or unknown | 404 |
| anything a fault asks for | 200 to 500, empty, cut, torn, or a challenge page |
"""

from __future__ import annotations

import base64
import secrets
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from workshop.campus.asu_rows import make_row, place_of
from workshop.campus.calls import Calls
from workshop.campus.campus import Campus
from workshop.parts.faults import Fault, Faults, Kinds
from workshop.parts.web import Answer, BadRequest, Request, json_answer

BASE = "/catalog-microservices/api/v1"
PATH = f"{BASE}/search/classes"
PAGE = 200
_HOUR_MS = 3_600_000
_CHALLENGE = b"<!doctype html><title>Just a moment...</title><body>Checking your browser before you proceed.</body>"
_MOST_SCROLLS = 500
_NOTED = {"term": "term", "subject": "subject", "class_nbr": "classNbr", "scroll": "scrollId"}

_CALLS: Kinds = {
    "error": {"status": 500},
    "empty": {},
    "challenge": {},
    "refuse": {"status": (403, 401)},
    "rate_limit": {"retry_after": 60},
    "hang": {"seconds": 120.0},
    "cut": {},
    "broken": {},
    "page_lost": {},
    "same_scroll": {},
    "total": {"shape": ("more", "fewer")},
}
_ROWS: Kinds = {
    "no_seats": {},
    "strange_seats": {},
    "no_number": {},
    "unnamed": {},
    "cancelled": {"status": ("X", "S", "T")},
    "lag": {"minutes": 60},
}
FAULTS: Kinds = {**_CALLS, **_ROWS, "unlisted": {}}
"""The first ones spoil an answer (`match`: a subject, or a section in it); those of rows spoil the rows that they
match; what is unlisted is missing from searches by subject, and still there by its number."""


@dataclass(frozen=True, slots=True)
class _Search:
    """What a search found, and how far its caller has read."""

    numbers: tuple[str, ...]
    position: int = 0

    def page(self) -> tuple[str, ...]:
        return self.numbers[self.position : self.position + PAGE]

    def next(self) -> _Search:
        return replace(self, position=self.position + PAGE)


class AsuCatalog:
    """Answers searches over one campus. For any thread."""

    def __init__(self, campus: Campus, calls: Calls, wait: Callable[[float], object]) -> None:
        """`calls` notes every call; `wait` lets seconds pass, or fewer when the campus stops."""
        self.faults = Faults(FAULTS)
        self._campus, self._calls, self._wait = campus, calls, wait
        self._scrolls: OrderedDict[str, _Search] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Answer:
        """Answer one search."""
        words = {name: request.query.get(key, "") for name, key in _NOTED.items()}
        with self._calls.note("asu", request.headers.get("user-agent", ""), **words):
            return self._search(request)

    def _search(self, request: Request) -> Answer:
        if request.headers.get("authorization") != "Bearer null":
            return json_answer({"message": "Unauthorized"}, 401)
        asked = request.query
        if not asked.get("term"):
            raise BadRequest("a search needs a term")
        scroll = asked.get("scrollId")
        search = self._scrolls.get(scroll) if scroll else self._begin(asked)
        if search is None:
            return json_answer({"message": "No search context found"}, 404)
        names = {asked.get("subject", ""), asked.get("classNbr", ""), *search.page()} - {""}
        fault = self.faults.take(names, _CALLS)
        if fault and (spoiled := self._spoil(fault)):
            return spoiled
        if fault and fault.kind == "page_lost":
            search = search.next()
        spoiler = self.faults.take(names, _ROWS)
        rows = [self._row(number, asked["term"], spoiler) for number in search.page()]
        stuck = fault and fault.kind == "same_scroll"
        follow = scroll if scroll and (stuck or not rows) else self._remember(search.next())
        return json_answer(
            {
                "classes": rows,
                "aggregations": self._count(search),
                "scrollId": follow,
                "total": {"value": _total(len(search.numbers), fault), "relation": "eq"},
            }
        )

    def _begin(self, asked: Any) -> _Search:
        """The sections that answer a new search: what the index holds at this moment, for all its pages."""
        found = self._campus.find(
            asked["term"],
            class_nbr=asked.get("classNbr", ""),
            subject=asked.get("subject", ""),
            catalog_nbr=asked.get("catalogNbr", ""),
        )
        places = {"C": ("TEMPE",), "O": ("ASUONLINE",)}.get(asked.get("campusOrOnlineSelection", "A"))
        if places:
            found = [number for number in found if place_of(self._campus.show(number)[0]) in places]
        subject = asked.get("subject", "")
        unlisted = self.faults.take({subject, *found}, {"unlisted"}) if subject else None
        if unlisted:
            found = [number for number in found if unlisted.match not in (None, number, subject)]
        return _Search(tuple(found))

    def _remember(self, search: _Search) -> str:
        """A scroll id under which `search` goes on."""
        name = base64.b64encode(b"include_context_uuid" + secrets.token_bytes(24)).decode()
        with self._lock:
            self._scrolls[name] = search
            while len(self._scrolls) > _MOST_SCROLLS:
                self._scrolls.popitem(last=False)
        return name

    def _row(self, number: str, term: str, spoiler: Fault | None) -> dict[str, Any]:
        """The row of a section, spoiled when the order speaks of it, of its subject, or of everybody."""
        course, live = self._campus.show(number)
        fault = spoiler if spoiler and spoiler.match in (None, number, course.subject) else Fault("")
        index, now_ms = live, self._campus.clock.now_ms()
        loaded_ms = now_ms // _HOUR_MS * _HOUR_MS
        if fault.kind == "lag":
            lag_ms = fault.options["minutes"] * 60_000
            index, loaded_ms = self._campus.show(number, lag_ms)[1], now_ms - lag_ms
        if fault.kind == "unnamed":
            index = replace(index, instructor=None)
        row = make_row(term, number, course, live, index, loaded_ms)
        clas = row["CLAS"]
        if fault.kind == "cancelled":
            clas["CLASSSTAT"] = fault.options["status"]
        elif fault.kind == "no_number":
            clas["CLASSNBR"] = clas["id"] = None
        elif fault.kind == "no_seats":
            row.pop("seatInfo", None)
            clas["ENRLTOT"] = clas["ENRLCAP"] = ""
        elif fault.kind == "strange_seats":
            row["seatInfo"], clas["ENRLTOT"] = {"ENRL_CAP": "many", "ENRL_TOT": None}, "some"
        return row

    def _count(self, search: _Search) -> dict[str, dict[str, int]]:
        places = Counter(place_of(self._campus.show(number)[0]) for number in search.numbers)
        return {"LOCATION": dict(places), "COLLEGE": {"AS": len(search.numbers)} if search.numbers else {}}

    def _spoil(self, fault: Fault) -> Answer | None:
        """The answer of a fault that leaves no rows."""
        kind, options = fault.kind, fault.options
        if kind == "hang":
            self._wait(options["seconds"])
        if kind in ("hang", "cut"):
            return Answer(cut=True)
        if kind == "rate_limit":
            return json_answer({"message": "Too many requests"}, 429, {"Retry-After": str(options["retry_after"])})
        answers = {
            "empty": lambda: Answer(200, b""),
            "challenge": lambda: Answer(200, _CHALLENGE, "text/html"),
            "broken": lambda: Answer(200, b'{"classes": [{"CLAS": {"STRM": "22'),
            "refuse": lambda: json_answer({"message": "Forbidden"}, options["status"]),
            "error": lambda: json_answer({"message": "Internal server error"}, options["status"]),
        }
        return answers[kind]() if kind in answers else None


def _total(found: int, fault: Fault | None) -> int:
    if fault is None or fault.kind != "total":
        return found
    return found + 3 if fault.options["shape"] == "more" else max(0, found - 3)
