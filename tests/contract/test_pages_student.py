"""The dashboard, adding, a section's history and the settings, as a student meets them."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from shared.clock import now
from shared.sections.section import Section
from tests.contract.test_resend_webhook import event, signed
from tests.support.site import NUMBERS, SECRET, SECTIONS, Site
from tests.support.student import Browser, Door
from tests.support.term import TERM

EVIL = "<script>alert(1)</script>\"'&"


def add(browser: Browser, *numbers: str) -> int:
    """Watch sections by the page; the status of the answer."""
    path = f"/dashboard/add?term={TERM}"
    return browser.send(path, term=TERM, q=numbers[0], class_nbr=list(numbers)).status_code


def look(site: Site, section: Section) -> None:
    """A check of the section, now."""
    body = {"term": section.term, "class_nbr": section.class_nbr}
    assert site.ask("POST", "/api/queue/process-section", bearer=SECRET, json=body).status_code == 200


def cards(browser: Browser) -> list[tuple[str, str]]:
    """Number and state of each card, in the order of the page."""
    text = browser.get("/dashboard").text
    return re.findall(r'<li class="card (\w+)" data-section="\d{4}:(\d{5})"', text)


def test_a_watch_by_number_is_looked_up_and_shown(door: Door) -> None:
    browser = door.student()
    page = browser.get(f"/dashboard/add?q={NUMBERS[0]}&term={TERM}")
    assert "We look it up when you add it" in page.text
    assert add(browser, NUMBERS[0]) == 303
    assert cards(browser) == [("full", NUMBERS[0])]
    assert "Principles of Programming" in browser.get("/dashboard").text
    assert "you watch it" in browser.get(f"/dashboard/add?q={NUMBERS[0]}&term={TERM}").text


def test_open_sections_come_first_with_their_seats_the_largest_thing(door: Door) -> None:
    browser = door.student()
    for number in NUMBERS[:3]:
        add(browser, number)
    door.site.set(SECTIONS[1], seats_available=3)
    look(door.site, SECTIONS[1])
    assert cards(browser)[0] == ("open", NUMBERS[1])
    assert "<b>3</b>" in browser.get("/dashboard").text


def test_a_section_that_does_not_exist_is_not_added(door: Door) -> None:
    browser = door.student()
    page = browser.send(f"/dashboard/add?term={TERM}", term=TERM, q="99999", class_nbr="99999")
    assert "knows no section 99999" in page.text
    assert cards(browser) == []


def test_nonsense_in_the_field_is_answered_in_words(door: Door) -> None:
    browser = door.student()
    for question in ("hello", "1234", "CSE", "CSE 110", "١٢٣٤٥", EVIL, "%00", "' or 1=1--"):
        page = browser.get("/dashboard/add?" + "q=" + question.replace("&", "%26").replace("%00", "%2500"))
        assert page.status_code == 200
        assert "five digits" in page.text
        assert EVIL not in page.text
    assert browser.get("/dashboard/add?term=9999&q=12431").status_code == 200


def test_with_the_source_down_a_known_section_is_watched_and_an_unknown_one_is_not(door: Door) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    browser.send("/dashboard", do="remove", id=watch_id(browser), term=TERM, class_nbr=NUMBERS[0])
    door.site.misbehave("error", count=None)
    known = browser.send(f"/dashboard/add?term={TERM}", term=TERM, q=NUMBERS[0], class_nbr=NUMBERS[0])
    assert "will be soon" in known.text
    unknown = browser.send(f"/dashboard/add?term={TERM}", term=TERM, q=NUMBERS[1], class_nbr=NUMBERS[1])
    assert "nobody has seen it yet" in unknown.text
    assert [number for _, number in cards(browser)] == [NUMBERS[0]]


def watch_id(browser: Browser) -> str:
    found = re.search(r'name="id" value="([0-9a-f-]{36})"', browser.get("/dashboard").text)
    assert found
    return found[1]


def test_the_eleventh_watch_is_refused_also_by_two_tabs_at_once(door: Door) -> None:
    browser = door.student()
    for number in NUMBERS[:9]:
        add(browser, number)
    token = browser.token("/settings")

    def tab(number: str) -> str:
        other = door.browser()
        other.client.set_cookie("sb-127-auth-token", browser.cookie())
        data = {"token": token, "term": TERM, "q": number, "class_nbr": number}
        return other.post("/dashboard/add", data).text

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(tab, NUMBERS[9:11]))
    assert len(cards(browser)) == 10
    assert sum("you may watch 10 sections" in answer for answer in answers) == 1
    page = browser.get(f"/dashboard/add?q={NUMBERS[12]}&term={TERM}").text
    assert "Remove one" in page


def test_a_removed_watch_can_be_taken_back(door: Door) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    answer = browser.send("/dashboard", do="remove", id=watch_id(browser), term=TERM, class_nbr=NUMBERS[0])
    page = browser.get(answer.headers["Location"])
    assert "Removed section" in page.text
    assert cards(browser) == []
    browser.send("/settings", do="x")
    browser.post("/dashboard", {"token": browser.token(), "do": "undo", "term": TERM, "class_nbr": NUMBERS[0]})
    assert cards(browser) == [("full", NUMBERS[0])]


def test_another_students_ids_change_and_show_nothing(door: Door) -> None:
    ann, bob = door.student(), door.student("bob@example.edu")
    add(bob, NUMBERS[0])
    token = ann.token()
    bobs = watch_id(bob)
    ann.post("/dashboard", {"token": token, "do": "remove", "id": bobs, "term": TERM, "class_nbr": NUMBERS[0]})
    for value in ("", "x", "' or 1=1--", bobs + "x"):
        assert ann.post("/dashboard", {"token": token, "do": "remove", "id": value}).status_code == 303
    assert cards(bob) == [("full", NUMBERS[0])]
    assert "bob@" not in ann.get(f"/classes/{TERM}/{NUMBERS[0]}").text
    assert cards(ann) == []


def test_what_the_source_says_is_never_markup(door: Door) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    door.site.set(SECTIONS[0], instructor=EVIL)
    look(door.site, SECTIONS[0])
    for path in ("/dashboard", "/dashboard?part=cards", f"/classes/{TERM}/{NUMBERS[0]}", "/dashboard/add?q=12431"):
        text = browser.get(path).text
        assert "<script>alert" not in text, path
    assert "&lt;script&gt;" in browser.get("/dashboard").text


def test_whoever_asks_again_for_what_did_not_change_gets_304(door: Door) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    first = browser.get("/dashboard?part=cards")
    again = browser.get("/dashboard?part=cards", If_None_Match=first.headers["ETag"])
    assert (again.status_code, again.data) == (304, b"")
    door.site.set(SECTIONS[0], seats_available=1)
    look(door.site, SECTIONS[0])
    assert browser.get("/dashboard?part=cards", If_None_Match=first.headers["ETag"]).status_code == 200


def test_the_history_tells_openings_and_what_was_sent(door: Door) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    page = f"/classes/{TERM}/{NUMBERS[0]}"
    assert "No opening seen so far" in browser.get(page).text
    for seats in (2, 0, 5):
        door.site.set(SECTIONS[0], seats_available=seats)
        look(door.site, SECTIONS[0])
    text = browser.get(page).text
    assert "say nothing about when the next one comes" in text
    assert '<svg class="chart"' in text
    assert text.count('<tr><th scope="row">') >= 3
    assert "A seat opened" in text
    assert "Accepted" in text
    start = now() - timedelta(days=20)
    for day in range(6):
        for kind, hours in (("seat_available", 0), ("seats_filled", 2)):
            door.site.world.postgres.execute(
                "insert into pickmyclass.section_events (term, class_nbr, kind, observed_at, slot, after)"
                " values (%s, %s, %s, %s, %s, '{\"seats_available\": 1}')",
                [TERM, NUMBERS[5], kind, *[start + timedelta(days=day, hours=hours)] * 2],
            )
    assert (
        "Opened 6 times in 30 days, for 2 h on the median, mostly between"
        in browser.get(f"/classes/{TERM}/{NUMBERS[5]}").text
    )
    for path in ("/classes/2267/1", "/classes/x/12431", "/classes/2267/12431/x", "/classes/99999/12431"):
        assert browser.get(path).status_code == 404


def test_mail_is_switched_off_by_kind_and_as_a_whole(door: Door, site: Site) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    assert browser.send("/settings", do="mail", instructors="yes").headers["Location"] == "/settings?done=saved"
    site.set(SECTIONS[0], seats_available=2)
    look(site, SECTIONS[0])
    assert site.inbox.addresses() == []
    assert site.world.rows("select status, last_error from pickmyclass.outbox") == [
        ("dropped", "emails of this kind are switched off")
    ]
    browser.send("/settings", do="mail")
    assert "Emails are off" in browser.get("/dashboard").text
    kinds = "select seats, instructors from pickmyclass.preferences"
    assert site.world.rows(kinds) == [(True, True)], "whoever switches mail on again gets both kinds"
    browser.send("/settings", do="mail", seats="yes", instructors="yes")
    assert site.world.rows(kinds) == [(True, True)]
    site.set(SECTIONS[0], seats_available=0)
    look(site, SECTIONS[0])
    site.set(SECTIONS[0], seats_available=2)
    look(site, SECTIONS[0])
    assert "ann@example.edu" in site.inbox.addresses()


def test_a_bounced_address_is_tried_once_a_day_and_only_delivery_clears_it(door: Door, site: Site) -> None:
    browser = door.student()
    site.world.postgres.execute("update user_profiles set email_bounced = true, email_bounced_at = now()")
    assert "refused our mail" in browser.get("/settings").text
    assert browser.send("/settings", do="try").headers["Location"] == "/settings?done=tested"
    assert site.inbox.addresses() == ["ann@example.edu"]
    assert "try once a day" in browser.get("/settings").text
    browser.post("/settings", {"token": browser.token(), "do": "try"})
    assert len(site.inbox.addresses()) == 1
    assert "refused our mail" in browser.get("/settings").text
    message = site.world.one("select message_id from pickmyclass.address_tests")
    body = event("delivered", "ann@example.edu", email_id=message)
    answer = site.ask("POST", "/api/webhooks/resend", data=body, headers=signed(body, "msg_test"))
    assert answer.status_code == 200
    assert "refused our mail" not in browser.get("/settings").text


def test_the_export_holds_everything_and_closing_asks_first(door: Door) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    answer = browser.send("/settings", do="export")
    assert answer.get_json()["user_account"]["email"] == "ann@example.edu"
    assert "attachment" in answer.headers["Content-Disposition"]
    assert browser.send("/settings", do="close").headers["Location"] == "/settings?done=sure"
    assert browser.get("/dashboard").status_code == 200


def test_a_page_costs_one_call_of_the_database(door: Door) -> None:
    browser = door.student()
    add(browser, NUMBERS[0])
    database = door.site.parts.database
    browser.get("/dashboard")
    for path in (
        "/dashboard",
        "/dashboard?part=cards",
        "/dashboard/add?q=12431",
        f"/classes/{TERM}/{NUMBERS[0]}",
        "/settings",
        "/welcome",
    ):
        before = database.calls
        browser.get(path)
        assert database.calls - before == 1, path
    before = database.calls
    browser.get("/")
    browser.get("/")
    browser.get("/legal/privacy")
    assert database.calls - before <= 1


def test_pages_are_small(door: Door) -> None:
    browser = door.student()
    for number in NUMBERS[:10]:
        add(browser, number)
    page = browser.get("/dashboard")
    assert len(page.data) < 40_000
    assets = set(re.findall(r'"(/assets/[^"]+)"', page.text))
    sizes = {}
    for path in assets:
        answer = browser.get(path)
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        sizes[path] = len(answer.data)
    assert len(sizes) == 3
    assert sum(sizes.values()) < 40_000


def test_an_asset_of_another_release_is_not_kept(door: Door) -> None:
    answer = door.browser().get("/assets/site.000000000000.css")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    for path in ("/assets/x.000000000000.css", "/assets/layout.000000000000.html", "/assets/site.css"):
        assert door.browser().get(path).status_code == 404


def test_live_tells_how_to_join_and_renews_the_session(door: Door) -> None:
    door.project.sessions.access_seconds = 30
    browser = door.student()
    door.project.sessions.access_seconds = 3600
    old = browser.session()
    told = browser.get("/api/live").get_json()["realtime"]
    assert told["url"] == door.project.url.replace("http", "ws") + "/realtime/v1/websocket"
    assert told["key"] == "the-anonymous-key"
    assert told["token"] != old["access_token"]
    assert browser.session()["access_token"] == told["token"]
    assert door.browser().get("/api/live").status_code == 401


def test_without_a_key_to_join_with_live_says_so(site: Site) -> None:
    user = site.world.add_user()
    assert site.ask("GET", "/api/live", user=user).get_json() == {"realtime": None}
