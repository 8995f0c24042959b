"""Which student asks: a Supabase access token, as a bearer or in the site's own cookie."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from flask import Request

from shared.parts import Parts
from shared.redis import RedisError
from shared.settings import Settings
from shared.students.jwks import KeysUnavailableError
from shared.students.rate_limit import RateLimiter
from shared.students.tokens import access_tokens
from shared.web.auth import bearer_token
from shared.web.replies import ReplyError

log = logging.getLogger(__name__)

MAX_CHUNKS = 16
_COOKIE = re.compile(r"sb-[A-Za-z0-9-]+-auth-token")


@dataclass(frozen=True, slots=True)
class User:
    """A student who may act, with the room that is left for watches."""

    id: str
    watches: int
    max_watches: int


def refusal(error: str, status: int, headers: Mapping[str, str] | None = None) -> ReplyError:
    """An error in the shape that the site's own routes have always had: `{error}`."""
    return ReplyError(status, {"error": error}, headers)


def require_user(request: Request, parts: Parts, *, costly: bool = False) -> User:
    """The student who asks. `costly`: the request makes the scraper work, which is rationed more tightly.

    Raises 401 for whoever shows no good token, shows the cookie from another site, or has no active account;
    429 with `Retry-After` for whoever asks too often; 500 when nothing is configured to verify a token with.
    """
    token = bearer_token(request) or _cookie_token(request, parts.settings)
    if token is None:
        raise _unauthorized()
    tokens = access_tokens(parts.settings)
    if tokens is None:
        raise refusal("Server configuration error", 500)
    try:
        user_id = tokens.user_id(token)
    except KeysUnavailableError:
        raise refusal("Sign-in cannot be verified right now", 503, {"Retry-After": "30"}) from None
    if user_id is None:
        raise _unauthorized()
    _ration(user_id, parts, costly=costly)
    account = parts.database.call("pmc_read_user", p_user_id=user_id)
    if not account["active"]:
        raise _unauthorized()
    return User(user_id, account["watches"], account["max_watches"])


def _unauthorized() -> ReplyError:
    return refusal("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})


def _ration(user_id: str, parts: Parts, *, costly: bool) -> None:
    """Count the request. Without Redis it passes: what is costly meets the breaker next, which then refuses."""
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
    if request.method not in ("GET", "HEAD") and not _is_same_origin(request, settings):
        return None
    for name in _cookie_names(request.cookies, settings):
        token = _access_token(_joined(request.cookies, name))
        if token:
            return token
    return None


def _is_same_origin(request: Request, settings: Settings) -> bool:
    """Whether the browser says that a page of ours sent this; other sites can set neither header."""
    origin = request.headers.get("Origin")
    if origin is None:
        return request.headers.get("Sec-Fetch-Site") == "same-origin"
    site = urlsplit(settings.site_url or "")
    return origin in (f"{site.scheme}://{site.netloc}", f"http://{request.host}", f"https://{request.host}")


def _cookie_names(cookies: Mapping[str, str], settings: Settings) -> list[str]:
    """`sb-<ref>-auth-token`: the ref is the first label of the project's address; unknown, any will do.

    It is the token's signature that convinces, not the cookie's name.
    """
    if settings.supabase_url:
        ref = (urlsplit(settings.supabase_url).hostname or "").partition(".")[0]
        return [f"sb-{ref}-auth-token"]
    found = (_COOKIE.match(name) for name in cookies)
    return sorted({match[0] for match in found if match})


def _joined(cookies: Mapping[str, str], name: str) -> str:
    """The cookie's value: whole, or in numbered chunks up to the first that is missing."""
    if cookies.get(name):  # an empty one is what is left where chunks have taken its place
        return cookies[name]
    chunks = []
    for number in range(MAX_CHUNKS):
        chunk = cookies.get(f"{name}.{number}")
        if chunk is None:
            break
        chunks.append(chunk)
    return "".join(chunks)


def _access_token(value: str) -> str | None:
    """The access token inside: base64url of the session's JSON, or (older clients) the JSON itself."""
    session: Any = None
    for text in (_decoded(value.removeprefix("base64-")), unquote(value)):
        try:
            session = json.loads(text)
        except (ValueError, RecursionError):
            continue
        break
    token = session.get("access_token") if isinstance(session, dict) else session
    if isinstance(session, list):
        token = session[0] if session else None
    return token if isinstance(token, str) and token else None


def _decoded(value: str) -> str:
    try:
        raw = value.encode("ascii")
        return base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)).decode()
    except (binascii.Error, UnicodeError):
        return ""
