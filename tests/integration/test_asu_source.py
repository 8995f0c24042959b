"""Asking ASU's catalog: pages, the header, limits, and what each way of going wrong means."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.sections.section import Section
from shared.source.answers import (
    Broken,
    Found,
    Gone,
    Listing,
    ListingAnswer,
    NotFound,
    Reading,
    Refused,
    Throttled,
    Unreadable,
)
from shared.source.asu import Asu
from shared.source.turns import NoTurnError
from tests.support.asu import CAPTURED, row

HERE = Section("2267", "12431")
CSE = Listing("2267", "CSE")
Reply = tuple[int, dict[str, str], bytes]


class Catalog:
    """Answers as it is told to, one reply a call; the last one again and again. Keeps what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []

    def will(self, *replies: Reply) -> None:
        self.replies, self.asked = list(replies), []

    def answer(self, path: str, headers: dict[str, str]) -> Reply:
        parts = urlsplit(path)
        self.asked.append((parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}, headers))
        if headers.get("Authorization") != "Bearer null":
            return 401, {}, b""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Catalog, str]]:
    catalog = Catalog()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = catalog.answer(self.path, dict(self.headers.items()))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield catalog, f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def catalog(served: tuple[Catalog, str]) -> Catalog:
    return served[0]


@pytest.fixture
def asu(served: tuple[Catalog, str]) -> Asu:
    return Asu(f"{served[1]}/api/v1", "ops@example.edu")


def told(rows: list[Any], total: int | None = None, scroll_id: object = "next", total_is: str = "eq") -> Reply:
    """An answer of the catalog."""
    count = {"value": len(rows) if total is None else total, "relation": total_is}
    answer = {"classes": rows, "aggregations": {}, "scrollId": scroll_id, "total": count}
    return 200, {"Content-Type": "application/json"}, json.dumps(answer).encode()


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [row({"CLASSNBR": f"{number:05}"}) for number in numbers]


def said(status: int, body: str = "", **headers: str) -> Reply:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode()


