"""A running campus is asked at another of its doors, and at the first again: nobody hears of what is no news."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest

from shared.checks.check import CheckOrder
from shared.mail.send import send_due_mail
from shared.sections.section import Section
from shared.settings import load
from shared.source.answers import Listing
from shared.wiring import Wiring
from tests.support.mail import KEY, Inbox
from tests.support.ops import Hand
from workshop.campus.campus import Campus
from workshop.campus.chance import make_campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import HALF_HOUR_MS
from workshop.campus.server import CampusApp
from workshop.demo.oracle import Look, judge_looks
from workshop.demo.students import make_students, who_is_told
from workshop.parts.redis import EmbeddedRedis
from workshop.parts.registry import Registry
from workshop.parts.web import Server

TERM, TOKEN = "2267", "scraper-token"
START_MS = int(datetime(2026, 11, 20, tzinfo=UTC).timestamp() * 1000)
HOURS = 21


class Town:
    """A campus by chance with people who watch it, and the product, which asks at the door that it is told to."""

    def __init__(self, seed: int, url: str, redis: EmbeddedRedis) -> None:
        self.timelines = make_campus(seed, 16, START_MS, HOURS * 2 * HALF_HOUR_MS)
        self.campus = Campus(TERM, self.timelines, VirtualClock(START_MS))
        self.app, self.inbox, self.clock = CampusApp(self.campus, TOKEN), Inbox(), Hand()
        self.watches = make_students(seed, [one.class_nbr for one in self.timelines], [START_MS])
        self.looks: list[Look] = []
        with Registry(url) as registry:
            registry.sign_up(list({watch.student.user_id: watch.student for watch in self.watches}.values()))
            registry.add_watches(TERM, {one.class_nbr: one.course for one in self.timelines}, self.watches)
        self._closing = ExitStack()
        site = self._closing.enter_context(Server(self.app)).url
        self._environment = {
            "DATABASE_URL": url,
            "REDIS_URL": redis.url,
            "SCRAPER_URL": site,
            "SCRAPER_SECRET_TOKEN": TOKEN,
            "ASU_CATALOG_URL": f"{site}/catalog-microservices/api/v1",
            "SOURCE_CONTACT": "operator@example.edu",
            "CRON_SECRET": "a-secret-of-operators-for-this-test",
            "UNSUBSCRIBE_SIGNING_SECRET": "an-unsubscribe-secret-for-this-test",
            "SITE_URL": "https://example.edu",
            "RESEND_API_KEY": KEY,
            "RESEND_API_URL": self._closing.enter_context(self.inbox.server).url,
            "NOTIFICATION_FROM_EMAIL": "PickMyClass <hello@example.edu>",
        }

    def play(self, hour: int, door: str) -> None:
        """Look at everything at this hour, at this door, with a process that was started for it, and send the mail."""
        now_ms = START_MS + hour * 2 * HALF_HOUR_MS
        self.campus.clock.set(now_ms)
        self.clock.at = datetime.fromtimestamp(now_ms / 1000, UTC)
        parts = Wiring(load(self._environment | {"SOURCE": door}, None), clock=self.clock, replay=True)
        try:
            (self._look_at_listings if door == "asu" else self._look_at_sections)(parts)
            send_due_mail(parts.mail, "mailer")
        finally:
            parts.close()
        self.looks.append(Look(now_ms, [one.class_nbr for one in self.timelines], door))

    def _look_at_sections(self, parts: Wiring) -> None:
        for one in self.timelines:
            parts.checker.check(CheckOrder(Section(TERM, one.class_nbr), 60, now=self.clock()))

    def _look_at_listings(self, parts: Wiring) -> None:
        listings = sorted({Listing(TERM, one.course.subject) for one in self.timelines})
        parts.looker.refresh(listings, self.clock())
        parts.looker.commit([parts.looker.look(one, 60, now=self.clock()) for one in listings], now=self.clock())

    def told(self) -> list[tuple[str, str]]:
        """To whom mail was accepted, and of what."""
        return sorted((mail.body["to"][0], mail.body["subject"]) for mail in self.inbox.app.mailbox.mails())

    def earned(self) -> list[tuple[str, str]]:
        """Whom the campus owes mail for what it showed in these looks."""
        courses = {one.class_nbr: f"{one.course.subject} {one.course.catalog_nbr}" for one in self.timelines}
        words = {"seat_available": "🎉 Seat Available", "instructor_assigned": "👨‍🏫 Instructor Assigned"}
        owed = judge_looks(self.timelines, who_is_told(self.watches), self.looks).owed
        return sorted((one.recipient, f"{words[one.kind]}: {courses[one.class_nbr]} ({one.class_nbr})") for one in owed)

    def close(self) -> None:
        self.app.stop()
        self._closing.close()


@pytest.fixture(params=[3, 11])
def town(request: pytest.FixtureRequest, postgres_url: str, ops_redis: EmbeddedRedis) -> Iterator[Town]:
    town = Town(request.param, postgres_url, ops_redis)
    yield town
    town.close()


def test_from_the_scraper_to_the_catalog_and_back_everybody_gets_what_the_campus_earned_and_no_more(
    town: Town,
) -> None:
    for hour in range(HOURS):
        town.play(hour, "asu" if 7 <= hour < 14 else "scraper")
        told, earned = Counter(town.told()), Counter(town.earned())
        assert (told - earned, earned - told) == (Counter(), Counter()), f"after hour {hour}"
    assert len(town.told()) > 20


def test_sources_that_stand_in_for_each_other_every_hour_tell_nobody_of_the_change(town: Town) -> None:
    for hour in range(8):
        town.play(0, "asu" if hour % 2 else "scraper")
    assert town.told() == []
