"""Which student asks: a Supabase access token, as a bearer or in the site's own cookie."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from flask import Request

from shared.parts import Parts
from shared.redis import RedisError
from shared.settings import Settings
from shared.students.cookies import cookie_names, read_session
from shared.students.jwks import KeysUnavailableError
from shared.students.rate_limit import RateLimiter
from shared.students.tokens import AccessTokens
from shared.web.auth import bearer_token
from shared.web.outputs import Refusal
from shared.web.replies import ReplyError

log = logging.getLogger(__name__)


class StudentParts(Parts, Protocol):
    """A process's parts, with what verifies students' tokens; `None`: nothing is configured to."""

    @property
    def access_tokens(self) -> AccessTokens | None: ...


@dataclass(frozen=True, slots=True)
class User:
    """A student who may act, with the room that is left for watches."""

    id: str
    watches: int
    max_watches: int


def refusal(error: str, status: int, headers: Mapping[str, str] | None = None) -> ReplyError:
    """An error in the shape that the site's own routes have always had: `{error}`."""
    return ReplyError(status, Refusal(error=error), headers)


def require_user(request: Request, parts: StudentParts, *, costly: bool = False) -> User:
    """The student who asks. `costly`: the request makes the scraper work, which is rationed more tightly.

    Raises 401 for whoever shows no good token, shows the cookie from another site, or has no active account;
    429 with `Retry-After` for whoever asks too often; 500 when nothing is configured to verify a token with.
    """
    token = bearer_token(request) or _cookie_token(request, parts.settings)
    if token is None:
        raise _unauthorized()
    tokens = parts.access_tokens
    if tokens is None:
        raise refusal("Server configuration error", 500)
    try:
        user_id = tokens.user_id(token)
    except KeysUnavailableError:
        raise refusal("Sign-in cannot be verified right now", 503, {"Retry-After": "30"}) from None
    if user_id is None:
        raise _unauthorized()
    return require_user_id(user_id, parts, costly=costly)


def require_user_id(user_id: str, parts: Parts, *, costly: bool = False) -> User:
    """The student whose token was verified, when the account may act and does not ask too often; raises as above."""
    ration(user_id, parts, costly=costly)
    account = parts.database.call("pmc_read_user", p_user_id=user_id)
    if not account["active"]:
        raise _unauthorized()
    return User(user_id, account["watches"], account["max_watches"])


def _unauthorized() -> ReplyError:
    return refusal("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})


def ration(user_id: str, parts: Parts, *, costly: bool) -> None:
    """Count the request; raises the answer 429 with `Retry-After` for one too many.

    Without Redis it passes: what is costly meets the breaker next, which then refuses.
    """
    settings = parts.settings
    kind, limit = (
        ("lookup", settings.user_lookups_per_minute) if costly else ("request", settings.user_requests_per_minute)
    )
    try:
        wait = RateLimiter(parts.redis, settings.redis_prefix).take(f"{kind}:{user_id}", limit)
    except RedisError as error:
        log.warning("requests are not rationed", extra={"error": type(error).__name__})
        return
    if wait:
        seconds = max(1, math.ceil(wait))
        raise refusal(f"Too many requests. Try again in {seconds}s", 429, {"Retry-After": str(seconds)})


def _cookie_token(request: Request, settings: Settings) -> str | None:
    """The access token in the site's cookie; on writes only when the request comes from the site itself.

    A bearer header, even a bad one, is what the caller chose to show: then the cookie is not looked at.
    """
    if "Authorization" in request.headers:
        return None
    if request.method not in ("GET", "HEAD") and not is_same_origin(request, settings):
        return None
    for name in cookie_names(request.cookies, settings):
        session = read_session(request.cookies, name)
        if session:
            return str(session["access_token"])
    return None


def is_same_origin(request: Request, settings: Settings) -> bool:
    """Whether the browser says that a page of ours sent this; other sites can set neither header."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    site = urlsplit(settings.site_url or "")
    return origin in (f"{site.scheme}://{site.netloc}", f"http://{request.host}", f"https://{request.host}")
