"""A whole project behind one address: Auth under /auth/v1, Realtime under /realtime/v1, a PostgREST under /rest/v1."""

from __future__ import annotations

import time
from collections.abc import Callable

import requests

from workshop.parts.web import Answer, Request, Server, json_answer
from workshop.supabase.accounts import Accounts
from workshop.supabase.auth import AuthApp
from workshop.supabase.letters import Send
from workshop.supabase.realtime import Realtime
from workshop.supabase.sessions import ACCESS_SECONDS, Sessions

_PASSED_ON = ("authorization", "content-type", "accept", "prefer", "content-profile", "accept-profile")


class Project:
    """Auth and Realtime over the Postgres at `database_url`. Use it as a context manager, or `start` and `stop`."""

    def __init__(
        self,
        database_url: str,
        send: Send,
        *,
        anon_key: str,
        site_url: str,
        port: int = 0,
        clock: Callable[[], float] = time.time,
        access_seconds: int = ACCESS_SECONDS,
        mail_interval: float = 1.0,
        rest: str | None = None,
    ) -> None:
        """`send` brings Auth's mails away; `anon_key` is the project's public key, `site_url` where its mails lead.

        `rest` is the address of a PostgREST that answers below `/rest/v1`; without one nothing does.
        """
        self._rest = rest
        self.server = Server(self._answer, port, websocket=lambda connection: self.realtime.serve(connection))
        self.anon_key = anon_key
        self.accounts = Accounts(database_url, clock)
        self.sessions = Sessions(f"{self.url}/auth/v1", clock, access_seconds=access_seconds)
        self.auth = AuthApp(
            self.accounts,
            self.sessions,
            send,
            clock,
            anon_key=anon_key,
            site_url=site_url,
            mail_interval=mail_interval,
        )
        self.realtime = Realtime(database_url, self.sessions.read, clock, anon_key=anon_key)

    @property
    def url(self) -> str:
        """The project's address."""
        return self.server.url

    def close(self) -> None:
        """Close what is open to the database and to clients; the server is stopped by whoever started it."""
        self.realtime.stop()
        self.accounts.close()

    def __enter__(self) -> Project:
        self.server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.server.stop()

    def _answer(self, request: Request) -> Answer:
        if request.path.startswith("/auth/v1/"):
            return self.auth(request, request.path.removeprefix("/auth/v1"))
        if self._rest and request.path.startswith("/rest/v1/"):
            return _passed_on(request, self._rest)
        return json_answer({"message": "no Route matched with those values"}, 404)


def _passed_on(request: Request, rest: str) -> Answer:
    """What the PostgREST at `rest` answers."""
    answer = requests.request(
        request.method,
        rest + request.path,
        params=dict(request.query),
        data=request.body,
        headers={name: request.headers[name] for name in _PASSED_ON if name in request.headers},
        timeout=30,
    )
    return Answer(answer.status_code, answer.content, answer.headers.get("Content-Type", "application/json"))
