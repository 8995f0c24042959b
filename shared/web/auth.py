"""Who asks: the operator's bearer token, compared in constant time (O13)."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from flask import Request

from shared.settings import Settings
from shared.settings_values import LOOPBACK
from shared.web.replies import failure


def bearer_token(request: Request) -> str | None:
    """The token of `Authorization: Bearer <token>`; the scheme word may be in any case (RFC 9110)."""
    scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
    return token.strip() or None if scheme.casefold() == "bearer" else None


def is_operator(request: Request, cron_secret: str) -> bool:
    """Whether the caller holds one of the secrets in `cron_secret` (two, comma-separated, while rotating)."""
    token = bearer_token(request)
    return token is not None and _is_secret(token.encode("latin-1"), cron_secret)  # WSGI: a header's bytes as text


def is_operator_in_browser(request: Request, cron_secret: str) -> bool:
    """The same for a browser, which cannot send a bearer: the secret is the password (RFC 7617), the name any.

    Only for pages that show and change nothing: a browser sends the password along whoever made it ask.
    """
    given = request.authorization
    if given is None or given.type != "basic":
        return False
    return _is_secret((given.password or "").encode(), cron_secret)


def _is_secret(given: bytes, cron_secret: str) -> bool:
    matches = [hmac.compare_digest(given, secret.strip().encode()) for secret in cron_secret.split(",")]
    return any(matches)


def require_operator(request: Request, settings: Settings, refusal: str = "Unauthorized") -> None:
    """Raise the answer 500 when no secret is configured, 401 with `refusal` when the caller does not hold it."""
    if settings.cron_secret is None:
        raise failure("Server configuration error", 500)
    if not is_operator(request, settings.cron_secret):
        raise failure(refusal, 401, {"WWW-Authenticate": "Bearer"})


def is_local(request: Request) -> bool:
    """Whether the caller is on this machine and came directly.

    A proxy in front says whom it speaks for, and one that does not passes on the name that its own caller asked for.
    """
    asked_for = urlsplit(f"//{request.host}").hostname
    forwarded = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via"))
    return request.remote_addr in ("127.0.0.1", "::1") and asked_for in LOOPBACK and not forwarded
