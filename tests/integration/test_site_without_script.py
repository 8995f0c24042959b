"""The pages with JavaScript off: all that a student and an administrator can do is done by plain forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.support.pages import HERE, let_in, live_through
from tests.support.screen import Screen
from tests.support.site import NUMBERS
from tests.support.student import Door
from tests.support.term import TERM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_a_student_does_everything_without_any_script(door: Door, bare_screen: Screen, tmp_path: Path) -> None:
    screen = bare_screen
    door.list_courses()
    screen.keep_downloads(tmp_path)
    live_through(door, let_in(door, screen))
    screen.open("/dashboard")
    screen.read("Reload to see what is new")  # nothing promises what only a script could do
    assert screen.run("return [...document.querySelectorAll('#filter-field')].filter((one) => !one.hidden).length") == 0
    screen.open(f"/dashboard/add?q=CSE+110&term={TERM}")
    for number in NUMBERS[3:5]:
        screen.see(f"input[value='{number}']").send_keys(Keys.SPACE)
    screen.press("Watch these")
    screen.read("Added.")
    screen.count(".card", 5)
    screen.open(HERE)
    screen.read("Filled again")
    assert screen.see("svg.chart").is_displayed()
    screen.open("/settings")
    for kind in ("seats", "instructors"):
        screen.see(f"input[name={kind}]").click()
    screen.press("Save")
    screen.read("Saved.")
    assert screen.text("#mail .pill") == "off"
    screen.see("input[name=seats]").click()
    screen.press("Save")
    screen.see("#mail .pill.open")
    screen.press("Take it along")
    assert len(json.loads(screen.downloaded(tmp_path, "*.json"))["class_watches"]) == 5
    screen.press("Set a password")
    screen.type("#password", "a good long password")
    screen.press("Save")
    screen.read("The password is set.")
    screen.see("input[name=sure]").click()
    screen.press("Close my account")
    screen.read("Your account is closed")
    screen.press("Open it again")
    screen.read("My classes")
    screen.press("Sign out")
    screen.read("The class is full.")
    screen.open("/login?with=password")
    screen.type("#email", "ann@example.edu")
    screen.type("#password", "a good long password")
    screen.press("Sign in")
    screen.read("5 of 10 watched")


def test_an_administrator_does_everything_without_any_script(door: Door, bare_screen: Screen) -> None:
    screen = bare_screen
    let_in(door, screen)
    door.student("bob@example.edu")
    screen.open("/admin/users")
    screen.type("#search", "bob@")
    screen.press("Find")
    screen.press("bob@example.edu")
    screen.press("Disable")
    screen.press("Yes, disable")
    screen.press("Enable")
    screen.press("Yes, enable")
    screen.read("Disable …")
    done = door.site.world.rows("select act, user_id::text from pickmyclass.acts order by id")
    assert done == [("disable", door.user_id("bob@example.edu")), ("enable", door.user_id("bob@example.edu"))]
