"""Sessions and their tokens, with the rules of Supabase Auth: rotation, reuse within an interval, families that end."""

from __future__ import annotations

import json
import secrets
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ACCESS_SECONDS = 3600
REUSE_SECONDS = 10.0


class AuthProblem(Exception):  # noqa: N818 - what the caller did wrong
    """An answer of Auth's other than success: HTTP status, its code and its words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class Session:
    """One sign-in of one person, and how it was done."""

    id: str
    user_id: str
    method: str
    begun: float


@dataclass(slots=True)
class _RefreshToken:
    session_id: str
    used_at: float | None = None


class Sessions:
    """All sessions of a project, in memory. For any thread."""

    def __init__(self, issuer: str, clock: Callable[[], float], *, access_seconds: int = ACCESS_SECONDS) -> None:
        """`issuer` is the address of Auth; `clock` gives epoch seconds; access tokens live `access_seconds`."""
        self.issuer, self.access_seconds, self._clock = issuer, access_seconds, clock
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._key_id = str(uuid.uuid4())
        self._sessions: dict[str, Session] = {}
        self._refresh: dict[str, _RefreshToken] = {}
        self._current: dict[str, str] = {}  # session -> the refresh token that was handed out last
        self._lock = threading.Lock()

    def keys(self) -> dict[str, Any]:
        """The public keys, as `/.well-known/jwks.json` shows them."""
        key = json.loads(ECAlgorithm.to_jwk(self._key.public_key()))
        return {"keys": [{**key, "kid": self._key_id, "alg": "ES256", "use": "sig", "key_ops": ["verify"]}]}

    def begin(self, user: Mapping[str, Any], method: str) -> dict[str, Any]:
        """A new session of `user`, as its client gets it."""
        with self._lock:
            session = Session(str(uuid.uuid4()), user["id"], method, self._clock())
            self._sessions[session.id] = session
            return self._hand_out(session, user)

    def user_of(self, refresh_token: str) -> str:
        """Whose refresh token that is; raises `AuthProblem` when it is nobody's."""
        with self._lock:
            return self._session_of(refresh_token).user_id

    def refresh(self, refresh_token: str, user: Mapping[str, Any]) -> dict[str, Any]:
        """The next tokens of a session.

        A token that was used already gives the session's current one for `REUSE_SECONDS`, so that two tabs at once
        both go on; later it shows that somebody copied it, and the session ends.
        """
        with self._lock:
            session, token = self._session_of(refresh_token), self._refresh[refresh_token]
            now = self._clock()
            if token.used_at is None:
                token.used_at = now
                return self._hand_out(session, user)
            if now - token.used_at <= REUSE_SECONDS:
                return self._answer(session, user, self._current[session.id])
            self._end(session)
        raise AuthProblem(400, "refresh_token_already_used", "Invalid Refresh Token: Already Used")

    def verify(self, access_token: str) -> dict[str, Any]:
        """The claims of an access token of a session that stands; raises `AuthProblem`."""
        claims = self.read(access_token)
        with self._lock:
            if claims["session_id"] not in self._sessions:
                raise AuthProblem(403, "session_not_found", "Session from session_id claim in JWT does not exist")
        return claims

    def read(self, access_token: str) -> dict[str, Any]:
        """The claims of an access token by its signature alone; raises `AuthProblem`."""
        try:
            public = self._key.public_key()
            claims: dict[str, Any] = jwt.decode(
                access_token, public, algorithms=["ES256"], audience="authenticated", issuer=self.issuer
            )
        except jwt.ExpiredSignatureError:
            raise AuthProblem(403, "bad_jwt", "invalid JWT: token has invalid claims: token is expired") from None
        except jwt.PyJWTError:
            words = "invalid JWT: unable to parse or verify signature"
            raise AuthProblem(403, "bad_jwt", words) from None
        return claims

    def end(self, session_id: str, scope: str) -> None:
        """Sign out: `global` ends every session of the person, `local` this one, `others` all but this one."""
        with self._lock:
            user_id = self._sessions[session_id].user_id
            for session in [one for one in self._sessions.values() if one.user_id == user_id]:
                if scope == "global" or (session.id == session_id) == (scope == "local"):
                    self._end(session)

    def _session_of(self, refresh_token: str) -> Session:
        token = self._refresh.get(refresh_token)
        if token is None:
            raise AuthProblem(400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found")
        return self._sessions[token.session_id]

    def _end(self, session: Session) -> None:
        del self._sessions[session.id]
        self._refresh = {text: one for text, one in self._refresh.items() if one.session_id != session.id}

    def _hand_out(self, session: Session, user: Mapping[str, Any]) -> dict[str, Any]:
        token = secrets.token_urlsafe(16)
        self._refresh[token] = _RefreshToken(session.id)
        self._current[session.id] = token
        return self._answer(session, user, token)

    def _answer(self, session: Session, user: Mapping[str, Any], refresh_token: str) -> dict[str, Any]:
        now = int(self._clock())
        claims = {
            "iss": self.issuer,
            "sub": session.user_id,
            "aud": "authenticated",
            "exp": now + self.access_seconds,
            "iat": now,
            "email": user["email"],
            "phone": "",
            "app_metadata": user["app_metadata"],
            "user_metadata": user["user_metadata"],
            "role": "authenticated",
            "aal": "aal1",
            "amr": [{"method": session.method, "timestamp": int(session.begun)}],
            "session_id": session.id,
            "is_anonymous": False,
        }
        return {
            "access_token": jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self._key_id}),
            "token_type": "bearer",
            "expires_in": self.access_seconds,
            "expires_at": now + self.access_seconds,
            "refresh_token": refresh_token,
            "user": user,
        }
