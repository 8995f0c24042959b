"""The pictures of the README, taken anew: `python -m tests.support.pictures` from the project's root.

A campus, a student with a term behind them, and the real browser; nothing in the pictures is drawn by hand.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import requests

from shared.settings import ROOT
from tests.support.screen import Screen, opened
from workshop.parts.stack import Stack

FOLDER = ROOT / "docs" / "pictures"
STUDENT = "ann@students.example.edu"
WEEK_MS = 7 * 24 * 3600 * 1000
WATCHED = 6
OPENINGS = ((25, 40, 2), (21, 130, 1), (17, 90, 4), (12, 220, 3), (9, 130, 1), (5, 60, 2), (2, 150, 5))
"""Days ago, minutes open, seats."""


def main() -> None:
    """Take them."""
    start = int(time.time() * 1000)
    campus = ["--seed", "3", "--sections", "60", "--start-ms", str(start), "--length-ms", str(WEEK_MS), "--rate", "0"]
    FOLDER.mkdir(exist_ok=True)
    with Stack(campus, replay=False, settings={"SOURCE": "asu,scraper"}) as stack, tempfile.TemporaryDirectory() as tmp:
        stack.start()
        with opened(stack.functions_url, Path(tmp)) as screen:
            shown = enter(stack, screen)
            take(screen, "/dashboard", "dashboard.png", 1100, 760)
            take(screen, f"/classes/{shown[0]}/{shown[1]}", "history.png", 1100, 760, dark=True)


def enter(stack: Stack, screen: Screen) -> tuple[str, str]:
    """Sign in, watch a few sections, and give the first one a past; its term and number."""
    site = requests.Session()
    site.headers["Origin"] = stack.functions_url
    site.post(f"{stack.functions_url}/login", data={"step": "mail", "email": STUDENT, "agree": "yes"}, timeout=30)
    query = {"to": STUDENT, "full": "1"}
    mails = requests.get(f"{stack.inbox_url}/control/emails", params=query, timeout=30).json()["emails"]
    code = re.findall(r">([0-9]{6})<", mails[-1]["html"])[0]
    site.post(f"{stack.functions_url}/verify-email", data={"email": STUDENT, "code": code}, timeout=30)
    told = requests.get(f"{stack.campus_url}/control/sections", timeout=30).json()
    term, numbers = told["term"], [one["class_nbr"] for one in told["sections"]][:WATCHED]
    for number in numbers:
        page = site.get(f"{stack.functions_url}/dashboard/add?q={number}&term={term}", timeout=30).text
        fields = {"token": re.findall(r'name="token" value="(\w+)"', page)[0], "term": term, "q": number}
        site.post(f"{stack.functions_url}/dashboard/add", data={**fields, "class_nbr": number}, timeout=60)
    with psycopg.connect(stack.postgres.url(), autocommit=True) as database:
        for days, minutes, seats in OPENINGS:
            began = datetime.now(UTC) - timedelta(days=days)
            for kind, at in (("seat_available", began), ("seats_filled", began + timedelta(minutes=minutes))):
                database.execute(
                    "insert into pickmyclass.section_events (term, class_nbr, kind, observed_at, slot, after)"
                    " values (%s, %s, %s, %s, %s, %s)",
                    [term, numbers[0], kind, at, at, json.dumps({"seats_available": seats})],
                )
    screen.open("/robots.txt")
    for name, value in site.cookies.items():
        screen.driver.add_cookie({"name": name, "value": value})
    return term, numbers[0]


def take(screen: Screen, path: str, name: str, width: int, height: int, *, dark: bool = False) -> None:
    """One picture, of the upper part of a page."""
    screen.look(width, dark=dark)
    screen.open(path)
    screen.see("h1")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 0.75}
    taken = screen.driver.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    (FOLDER / name).write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main()
