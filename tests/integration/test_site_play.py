"""A student's whole story in a real browser, unattended: everything real but the world outside.

The campus, the inbox and the Supabase project are stand-ins over HTTP; functions and consumer are the processes that
production runs.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests

from tests.support.screen import Screen, opened
from workshop.parts.stack import Stack

WEEK_MS = 7 * 24 * 3600 * 1000
ANN = "ann@students.example.edu"
WATCH_FOR_GREEN = """
window.turned = null;
new MutationObserver(() => {
  const card = document.querySelector('.card.open');
  if (card && !window.turned) window.turned = Date.now();
}).observe(document.body, { subtree: true, childList: true, attributes: true });
window.stillHere = true;
"""


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    start = int(time.time() * 1000)
    campus = ["--seed", "3", "--sections", "60", "--start-ms", str(start), "--length-ms", str(WEEK_MS), "--rate", "0"]
    with Stack(campus, replay=False, settings={"SOURCE": "asu,scraper"}) as one:
        one.start()
        yield one


@pytest.fixture(scope="module")
def screen(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    with opened(stack.functions_url, tmp_path_factory.mktemp("chromium")) as one:
        yield one


def mails(stack: Stack, to: str, subject: str = "") -> list[dict[str, Any]]:
    query = {"to": to, "full": "1", "search": subject}
    found = requests.get(f"{stack.inbox_url}/control/emails", params=query, timeout=10).json()["emails"]
    return list(found)


def wait_for_mail(stack: Stack, subject: str, more_than: int = 0) -> dict[str, Any]:
    """The latest mail to Ann with these words in its subject, when there are more than so many."""
    deadline = time.monotonic() + 60
    while len(found := mails(stack, ANN, subject)) <= more_than:
        assert time.monotonic() < deadline, f"no mail {subject!r}; {[one['subject'] for one in mails(stack, ANN)]}"
        time.sleep(0.1)
    return found[-1]


def sign_in(stack: Stack, screen: Screen) -> None:
    """By the code of a mail, from the page that asks for the address."""
    known = len(mails(stack, ANN, "sign-in code"))
    screen.type("#email", ANN)
    screen.see("input[name=agree]").click()
    screen.press("Mail me a code")
    code = re.search(r">([0-9]{6})<", wait_for_mail(stack, "sign-in code", known)["html"])
    assert code
    screen.type("#code", code[1])
    screen.press("Sign in")


def largest_course(stack: Stack) -> tuple[str, list[str]]:
    """The course with most sections, and their numbers."""
    told = requests.get(f"{stack.campus_url}/control/sections", timeout=10).json()
    courses = Counter(f"{one['subject']} {one['catalog_nbr']}" for one in told["sections"])
    course, _ = courses.most_common(1)[0]
    return course, [s["class_nbr"] for s in told["sections"] if f"{s['subject']} {s['catalog_nbr']}" == course]


def on_campus(stack: Stack, class_nbr: str, **values: Any) -> None:
    body = {"class_nbr": class_nbr, **values}
    assert requests.post(f"{stack.campus_url}/control/section", json=body, timeout=10).status_code == 200


def check_now(stack: Stack, class_nbr: str, term: str) -> None:
    headers = {"Authorization": f"Bearer {stack.cron_secret}"}
    body = {"class_nbr": class_nbr, "term": term}
    answer = requests.post(f"{stack.functions_url}/api/queue/process-section", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_student_finds_watches_sees_hears_leaves_and_comes_back(
    stack: Stack, screen: Screen, capsys: pytest.CaptureFixture[str]
) -> None:
    course, numbers = largest_course(stack)
    watched = numbers[:3]
    assert len(watched) == 3
    for number in watched:
        on_campus(stack, number, seats_available=0, non_reserved_seats=0)

    began = time.monotonic()
    screen.open("/")
    screen.type("#q", course)
    screen.press("Find it")
    sign_in(stack, screen)
    for number in watched:
        screen.see(f"input[value='{number}']").click()
    screen.press("Watch these")
    screen.read("Added.")
    to_watched = time.monotonic() - began
    screen.count(".card.full", 3)
    term = screen.see(".card").get_attribute("data-section").split(":")[0]

    screen.see("#live.on")
    screen.run(WATCH_FOR_GREEN)
    on_campus(stack, watched[0], seats_available=4, non_reserved_seats=4)
    check_now(stack, watched[0], term)
    assert "4" in screen.text(f".card.open[data-section='{term}:{watched[0]}']")
    assert screen.run("return window.stillHere"), "the page was loaded anew"
    assert "open now" in screen.run("return document.querySelector('#news').textContent")
    with psycopg.connect(stack.postgres.url()) as database:
        row = database.execute(
            "select extract(epoch from max(created_at)) * 1000 from pickmyclass.section_events"
            " where kind = 'seat_available' and class_nbr = %s",
            [watched[0]],
        ).fetchone()
    assert row
    to_green = screen.run("return window.turned") - float(row[0])
    letter = wait_for_mail(stack, "Seat Available")
    assert watched[0] in letter["subject"]

    screen.press(course)
    screen.read("What we sent you about it")
    screen.read("A seat opened")

    link = re.search(r'href="([^"]*/api/unsubscribe[^"]*)"', letter["html"])
    assert link
    screen.open(unescape(link[1]).removeprefix(stack.functions_url))
    screen.press("Unsubscribe")
    screen.read("You are unsubscribed")
    screen.open("/dashboard")
    screen.read("Emails are off")
    screen.open("/settings")
    assert screen.text("#mail .pill") == "off"
    screen.see("input[name=seats]").click()
    screen.press("Save")
    screen.read("Saved.")
    assert screen.text("#mail .pill") == "on"

    exported = json.loads(
        screen.driver.execute_async_script(
            "const done = arguments[0]; const form = document.querySelector('input[value=export]').form;"
            "fetch(form.action, {method: 'POST', body: new URLSearchParams(new FormData(form))})"
            ".then((answer) => answer.text()).then(done)"
        )
    )
    assert exported["user_account"]["email"] == ANN
    assert {one["class_nbr"] for one in exported["class_watches"]} == set(watched)
    assert [one["class_nbr"] for one in exported["notification_history"]] == [watched[0]]

    screen.see("input[name=sure]").click()
    screen.press("Close my account")
    screen.read("Your account is closed")
    screen.press("Sign out")
    screen.open("/login")
    sign_in(stack, screen)
    screen.press("Open it again")
    screen.read("My classes")
    screen.count(".card", 3)

    with psycopg.connect(stack.postgres.url(), autocommit=True) as database:
        database.execute("update user_profiles set is_admin = true where user_id in (select id from auth.users)")
    screen.open("/admin")
    screen.press("Accounts")
    screen.type("#search", "ann@")
    screen.press("Find")
    screen.press(ANN)
    screen.read("A seat opened")

    allowed = {stack.functions_url, stack.supabase_url, stack.supabase_url.replace("http", "ws")}
    assert screen.hosts() <= allowed
    assert screen.complaints() == []
    with capsys.disabled():
        sys.stdout.write(
            f"\nfrom / to a watched class: {to_watched:.1f} s; commit to a green card: {to_green:.0f} ms\n"
        )


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_way_to_a_watched_class_works_without_any_script(stack: Stack, tmp_path: Path) -> None:
    course, numbers = largest_course(stack)
    with opened(stack.functions_url, tmp_path, script=False) as screen:
        screen.open("/dashboard")
        screen.type("#email", "bob@students.example.edu")
        screen.see("input[name=agree]").click()
        screen.press("Mail me a code")
        deadline = time.monotonic() + 30
        while not (found := mails(stack, "bob@students.example.edu")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        link = re.search(r'href="([^"]*/auth/confirm[^"]*)"', found[-1]["html"])
        assert link
        screen.open(unescape(link[1]).removeprefix(stack.functions_url))
        screen.press("Sign in")
        screen.read("Nothing watched yet")
        screen.open(f"/dashboard/add?q={numbers[-1]}")
        screen.press("Watch it")
        screen.read("Added.")
        screen.press("Remove")
        screen.read("Removed section")
        screen.press("Undo")
        screen.see(f".card[data-section$=':{numbers[-1]}']")
        assert course in screen.text(".card")
