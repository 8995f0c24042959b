"""The whole product in this process: real Postgres and Redis, a campus and an inbox over HTTP, a clock in hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from flask import Request, Response
from werkzeug.test import EnvironBuilder

import huey_app
from shared import wiring
from shared.durations import Durations
from shared.sections.section import Section
from shared.settings import load
from shared.wiring import Wiring
from tests.support.mail import KEY, Inbox
from tests.support.ops import Hand
from tests.support.term import TERM
from tests.support.world import World
from workshop.campus.campus import Campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Course, Timeline, Values
from workshop.campus.server import CampusApp
from workshop.parts.redis import EmbeddedRedis
from workshop.parts.web import Server

EVEN, ODD = Section(TERM, "12340"), Section(TERM, "12341")
TOKEN, SECRET = "scraper-token", "the-secret-of-operators"
COURSE = Course("CSE", "110", "Principles of Programming", "Coor Hall 170", "M W 9:00 AM - 10:15 AM")


class Stage:
    """Everything a test of a whole function can touch."""

    def __init__(self, parts: Wiring, environment: dict[str, str], clock: Hand, world: World) -> None:
        self.parts, self.environment, self.clock, self.world = parts, environment, clock, world
        self.campus: CampusApp
        self.inbox: Inbox
        self.redis: EmbeddedRedis

    def show(self, section: Section = EVEN, **values: Any) -> None:
        """What the campus says of a section from now on: seats_available, instructor, missing …"""
        self.campus.campus.set_by_hand(section.class_nbr, values)

    def scraper_fails(self, kind: str, count: int | None = 1, **options: Any) -> None:
        """The next `count` look-ups go wrong in this way."""
        self.campus.faults.add({"kind": kind, "count": count, **options})

    def ask(
        self,
        function: Callable[[Request], Response],
        *,
        method: str = "GET",
        body: Any = None,
        secret: str | None = SECRET,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Response:
        """One request to a function, as the operator unless `secret` is `None`."""
        sent = dict(headers or {})
        if secret is not None:
            sent.setdefault("Authorization", f"Bearer {secret}")
        builder = EnvironBuilder(method=method, json=body, query_string=query, headers=sent)
        return function(Request(builder.get_environ()))

    def rewire(self, **changes: str | None) -> Wiring:
        """The process's parts anew with other settings; `None` takes one away."""
        environment = {name: value for name, value in {**self.environment, **changes}.items() if value is not None}
        self.parts.close()
        self.parts = Wiring(load(environment, None), clock=self.clock, durations=Durations(retry_base=0.01))
        wiring.use(self.parts)
        return self.parts


@contextmanager
def consuming(parts: Wiring) -> Iterator[None]:
    """The product's consumer, in threads of this process."""
    consumer = huey_app.build(parts, replay=True)
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        consumer.request_stop()
        thread.join(30)
    assert not thread.is_alive()


@pytest.fixture
def stage(postgres_url: str, postgres: psycopg.Connection[Any], ops_redis: EmbeddedRedis) -> Iterator[Stage]:
    """The product with two sections, both full and taught by Staff."""
    timelines = [Timeline(s.class_nbr, COURSE, [(0, Values("Staff", 0, 30))]) for s in (EVEN, ODD)]
    campus, inbox = CampusApp(Campus(TERM, timelines, VirtualClock(1)), TOKEN), Inbox()
    with Server(campus) as campus_server, inbox.server as inbox_server:
        environment = {
            "DATABASE_URL": postgres_url,
            "REDIS_URL": ops_redis.url,
            "SCRAPER_URL": campus_server.url,
            "LOOKS_PER_MINUTE": "0",
            "SCRAPER_SECRET_TOKEN": TOKEN,
            "CRON_SECRET": SECRET,
            "UNSUBSCRIBE_SIGNING_SECRET": "unsubscribe-secret",
            "SITE_URL": "https://example.edu",
            "RESEND_API_KEY": KEY,
            "RESEND_API_URL": inbox_server.url,
            "NOTIFICATION_FROM_EMAIL": "PickMyClass <hello@example.edu>",
        }
        clock = Hand()
        stage = Stage(Wiring(load(environment, None), clock=clock), environment, clock, World(postgres))
        stage.campus, stage.inbox, stage.redis = campus, inbox, ops_redis
        wiring.use(stage.parts)
        yield stage
        wiring.use(None)
        stage.parts.close()
        campus.stop()
