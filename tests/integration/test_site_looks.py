"""What moves on a page, and what is worked by keyboard alone."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.contract.test_pages_student import look
from tests.support.pages import let_in, live_through
from tests.support.screen import Screen
from tests.support.site import NUMBERS, SECTIONS
from tests.support.student import Door
from tests.support.term import TERM

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def test_the_dashboard_is_worked_by_keyboard_alone(door: Door, screen: Screen) -> None:
    browser = let_in(door, screen)
    live_through(door, browser)
    screen.open("/dashboard")
    body = screen.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert screen.driver.switch_to.active_element.text == "Skip to the content"
    screen.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert screen.run("return document.activeElement.id") == "main"
    screen.push("Remove CSE 110, section 12431", Keys.SPACE)
    screen.read("Removed section")
    assert screen.run("return document.activeElement.innerText") == "Undo"
    screen.driver.switch_to.active_element.send_keys(Keys.ENTER)
    screen.see(f".card[data-section='{TERM}:{NUMBERS[0]}']")
    assert screen.run("return document.activeElement.closest('.card')?.dataset.section") == f"{TERM}:{NUMBERS[0]}"


def test_a_change_that_comes_in_takes_the_focus_from_nobody(door: Door, screen: Screen) -> None:
    browser = let_in(door, screen)
    live_through(door, browser)
    screen.open("/dashboard")
    screen.see("#live.on")
    screen.reach("Remove CSE 110, section 12432")
    door.site.set(SECTIONS[1], seats_available=2)
    look(door.site, SECTIONS[1])
    screen.see(f".card.open[data-section='{TERM}:{NUMBERS[1]}']")
    label = screen.run("return document.activeElement.getAttribute('aria-label')")
    assert label == "Remove CSE 110, section 12432"


def test_settings_and_administration_are_worked_by_keyboard_alone(door: Door, screen: Screen) -> None:
    browser = let_in(door, screen)
    live_through(door, browser)
    screen.open("/settings")
    screen.push("seats", Keys.SPACE)
    screen.push("instructors", Keys.SPACE)
    screen.push("Save")
    screen.read("Saved.")
    assert screen.text("#mail .pill") == "off"
    screen.push("seats", Keys.SPACE)
    screen.push("Save")
    screen.read("A seat opens")
    screen.see("#mail .pill.open")
    screen.push("sure", Keys.SPACE)
    screen.push("Close my account")
    screen.read("Your account is closed")
    screen.push("Open it again")
    screen.read("My classes")
    screen.open(f"/dashboard/add?q={NUMBERS[4]}&term={TERM}")
    screen.push("Watch it")
    screen.read("Added.")
    door.student("bob@example.edu")
    screen.open(f"/admin/users/{door.user_id('bob@example.edu')}")
    screen.push("Disable")
    screen.read("Yes, disable")
    screen.push("Yes, disable")
    screen.read("Enable …")
    actions = door.site.world.rows("select act, user_id::text from pickmyclass.acts")
    assert actions == [("disable", door.user_id("bob@example.edu"))]
    screen.open("/settings")
    screen.push("Sign out everywhere")
    screen.read("Mail me a code")
    assert screen.run("return document.activeElement.id") == "email"


def test_without_realtime_the_page_says_that_it_asks_once_a_minute(door: Door, screen: Screen) -> None:
    browser = let_in(door, screen)
    live_through(door, browser)
    door.project.realtime.down = True
    screen.open("/dashboard")
    screen.see("#live.ask")
    screen.read("Asks once a minute")
    assert SECTIONS[0].class_nbr in screen.text(".card")
