"""A student who has no mouse: from the landing page to a watched class, its history, the settings and out again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from shared.clock import now
from shared.students.terms import name_of
from tests.support.pages import let_in, live_through
from tests.support.screen import Screen
from tests.support.site import NUMBERS
from tests.support.student import Door
from tests.support.term import TERM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_from_the_landing_page_to_several_watched_sections(door: Door, screen: Screen) -> None:
    door.list_courses()
    screen.open("/")
    screen.reach("q")
    screen.key("cse 110", Keys.ENTER)
    screen.see("#email")
    assert screen.run("return document.activeElement.id") == "email"
    screen.key("ann@example.edu")
    screen.push("agree", Keys.SPACE)
    screen.push("Mail me a code")
    screen.see("#code")
    assert screen.run("return document.activeElement.id") == "code"
    screen.key(door.mails[-1].code, Keys.ENTER)
    screen.read(f"CSE 110 in {name_of(TERM)}")
    for _ in range(3):
        screen.push("class_nbr", Keys.SPACE)
    screen.push("Watch these")
    screen.read("Added.")
    screen.count(".card.full", 3)


def test_the_history_the_export_and_the_way_out_of_all_mail(door: Door, screen: Screen, tmp_path: Path) -> None:
    live_through(door, let_in(door, screen))
    screen.keep_downloads(tmp_path)
    screen.open("/dashboard")
    screen.push("CSE 110")
    screen.read("What we sent you about it")
    screen.reach("Openings")  # so that arrow keys scroll a table that is wider than the screen
    screen.open("/settings")
    screen.push("Take it along")
    assert json.loads(screen.downloaded(tmp_path, "*.json"))["user_account"]["email"] == "ann@example.edu"
    screen.open(f"/api/unsubscribe?token={door.site.parts.tokens.issue(door.user_id(), now())}")
    screen.push("Unsubscribe")
    screen.read("You are unsubscribed")
    screen.push("settings")
    screen.read("Neither ticked means no emails at all")
    assert screen.text("#mail .pill") == "off"


def test_a_search_in_the_administration(door: Door, screen: Screen) -> None:
    live_through(door, let_in(door, screen))
    screen.open("/admin")
    screen.push("Accounts")
    screen.reach("search")
    screen.key("ann@", Keys.ENTER)
    screen.read("1 account")
    screen.push("ann@example.edu")
    screen.push(f"CSE 110, {NUMBERS[0]}")
    screen.read("Its seats over time")
    assert screen.path == f"/admin/classes/{TERM}/{NUMBERS[0]}"
