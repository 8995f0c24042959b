"""The campus as the university's catalog tells it: the shape of a real answer, pages, and every fault on demand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from workshop.campus.asu import FAULTS, PATH
from workshop.campus.campus import Campus
from workshop.campus.chance import make_campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Course, Timeline, Values
from workshop.campus.server import CampusApp
from workshop.parts.web import Server

TERM = "2267"
ANONYMOUS = {"Authorization": "Bearer null"}
CAPTURED = Path(__file__).parents[3] / "shared/data/asu-cse310.json"
ONLY_ELSEWHERE = {
    ".classes[].CLAS.INSTRUCTORSLIST": {"NoneType"},
    **{
        f".classes[].reservedSeatsInfo{path}": kinds
        for path, kinds in {
            "": {"list"},
            "[]": {"dict"},
            "[].ENRL_CAP": {"int"},
            "[].ENRL_TOT": {"int"},
            "[].RSRV_CAP_NBR": {"int"},
            "[].STUDENT_ENROLLED": {"NoneType"},
            "[].ASU_SR_COHORT_CD": {"NoneType"},
            "[].ASU_SR_COHORT_CD2": {"NoneType"},
        }.items()
    },
}
"""What the captured answer happens not to hold: nobody named, and seats kept for somebody. Others saw both."""


class Site:
    """A running campus: 250 sections of mathematics, and two of computing."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.http = requests.Session()
        self.http.trust_env = False

    def search(self, headers: dict[str, str] | None = None, **asked: str) -> requests.Response:
        query = {"refine": "Y", "term": TERM, **asked}
        given = ANONYMOUS if headers is None else headers
        return self.http.get(self.url + PATH, params=query, headers=given, timeout=10)

    def classes(self, **asked: str) -> list[dict[str, Any]]:
        answer = self.search(**asked)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["classes"]
        return found

    def control(self, path: str, body: Any = None) -> Any:
        answer = self.http.request("POST" if body else "GET", f"{self.url}/control/{path}", json=body, timeout=10)
        assert answer.ok, answer.text
        return answer.json()

    def spoil(self, kind: str, **options: Any) -> None:
        self.control("catalog/faults", {"kind": kind, "count": 1, **options})


@pytest.fixture
def site() -> Iterator[Site]:
    many = [
        Timeline(str(30_000 + n), Course("MAT", "210", "Brief Calculus", "Coor Hall 170"), [(0, Values("Ada", n, 300))])
        for n in range(250)
    ]
    full = [(1000, Values("Staff", 0, 30)), (2000, Values("Ada Lovelace", 3, 30, 1))]
    two = [
        Timeline("12347", Course("CSE", "110", "Programming", "Byeng 210", "M W 3:00 PM - 4:15 PM"), full),
        Timeline("12348", Course("CSE", "310", "Algorithms", "Internet"), [(0, Values(None, -2, 30))]),
    ]
    app = CampusApp(Campus(TERM, [*many, *two], VirtualClock(1000)), "a-token")
    with Server(app) as server:
        site = Site(server)
        yield site
        site.http.close()
        app.stop()


def kinds_of(value: Any) -> dict[str, set[str]]:
    """Every path in an answer, with the kinds of value found there."""
    found: dict[str, set[str]] = {}

    def walk(path: str, part: Any) -> None:
        found.setdefault(path, set()).add(type(part).__name__)
        if isinstance(part, dict):
            for name, inner in part.items():
                walk(f"{path}.{'*' if path.startswith('.aggregations.') else name}", inner)
        elif isinstance(part, list):
            for inner in part:
                walk(path + "[]", inner)

    walk("", value)
    return found


@pytest.mark.skipif(not CAPTURED.exists(), reason="there is no captured answer here")
def test_an_answer_has_the_shape_of_a_captured_one() -> None:
    captured = kinds_of(json.loads(CAPTURED.read_text()))
    app = CampusApp(Campus(TERM, make_campus(4, 150, 0, 86_400_000), VirtualClock(50_000_000)), "a-token")
    with Server(app) as server:
        ours = kinds_of(Site(server).search().json())
    app.stop()
    strange = {
        path: kinds - captured.get(path, set()) - ONLY_ELSEWHERE.get(path, set()) for path, kinds in ours.items()
    }
    assert {path: kinds for path, kinds in strange.items() if kinds} == {}
    assert captured.keys() - ours.keys() == {".classes[].SYLLABUSURL"}


