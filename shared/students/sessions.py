"""A student's session in a browser: found in its cookie, renewed in time, and never by two tabs against each other.

Supabase gives a new refresh token with each renewal, and takes one that was used before (but for a few seconds) as
stolen: it ends the session. Two tabs, or an answer that was lost on its way, show a used one in all innocence. So one
request renews, the others wait for what it got, and for a while whoever still shows the old token is given it too. It
is kept in Redis under the old token's hash, sealed with the old token itself: only who holds that can read it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.redis import Redis, RedisError
from shared.settings import Settings
from shared.students.auth_service import AuthRefusedError, AuthService, AuthUnavailableError
from shared.students.cookies import cookie_names, read_session
from shared.students.tokens import AccessTokens

log = logging.getLogger(__name__)

MARGIN_SECONDS = 60
"""An access token that ends within this time is renewed now."""

KEPT_SECONDS = 600
_TURN_MS = 10_000
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Visit:
    """A browser whose session is good. `expires_at`: Unix seconds, of the access token."""

    user_id: str
    session_id: str
    access_token: str = field(repr=False)
    expires_at: int
    renewed: dict[str, Any] | None = field(default=None, repr=False)
    """The session as the cookie should hold it now; `None` while the one it holds will do."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Finds and renews sessions; safe to share between threads."""

    auth: AuthService
    tokens: AccessTokens
    redis: Redis
    prefix: str
    sleep: Callable[[float], None] = time.sleep

    def find(self, cookies: Mapping[str, str], settings: Settings) -> Visit | None:
        """The session that the cookies hold; `None` when there is none that is still good.

        Raises `AuthUnavailableError` when it must be renewed and cannot be now, `KeysUnavailableError` when it cannot
        be verified.
        """
        for name in cookie_names(cookies, settings):
            session = read_session(cookies, name)
            if session:
                return self._visit(session)
        return None

    def visit_of(self, session: dict[str, Any]) -> Visit | None:
        """The visit that begins with a session which Auth has just given."""
        return self._verified(str(session["access_token"]), session)

    def _visit(self, session: dict[str, Any]) -> Visit | None:
        known = self._verified(str(session["access_token"]), None)
        if known and known.expires_at - time.time() > MARGIN_SECONDS:
            return known
        token = session.get("refresh_token")
        if not isinstance(token, str) or not token:
            return known
        try:
            return self.visit_of(self._renew(token))
        except AuthRefusedError as refusal:
            log.info("session is over", extra={"code": refusal.code})
            return None
        except AuthUnavailableError:
            if known:
                return known  # it is good for another minute
            raise

    def _verified(self, access_token: str, renewed: dict[str, Any] | None) -> Visit | None:
        claims = self.tokens.claims(access_token)
        if claims is None:
            return None
        session_id = str(claims.get("session_id") or claims["sub"])
        return Visit(claims["sub"], session_id, access_token, int(claims["exp"]), renewed)

    def _renew(self, token: str) -> dict[str, Any]:
        key = f"{self.prefix}session:{hashlib.sha256(token.encode()).hexdigest()}"
        try:
            return self._renew_in_turn(key, token)
        except RedisError as error:
            log.warning("sessions are renewed without taking turns", extra={"error": type(error).__name__})
            return self.auth.refresh(token)  # Auth itself allows two within its interval

    def _renew_in_turn(self, key: str, token: str) -> dict[str, Any]:
        for _ in range(round(_TURN_MS / 1000 / _LOOK_SECONDS) + 1):
            if self.redis.set(key, "", nx=True, px=_TURN_MS):
                return self._take_turn(key, token)
            sealed = self.redis.get(key)
            if sealed:
                return _opened(str(sealed), token)
            self.sleep(_LOOK_SECONDS)
        raise AuthUnavailableError("another request renews this session and does not end")

    def _take_turn(self, key: str, token: str) -> dict[str, Any]:
        try:
            session = self.auth.refresh(token)
        except (AuthRefusedError, AuthUnavailableError):
            self.redis.delete(key)
            raise
        self.redis.set(key, _sealed(session, token), ex=KEPT_SECONDS)
        return session


def _sealed(session: dict[str, Any], token: str) -> str:
    from cryptography.fernet import Fernet  # heavy; what verifies tokens loads most of it anyway

    return Fernet(_key_of(token)).encrypt(json.dumps(session).encode()).decode()


def _opened(sealed: str, token: str) -> dict[str, Any]:
    from cryptography.fernet import Fernet

    session: dict[str, Any] = json.loads(Fernet(_key_of(token)).decrypt(sealed.encode()))
    return session


def _key_of(token: str) -> bytes:
    """Not the hash under which it is kept: that stands in Redis for everybody who reads there."""
    return base64.urlsafe_b64encode(hashlib.sha256(b"session " + token.encode()).digest())
