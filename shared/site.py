"""The frame of every page: who looks at it, its forms, its way of saying what went wrong.

    @functions_framework.http
    @site_door("GET", "POST")
    def dashboard(caller: Caller) -> Response: ...

Inside, a function asks `caller` who is there, calls one flow and shows a page; what it raises becomes a page here.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit
from zoneinfo import ZoneInfo

from flask import Request, Response

from shared.sections.section import Section
from shared.settings import SettingsError
from shared.students.auth_service import AuthUnavailableError
from shared.students.cookies import cookie_names, outdated_names, session_name, written_session
from shared.students.jwks import KeysUnavailableError
from shared.students.sessions import Visit
from shared.students.users import is_same_origin, ration
from shared.web.doors import Function, door
from shared.web.pages import site_page
from shared.web.replies import failure
from shared.web.routes import BESIDE_A_SITE
from shared.wiring import Wiring, wiring

VERIFIER, NEXT = "pickmyclass-verifier", "pickmyclass-next"
"""Cookies of whoever waits for a sign-in mail: what its link is finished with, and where to go then."""

COOKIE_SECONDS = 400 * 24 * 3600
"""As long as browsers keep one; the session in it ends when Supabase says so."""

_NOWHERE = "This page does not exist, or not for you."
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class Turned(Exception):  # noqa: N818 - not an error: the caller is sent somewhere else
    """Raised inside a page to answer with another one at once."""

    def __init__(self, response: Response) -> None:
        super().__init__(response.status)
        self.response = response


class Caller:
    """Whoever asks for a page, once a request."""

    def __init__(self, request: Request, parts: Wiring) -> None:
        self.request, self.parts = request, parts
        self.start = request.script_root
        """Where the pages begin: empty, or what every path of ours is to be prefixed with."""
        self._visit: Visit | None = None
        self._account: dict[str, Any] = {}
        self._cookies: dict[str, tuple[str, int]] = {}  # name -> value, seconds

    # Who it is

    def visit(self) -> Visit:
        """The signed-in student; everybody else is sent to sign in, and then back to here."""
        if self._visit is None:
            found = self.parts.sessions.find(self.request.cookies, self.parts.settings)
            if found is None:
                self.forget_session()
                raise Turned(self.go("/login", next=self.here()))
            ration(found.user_id, self.parts, costly=False)
            self._visit = found
            if found.renewed:
                self.keep_session(found.renewed)
        return self._visit

    def read(self, function: str, **arguments: Any) -> dict[str, Any]:
        """What a SQL function says of the student who asks, when their account may act; else another page."""
        visit = self.visit()
        answer: dict[str, Any] = self.parts.database.call(
            function, p_user_id=visit.user_id, **arguments, p_now=self.parts.clock()
        )
        self._account = answer["account"]
        if self._account["standing"] == "active" and self._account["has_agreed"]:
            return answer
        if self.request.path != "/welcome":
            raise Turned(self.go("/welcome", next=self.here()))
        return answer

    def may_be_signed_in(self) -> bool:
        """Whether the browser holds a session, good or not: enough to offer the way in or the way on."""
        names = cookie_names(self.request.cookies, self.parts.settings)
        return any(f"{name}{end}" in self.request.cookies for name in names for end in ("", ".0"))

    # What it sent

    def here(self) -> str:
        """The path and query of this page, for coming back."""
        query = self.request.query_string.decode("latin-1")
        path = self.request.path if self.request.method != "POST" else "/dashboard"
        return f"{path}?{query}" if query and self.request.method != "POST" else path

    def next_path(self) -> str:
        """Where the caller wanted to go: a path of this site and nothing else."""
        return same_site_path(self.request.values.get("next", ""), "/dashboard")

    def kept_next(self) -> str:
        """Where the caller wanted to go when the mail was asked for, when that was in this browser."""
        return same_site_path(unquote(self.request.cookies.get(NEXT, "")), "/dashboard")

    @property
    def zone(self) -> ZoneInfo:
        """The university's time zone."""
        return ZoneInfo(self.parts.settings.cron_timezone)

    def match(self, pattern: str) -> re.Match[str]:
        """The words of the path; another path is a page that does not exist."""
        found = re.fullmatch(pattern, self.request.path)
        if found is None:
            raise failure(_NOWHERE, 404)
        return found

    def require_same_site(self) -> None:
        """Raise 403 unless a page of this site sent the form."""
        if not is_same_origin(self.request, self.parts.settings):
            raise failure("This form came from another site, so nothing was done. Go back and try again.", 403)

    def form(self) -> dict[str, str]:
        """What the signed-in student sent, when it is from a page of this session."""
        self.require_same_site()
        given = self.request.form.get("token", "")
        if not hmac.compare_digest(given.encode(), self.form_token().encode()):
            raise failure("This page is from another session, so nothing was done. Go back and reload it.", 403)
        return {name: value.strip() for name, value in self.request.form.items()}

    def form_token(self) -> str:
        """Shows that a form is from a page of ours which this very session was given."""
        return _signed(self.parts, f"form:{self.visit().session_id}")

    # What it gets

    def page(self, template: str, status: int = 200, **words: Any) -> Response:
        """A page with the site's frame around it."""
        return site_page(
            template,
            status,
            settings=self.parts.settings,
            start=self.start,
            path=self.request.path,
            signed_in=self._visit is not None or self.may_be_signed_in(),
            form_token=self.form_token() if self._visit else "",
            account=self._account,
            **words,
        )

    def go(self, path: str, **query: str) -> Response:
        """303 to a path of ours. `next` goes along only when it says something."""
        query = {name: value for name, value in query.items() if (name, value) != ("next", "/dashboard")}
        address = f"{self.start}{path}{'?' if query else ''}{urlencode(query)}"
        return Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})

    def keep_session(self, session: Mapping[str, Any]) -> None:
        """Let the browser hold this session."""
        name = self._session_name()
        kept = written_session(session, name)
        self._cookies |= {one: (value, COOKIE_SECONDS) for one, value in kept.items()}
        self._cookies |= dict.fromkeys(outdated_names(self.request.cookies, name, kept), ("", 0))

    def forget_session(self) -> None:
        """Let the browser forget what it holds of a session."""
        self._cookies |= dict.fromkeys(outdated_names(self.request.cookies, self._session_name(), {}), ("", 0))

    def enter(self, session: Mapping[str, Any], path: str) -> Response:
        """Signed in: the browser holds the session from now on, and goes to `path`."""
        if self.parts.sessions.visit_of(dict(session)) is None:
            raise AuthUnavailableError("a session that cannot be verified")
        self.keep_session(session)
        self.keep(VERIFIER, "", 0)
        self.keep(NEXT, "", 0)
        return self.go(path)

    def keep_next(self, path: str) -> None:
        """Remember where to go after the mailed link was followed."""
        self.keep(NEXT, quote(path), 3600)

    def keep(self, name: str, value: str, seconds: int) -> None:
        """Let the browser hold a word of ours for so long; 0 seconds: no longer."""
        self._cookies[name] = (value, seconds)

    def leave(self, response: Response) -> Response:
        """The answer with the cookies that came together."""
        secure = (urlsplit(self.parts.settings.site_url or "").hostname or "") not in _LOOPBACK
        for name, (value, seconds) in self._cookies.items():
            response.set_cookie(name, value, max_age=seconds, httponly=True, secure=secure, samesite="Lax", path="/")
        return response

    def _session_name(self) -> str:
        return session_name(self.parts.settings.supabase_url or "")


