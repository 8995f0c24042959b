"""People of a project: who exists is written in `auth.users`; what Supabase keeps beside that is kept in memory."""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import psycopg

from workshop.supabase.sessions import AuthProblem

LEAST_PASSWORD = 6


@dataclass(slots=True)
class _More:
    """What is known of a person beside the row in the database. `confirmed_at`, `signed_in_at`: ISO 8601."""

    metadata: dict[str, Any] = field(default_factory=dict)
    password: tuple[bytes, bytes] | None = None  # salt, hash
    confirmed_at: str | None = None
    signed_in_at: str | None = None


class Accounts:
    """The people of one project. For any thread."""

    def __init__(self, database_url: str, clock: Callable[[], float]) -> None:
        """Connect to the Postgres of the project as its owner; `clock` gives epoch seconds."""
        self._connection: psycopg.Connection[Any] = psycopg.connect(database_url, autocommit=True, connect_timeout=10)
        self._clock = clock
        self._more: dict[str, _More] = {}
        self._lock = threading.RLock()

    def find(self, email: str) -> str | None:
        """The id of the account with this address."""
        row = self._connection.execute(
            "select id::text from auth.users where lower(email) = lower(%s)", [email]
        ).fetchone()
        return row[0] if row else None

    def create(self, email: str, metadata: dict[str, Any]) -> str:
        """A new account, not confirmed yet; its id. Of two at once for one address the second finds the first's."""
        with self._lock:
            self._connection.execute(
                "insert into auth.users (email) values (%s) on conflict do nothing", [email.lower()]
            )
            user_id = self.find(email)
            assert user_id is not None
            self._more[user_id] = _More(metadata=dict(metadata))
            return user_id

    def user(self, user_id: str) -> dict[str, Any]:
        """The account as Auth's answers show it; raises `AuthProblem` when it is gone."""
        row = self._connection.execute(
            "select email, created_at, updated_at from auth.users where id = %s", [user_id]
        ).fetchone()
        if row is None:
            raise AuthProblem(403, "user_not_found", "User from sub claim in JWT does not exist")
        more = self._more_of(user_id)
        identity = {
            "identity_id": user_id,
            "id": user_id,
            "user_id": user_id,
            "provider": "email",
            "identity_data": {"email": row[0], "sub": user_id},
            "email": row[0],
            "last_sign_in_at": more.signed_in_at,
            "created_at": row[1].isoformat(),
            "updated_at": row[2].isoformat(),
        }
        return {
            "id": user_id,
            "aud": "authenticated",
            "role": "authenticated",
            "email": row[0],
            "email_confirmed_at": more.confirmed_at,
            "phone": "",
            "confirmed_at": more.confirmed_at,
            "last_sign_in_at": more.signed_in_at,
            "app_metadata": {"provider": "email", "providers": ["email"]},
            "user_metadata": dict(more.metadata),
            "identities": [identity],
            "created_at": row[1].isoformat(),
            "updated_at": row[2].isoformat(),
            "is_anonymous": False,
        }

    def has_signed_in(self, user_id: str) -> dict[str, Any]:
        """Note a sign-in, which by mail also confirms the address; the account afterwards."""
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat()
        with self._lock:
            more = self._more_of(user_id)
            more.signed_in_at, more.confirmed_at = now, more.confirmed_at or now
        return self.user(user_id)

    def check_password(self, email: str, password: str) -> str:
        """The id of the account that has this password; raises `AuthProblem`, the same for unknown addresses."""
        user_id = self.find(email)
        known = self._more_of(user_id).password if user_id else None
        salt, right = known or (b"", b"")
        if user_id is None or not secrets.compare_digest(_hashed(salt, password), right):
            raise AuthProblem(400, "invalid_credentials", "Invalid login credentials")
        return user_id

    def change(self, user_id: str, *, password: str | None, data: dict[str, Any]) -> dict[str, Any]:
        """Set a password and what the person says of themselves; raises `AuthProblem` for a weak or the same one."""
        with self._lock:
            more = self._more_of(user_id)
            if password is not None:
                if len(password) < LEAST_PASSWORD:
                    words = f"Password should be at least {LEAST_PASSWORD} characters."
                    raise AuthProblem(422, "weak_password", words)
                if more.password and secrets.compare_digest(_hashed(more.password[0], password), more.password[1]):
                    words = "New password should be different from the old password."
                    raise AuthProblem(422, "same_password", words)
                salt = secrets.token_bytes(16)
                more.password = (salt, _hashed(salt, password))
            more.metadata |= data
        return self.user(user_id)

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()

    def _more_of(self, user_id: str) -> _More:
        with self._lock:
            return self._more.setdefault(user_id, _More())


def _hashed(salt: bytes, password: str) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=2**10, r=8, p=1)
