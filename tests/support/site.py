"""The whole bundle behind one door: real database, Redis, campus and inbox, and students with tokens."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import psycopg
import pytest
from werkzeug.test import Client, TestResponse

from shared import wiring
from shared.database import connect_postgres
from shared.sections.section import Section
from shared.settings import load
from shared.web.host import build
from shared.wiring import Wiring
from tests.support.mail import KEY, Inbox
from tests.support.term import TERM
from tests.support.world import World
from workshop.campus.campus import Campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Course, Timeline, Values
from workshop.campus.server import CampusApp
from workshop.inbox.limits import Limits
from workshop.inbox.mailbox import Mailbox
from workshop.inbox.server import InboxApp
from workshop.parts.redis import EmbeddedRedis
from workshop.parts.web import Server

SECRET = "the-secret-of-operators"
SITE = "https://site.example.edu"
PROJECT = "http://abcdefgh.supabase.test"
JWT_SECRET = "a-jwt-secret-of-at-least-32-characters"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NUMBERS = [str(number) for number in range(12431, 12451)]
SECTIONS = [Section(TERM, number) for number in NUMBERS]


@dataclass(slots=True)
class Site:
    """The bundle as a caller meets it, and hands in everything around it."""

    client: Client
    parts: Wiring
    world: World
    campus: CampusApp
    inbox: Inbox
    redis: EmbeddedRedis
    environment: dict[str, str]

    def ask(self, method: str, path: str, *, user: str | None = None, **words: Any) -> TestResponse:
        """One request; `user` shows that student's token, `bearer` any other."""
        headers = dict(words.pop("headers", {}))
        bearer = words.pop("bearer", None)
        if user is not None:
            bearer = token(user)
        if bearer is not None:
            headers["Authorization"] = f"Bearer {bearer}"
        return self.client.open(path, method=method, headers=headers, **words)

    def watch(self, user: str, section: Section = SECTIONS[0]) -> TestResponse:
        """Ask to watch a section."""
        body = {"term": section.term, "class_nbr": section.class_nbr}
        return self.ask("POST", "/api/class-watches", user=user, json=body)

    def set(self, section: Section, **values: Any) -> None:
        """Let the campus show these values of a section from now on."""
        self.campus.campus.set_by_hand(section.class_nbr, values)

    def misbehave(self, kind: str, **words: Any) -> None:
        """Let the campus go wrong in this way."""
        self.campus.faults.add({"kind": kind, **words})

    def restart(self, **environment: str | None) -> None:
        """New parts from changed settings (None: not set)."""
        self.parts.close()
        self.environment |= {name: value or "" for name, value in environment.items()}
        self.parts = Wiring(load(self.environment, None))
        wiring.use(self.parts)

    def lose_database(self) -> None:
        """New parts whose database cannot be reached; they do not wait for it as long as they would."""
        self.restart(DATABASE_URL="postgresql://nobody:hunter2@127.0.0.1:1/none")
        self.parts.__dict__["database"] = connect_postgres(self.environment["DATABASE_URL"], timeout=0.2)


def claims(user: str, **changed: Any) -> dict[str, Any]:
    """What Supabase writes into an access token; `None` leaves a claim out."""
    now = int(time.time())
    standard = {
        "sub": user,
        "aud": "authenticated",
        "iss": f"{PROJECT}/auth/v1",
        "exp": now + 3600,
        "iat": now,
        "role": "authenticated",
    }
    return {name: value for name, value in (standard | changed).items() if value is not None}


def token(user: str, **changed: Any) -> str:
    """A student's access token, signed with the project's secret."""
    return jwt.encode(claims(user, **changed), JWT_SECRET, algorithm="HS256")


def cookie(access_token: str) -> str:
    """The site's cookie around an access token, as the site writes it."""
    session = json.dumps({"access_token": access_token, "refresh_token": "r", "user": {"id": str(uuid.uuid4())}})
    return "base64-" + base64.urlsafe_b64encode(session.encode()).decode().rstrip("=")


def timelines() -> list[Timeline]:
    """Twenty full sections taught by Staff."""
    course = Course("CSE", "110", "Principles of Programming", "BYAC 110", "MWF 9:00")
    return [Timeline(number, course, [(0, Values("Staff", 0, 30))]) for number in NUMBERS]


@pytest.fixture(scope="session")
def site_redis() -> Iterator[EmbeddedRedis]:
    """One Redis for the tests of this kind."""
    with EmbeddedRedis() as server:
        yield server


@pytest.fixture(scope="session")
def site_client() -> Client:
    """All functions behind their routes; they find their parts through the wiring of the test."""
    return Client(build(), use_cookies=False)


class Town:
    """The services outside, kept for the session; each test gets an empty inbox and a campus of its own."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.renew()
        self.campus_server = Server(lambda request: self.campus(request))

    def renew(self) -> None:
        """Everything as on the first day."""
        self.inbox.app = InboxApp(KEY, Mailbox(), Limits(100_000))
        self.inbox.requests.clear()
        self.campus = CampusApp(Campus(TERM, timelines(), VirtualClock(int(time.time() * 1000))), "scraper-token")


@pytest.fixture(scope="session")
def town() -> Iterator[Town]:
    """Campus and inbox, over HTTP."""
    one = Town()
    with one.campus_server, one.inbox.server:
        yield one


@pytest.fixture
def site(
    postgres_url: str, postgres: psycopg.Connection[Any], site_redis: EmbeddedRedis, site_client: Client, town: Town
) -> Iterator[Site]:
    """Everything fresh, with twenty full sections."""
    site_redis.flush()
    town.renew()
    environment = {
        "DATABASE_URL": postgres_url,
        "REDIS_URL": site_redis.url,
        "SUPABASE_URL": PROJECT,
        "SUPABASE_SERVICE_ROLE_KEY": "service-role-key",
        "DATABASE_TRANSPORT": "postgres",
        "SUPABASE_JWT_SECRET": JWT_SECRET,
        "SCRAPER_URL": town.campus_server.url,
        "LOOKS_PER_MINUTE": "0",
        "SCRAPER_SECRET_TOKEN": "scraper-token",
        "CRON_SECRET": SECRET,
        "UNSUBSCRIBE_SIGNING_SECRET": "unsubscribe-secret",
        "SITE_URL": SITE,
        "RESEND_API_KEY": KEY,
        "RESEND_API_URL": town.inbox.server.url,
        "RESEND_WEBHOOK_SECRET": WEBHOOK_SECRET,
        "NOTIFICATION_FROM_EMAIL": "PickMyClass <hello@example.edu>",
    }
    parts = Wiring(load(environment, None))
    wiring.use(parts)
    one = Site(site_client, parts, World(postgres), town.campus, town.inbox, site_redis, environment)
    yield one
    wiring.use(None)
    one.parts.close()
    town.campus.stop()
    town.inbox.app.stop()
