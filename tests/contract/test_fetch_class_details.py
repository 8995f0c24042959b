"""/api/fetch-class-details, row by row."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.students.lookups import AT_ONCE
from tests.support.site import SECTIONS, Site
from tests.support.term import TERM

PATH = "/api/fetch-class-details"
BODY = {"term": TERM, "class_nbr": SECTIONS[0].class_nbr}


def test_it_shows_what_the_university_says_and_writes_nothing(site: Site) -> None:
    site.set(SECTIONS[0], instructor="Ada Lovelace", seats_available=3, seats_capacity=40)
    answer = site.ask("POST", PATH, user=site.world.add_user(), json=BODY)
    assert answer.status_code == 200
    assert answer.get_json() == {
        "subject": "CSE",
        "catalog_nbr": "110",
        "title": "Principles of Programming",
        "instructor_name": "Ada Lovelace",
        "seats_available": 3,
        "seats_capacity": 40,
        "location": "BYAC 110",
        "meeting_times": "MWF 9:00",
    }
    assert site.world.baseline() == {}
    assert site.world.state() == {}


def test_unknown_is_null(site: Site) -> None:
    site.set(SECTIONS[0], seats_available=None)
    answer = site.ask("POST", PATH, user=site.world.add_user(), json=BODY)
    assert (answer.status_code, answer.get_json()["seats_available"]) == (200, None)


def test_fewer_than_none_is_none(site: Site) -> None:
    site.misbehave("nonsense", shape="negative")
    answer = site.ask("POST", PATH, user=site.world.add_user(), json=BODY)
    assert (answer.status_code, answer.get_json()["seats_available"]) == (200, 0)


def test_wrong_input_is_400(site: Site) -> None:
    answer = site.ask("POST", PATH, user=site.world.add_user(), json={"term": "x", "class_nbr": 5})
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid input")
    assert {detail["field"] for detail in answer.get_json()["details"]} == {"term", "class_nbr"}


def test_an_unknown_section_is_404(site: Site) -> None:
    answer = site.ask("POST", PATH, user=site.world.add_user(), json=BODY | {"class_nbr": "99999"})
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Class section not found"})


@pytest.mark.parametrize("fault", [{"kind": "error"}, {"kind": "nonsense", "shape": "bare"}, {"kind": "cut"}])
def test_o32_when_the_scraper_fails_there_is_an_error_and_no_stub(site: Site, fault: dict) -> None:
    site.misbehave(**fault)
    answer = site.ask("POST", PATH, user=site.world.add_user(), json=BODY)
    assert answer.status_code == 500
    assert set(answer.get_json()) == {"error"}


def test_o40_without_a_student_nobody_makes_the_scraper_work(site: Site) -> None:
    for words in ({}, {"bearer": "x"}, {"bearer": site.environment["CRON_SECRET"]}):
        answer = site.ask("POST", PATH, json=BODY, **words)
        assert (answer.status_code, answer.get_json()) == (401, {"error": "Unauthorized"})
    assert not site.campus.campus.lookups


def test_failures_count_for_the_breaker_and_an_open_one_is_503(site: Site) -> None:
    user = site.world.add_user()
    site.misbehave("error")
    assert {site.ask("POST", PATH, user=user, json=BODY).status_code for _ in range(10)} == {500}
    answer = site.ask("POST", PATH, user=user, json=BODY)
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    assert site.campus.campus.lookups.total() == 0


def test_look_ups_are_rationed(site: Site) -> None:
    site.restart(USER_LOOKUPS_PER_MINUTE="2")
    user = site.world.add_user()
    assert [site.ask("POST", PATH, user=user, json=BODY).status_code for _ in range(3)] == [200, 200, 429]


def test_a_scraper_that_hangs_does_not_keep_every_thread(site: Site) -> None:
    users = [site.world.add_user() for _ in range(AT_ONCE + 1)]
    site.misbehave("hang", seconds=4, count=AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        hanging = [pool.submit(site.ask, "POST", PATH, user=user, json=BODY) for user in users[:-1]]
        while site.campus.faults.as_json():  # until every one of them waits for the scraper
            time.sleep(0.01)
        for answer in (site.ask("POST", PATH, user=users[-1], json=BODY), site.watch(users[-1])):
            assert answer.status_code == 503
            assert answer.get_json() == {"error": "Class search is busy. Please try again in 5 seconds."}
            assert answer.headers["Retry-After"] == "5"
        assert not any(one.done() for one in hanging)
    assert site.ask("POST", PATH, user=users[-1], json=BODY).status_code == 200