class TestTheQuestion:
    def test_it_is_asked_with_the_pages_own_word_and_under_the_operators_name(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will(told(rows(12431)))
        assert isinstance(asu.look_up(HERE, 5), Found)
        [(path, query, headers)] = catalog.asked
        assert path == "/api/v1/search/classes"
        assert (query["refine"], query["term"], query["classNbr"]) == ("Y", "2267", "12431")
        assert headers["Authorization"] == "Bearer null"
        assert "ops@example.edu" in headers["User-Agent"]
        assert "gzip" in headers["Accept-Encoding"]
        assert "Cookie" not in headers

    def test_only_its_subject_tells_a_sections_listing(self, asu: Asu) -> None:
        assert asu.listing_of(HERE, "CSE") == CSE
        for unknown in (None, "", "cse", "CSE 110", "C&refine=N", "٣"):
            assert asu.listing_of(HERE, unknown) is None

    def test_a_student_is_led_to_the_catalogs_page(self, asu: Asu) -> None:
        address = urlsplit(asu.page_of(HERE))
        assert (address.scheme, address.hostname) == ("https", "catalog.apps.asu.edu")
        assert (parse_qs(address.query)["keywords"], parse_qs(address.query)["term"]) == (["12431"], ["2267"])

    def test_each_call_waits_for_its_turn_and_none_is_made_without(
        self, served: tuple[Catalog, str], catalog: Catalog
    ) -> None:
        turns: list[str] = []
        patience: list[float] = []

        @contextmanager
        def turn(seconds: float) -> Iterator[None]:
            patience.append(seconds)
            if len(turns) == 4:
                raise NoTurnError(7)
            turns.append("begun")
            yield
            turns.append("ended")

        catalog.will(told(rows(1), 2), told(rows(2), 2))
        asu = Asu(f"{served[1]}/api/v1", "ops@example.edu", turn)
        assert isinstance(asu.read(CSE, 5), Reading)
        assert turns == ["begun", "ended", "begun", "ended"]
        with pytest.raises(NoTurnError):
            asu.look_up(HERE, 5)
        assert len(catalog.asked) == 2
        assert 5 >= patience[0] > patience[1] > 0, "all pages of a look share its time"


class TestOneSection:
    def test_it_is_found_among_others(self, asu: Asu, catalog: Catalog) -> None:
        others = rows(12430, 12431, 12432)
        others[1]["seatInfo"] = {"ENRL_CAP": 9, "ENRL_TOT": 2}
        catalog.will(told(others))
        answer = asu.look_up(HERE, 5)
        assert isinstance(answer, Found)
        assert answer.facts.seats_available == 7

    def test_an_empty_answer_is_not_found(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will(told([]))
        assert asu.look_up(HERE, 5) == NotFound()

    def test_others_alone_are_not_found_when_all_are_told_and_prove_nothing_else(
        self, asu: Asu, catalog: Catalog
    ) -> None:
        catalog.will(told(rows(12430)))
        assert asu.look_up(HERE, 5) == NotFound()
        for uncertain in (told(rows(12430), 200), told([], 1), told([row({"CLASSNBR": None})])):
            catalog.will(uncertain)
            assert isinstance(asu.look_up(HERE, 5), Broken)

    def test_one_that_is_not_active_is_not_found(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will(told([row({"CLASSSTAT": "X"})]))
        assert asu.look_up(HERE, 5) == NotFound()

    def test_one_that_does_not_say_what_it_is_about_is_a_failure(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will(told([row({"SUBJECT": ""})]))
        assert isinstance(asu.look_up(HERE, 5), Broken)


class TestListings:
    def test_all_pages_are_read(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will(told(rows(*range(200)), 450), told(rows(*range(200, 400)), 450), told(rows(*range(400, 450)), 450))
        reading = self._read(asu)
        assert (len(reading.rows), reading.is_complete, reading.calls) == (450, True, 3)
        assert all(isinstance(one, Found) for one in reading.rows.values())
        assert [query.get("scrollId") for _, query, _ in catalog.asked] == [None, "next", "next"]
        assert {query["subject"] for _, query, _ in catalog.asked} == {"CSE"}

    @pytest.mark.skipif(not CAPTURED.is_file(), reason="the captured answer is not at hand")
    def test_a_real_answer_is_read_whole(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will((200, {}, CAPTURED.read_bytes()))
        reading = self._read(asu)
        assert (len(reading.rows), reading.is_complete, reading.calls) == (11, True, 1)
        assert {type(one) for one in reading.rows.values()} == {Found}

    def test_a_packed_answer_is_unpacked(self, asu: Asu, catalog: Catalog) -> None:
        status, headers, body = told(rows(1, 2))
        catalog.will((status, headers | {"Content-Encoding": "gzip"}, gzip.compress(body)))
        assert len(self._read(asu).rows) == 2

    @pytest.mark.parametrize(
        ("pages", "calls"),
        [
            ([told(rows(1, 2), 3), told(rows(1, 2), 3)], 2),  # the same page for ever
            ([told(rows(1, 2), 3), told([], 3)], 2),  # an end before all are told
            ([told(rows(1, 2), 3, scroll_id=None)], 1),
            ([told(rows(1, 2), 3, scroll_id="")], 1),
            ([told(rows(1, 2), scroll_id="next", total_is="gte"), told([])], 2),
        ],
    )
    def test_it_is_complete_only_when_the_total_is_reached(
        self, asu: Asu, catalog: Catalog, pages: list[Reply], calls: int
    ) -> None:
        catalog.will(*pages)
        reading = self._read(asu)
        assert (set(reading.rows), reading.is_complete, reading.calls) == ({"00001", "00002"}, False, calls)

    def test_a_scroll_id_that_stays_the_same_is_followed_while_it_brings_something_new(
        self, asu: Asu, catalog: Catalog
    ) -> None:
        catalog.will(told(rows(1, 2), 4, "same"), told(rows(3), 4, "same"), told(rows(4), 4, "same"))
        assert self._read(asu).is_complete

    def test_pages_that_never_end_are_left_after_a_while(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will(*(told(rows(number), 10**6) for number in range(99)))
        reading = self._read(asu)
        assert not reading.is_complete
        assert reading.calls == len(catalog.asked) == 25

    def test_a_page_that_fails_fails_the_reading(self, asu: Asu, catalog: Catalog) -> None:
        catalog.will(told(rows(1, 2), 4), said(502))
        assert isinstance(asu.read(CSE, 5), Broken)

    def test_gone_and_unreadable_rows_are_told_as_such(self, asu: Asu, catalog: Catalog) -> None:
        mixed = [*rows(1), row({"CLASSNBR": "00002", "CLASSSTAT": "X"}), row({"CLASSNBR": "00003", "SUBJECT": ""})]
        catalog.will(told(mixed))
        read = self._read(asu).rows
        assert (type(read["00001"]), read["00002"], read["00003"]) == (Found, Gone(), Unreadable())

    def test_a_row_without_a_number_leaves_the_reading_incomplete(self, asu: Asu, catalog: Catalog) -> None:
        # It may be any of those that seem to be missing.
        catalog.will(told([*rows(1), row({"CLASSNBR": None})]), told([]))
        assert not self._read(asu).is_complete

    def test_a_row_without_seats_is_no_failure_of_the_look_and_its_seats_are_unknown(
        self, asu: Asu, catalog: Catalog
    ) -> None:
        catalog.will(told([row({"CLASSNBR": "12431", "ENRLTOT": "", "ENRLCAP": "30"}, seatInfo=...)]))
        answer = asu.look_up(HERE, 5)
        assert isinstance(answer, Found)
        assert (answer.facts.seats_available, answer.facts.seats_capacity) == (None, 30)

    @pytest.mark.parametrize(
        ("bad", "good", "is_broken"), [(4, 0, False), (5, 20, True), (5, 21, False), (40, 160, True)]
    )
    def test_many_rows_without_seats_make_the_whole_answer_unbelievable(
        self, asu: Asu, catalog: Catalog, bad: int, good: int, is_broken: bool
    ) -> None:
        spoiled = [row({"CLASSNBR": f"{number:05}"}, seatInfo={"SEATS": 3}) for number in range(bad)]
        catalog.will(told([*spoiled, *rows(*range(bad, bad + good))]))
        assert isinstance(asu.read(CSE, 5), Broken if is_broken else Reading)

    def _read(self, asu: Asu) -> Reading:
        answer: ListingAnswer = asu.read(CSE, 10)
        assert isinstance(answer, Reading), answer
        return answer


WALL = "<!DOCTYPE html><title>Just a moment...</title>"
FAULTS: list[tuple[Reply, type, Callable[[Any], object]]] = [
    (said(401), Refused, lambda answer: answer.token),
    (said(403, WALL), Refused, lambda answer: "address" in answer.reason),
    (said(400, '{"message": "no"}'), Refused, lambda answer: not answer.token),
    (said(400, "<h1>Bad Request</h1>"), Broken, bool),
    (said(404), Broken, bool),
    (said(429, Retry_After="7"), Throttled, lambda answer: answer.seconds == 7),
    (said(429), Throttled, lambda answer: answer.seconds == 60),
    (said(200), Throttled, lambda answer: answer.seconds == 60),
    (said(200, "  \n"), Throttled, bool),
    (said(200, WALL), Throttled, bool),
    (said(200, "{"), Broken, bool),
    (said(200, "[]"), Broken, bool),
    (said(200, "null"), Broken, bool),
    (said(200, '{"status": "ok"}'), Broken, bool),
    (said(200, '{"classes": []}'), Broken, bool),
    (said(200, '{"classes": {}, "total": {"value": 0}}'), Broken, bool),
    (said(200, "[" * 100_000), Broken, bool),
    (said(302, Location="http://127.0.0.1:1/"), Broken, bool),
    (said(500, '{"message": "down"}'), Broken, bool),
    (said(503, WALL), Broken, bool),
    (said(200, "x" * (8 * 1024 * 1024 + 1)), Broken, lambda answer: "too much" in answer.reason),
    (said(200, "no such coding", Content_Encoding="gzip"), Broken, bool),
    (said(200, "cut short", Content_Length="999"), Broken, bool),
]


@pytest.mark.parametrize(
    ("reply", "meaning", "holds"), FAULTS, ids=[f"{status} {body[:20].decode()}" for (status, _, body), *_ in FAULTS]
)
def test_whatever_goes_wrong_has_its_meaning_and_is_never_an_answer(
    asu: Asu, catalog: Catalog, reply: Reply, meaning: type, holds: Callable[[Any], object]
) -> None:
    for ask in (lambda: asu.look_up(HERE, 1), lambda: asu.read(CSE, 1)):
        catalog.will(reply)
        answer = ask()
        assert isinstance(answer, meaning), answer
        assert holds(answer)
        assert len(catalog.asked) == 1  # redirects are not followed, nothing is tried twice


def test_a_catalog_that_is_not_there_is_broken() -> None:
    asu = Asu("http://127.0.0.1:1/api/v1", "ops@example.edu")
    assert asu.look_up(HERE, 1) == Broken("asu cannot be reached", is_reached=False)
