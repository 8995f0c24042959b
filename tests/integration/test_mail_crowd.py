"""A popular opening: ten thousand watchers, each told once, also when mailers are killed on the way."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.mail import Inbox, PostOffice

ROOT = Path(__file__).resolve().parents[2]
CROWD = 10_000


def start_mailer(post_office: PostOffice, url: str, worker: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.support.mailer_process", url, post_office.inbox.server.url, worker, "0.5"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline, "the mailers came to a stand"
        time.sleep(0.005)


def expect_everyone_once(inbox: Inbox, people: int) -> None:
    assert sorted(inbox.addresses()) == sorted(f"student{n}@example.edu" for n in range(1, people + 1))


def test_a_crowd_is_told_in_full_batches(post_office: PostOffice) -> None:
    post_office.owe(2000)
    report = post_office.send()
    assert (report.accepted, report.batches) == (2000, 20)
    expect_everyone_once(post_office.inbox, 2000)


def test_ten_thousand_watchers_are_told_once_although_mailers_are_killed(
    post_office: PostOffice, postgres_url: str
) -> None:
    post_office.owe(CROWD)
    inbox = post_office.inbox
    for round_, goal in enumerate((1500, 4000, 7000)):
        mailers = [start_mailer(post_office, postgres_url, f"mailer-{round_}-{n}") for n in range(2)]
        try:
            wait_until(lambda goal=goal: inbox.app.mailbox.accepted >= goal)
        finally:
            for mailer in mailers:
                mailer.send_signal(signal.SIGKILL)
                mailer.wait(10)
    post_office.pass_time(seconds=1)
    post_office.send("last", patience=30.0)
    expect_everyone_once(inbox, CROWD)
    assert post_office.statuses() == {"sent": CROWD}
    bodies: dict[str, set[bytes]] = {}
    for key, body in inbox.requests:
        bodies.setdefault(key, set()).add(body)
    assert all(len(versions) == 1 for versions in bodies.values())
