"""What the pages cost: bytes of each, and how long a dashboard takes beside the plain list of watches."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psycopg
import requests

from workshop.bench.report import Report
from workshop.bench.site import Site, site, wait_until

STUDENTS, WATCHES, ROUNDS = 50, 7, 6
MOST_HTML, MOST_ASSETS = 40_000, 40_000
"""Bytes, before compression: of a dashboard, and of all that it loads together."""


def measure(report: Report) -> None:
    """Fifty students with seven watches each: all at once, and one at a time."""
    with site(60) as place:
        students = [_enter(place, f"student{number}@students.example.edu") for number in range(STUDENTS)]
        _watch(place)
        _bytes(report, place, students[0])
        _times(report, place, students)


def _enter(place: Site, email: str) -> requests.Session:
    """A student who has signed in by the code of a mail."""
    stack, session = place.stack, requests.Session()
    session.headers["Origin"] = stack.functions_url
    asked = {"step": "mail", "email": email, "agree": "yes"}
    session.post(f"{stack.functions_url}/login", data=asked, timeout=60).raise_for_status()
    url = f"{stack.inbox_url}/control/emails"
    query = {"to": email, "full": "1"}
    wait_until(lambda: requests.get(url, params=query, timeout=10).json()["emails"])
    mail = requests.get(url, params=query, timeout=10).json()["emails"][-1]
    code = re.findall(r">([0-9]{6})<", mail["html"])[0]
    entered = {"email": email, "code": code}
    session.post(f"{stack.functions_url}/verify-email", data=entered, timeout=60).raise_for_status()
    token = session.get(f"{stack.functions_url}/api/live", timeout=60).json()["realtime"]["token"]
    session.headers["Authorization"] = f"Bearer {token}"  # for the list of watches; pages read their cookie
    return session


def _watch(place: Site) -> None:
    """Seven watches for everybody, of sections that were looked at."""
    numbers = place.class_nbrs[:WATCHES]
    with psycopg.connect(place.stack.postgres.url(), autocommit=True) as database:
        for number in numbers:
            database.execute(
                "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
                " select id, %s, %s, '110', %s from auth.users",
                [place.term, place.subjects[number], number],
            )
    place.check_all()


def _bytes(report: Report, place: Site, student: requests.Session) -> None:
    """Of each page as it is sent, before compression, and of all that a page loads."""
    section = f"/classes/{place.term}/{place.class_nbrs[0]}"
    bounds = {"/dashboard": float(MOST_HTML)}
    for path in ("/", "/login", "/dashboard", "/dashboard/add", section, "/settings", "/legal/privacy"):
        page = student.get(place.stack.functions_url + path, timeout=60)
        page.raise_for_status()
        name = "a section's history" if path == section else path
        report.add("pages", f"bytes of {name}", len(page.content), "bytes", bound=bounds.get(path))
    assets = sorted(set(re.findall(r'"(/assets/[^"]+)"', page.text)))
    sizes = {path: len(student.get(place.stack.functions_url + path, timeout=60).content) for path in assets}
    for path, size in sizes.items():
        report.add("pages", f"bytes of {re.sub('[.][0-9a-f]{12}', '', path)}", size, "bytes")
    report.add("pages", "bytes of all assets", sum(sizes.values()), "bytes", bound=MOST_ASSETS)


def _times(report: Report, place: Site, students: list[requests.Session]) -> None:
    """The two in turns, so that a machine that slows down slows both."""
    took: dict[str, list[float]] = {"/dashboard": [], "/api/class-watches": []}
    alone: dict[str, list[float]] = {path: [] for path in took}
    with ThreadPoolExecutor(STUDENTS) as pool:
        for _ in range(ROUNDS):
            for path, seconds in took.items():
                seconds += pool.map(_timed(place.stack.functions_url + path), students)
            for path, seconds in alone.items():
                seconds += map(_timed(place.stack.functions_url + path), students[:10])
    for how, figures, of in (
        (f"{STUDENTS} at once, 95th percentile", took, lambda seconds: statistics.quantiles(seconds, n=20)[-1]),
        ("one at a time, median", alone, statistics.median),
    ):
        page, plain = (1000 * of(seconds) for seconds in figures.values())
        report.add("pages", f"a dashboard, {how}", page, "ms")
        report.add("pages", f"GET /api/class-watches, {how}", plain, "ms")
        report.add("pages", f"one to the other, {how}", page / plain, "×")


def _timed(url: str) -> Callable[[requests.Session], float]:
    def ask(student: requests.Session) -> float:
        began = time.perf_counter()
        answer = student.get(url, timeout=60, allow_redirects=False)
        if answer.status_code != 200:
            raise RuntimeError(f"{url} answered {answer.status_code}")
        return time.perf_counter() - began

    return ask
