"""The log alone tells the story of a tick: request, tick, checks and mail are joined, and nobody's address is in it."""

from __future__ import annotations

import io
import json
import logging
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

import huey_app
from functions.cron_tick.main import cron_tick
from shared import logs
from shared.checks.check import CheckOrder
from tests.support.mail import KEY
from tests.support.stage import EVEN, ODD, SECRET, TOKEN, Stage


class Story:
    """The lines of a log."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def text(self) -> str:
        return self.stream.getvalue()

    def lines(self, message: str | None = None) -> list[dict[str, Any]]:
        """All lines as programs read them, or those with this message."""
        read = [json.loads(line) for line in self.text.splitlines()]
        return [line for line in read if message in (None, line["message"])]

    def line(self, message: str) -> dict[str, Any]:
        """The only line with this message."""
        (found,) = self.lines(message)
        return found


@pytest.fixture
def story() -> Iterator[Story]:
    """The log of this process as in production; put back afterwards as it was."""
    root, told = logging.getLogger(), Story()
    handlers, level, key, secrets = root.handlers[:], root.level, logs._key, logs._secrets
    known = [SECRET, TOKEN, KEY, "unsubscribe-secret"]
    logs.configure(level="DEBUG", form="json", key="a-key", secrets=known)
    assert isinstance(root.handlers[0], logging.StreamHandler)
    root.handlers[0].setStream(told.stream)
    yield told
    root.handlers[:] = handlers
    root.setLevel(level)
    logs._key, logs._secrets = key, secrets


def work_until_done(stage: Stage) -> None:
    """Let a real consumer work until the queue is empty and the mail is sent."""
    huey = stage.parts.huey
    huey_app.declare_task(huey, stage.parts)
    huey_app.declare_mail(huey, stage.parts)
    consumer = huey.create_consumer(workers=2, worker_id=stage.parts.incarnation)
    consumer._set_signal_handlers = lambda: None
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not _is_done(stage):
        time.sleep(0.02)
    consumer.request_stop()
    thread.join(30)
    assert not thread.is_alive()


def _is_done(stage: Stage) -> bool:
    counts = stage.parts.huey.counts()
    owed = stage.world.one("select count(*) from pickmyclass.outbox where status in ('pending', 'sending')")
    return not owed and not counts.waiting + counts.leased + counts.delayed


def test_the_log_alone_tells_the_story_of_a_tick(stage: Stage, story: Story) -> None:
    users = [stage.world.add_user() for _ in range(2)]
    for user in users:
        stage.world.add_watch(EVEN, user, since=stage.clock() - timedelta(days=1))
    stage.world.add_watch(ODD, users[0], since=stage.clock() - timedelta(days=1))
    _baselines(stage)
    stage.show(EVEN, seats_available=2)

    answer = stage.ask(cron_tick, query={"group": "all"}, headers={"X-Request-Id": "request-1"})
    work_until_done(stage)

    tick = story.line("tick done")
    assert tick["request_id"] == "request-1"
    assert tick["tick_id"] == answer.get_json()["tick_id"]
    assert tick["enqueued"] == 2
    change = story.line("change committed")
    assert {name: change[name] for name in ("tick_id", "term", "class_nbr", "events", "emails")} == {
        "tick_id": tick["tick_id"],
        "term": EVEN.term,
        "class_nbr": EVEN.class_nbr,
        "events": ["seat_available"],
        "emails": 2,
    }
    mail = story.line("mail accepted")
    assert {name: mail[name] for name in ("tick_id", "term", "class_nbr", "kind", "emails")} == {
        "tick_id": tick["tick_id"],
        "term": EVEN.term,
        "class_nbr": EVEN.class_nbr,
        "kind": "seat_available",
        "emails": 2,
    }
    assert len(stage.inbox.addresses()) == 2
    _assert_nothing_is_given_away(stage, story)


def test_a_check_that_fails_tells_which_section_of_which_tick(stage: Stage, story: Story) -> None:
    stage.world.add_watch(EVEN, since=stage.clock() - timedelta(days=1))
    stage.scraper_fails("token", count=None)
    tick_id = stage.ask(cron_tick, query={"group": "all"}).get_json()["tick_id"]
    work_until_done(stage)
    for message in ("check refused", "check failed"):
        line = story.line(message)
        assert (line["tick_id"], line["term"], line["class_nbr"]) == (tick_id, EVEN.term, EVEN.class_nbr)
    assert "SCRAPER_SECRET_TOKEN" in story.line("check failed")["error"]
    _assert_nothing_is_given_away(stage, story)


def test_every_line_is_one_json_object_with_time_level_and_logger(story: Story) -> None:
    logging.getLogger("x").info("two\nlines", extra={"more": {"a": 1}})
    (line,) = story.lines()
    assert {"time", "level", "logger", "message"} <= set(line)
    assert len(story.text.splitlines()) == 1


def test_addresses_become_fingerprints_wherever_they_stand(story: Story) -> None:
    log = logging.getLogger("x")
    try:
        raise ValueError("no such user: jane.doe@example.edu")
    except ValueError:
        log.exception("failed for %s", "jane.doe@example.edu", extra={"who": "Jane.Doe@example.edu"})
    with logs.bind(user="jane.doe@example.edu"):
        log.info("bound")
    assert "@" not in story.text
    assert story.text.count(logs.fingerprint("jane.doe@example.edu")) >= 4


def test_secrets_are_blotted_out_wherever_they_stand(story: Story) -> None:
    log = logging.getLogger("x")
    try:
        raise ValueError(f"cannot connect with {TOKEN}")
    except ValueError:
        log.exception("key %s", KEY, extra={"url": "redis://:hunter22@127.0.0.1:6379/0"})
    for secret in (TOKEN, KEY, "hunter22"):
        assert secret not in story.text
    assert "127.0.0.1:6379" in story.text


def test_what_a_line_says_itself_goes_before_what_is_bound(story: Story) -> None:
    with logs.bind(tick_id="bound"):
        logging.getLogger("x").info("mine", extra={"tick_id": "own"})
        logging.getLogger("x").info("theirs")
    assert [line["tick_id"] for line in story.lines()] == ["own", "bound"]


def _baselines(stage: Stage) -> None:
    """Both sections have been seen before."""
    stage.clock.at -= timedelta(minutes=5)
    for section in (EVEN, ODD):
        stage.parts.checker.check(CheckOrder(section, 60))
    stage.clock.at += timedelta(minutes=5)


def _assert_nothing_is_given_away(stage: Stage, story: Story) -> None:
    for (address,) in stage.world.rows("select email from auth.users"):
        assert address not in story.text
    assert "@example" not in story.text
    for secret in (SECRET, TOKEN, KEY, "unsubscribe-secret", stage.environment["REDIS_URL"]):
        assert secret not in story.text