@pytest.mark.parametrize("word", [None, "Bearer x", "bearer null", "Bearer ", "null"])
def test_without_the_anonymous_bearer_nothing_is_told(site: Site, word: str | None) -> None:
    assert site.search({"Authorization": word} if word else {}, subject="CSE").status_code == 401


def test_a_subject_is_told_as_it_stands_now(site: Site) -> None:
    first, second = site.classes(subject="CSE")
    assert first["seatInfo"] == {"ENRL_CAP": 30, "ENRL_TOT": 30}
    assert (first["CLAS"]["ENRLTOT"], first["CLAS"]["ENRLCAP"], first["CLAS"]["ENRLSTAT"]) == ("30", "30", "C")
    assert (first["CLAS"]["INSTRUCTORSLIST"], first["CLAS"]["INSTRUCTORSLASTNAMELISTFORSORTING"]) == (None, "STAFF")
    assert first["CLAS"]["STARTTIMES"] == ["3:00 PM<br/>&nbsp;-4:15 PM"]
    assert "reservedSeatsInfo" not in first
    assert second["seatInfo"]["ENRL_TOT"] == 32, "more people than seats"
    assert (second["CLAS"]["STARTTIMES"], second["DAYLIST"], second["CLAS"]["LOCATION"]) == ([None], [""], "ASUONLINE")
    site.control("clock", {"now_ms": 2000})
    first = site.classes(subject="CSE")[0]
    assert (first["CLAS"]["INSTRUCTORSLIST"], first["CLAS"]["HASACTIVERESERVEDSEATS"]) == (["Ada Lovelace"], "Y")
    groups = first["reservedSeatsInfo"]
    kept = sum(max(0, group["ENRL_CAP"] - group["ENRL_TOT"]) for group in groups)
    assert 30 - first["seatInfo"]["ENRL_TOT"] - kept == 1
    assert any(group["ENRL_TOT"] > group["ENRL_CAP"] for group in groups)


def test_a_number_alone_is_found_and_an_unknown_one_is_an_empty_list(site: Site) -> None:
    assert [row["CLAS"]["CLASSNBR"] for row in site.classes(classNbr="12348")] == ["12348"]
    assert [row["CLAS"]["CATALOGNBR"] for row in site.classes(subject="CSE", catalogNbr="3")] == ["310"]
    assert [row["CLAS"]["CLASSNBR"] for row in site.classes(campusOrOnlineSelection="O")] == ["12348"]
    for nobody in ({"classNbr": "99999"}, {"subject": "XYZ"}, {"term": "2261", "subject": "CSE"}):
        answer = site.search(**nobody).json()
        assert (answer["classes"], answer["total"]) == ([], {"value": 0, "relation": "eq"})


def test_a_large_subject_comes_in_pages_whatever_size_is_asked_for(site: Site) -> None:
    first = site.search(subject="MAT", pageSize="10").json()
    assert (len(first["classes"]), first["total"]["value"]) == (200, 250)
    second = site.search(subject="MAT", scrollId=first["scrollId"]).json()
    assert len(second["classes"]) == 50
    numbers = {row["CLAS"]["CLASSNBR"] for row in first["classes"] + second["classes"]}
    assert len(numbers) == 250
    over = site.search(subject="MAT", scrollId=second["scrollId"]).json()
    assert (over["classes"], over["scrollId"]) == ([], second["scrollId"]), "at its end an id repeats itself"
    assert site.search(subject="MAT", scrollId="of another day").status_code == 404


def test_a_change_between_two_pages_is_seen_in_the_second(site: Site) -> None:
    first = site.search(subject="MAT").json()
    site.control("section", {"class_nbr": "30240", "seats_available": 0})
    second = site.search(subject="MAT", scrollId=first["scrollId"]).json()["classes"]
    told = {row["CLAS"]["CLASSNBR"]: row["seatInfo"]["ENRL_TOT"] for row in second}
    assert told["30240"] == 300


