"""What people see of the looks: since when a section was open at most, how late that was seen, how long rounds take."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from shared.checks.check import CheckError, CheckOrder
from shared.mail.send import send_due_mail
from shared.sections.section import Section
from shared.students.cards import Card, card_of
from tests.support.stage import EVEN, ODD, Stage


def check(stage: Stage, section: Section = EVEN) -> None:
    stage.parts.checker.check(CheckOrder(section, 60, now=stage.clock()))


def card(stage: Stage) -> Card:
    """The card of the only watch."""
    (user,) = stage.world.rows("select user_id from public.class_watches")[0]
    told = stage.parts.database.call("pmc_read_dashboard", p_user_id=str(user), p_now=stage.clock())
    return card_of(told["cards"][0], stage.clock(), ZoneInfo("America/Phoenix"))


@pytest.fixture
def opened(stage: Stage) -> Stage:
    """A section that opened within the last four minutes."""
    stage.clock.at = stage.clock.at.replace(hour=22, minute=26, second=0, microsecond=0) - timedelta(days=1)
    stage.world.add_watch(EVEN)
    check(stage)
    stage.clock.forward(minutes=4)
    stage.show(seats_available=2)
    check(stage)
    return stage


def test_the_mail_says_within_what_time_it_opened(opened: Stage) -> None:
    send_due_mail(opened.parts.mail, "a mailer")
    (mail,) = opened.inbox.app.mailbox.mails()
    assert "between 3:26 PM and 3:30 PM MST" in mail.body["text"]
    assert "between 3:26 PM and 3:30 PM MST" in mail.body["html"]


def test_the_card_says_when_it_was_seen_and_when_it_was_last_seen_full(opened: Stage) -> None:
    shown = card(opened)
    assert shown.full is not None
    assert shown.seen is not None
    assert ("3:26" in shown.full.exact, "3:30" in shown.seen.exact) == (True, True)
    opened.show(seats_available=0)
    check(opened)
    assert card(opened).full is None


def test_the_bound_on_the_delay_of_the_days_openings_is_from_last_seen_full_to_seen_open(opened: Stage) -> None:
    def bound() -> Any:
        return opened.parts.database.call("pmc_read_health", p_now=opened.clock())["opening_bound"]

    assert bound() == {"count": 1, "p50_seconds": 240, "p95_seconds": 240}
    opened.clock.forward(hours=25)
    assert bound()["count"] == 0


def rounds(stage: Stage) -> Any:
    return stage.parts.database.call("pmc_read_health", p_now=stage.clock())["round"]


def begin(stage: Stage) -> None:
    """What a new database holds."""
    with psycopg.connect(stage.environment["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("insert into pickmyclass.look_scheduler default values on conflict do nothing")


def plan(stage: Stage) -> None:
    answer = stage.parts.database.call(
        "pmc_take_looks", p_worker="one", p_lease_seconds=60.0, p_since=stage.clock(), p_all=False,
        p_timezone="America/Phoenix", p_now=stage.clock(),
    )  # fmt: skip
    assert answer["leased"]


def test_a_round_ends_when_every_section_was_looked_at_since_it_began(stage: Stage) -> None:
    begin(stage)
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    assert rounds(stage) == {"seconds": None, "usual_seconds": None, "age_seconds": None}
    plan(stage)
    stage.clock.forward(minutes=1)
    check(stage)
    plan(stage)
    assert (rounds(stage)["seconds"], rounds(stage)["age_seconds"]) == (None, 60), "one of two"
    stage.clock.forward(minutes=4)
    check(stage, ODD)
    plan(stage)
    assert rounds(stage) == {"seconds": 300, "usual_seconds": 300, "age_seconds": 0}
    stage.clock.forward(hours=10)
    for section in (EVEN, ODD):
        check(stage, section)
    plan(stage)
    assert rounds(stage) == {"seconds": 36_000, "usual_seconds": 360, "age_seconds": 0}, "one long round is not usual"


def test_a_section_that_cannot_be_looked_at_holds_no_round_up(stage: Stage) -> None:
    begin(stage)
    for section in (EVEN, ODD):
        stage.world.add_watch(section)
    for section in (EVEN, ODD):
        check(stage, section)
    plan(stage)
    stage.clock.forward(minutes=5)
    check(stage)
    stage.parts.checker.give_up(ODD, stage.clock() + timedelta(seconds=1), CheckError("down", retry=True))
    plan(stage)
    assert rounds(stage)["seconds"] == 300
