"""What the scraper's answers mean: the table of outcomes, and seats that cannot be believed."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.source.answers import Broken, Found, NotFound, Refused
from shared.source.scraper import classify

GOOD = {"subject": "CSE", "catalog_nbr": "110", "title": "Programming", "instructor": "Staff"}


def body(**data: object) -> bytes:
    return json.dumps({"success": True, "data": {**GOOD, **data}}).encode()


def test_data_is_found() -> None:
    answer = classify(200, body(seats_available=3, seats_capacity=30, non_reserved_seats=2, location=" PSH 150 "))
    assert isinstance(answer, Found)
    assert (answer.facts.seats_available, answer.facts.non_reserved_seats) == (3, 2)
    assert answer.facts.location == "PSH 150"


@pytest.mark.parametrize("status", [200, 500])
def test_not_found_is_an_answer_whatever_status_it_comes_with(status: int) -> None:
    # O7: the service says 500 for a section that does not exist.
    said = {"success": False, "error": "Section 12431 not found for term 2257"}
    assert classify(status, json.dumps(said).encode()) == NotFound()


@pytest.mark.parametrize("error", ["Selector not found", "Page for section list was not found", "", None, 7])
def test_another_error_that_sounds_like_not_found_is_a_failure(error: object) -> None:
    assert isinstance(classify(500, json.dumps({"success": False, "error": error}).encode()), Broken)


@pytest.mark.parametrize(("status", "token"), [(400, False), (401, True), (403, True), (404, False)])
def test_a_refusal_is_ours_to_mend(status: int, token: bool) -> None:
    answer = classify(status, b'{"error":"no"}')
    assert isinstance(answer, Refused)
    assert answer.token is token


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, b'{"success":false,"error":"browser crashed"}'),
        (502, b"<html>bad gateway</html>"),
        (200, b"<html>"),
        (200, b""),
        (200, b"[]"),
        (200, b"\xff\xfe"),
        (200, b"[" * 100_000),
        (200, b'{"success":false,"error":"timeout"}'),
        (200, b'{"success":"true"}'),
        (200, b'{"success":true}'),
        (200, b'{"success":true,"data":[]}'),
        (200, b'{"success":true,"data":{"subject":1,"catalog_nbr":"110"}}'),
        (200, b'{"success":true,"data":{"subject":"","catalog_nbr":"110"}}'),
        (302, b""),
        (500, b'{"success":true,"data":{}}'),
    ],
)
def test_nonsense_and_failures_are_broken(status: int, said: bytes) -> None:
    assert isinstance(classify(status, said), Broken)


@pytest.mark.parametrize("value", [None, 2.5, "3", True, float("nan"), float("inf"), 10**9, -(10**9), [3], {}])
def test_seats_that_cannot_be_believed_are_unknown_never_zero(value: object) -> None:
    # O29
    answer = classify(200, body(seats_available=value, non_reserved_seats=value, seats_capacity=30))
    assert isinstance(answer, Found)
    assert answer.facts.seats_available is None
    assert answer.facts.non_reserved_seats is None


def test_fewer_seats_than_none_are_none_and_what_that_says_of_unreserved_ones_is_unknown() -> None:
    answer = classify(200, body(seats_available=-2, non_reserved_seats=-2, seats_capacity=30))
    assert isinstance(answer, Found)
    assert (answer.facts.seats_available, answer.facts.non_reserved_seats) == (0, None)


@pytest.mark.parametrize(
    "field",
    [
        {"title": "CANCELLED - Design"},
        {"title": "(Canceled) Design"},
        {"meeting_times": "Cancelled"},
        {"location": "** CANCELLED **"},
        {"status": "cancelled"},
        {"instructor": "Class Cancelled"},
    ],
)
def test_a_cancelled_section_is_not_there_although_its_seats_look_open(field: dict[str, str]) -> None:
    assert classify(200, body(**{"seats_available": 30, "seats_capacity": 30} | field)) == NotFound()


@pytest.mark.parametrize("title", ["Cancelled: a History", "The Cancelled Crown", "Cancelled Flights and Law"])
def test_a_course_about_cancelling_is_there(title: str) -> None:
    assert isinstance(classify(200, body(title=title)), Found)


def test_a_missing_instructor_is_told_from_nobody() -> None:
    said = json.loads(body())
    del said["data"]["instructor"]
    missing, nobody = classify(200, json.dumps(said).encode()), classify(200, body(instructor=None))
    assert isinstance(missing, Found)
    assert isinstance(nobody, Found)
    assert (missing.says_instructor, nobody.says_instructor, nobody.source) == (False, True, "scraper")


def test_half_a_character_is_dropped() -> None:
    answer = classify(200, body(title="Design \ud83c", instructor="Ada\ud83c", location="\ud83c"))
    assert isinstance(answer, Found)
    assert (answer.facts.title, answer.facts.instructor_name, answer.facts.location) == ("Design", "Ada", None)


@given(st.integers(0, 1000), st.integers(0, 1000))
def test_more_than_twice_the_capacity_is_unknown(available: int, capacity: int) -> None:
    answer = classify(200, body(seats_available=available, seats_capacity=capacity))
    assert isinstance(answer, Found)
    assert answer.facts.seats_available == (available if available <= 2 * capacity else None)


def test_text_is_trimmed_bounded_and_on_one_line() -> None:
    answer = classify(200, body(title="  a\r\nb\x00c " + "x" * 5000, instructor="   "))
    assert isinstance(answer, Found)
    title = answer.facts.title
    assert title is not None
    assert title.startswith("a b c ")
    assert len(title) <= 300
    assert answer.facts.instructor_name is None