def site_door(*methods: str) -> Callable[[Callable[[Caller], Response]], Function]:
    """Wrap a page: as `door`, but what goes wrong is said on a page."""

    def wrap(function: Callable[[Caller], Response]) -> Function:
        @wraps(function)
        @door(*methods, tell=_told)
        def answer(request: Request) -> Response:
            caller = Caller(request, wiring())
            try:
                response = function(caller)
            except Turned as turn:
                response = turn.response
            except (AuthUnavailableError, KeysUnavailableError):
                words = "Signing in does not work right now. Your watches and mails are not affected. Try again soon."
                raise failure(words, 503, {"Retry-After": "30"}) from None
            return caller.leave(response)

        return answer

    return wrap


def same_site_path(text: str, default: str) -> str:
    """`text` when it is a path of this site, however browsers read it; else `default`."""
    # A browser takes backslashes for slashes, and drops tabs and line breaks before it reads an address.
    if not re.fullmatch(r"/(?![/\\])[!-\[\]-~]{0,500}", text):
        return default
    return default if re.match(r"/(login|register|logout|auth/)", text) else text


def wanted_section(words: Mapping[str, str]) -> Section | None:
    """The section that `term` and `class_nbr` name, when they can be one."""
    term, class_nbr = words.get("term", ""), words.get("class_nbr", "")
    good = re.fullmatch(r"[0-9]{4}", term) and re.fullmatch(r"[0-9]{5}", class_nbr)
    return Section(term, class_nbr) if good else None


def new_secret() -> str:
    """A word that nobody guesses."""
    return secrets.token_urlsafe(32)


def _signed(parts: Wiring, words: str) -> str:
    key = parts.settings.unsubscribe_signing_secret
    if key is None:
        raise SettingsError([parts.settings.problem("UNSUBSCRIBE_SIGNING_SECRET")])
    return hmac.new(key.encode(), words.encode(), hashlib.sha256).hexdigest()[:32]


def _told(body: Mapping[str, Any], status: int, headers: Mapping[str, str] | None = None) -> Response:
    """An error as a page. Its words are those of the JSON body, which are for people as well."""
    try:
        settings = wiring().settings
    except SettingsError:
        return Response(str(body["error"]), status, dict(headers or {}), mimetype="text/plain")
    response = site_page(
        "error.html",
        status,
        settings=settings,
        start=BESIDE_A_SITE if settings.site_upstream else "",
        path="",
        signed_in=False,
        form_token="",
        account={},
        words=str(body["error"]),
    )
    response.headers.update(dict(headers or {}))
    return response