def test_an_answer_can_be_spoiled_as_a_whole(site: Site) -> None:
    expected: dict[str, Any] = {
        "error": 500, "refuse": 403, "rate_limit": 429, "empty": b"", "challenge": b"Just a moment", "broken": b"{",
    }  # fmt: skip
    for kind, meaning in expected.items():
        site.spoil(kind, match="CSE")
        assert site.search(subject="MAT").status_code == 200, "another subject is left alone"
        answer = site.search(subject="CSE")
        if isinstance(meaning, int):
            assert answer.status_code == meaning
        else:
            assert answer.status_code == 200
            assert meaning in answer.content
            with pytest.raises(requests.JSONDecodeError):
                answer.json()
        assert len(site.classes(subject="CSE")) == 2
    for kind in ({"kind": "cut"}, {"kind": "hang", "seconds": 0.01}):
        site.spoil(**kind)
        with pytest.raises(requests.ConnectionError):
            site.search(subject="CSE")
    assert {"cut", "hang", *expected} == set(FAULTS) - TEARS - ROWS


TEARS = {"page_lost", "same_scroll", "total", "unlisted"}


def test_a_listing_can_be_torn(site: Site) -> None:
    first = site.search(subject="MAT").json()
    site.spoil("page_lost")
    lost = site.search(subject="MAT", scrollId=first["scrollId"]).json()
    assert (lost["classes"], lost["total"]["value"]) == ([], 250)
    site.spoil("same_scroll")
    same = site.search(subject="MAT", scrollId=first["scrollId"]).json()
    assert (len(same["classes"]), same["scrollId"]) == (50, first["scrollId"])
    for shape, value in (("more", 5), ("fewer", 0)):
        site.spoil("total", shape=shape)
        answer = site.search(subject="CSE").json()
        assert (len(answer["classes"]), answer["total"]["value"]) == (2, value)
    site.spoil("unlisted", match="12348")
    answer = site.search(subject="CSE").json()
    assert (len(answer["classes"]), answer["total"]["value"]) == (1, 1)
    assert len(site.classes(classNbr="12348")) == 1


ROWS = {"no_seats", "strange_seats", "no_number", "unnamed", "cancelled", "lag"}


def test_a_row_can_be_spoiled_among_good_ones(site: Site) -> None:
    site.control("clock", {"now_ms": 2000})
    good = site.classes(subject="CSE")
    spoiled = {}
    for kind in ROWS:
        site.spoil(kind, match="12347")
        spoiled[kind], other = site.classes(subject="CSE")
        assert other == good[1], kind
    assert "seatInfo" not in spoiled["no_seats"]
    assert spoiled["no_seats"]["CLAS"]["ENRLTOT"] == ""
    assert spoiled["strange_seats"]["seatInfo"] == {"ENRL_CAP": "many", "ENRL_TOT": None}
    assert spoiled["no_number"]["CLAS"]["CLASSNBR"] is None
    assert spoiled["cancelled"]["CLAS"]["CLASSSTAT"] == "X"
    assert spoiled["unnamed"]["CLAS"]["INSTRUCTORSLIST"] is None
    behind = spoiled["lag"]
    assert (behind["seatInfo"]["ENRL_TOT"], behind["CLAS"]["ENRLTOT"]) == (27, "30"), "seats are live, the index is not"
    assert behind["CLAS"]["INSTRUCTORSLIST"] is None


def test_every_instructor_can_vanish_for_one_answer(site: Site) -> None:
    site.spoil("unnamed")
    assert all(row["CLAS"]["INSTRUCTORSLIST"] is None for row in site.classes(subject="MAT"))
    assert all(row["CLAS"]["INSTRUCTORSLIST"] == ["Ada"] for row in site.classes(subject="MAT"))


def test_the_calls_are_noted_with_who_asked_for_what(site: Site) -> None:
    site.search({**ANONYMOUS, "User-Agent": "PickMyClass (ops@example.edu)"}, subject="CSE")
    site.search(classNbr="12347")
    scrape = {"sectionNumber": "12348", "term": TERM}
    site.http.post(site.url + "/scrape", json=scrape, headers={"Authorization": "Bearer a-token"}, timeout=10)
    noted = site.control("calls")
    assert (noted["asked"], noted["most_at_once"]) == (3, 1)
    assert [(call["source"], call.get("subject"), call["class_nbr"], call["now_ms"]) for call in noted["calls"]] == [
        ("asu", "CSE", "", 1000),
        ("asu", "", "12347", 1000),
        ("scraper", None, "12348", 1000),
    ]
    assert noted["calls"][0]["agent"] == "PickMyClass (ops@example.edu)"
    assert [call["number"] for call in site.control("calls?after=2")["calls"]] == [3]
    assert site.http.get(site.url + "/control/calls?after=x", timeout=10).status_code == 400
