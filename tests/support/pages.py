"""The pages over HTTP with a real browser in front of them, and what a student has lived through before it looks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from shared.clock import now
from tests.support.screen import Screen, opened
from tests.support.site import NUMBERS
from tests.support.student import Browser, Door
from tests.support.term import TERM

HERE = f"/classes/{TERM}/{NUMBERS[0]}"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--pictures FOLDER`: the walk through every page leaves a picture of each state there."""
    parser.addoption("--pictures", type=Path, default=None, metavar="FOLDER")


@contextmanager
def shown(door: Door, folder: Path, *, script: bool = True) -> Iterator[Screen]:
    """The pages on a port, and a browser on them; `script`: whether it runs any."""
    server = make_server("127.0.0.1", 0, door.site.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site = f"http://127.0.0.1:{server.server_port}"
    door.site.restart(SITE_URL=site)
    try:
        with opened(site, folder, script=script) as one:
            yield one
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


@pytest.fixture
def screen(door: Door, tmp_path: Path) -> Iterator[Screen]:
    """A browser in front of the pages."""
    with shown(door, tmp_path / "chromium") as one:
        yield one


@pytest.fixture
def bare_screen(door: Door, tmp_path: Path) -> Iterator[Screen]:
    """A browser in front of the pages that runs no script."""
    with shown(door, tmp_path / "chromium", script=False) as one:
        yield one


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
