"""The campus over HTTP: every row of the scraper's contract, every fault, the controls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from shared.sections.section import Section
from shared.source.answers import Broken, Found, NotFound, Refused, Throttled
from shared.source.scraper import Scraper
from workshop.campus.campus import Campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Course, Timeline, Values
from workshop.campus.server import FAULTS, CampusApp
from workshop.parts.web import Server

TERM, TOKEN = "2267", "a-token"
HERE = Section(TERM, "12340")


class Site:
    """A running campus and a caller of it."""

    def __init__(self, server: Server, app: CampusApp) -> None:
        self.app, self.url = app, server.url
        self.http = requests.Session()
        self.http.trust_env = False

    def scrape(self, body: Any = None, token: str | None = TOKEN) -> requests.Response:
        body = {"sectionNumber": "12340", "term": TERM} if body is None else body
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.http.post(self.url + "/scrape", json=body, headers=headers, timeout=10, allow_redirects=False)

    def control(self, path: str, body: Any = None, method: str | None = None, status: int = 200) -> Any:
        method = method or ("POST" if body is not None else "GET")
        answer = self.http.request(method, f"{self.url}/control/{path}", json=body, timeout=10)
        assert answer.status_code == status, answer.text
        return answer.json()


@pytest.fixture
def site() -> Iterator[Site]:
    course = Course("CSE", "110", "Principles of Programming", "Coor Hall 170", "M W 9:00 AM - 10:15 AM")
    timelines = [
        Timeline("12340", course, [(1000, Values("Staff", 0, 30)), (2000, Values("Ada", 3, 30, 1))]),
        Timeline("12341", course, [(1000, Values(None, None, 30))]),
    ]
    app = CampusApp(Campus(TERM, timelines, VirtualClock(1000)), TOKEN)
    with Server(app) as server:
        site = Site(server, app)
        yield site
        site.http.close()
        app.stop()


def test_a_section_is_answered_with_its_values_of_this_moment(site: Site) -> None:
    answer = site.scrape()
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {
        "success": True,
        "data": {
            "subject": "CSE",
            "catalog_nbr": "110",
            "title": "Principles of Programming",
            "location": "Coor Hall 170",
            "meeting_times": "M W 9:00 AM - 10:15 AM",
            "instructor": "Staff",
            "seats_available": 0,
            "seats_capacity": 30,
            "non_reserved_seats": None,
        },
    }
    assert site.control("clock", {"now_ms": 2000}) == {"now_ms": 2000, "rate": 0}
    later = site.scrape().json()["data"]
    assert (later["instructor"], later["seats_available"], later["non_reserved_seats"]) == ("Ada", 3, 1)


def test_an_unknown_seat_count_is_left_out(site: Site) -> None:
    data = site.scrape({"sectionNumber": "12341", "term": TERM}).json()["data"]
    assert "seats_available" not in data
    assert data["instructor"] is None


@pytest.mark.parametrize("body", [{"sectionNumber": "99999", "term": TERM}, {"sectionNumber": "12340", "term": "2261"}])
def test_a_section_that_is_not_there_is_answered_with_500_as_the_real_one_does(site: Site, body: Any) -> None:
    answer = site.scrape(body)
    assert answer.status_code == 500
    assert answer.json() == {
        "success": False,
        "error": f"Section {body['sectionNumber']} not found for term {body['term']}",
    }


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        "12340",
        {"sectionNumber": "1234", "term": TERM},
        {"sectionNumber": 12340, "term": TERM},
        {"sectionNumber": "12340", "term": "22677"},
        {"sectionNumber": "12340"},
    ],
)
def test_a_malformed_request_is_a_400(site: Site, body: Any) -> None:
    answer = site.scrape(body)
    assert answer.status_code == 400
    assert answer.json()["success"] is False


def test_a_body_that_is_not_json_is_a_400(site: Site) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert site.http.post(site.url + "/scrape", data=b"{", headers=headers, timeout=10).status_code == 400


@pytest.mark.parametrize("token", [None, "another", "ä"])
def test_without_the_token_nothing_is_told(site: Site, token: str | None) -> None:
    headers = {"Authorization": b"Bearer " + token.encode()} if token else {}
    answer = site.http.post(site.url + "/scrape", json={}, headers=headers, timeout=10)
    assert answer.status_code == 401
    assert answer.json() == {"success": False, "error": "Unauthorized"}


def test_status_and_health_answer_anyone(site: Site) -> None:
    site.scrape()
    assert site.http.get(site.url + "/health", timeout=10).json() == {"status": "ok"}
    status = site.http.get(site.url + "/status", timeout=10).json()
    assert (status["status"], status["lookups"]) == ("ok", 1)
    assert site.http.get(site.url + "/elsewhere", timeout=10).status_code == 404


def test_the_page_needs_nothing_from_elsewhere(site: Site) -> None:
    page = site.http.get(site.url + "/", timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http://" not in page.text.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page.text


ANSWERS: list[tuple[dict[str, Any], type]] = [
    ({"kind": "error"}, Broken),
    ({"kind": "error", "status": 503}, Broken),
    ({"kind": "refuse"}, Broken),
    ({"kind": "hang", "seconds": 0.01}, Broken),
    ({"kind": "cut"}, Broken),
    ({"kind": "rate_limit", "retry_after": 7}, Throttled),
    ({"kind": "not_found"}, NotFound),
    ({"kind": "not_found", "status": 200}, NotFound),
    ({"kind": "token"}, Refused),
    ({"kind": "token", "status": 403}, Refused),
    ({"kind": "bad_request"}, Refused),
    ({"kind": "redirect"}, Broken),
    *(
        ({"kind": "nonsense", "shape": shape}, Broken)
        for shape in ("html", "broken", "empty", "list", "no_data", "bare", "types", "huge")
    ),
    ({"kind": "nonsense", "shape": "negative"}, Found),
    ({"kind": "nonsense", "shape": "too_many"}, Found),
]


@pytest.mark.parametrize(("order", "meaning"), ANSWERS, ids=lambda value: str(value))
def test_a_fault_is_understood_by_our_client_and_gone_after_its_calls(
    site: Site, order: dict[str, Any], meaning: type
) -> None:
    site.control("faults", {**order, "count": 1}, status=201)
    scraper = Scraper(site.url, TOKEN)
    answer = scraper.look_up(HERE, timeout=10)
    assert isinstance(answer, meaning), answer
    if isinstance(answer, Throttled):
        assert answer.seconds == 7
    if isinstance(answer, Found):
        # Less than none is certainly none; more than there is room for says nothing.
        assert answer.facts.seats_available == (0 if order.get("shape") == "negative" else None)
    assert isinstance(scraper.look_up(HERE, timeout=10), Found)


def test_every_kind_of_fault_is_tried_above() -> None:
    assert {order["kind"] for order, _ in ANSWERS} == set(FAULTS)


def test_a_fault_of_one_section_leaves_the_others_alone(site: Site) -> None:
    site.control("faults", {"kind": "error", "match": "12341"}, status=201)
    assert site.scrape().status_code == 200
    for _ in range(3):
        assert site.scrape({"sectionNumber": "12341", "term": TERM}).status_code == 500
    assert site.control("faults", method="DELETE") == {"faults": []}
    assert site.scrape({"sectionNumber": "12341", "term": TERM}).status_code == 200


def test_faults_are_carried_out_in_their_order_and_listed(site: Site) -> None:
    site.control("faults", {"kind": "rate_limit", "count": 2}, status=201)
    site.control("faults", {"kind": "error", "count": 1}, status=201)
    assert [fault["kind"] for fault in site.control("faults")["faults"]] == ["rate_limit", "error"]
    assert [site.scrape().status_code for _ in range(4)] == [429, 429, 500, 200]
    site.control("faults", {"kind": "error"}, status=201)
    site.control("faults", {"kind": "cut"}, status=201)
    left = site.control("faults?kind=error", method="DELETE")["faults"]
    assert [fault["kind"] for fault in left] == ["cut"]


@pytest.mark.parametrize(
    ("order", "problem"),
    [
        ({}, "kind must be one of error"),
        ({"kind": "gremlins"}, "kind must be one of error"),
        ({"kind": "error", "count": 0}, "count"),
        ({"kind": "error", "count": True}, "count"),
        ({"kind": "error", "match": 12340}, "match"),
        ({"kind": "error", "status": "500"}, "status must be a int"),
        ({"kind": "hang", "seconds": -1}, "seconds"),
        ({"kind": "cut", "seconds": 1}, "cut has no option seconds"),
        ({"kind": "nonsense", "shape": "poetry"}, "shape must be one of html"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(site: Site, order: dict[str, Any], problem: str) -> None:
    assert problem in site.control("faults", order, status=400)["error"]
    assert site.control("faults") == {"faults": []}


def test_a_hanging_call_ends_when_the_campus_stops(site: Site) -> None:
    site.control("faults", {"kind": "hang", "seconds": 3600}, status=201)
    answers: list[Any] = []
    caller = threading.Thread(target=lambda: answers.append(Scraper(site.url, TOKEN).look_up(HERE, timeout=60)))
    caller.start()
    while not site.app.faults.as_json() or caller.is_alive() is False:
        pass
    site.app.stop()
    caller.join(10)
    assert isinstance(answers[0], Broken)


def test_latency_is_added_to_every_answer(site: Site) -> None:
    assert site.control("latency", {"ms": 30}) == {"ms": 30}
    assert site.scrape().elapsed.total_seconds() >= 0.03
    assert "ms must be" in site.control("latency", {"ms": -1}, status=400)["error"]


@pytest.mark.parametrize("body", [{"now_ms": "soon"}, {"now_ms": -1}, {"rate": -1}, {"rate": "fast"}, {"now_ms": True}])
def test_a_clock_that_cannot_be_is_refused(site: Site, body: Any) -> None:
    site.control("clock", body, status=400)
    assert site.control("clock")["now_ms"] == 1000


def test_a_section_can_be_opened_filled_named_and_reset_by_hand(site: Site) -> None:
    shown = site.control("section", {"class_nbr": "12340", "seats_available": 2, "instructor": "Ada Lovelace"})
    assert (shown["seats_available"], shown["instructor"], shown["by_hand"]) == (2, "Ada Lovelace", True)
    site.control("clock", {"now_ms": 2000})
    data = site.scrape().json()["data"]
    # What the timeline says of unreserved seats belongs to another number of seats.
    assert (data["seats_available"], data["non_reserved_seats"]) == (2, None)
    site.control("section", {"class_nbr": "12340", "seats_available": 0, "instructor": None})
    assert site.scrape().json()["data"]["seats_available"] == 0
    assert site.control("section", {"class_nbr": "12340", "reset": True})["seats_available"] == 3


def test_a_section_can_be_forgotten_and_brought_back(site: Site) -> None:
    assert site.control("section", {"class_nbr": "12340", "missing": True})["missing"] is True
    assert site.scrape().status_code == 500
    site.control("section", {"class_nbr": "12340", "missing": False})
    assert site.scrape().status_code == 200


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"class_nbr": "99999"}, "no section '99999'"),
        ({"class_nbr": "12340", "seats_available": "two"}, "seats_available must be a int"),
        ({"class_nbr": "12340", "colour": 1}, "colour cannot be set"),
        ([], "JSON object"),
    ],
)
def test_a_change_by_hand_that_makes_no_sense_is_refused(site: Site, body: Any, problem: str) -> None:
    assert problem in site.control("section", body, status=400)["error"]


def test_the_sections_are_listed_with_how_often_they_were_asked_for(site: Site) -> None:
    site.scrape()
    site.scrape()
    shown = site.control("sections")
    assert (shown["term"], shown["now_ms"]) == (TERM, 1000)
    assert [(one["class_nbr"], one["lookups"]) for one in shown["sections"]] == [("12340", 2), ("12341", 0)]
    assert site.control("section?class_nbr=12340")["lookups"] == 2


def test_a_body_of_unknown_or_excessive_size_is_refused(site: Site) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert site.http.post(site.url + "/scrape", data=iter([b"{}"]), headers=headers, timeout=10).status_code == 411
    huge = {**headers, "Content-Length": str(10**9)}
    request = requests.Request("POST", site.url + "/scrape", headers=huge).prepare()
    request.headers["Content-Length"] = str(10**9)
    assert site.http.send(request, timeout=10).status_code == 413


def test_a_connection_is_kept_over_many_calls(site: Site) -> None:
    ports = set()
    for _ in range(3):
        with site.http.get(site.url + "/health", stream=True, timeout=10) as answer:
            ports.add(answer.raw.connection.sock.getsockname()[1])
            answer.content  # noqa: B018 - read to the end, so that the connection can be kept
    assert len(ports) == 1
