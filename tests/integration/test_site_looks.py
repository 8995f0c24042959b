"""Every page in every state, as people with different eyes, screens and hands meet it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from werkzeug.serving import make_server

from shared.clock import now
from tests.contract.test_pages_student import look
from tests.support.screen import Screen, opened
from tests.support.site import NUMBERS, SECTIONS, TERM
from tests.support.student import Browser, Door

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
HERE = f"/classes/{TERM}/{NUMBERS[0]}"
SIGNED_OUT = ("/", "/login", "/login?with=password", "/forgot-password", "/legal", "/legal/privacy", "/legal/terms")


@pytest.fixture
def screen(door: Door, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """The pages over HTTP, and a browser in front of them."""
    server = make_server("127.0.0.1", 0, door.site.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site = f"http://127.0.0.1:{server.server_port}"
    door.site.restart(SITE_URL=site)
    with opened(site, tmp_path_factory.mktemp("chromium")) as one:
        yield one
    server.shutdown()
    thread.join(10)
    server.server_close()


def let_in(door: Door, screen: Screen) -> Browser:
    """Sign a student in, in both browsers; they are an administrator as well."""
    browser = door.browser()
    browser.origin = screen.site
    browser.sign_in("ann@example.edu")
    screen.open("/robots.txt")
    screen.driver.add_cookie({"name": "sb-127-auth-token", "value": browser.cookie()})
    door.site.world.postgres.execute("update user_profiles set is_admin = true")
    return browser


def live_through(door: Door, browser: Browser) -> None:
    """Three watches: one open, with a past, one full, one that the catalog no longer has."""
    for number in NUMBERS[:3]:
        browser.send(f"/dashboard/add?term={TERM}", term=TERM, q=number, class_nbr=number)
    world = door.site.world
    world.postgres.execute(
        "update pickmyclass.section_checks set seats_available = 4 where class_nbr = %s", [NUMBERS[0]]
    )
    world.postgres.execute(
        "update pickmyclass.section_checks set not_found_strikes = 1 where class_nbr = %s", [NUMBERS[2]]
    )
    for days in (20, 15, 9, 4):
        for kind, hours in (("seat_available", 0), ("seats_filled", 30)):
            at = now() - timedelta(days=days) + timedelta(hours=hours)
            world.postgres.execute(
                "insert into pickmyclass.section_events (term, class_nbr, kind, observed_at, slot, after)"
                " values (%s, %s, %s, %s, %s, '{\"seats_available\": 3}')",
                [TERM, NUMBERS[0], kind, at, at],
            )


def signed_in_pages(door: Door) -> list[str]:
    return [
        "/dashboard",
        f"/dashboard/add?q={NUMBERS[5]}&term={TERM}",
        "/dashboard/add?q=nonsense",
        HERE,
        "/settings",
        "/reset-password",
        "/admin",
        "/admin/users",
        f"/admin/users/{door.user_id()}",
        "/admin/classes",
        f"/admin/classes/{TERM}/{NUMBERS[0]}",
        "/classes/1/1",
    ]


def test_axe_finds_nothing_serious_on_any_page_in_any_state(door: Door, screen: Screen) -> None:
    found: dict[str, list[str]] = {}

    def check(path: str, state: str) -> None:
        for dark in (False, True):
            screen.look(1400, dark=dark)
            screen.open(path)
            if serious := screen.serious():
                found[f"{path} {state} {'dark' if dark else 'light'}"] = serious

    for path in SIGNED_OUT:
        check(path, "signed out")
    check("/auth/confirm?token_hash=x&type=email", "asked")
    check("/auth/confirm", "broken")
    browser = let_in(door, screen)
    check("/dashboard", "empty")
    live_through(door, browser)
    for path in signed_in_pages(door):
        check(path, "full")
    door.site.world.postgres.execute("update user_profiles set email_bounced = true, email_bounced_at = now()")
    check("/settings", "bounced")
    check("/dashboard", "bounced")
    browser.post("/settings", {"token": browser.token(), "do": "close", "sure": "yes"})
    check("/welcome", "closed")
    door.site.lose_database()
    check("/dashboard", "broken")
    assert found == {}


def test_nothing_is_wider_than_the_screen(door: Door, screen: Screen) -> None:
    """A phone, a tablet, a wide screen, and 200 % on a small one."""
    browser = let_in(door, screen)
    live_through(door, browser)
    wide = {}
    for width, zoom in ((320, 1.0), (360, 1.0), (820, 1.0), (1400, 1.0), (820, 2.0)):
        screen.look(width, zoom=zoom, forced=width == 820)
        for path in [*SIGNED_OUT, *signed_in_pages(door)]:
            screen.open(path)
            inside = screen.run("return [document.documentElement.scrollWidth, window.innerWidth]")
            if inside[0] > inside[1]:
                wide[path, width, zoom] = inside
    assert wide == {}
    assert screen.complaints() == [] or all("404" in one for one in screen.complaints())


def reach(screen: Screen, words: str) -> None:
    """Press Tab until what has the focus says this, and see that it shows that it has."""
    said = "const at = document.activeElement; return at.getAttribute('aria-label') || at.innerText || at.name || ''"
    for _ in range(60):
        screen.driver.switch_to.active_element.send_keys(Keys.TAB)
        if words in screen.run(said):
            outline = screen.run("return getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"nobody sees that {words!r} has the focus"
            return
    raise AssertionError(f"no way to {words!r} on {screen.path} by Tab")


def push(screen: Screen, words: str, key: str = Keys.ENTER) -> None:
    """Reach it by Tab, and press it by Enter or Space."""
    reach(screen, words)
    screen.driver.switch_to.active_element.send_keys(key)


def test_the_dashboard_is_worked_by_keyboard_alone(door: Door, screen: Screen) -> None:
    browser = let_in(door, screen)
    live_through(door, browser)
    screen.open("/dashboard")
    body = screen.driver.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert screen.driver.switch_to.active_element.text == "Skip to the content"
    screen.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert screen.run("return document.activeElement.id") == "main"
    push(screen, "Remove CSE 110, section 12431", Keys.SPACE)
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
    reach(screen, "Remove CSE 110, section 12432")
    door.site.set(SECTIONS[1], seats_available=2)
    look(door.site, SECTIONS[1])
    screen.see(f".card.open[data-section='{TERM}:{NUMBERS[1]}']")
    label = screen.run("return document.activeElement.getAttribute('aria-label')")
    assert label == "Remove CSE 110, section 12432"


def test_settings_and_administration_are_worked_by_keyboard_alone(door: Door, screen: Screen) -> None:
    browser = let_in(door, screen)
    live_through(door, browser)
    screen.open("/settings")
    push(screen, "seats", Keys.SPACE)
    push(screen, "instructors", Keys.SPACE)
    push(screen, "Save")
    screen.read("Saved.")
    assert screen.text("#mail .pill") == "off"
    push(screen, "seats", Keys.SPACE)
    push(screen, "Save")
    screen.read("A seat opens")
    screen.see("#mail .pill.open")
    push(screen, "sure", Keys.SPACE)
    push(screen, "Close my account")
    screen.read("Your account is closed")
    push(screen, "Open it again")
    screen.read("My classes")
    screen.open(f"/dashboard/add?q={NUMBERS[4]}&term={TERM}")
    push(screen, "Watch it")
    screen.read("Added.")
    door.student("bob@example.edu")
    screen.open(f"/admin/users/{door.user_id('bob@example.edu')}")
    push(screen, "Disable")
    screen.read("Yes, disable")
    push(screen, "Yes, disable")
    screen.read("Enable …")
    actions = door.site.world.rows("select act, user_id::text from pickmyclass.acts")
    assert actions == [("disable", door.user_id("bob@example.edu"))]
    screen.open("/settings")
    push(screen, "Sign out everywhere")
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
