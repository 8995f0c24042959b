"""`compare shadow` as an operator runs it: beside the old version, in a process of its own, ended by a signal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from shared.migrations import MIGRATIONS, read_migrations
from shared.settings import ROOT
from tests.support.mail import KEY
from tests.support.site import JWT_SECRET, SECRET, SECTIONS, Site
from workshop.compare.origin.http import Settings, Workers
from workshop.compare.origin.rules import NONE
from workshop.parts.postgres import EmbeddedPostgres

ORIGIN = "\n".join(file.text for file in read_migrations(MIGRATIONS)[:2])  # what makes the origin's objects
PATIENCE = 30.0


def wait_until(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_beside_the_old_version_it_agrees_mails_nothing_and_ends_with_its_report(
    number: signal.Signals, site: Site, postgres_server: EmbeddedPostgres, migrated_template: str, tmp_path: Path
) -> None:
    old_url = postgres_server.create_database("shadow_old_side")
    copy_url = postgres_server.create_database("shadow_own", template=migrated_template)
    with psycopg.connect(old_url, autocommit=True) as old, psycopg.connect(copy_url, autocommit=True) as copy:
        old.execute(ORIGIN.encode())
        add_students(old)
        places = (site.environment["SCRAPER_URL"], "scraper-token", site.environment["RESEND_API_URL"], KEY)
        workers = Workers(Settings(old_url, *places, SECRET, JWT_SECRET, "signing key"), NONE)
        origin = workers.origin
        origin.consume([(one.term, one.class_nbr) for one in SECTIONS])  # the old side has seen all of them full
        for section in SECTIONS:
            site.set(section, seats_available=3)
        data = tmp_path / "shadow.json"
        process = start(site, old_url, copy_url, data)
        try:
            wait_until(lambda: count(copy, "pickmyclass.outbox") >= len(SECTIONS) // 2, process)  # its slot's half
            origin.consume([(one.term, one.class_nbr) for one in SECTIONS])
            process.send_signal(number)
            told, errors = process.communicate(timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
            workers.close()
        mailed = count(copy, "pickmyclass.mail_batches")
    postgres_server.drop_database("shadow_own")
    postgres_server.drop_database("shadow_old_side")
    (report,) = json.loads(data.read_text())
    figures = {figure["what"]: (figure["old"], figure["new"]) for figure in report["figures"]}
    assert (process.returncode, mailed) == (0, 0), (told, errors)
    assert (report["unexplained"], figures["Emails"][0]) == (0, str(len(SECTIONS)))
    assert figures["Emails"][1] == figures["The same, in the same slot"][1]
    assert report["subject"].startswith("100 % of the sections, at most 600 look-ups a minute, from 2")
    assert not errors  # neither a traceback nor a line of the log


def add_students(old: psycopg.Connection[tuple[object, ...]]) -> None:
    for number, section in enumerate(SECTIONS):
        old.execute(
            "with one as (insert into auth.users (email) values (%s) returning id)"
            " insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr, created_at)"
            " select id, %s, 'CSE', '110', %s, now() - interval '1 day' from one",
            [f"student{number}@example.edu", section.term, section.class_nbr],
        )


def start(site: Site, old_url: str, copy_url: str, data: Path) -> subprocess.Popen[str]:
    words = ["compare", "shadow", "--share", "100", "--per-minute", "600", "--json", str(data)]
    own = {"COMPARE_OLD_DATABASE": old_url, "DATABASE_URL": copy_url, "SUPABASE_URL": ""}
    return subprocess.Popen(
        [sys.executable, "commands.py", *words],
        cwd=ROOT,
        env={**os.environ, **site.environment, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def count(session: psycopg.Connection[tuple[object, ...]], table: str) -> int:
    row = session.execute(f"select count(*) from {table}".encode()).fetchone()
    assert row is not None
    return int(str(row[0]))
