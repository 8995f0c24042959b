"""/api/class-watches, row by row; and what adding a watch must never do to those who watch already."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from shared.checks.check import CheckOrder
from shared.mail.send import send_due_mail
from shared.queue.dead_letters import letter_for
from shared.queue.jobs import Delivery
from shared.sections.section import Section
from tests.support.site import NUMBERS, SECTIONS, Site
from tests.support.term import TERM
from tests.support.world import facts

PATH = "/api/class-watches"
SECTION = SECTIONS[0]


def test_get_lists_ones_own_watches_newest_first_with_their_states(site: Site) -> None:
    user = site.world.add_user()
    site.world.add_watch()  # somebody else's
    for section in SECTIONS[:3]:
        assert site.watch(user, section).status_code == 201
    answer = site.ask("GET", PATH, user=user)
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"watches", "maxWatches"}
    assert body["maxWatches"] == 10
    assert [watch["class_nbr"] for watch in body["watches"]] == NUMBERS[:3][::-1]
    first = body["watches"][0]
    assert {"id", "user_id", "term", "subject", "catalog_nbr", "class_nbr", "created_at", "class_state"} == set(first)
    assert first["user_id"] == user
    assert first["class_state"]["seats_available"] == 0
    assert first["class_state"]["title"] == "Principles of Programming"


def test_a_state_of_another_term_is_not_shown(site: Site) -> None:
    user = site.world.add_user()
    site.world.add_watch(SECTION, user)
    site.world.old_upsert(Section("2264", SECTION.class_nbr), facts(3))
    assert site.ask("GET", PATH, user=user).get_json()["watches"][0]["class_state"] is None


def test_post_adds_a_watch_with_what_the_university_says(site: Site) -> None:
    user = site.world.add_user()
    answer = site.watch(user)
    assert answer.status_code == 201
    watch = answer.get_json()["watch"]
    assert (watch["user_id"], watch["term"], watch["class_nbr"]) == (user, TERM, SECTION.class_nbr)
    assert (watch["subject"], watch["catalog_nbr"]) == ("CSE", "110")
    assert uuid.UUID(watch["id"])
    assert site.world.state()["instructor_name"] == "Staff"
    assert site.world.baseline(SECTION)["seats_available"] == 0


def test_adding_a_watch_makes_the_dead_letter_of_the_section_history(site: Site) -> None:
    storage, dead = site.parts.huey.storage, Delivery(SECTION.key, "id", "process_section", {})
    storage.client.hset(storage.dead, SECTION.key, letter_for(dead, "refused", "no", 1))
    assert site.watch(site.world.add_user()).status_code == 201
    assert site.parts.huey.dead_letters.list() == []


def test_the_limit_comes_before_everything_else(site: Site) -> None:
    user = site.world.add_user()
    for section in SECTIONS[:10]:
        site.world.add_watch(section, user)
    answer = site.ask("POST", PATH, user=user, data="not json at all", content_type="application/json")
    assert answer.status_code == 429
    assert answer.get_json() == {"error": "Maximum watches limit reached (10). Delete some watches to add more."}
    assert not site.campus.campus.lookups


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"term", "class_nbr"}),
        ({"term": "2267"}, {"class_nbr"}),
        ({"term": 2267, "class_nbr": 12431}, {"term", "class_nbr"}),
        ({"term": "226", "class_nbr": "12431"}, {"term"}),
        ({"term": "2267", "class_nbr": "1243a"}, {"class_nbr"}),
        ({"term": "2267", "class_nbr": "12431\n"}, {"class_nbr"}),
        ({"term": "२२६७", "class_nbr": "12431"}, {"term"}),
    ],
)
def test_wrong_input_is_named_field_by_field(site: Site, body: dict, fields: set[str]) -> None:
    answer = site.ask("POST", PATH, user=site.world.add_user(), json=body)
    assert answer.status_code == 400
    assert answer.get_json()["error"] == "Invalid input"
    assert {detail["field"] for detail in answer.get_json()["details"]} == fields


def test_an_unknown_section_is_404_and_not_watched(site: Site) -> None:
    user = site.world.add_user()
    answer = site.watch(user, Section(TERM, "99999"))
    assert (answer.status_code, answer.get_json()) == (404, {"error": "Class section not found"})
    assert site.world.one("select count(*) from class_watches") == 0


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error"},
        {"kind": "nonsense", "shape": "html"},
        {"kind": "nonsense", "shape": "types"},
        {"kind": "token"},
        {"kind": "rate_limit"},
        {"kind": "cut"},
    ],
)
def test_a_failed_look_up_is_500_and_nothing_is_inserted(site: Site, fault: dict) -> None:
    site.misbehave(**fault)
    answer = site.watch(site.world.add_user())
    assert answer.status_code == 500
    assert answer.get_json() == {
        "error": "Failed to fetch class details. Please verify the section number and try again."
    }
    assert site.world.one("select count(*) from class_watches") == 0


def test_the_same_section_twice_is_409(site: Site) -> None:
    user = site.world.add_user()
    site.watch(user)
    answer = site.watch(user)
    assert (answer.status_code, answer.get_json()) == (409, {"error": "You are already watching this class"})


def test_an_open_breaker_is_503_and_nothing_is_inserted(site: Site) -> None:
    for _ in range(10):
        site.parts.breaker.record_failure(site.parts.breaker.allow())
    answer = site.watch(site.world.add_user())
    assert answer.status_code == 503
    assert 1 <= int(answer.headers["Retry-After"]) <= 120
    assert not site.campus.campus.lookups
    assert site.world.one("select count(*) from class_watches") == 0


def test_an_unreachable_breaker_is_503_and_nothing_is_inserted(site: Site) -> None:
    user = site.world.add_user()
    site.restart(REDIS_URL="redis://127.0.0.1:1/0")
    answer = site.watch(user)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert not site.campus.campus.lookups
    assert site.ask("GET", PATH, user=user).status_code == 200  # what needs no scraper goes on without Redis


def test_delete_removes_ones_own_watch_and_says_so_twice(site: Site) -> None:
    user = site.world.add_user()
    watch = site.world.add_watch(SECTION, user)
    for _ in range(2):
        answer = site.ask("DELETE", f"{PATH}?id={watch}", user=user)
        assert (answer.status_code, answer.get_json()) == (200, {"success": True})
    assert site.world.one("select count(*) from class_watches") == 0


def test_another_students_watch_stays(site: Site) -> None:
    watch = site.world.add_watch()
    answer = site.ask("DELETE", f"{PATH}?id={watch}", user=site.world.add_user())
    assert (answer.status_code, answer.get_json()) == (200, {"success": True})
    assert site.world.one("select count(*) from class_watches") == 1


@pytest.mark.parametrize("query", ["", "?id=", "?id=7", "?id=not-a-uuid", "?id=' or 1=1--"])
def test_a_bad_id_is_400(site: Site, query: str) -> None:
    answer = site.ask("DELETE", PATH + query, user=site.world.add_user())
    assert (answer.status_code, answer.get_json()["details"][0]["field"]) == (400, "id")


def test_o31_fifty_posts_at_once_of_eleven_sections_make_exactly_ten_watches(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.students.lookups.WAIT_SECONDS", 60.0)  # nobody is sent away, however busy the machine
    user = site.world.add_user()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: site.watch(user, SECTIONS[n % 11]).status_code, range(50)))
    assert site.world.one("select count(*) from class_watches where user_id = %s", user) == 10
    assert answers.count(201) == 10
    assert set(answers) <= {201, 409, 429}


def test_o31_the_limit_is_the_databases_own(site: Site) -> None:
    site.world.postgres.execute("update pickmyclass.settings set value = '2' where key = 'max_watches'")
    user = site.world.add_user()
    assert [site.watch(user, section).status_code for section in SECTIONS[:3]] == [201, 201, 429]
    assert site.ask("GET", PATH, user=user).get_json()["maxWatches"] == 2


def test_a_student_who_asks_too_often_is_told_when_to_come_back(site: Site) -> None:
    site.restart(USER_LOOKUPS_PER_MINUTE="3", USER_REQUESTS_PER_MINUTE="5")
    user, other = site.world.add_user(), site.world.add_user()
    assert [site.watch(user).status_code for _ in range(5)] == [201, 409, 409, 429, 429]
    answer = site.watch(user)
    assert 1 <= int(answer.headers["Retry-After"]) <= 20
    assert "Too many requests" in answer.get_json()["error"]
    assert site.watch(other).status_code == 201
    assert [site.ask("GET", PATH, user=user).status_code for _ in range(6)] == [200] * 5 + [429]
    assert site.campus.campus.lookups[SECTION.class_nbr] == 4


def test_o5_a_new_watch_in_the_very_second_of_the_opening_tells_every_earlier_watcher(site: Site) -> None:
    earlier = [site.world.add_user() for _ in range(3)]
    for user in earlier:
        assert site.watch(user).status_code == 201
    site.set(SECTION, seats_available=2)
    newcomer = site.world.add_user()
    assert site.watch(newcomer).status_code == 201
    emails = {site.world.one("select email from auth.users where id = %s", user) for user in earlier}
    assert sorted(site.inbox.addresses()) == sorted(emails)  # sent at once; the newcomer sees it on screen
    assert [status for _, _, status in site.world.outbox(SECTION)] == ["sent"] * 3
    assert site.ask("GET", PATH, user=newcomer).get_json()["watches"][0]["class_state"]["seats_available"] == 2


def test_o5_a_check_that_began_before_the_new_watch_loses_nothing_either(site: Site) -> None:
    earlier = site.world.add_user()
    site.watch(earlier)
    entered, release = threading.Event(), threading.Event()
    asked = site.campus.campus.look_up

    def slowly(class_nbr: str, term: str) -> dict | None:
        seen = asked(class_nbr, term)  # what the tick's check sees: still full
        if not entered.is_set():
            entered.set()
            assert release.wait(10)
        return seen

    site.campus.campus.look_up = slowly
    with ThreadPoolExecutor(1) as pool:
        tick = pool.submit(site.parts.checker.check, CheckOrder(SECTION, 60))
        assert entered.wait(10)
        site.set(SECTION, seats_available=1)  # the seats open between that scrape and the new watch's
        assert site.watch(site.world.add_user()).status_code == 201
        release.set()
        assert tick.result(10).outcome.value == "superseded"
    assert [kind for kind, _, _ in site.world.outbox(SECTION)] == ["seat_available"]
    assert site.world.baseline(SECTION)["seats_available"] == 1
    assert len(site.inbox.addresses()) == 1


def test_o5_mail_that_cannot_leave_at_once_is_still_owed(site: Site) -> None:
    site.watch(site.world.add_user())
    site.set(SECTION, seats_available=2)
    site.inbox.misbehave("error", count=1)
    assert site.watch(site.world.add_user()).status_code == 201
    assert len(site.world.outbox(SECTION)) == 1
    site.world.postgres.execute("update pickmyclass.mail_batches set leased_until = now(), next_attempt_at = now()")
    site.world.postgres.execute("update pickmyclass.mail_hold set parked_until = null")
    send_due_mail(site.parts.mail, "mailer")
    assert len(site.inbox.addresses()) == 1


def test_a_section_of_the_old_side_is_looked_up_and_left_alone(site: Site) -> None:
    site.world.postgres.execute("update pickmyclass.ownership set owner = 'workers'")
    site.world.old_upsert(SECTION, facts(0))
    before = site.world.state()
    site.world.add_watch(SECTION)
    site.set(SECTION, seats_available=2)
    answer = site.watch(site.world.add_user())
    assert answer.status_code == 201
    assert answer.get_json()["watch"]["subject"] == "CSE"
    assert site.world.state() == before
    assert site.world.baseline(SECTION) == {}
    assert site.world.outbox(SECTION) == []


def test_a_database_that_fails_is_500_without_a_word_about_it(site: Site) -> None:
    user = site.world.add_user()
    site.lose_database()
    for path, method in ((PATH, "GET"), (PATH, "POST")):
        answer = site.ask(method, path, user=user)
        assert answer.status_code == 500
        assert "hunter2" not in answer.text
        assert "127.0.0.1" not in answer.text


def test_one_check_is_one_change_of_the_dashboards_row(site: Site, postgres: psycopg.Connection) -> None:
    """The dashboard listens to `class_states`: an update a check, `last_changed_at` only with a real change."""
    postgres.execute(
        "create table seen (op text, at timestamptz default clock_timestamp());"
        "create function note() returns trigger language plpgsql as 'begin insert into public.seen (op)"
        " values (tg_op); return null; end';"
        "create trigger note after insert or update or delete on class_states for each row execute function note()"
    )
    site.watch(site.world.add_user())
    first = site.world.state()
    site.parts.checker.check(CheckOrder(SECTION, 60))
    same = site.world.state()
    site.set(SECTION, seats_available=4)
    site.parts.checker.check(CheckOrder(SECTION, 60))
    changed = site.world.state()
    assert [op for (op,) in site.world.rows("select op from seen order by at")] == ["INSERT", "UPDATE", "UPDATE"]
    assert first["id"] == same["id"] == changed["id"]
    assert first["last_changed_at"] == same["last_changed_at"] < changed["last_changed_at"]
    assert first["last_checked_at"] < same["last_checked_at"] < changed["last_checked_at"]
