"""What people and strangers send that they should not, and pages that must not mind."""

import re

import pytest

from tests.contract.test_pages_student import EVIL, add, cards, watch_id
from tests.contract.test_security_pages import administrator
from tests.support.site import NUMBERS
from tests.support.student import Door
from tests.support.term import TERM
from workshop.campus.sections import Course, Timeline, Values

ANN = "ann@example.edu"
DEEDS = [
    ("/dashboard", "remove"),
    ("/dashboard", "undo"),
    ("/dashboard/add", ""),
    ("/settings", "mail"),
    ("/settings", "try"),
    ("/settings", "export"),
    ("/reset-password", ""),
    ("/settings", "close"),
    ("/welcome", "reopen"),
    ("/welcome", "agree"),
    ("/settings", "sign-out"),
]
"""Every form of a student who is signed in, in an order in which each finds what it needs."""


def test_a_code_and_a_link_that_are_too_old_are_refused_in_words(door: Door) -> None:
    browser = door.browser()
    browser.ask_for_mail(ANN)
    mail = door.mails[-1]
    door.later.seconds = 3601
    answer = browser.post("/verify-email", {"email": ANN, "code": mail.code})
    assert (answer.status_code, browser.cookie()) == (400, "")
    assert "wrong, used or too old" in answer.text
    words = dict(part.split("=") for part in mail.link.partition("?")[2].split("&"))
    over = browser.post("/auth/confirm", words)
    assert (over.status_code, browser.cookie()) == (400, "")
    assert "Send me a new mail" in over.text
    door.later.seconds = 0
    assert browser.post("/verify-email", {"email": ANN, "code": mail.code}).status_code == 303  # it was only the hour


def test_a_course_that_does_not_exist_is_said_so(door: Door) -> None:
    door.list_courses()
    browser = door.student()
    found = browser.get(f"/dashboard/add?q=cse110&term={TERM}").text
    assert len(re.findall('name="class_nbr"', found)) == len(NUMBERS)
    for question in ("CSE 999", "XYZ 110"):
        page = browser.get(f"/dashboard/add?q={question.replace(' ', '+')}&term={TERM}")
        assert page.status_code == 200
        assert f"There is no {question} in" in page.text
        assert 'name="class_nbr"' not in page.text
    posted = browser.send(f"/dashboard/add?term={TERM}", term=TERM, q="CSE 999", class_nbr="99999")
    assert "knows no section 99999" in posted.text
    assert cards(browser) == []


def test_a_course_while_the_list_does_not_answer_is_shown_as_it_is_known(door: Door) -> None:
    door.list_courses()
    browser = door.student()
    add(browser, NUMBERS[0])
    door.site.campus.catalog.faults.add({"kind": "error", "count": None})
    page = browser.get(f"/dashboard/add?q=CSE+110&term={TERM}").text
    assert "does not answer right now" in page
    assert re.findall(r'name="class_nbr" value="(\d+)"', page) == [NUMBERS[0]]


@pytest.mark.parametrize("source", ["catalog", "scraper"])
def test_scripts_in_title_place_and_time_are_words(door: Door, source: str) -> None:
    """From what the source says to the cards, the history and the administration."""
    if source == "catalog":
        door.list_courses()
    course = Course("CSE", "110", f"T{EVIL}", f"P{EVIL}", f"M{EVIL}")
    door.site.campus.campus._timelines[NUMBERS[0]] = Timeline(NUMBERS[0], course, [(0, Values(EVIL, 3, 30))])
    browser = administrator(door)
    listed = f"/dashboard/add?q=CSE+110&term={TERM}"
    assert browser.send(listed, term=TERM, q=NUMBERS[0], class_nbr=NUMBERS[0]).status_code == 303
    here = f"/classes/{TERM}/{NUMBERS[0]}"
    for path in (listed, "/dashboard", here, "/admin/classes", f"/admin{here}", "/admin/users"):
        text = browser.get(path).text
        assert "<script>alert" not in text, path
        assert "alert(1)</script>" not in text, path
        assert "\"'&" not in text, path
    shown = browser.get("/dashboard").text
    for letter in "TP":  # the catalog's reader drops what looks like markup before it comes here
        assert f"{letter} alert(1)" in shown if source == "catalog" else f"{letter}&lt;script&gt;alert(1)" in shown


@pytest.mark.parametrize("place", ["user_id", "p_user_id", "subject", "p_subject", "id", "email"])
def test_another_students_ids_in_any_form_change_and_show_nothing(door: Door, place: str) -> None:
    ann, bob = door.student(), door.student("bob@example.edu")
    add(bob, NUMBERS[0])
    bobs = {"email": "bob@example.edu", "id": watch_id(bob)}.get(place, door.user_id("bob@example.edu"))
    look = (
        "select to_jsonb(p), (select jsonb_agg(w) from class_watches w where w.user_id = p.user_id)"
        " from user_profiles p where p.user_id = %s"
    )
    before = door.site.world.rows(look, door.user_id("bob@example.edu"))
    token = ann.token()
    section = {"term": TERM, "class_nbr": NUMBERS[0]}
    for path, do in DEEDS:
        fields = {"token": token, "do": do, "sure": "yes", "agree": "yes", "password": "a good long word"}
        answer = ann.post(f"{path}?{place}={bobs}", {**fields, **section, place: bobs})
        assert answer.status_code in (200, 303), (path, do)
        assert "bob@" not in answer.text + ann.get(f"/settings?{place}={bobs}").text, (path, do)
    assert door.site.world.rows(look, door.user_id("bob@example.edu")) == before
    assert cards(bob) == [("full", NUMBERS[0])]
