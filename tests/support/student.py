"""A browser without a screen in front of the pages, with a Supabase project behind them."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest
from werkzeug.test import Client, TestResponse

from tests.support.site import Site
from workshop.parts.postgrest import EmbeddedPostgrest
from workshop.supabase.project import Project

ANON_KEY = "the-anonymous-key"
ORIGIN = "http://localhost"


@dataclass(slots=True)
class Mail:
    """A sign-in mail."""

    to: str
    html: str

    @property
    def code(self) -> str:
        """Its six digits."""
        found = re.search(r">([0-9]{6})<", self.html)
        assert found
        return found[1]

    @property
    def link(self) -> str:
        """Path and query of its link."""
        found = re.search(r'href="([^"]+)"', self.html)
        assert found
        address = urlsplit(unescape(found[1]))
        return f"{address.path}?{address.query}"


@dataclass(slots=True)
class Later:
    """The project's clock: so many seconds ahead of ours."""

    seconds: float = 0

    def __call__(self) -> float:
        """Seconds since 1970."""
        return time.time() + self.seconds


@dataclass(slots=True)
class Door:
    """The pages, the project they sign in at, and its mails."""

    site: Site
    project: Project
    later: Later
    mails: list[Mail] = field(default_factory=list)

    def browser(self) -> Browser:
        """A fresh one."""
        return Browser(self, Client(self.site.client.application, use_cookies=True))

    def student(self, email: str = "ann@example.edu") -> Browser:
        """A browser that has signed in; new addresses agree to the terms."""
        browser = self.browser()
        answer = browser.sign_in(email)
        assert answer.status_code == 303, answer.text
        return browser

    def list_courses(self) -> None:
        """From now on the first source is one that lists whole courses."""
        catalog = f"{self.site.environment['SCRAPER_URL']}/catalog-microservices/api/v1"
        self.site.restart(SOURCE="asu,scraper", ASU_CATALOG_URL=catalog, SOURCE_CONTACT="ops@example.edu")

    def user_id(self, email: str = "ann@example.edu") -> str:
        """Whose address that is."""
        return str(self.site.world.one("select id from auth.users where email = %s", email))


@dataclass(slots=True)
class Browser:
    """Keeps cookies, says where its forms come from, follows nothing by itself."""

    door: Door
    client: Client
    origin: str = ORIGIN

    def get(self, path: str, **headers: str) -> TestResponse:
        """A page."""
        return self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def post(self, path: str, data: dict[str, Any], origin: str | None = "") -> TestResponse:
        """A form as it stands, from our own page, from `origin`, or (`None`) from nobody knows where."""
        origin = self.origin if origin == "" else origin
        return self.client.post(path, data=data, headers={"Origin": origin} if origin else {})

    def send(self, path: str, **fields: Any) -> TestResponse:
        """A form of the page at `path`, with the token that the page has in it."""
        return self.post(path.partition("?")[0], {"token": self.token(path), **fields})

    def token(self, path: str = "/settings") -> str:
        """The token in the forms of a page."""
        found = re.search(r'name="token" value="(\w+)"', self.get(path).text)
        return found[1] if found else ""

    def ask_for_mail(self, email: str, **fields: str) -> TestResponse:
        """The first step of signing in."""
        return self.post("/login", {"step": "mail", "email": email, "agree": "yes", **fields})

    def sign_in(self, email: str) -> TestResponse:
        """Both steps, by the code."""
        self.ask_for_mail(email)
        return self.post("/verify-email", {"email": email, "kind": "email", "code": self.door.mails[-1].code})

    def session(self) -> dict[str, Any]:
        """What the session's cookie holds."""
        value = self.cookie().removeprefix("base64-")
        held: dict[str, Any] = json.loads(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4)))
        return held

    def cookie(self, name: str = "sb-127-auth-token") -> str:
        """A cookie's value, chunks joined; empty when there is none."""
        whole = self.client.get_cookie(name)
        if whole:
            return whole.value
        chunks = (self.client.get_cookie(f"{name}.{number}") for number in range(9))
        return "".join(chunk.value for chunk in chunks if chunk)


@contextmanager
def opened_door(site: Site, postgres_url: str, *, rest: EmbeddedPostgrest | None = None) -> Iterator[Door]:
    """The pages with everything behind them; with `rest`, the database is reached through it."""
    mails: list[Mail] = []
    later = Later()
    project = Project(
        postgres_url,
        lambda to, _subject, content: mails.append(Mail(to, content)),
        anon_key=ANON_KEY,
        site_url=ORIGIN,
        clock=later,
        mail_interval=0,
        rest=rest.url if rest else None,
    )
    with project:
        site.restart(SUPABASE_URL=project.url, SUPABASE_ANON_KEY=ANON_KEY, SUPABASE_JWT_SECRET=None, SITE_URL=ORIGIN)
        if rest:
            site.restart(DATABASE_TRANSPORT="supabase", SUPABASE_SERVICE_ROLE_KEY=rest.service_role_key)
        yield Door(site, project, later, mails)


@pytest.fixture
def door(site: Site, postgres_url: str) -> Iterator[Door]:
    """The pages with everything behind them."""
    with opened_door(site, postgres_url) as one:
        yield one


@pytest.fixture
def door_over_rest(site: Site, postgres_url: str, postgrest: EmbeddedPostgrest) -> Iterator[Door]:
    """The same, with a real PostgREST between the pages and the database."""
    with opened_door(site, postgres_url, rest=postgrest) as one:
        yield one
