"""Signing in: by a mailed code or link, or by a password that is not guessed.

What is answered never depends on whether an address has an account.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.redis import Redis, RedisError
from shared.students.auth_service import AuthRefusedError, AuthService
from shared.students.rate_limit import RateLimiter

log = logging.getLogger(__name__)

MAILS_A_MINUTE = 3
"""To one address; whoever asks for more is answered as always, and nothing is sent."""

TRIES_A_MINUTE = 10
"""Of codes for one address: a six-digit code that is good for an hour takes years to guess."""

_ADDRESS = re.compile(r"[^\s@<>\"(),:;\\]{1,64}@[^\s@<>\"(),:;\\]{1,189}\.[^\s@<>\"(),:;\\.]{2,}")


class LockedError(Exception):
    """Too many wrong passwords for this address: nobody gets in with one until `until`."""

    def __init__(self, until: datetime) -> None:
        super().__init__(f"locked until {until:%H:%M}")
        self.until = until


class TooOftenError(Exception):
    """Too many tries in a minute."""


def read_address(text: str) -> str | None:
    """An address in small letters, or `None` for what cannot be one."""
    address = text.strip().lower()
    return address if len(address) <= 254 and _ADDRESS.fullmatch(address) else None


@dataclass(frozen=True, slots=True)
class SigningIn:
    """Everything but the session's cookie; safe to share between threads.

    Raises what `AuthService` raises, and `DatabaseError`.
    """

    auth: AuthService
    database: DatabaseCalls
    redis: Redis
    prefix: str
    clock: Clock

    def mail(self, email: str, *, is_new: bool, back_to: str, challenge: str) -> None:
        """Mail code and link. `is_new`: the person agreed to the terms, so an address without account gets one."""
        if self._may("mail", email, MAILS_A_MINUTE):
            agreed = self.clock().isoformat() if is_new else None
            self.auth.send_mail(email, may_create=is_new, agreed_at=agreed, back_to=back_to, challenge=challenge)

    def mail_recovery(self, email: str, *, back_to: str, challenge: str) -> None:
        """Mail code and link to whoever forgot the password."""
        if self._may("mail", email, MAILS_A_MINUTE):
            self.auth.send_recovery(email, back_to=back_to, challenge=challenge)

    def by_code(self, email: str, code: str, kind: str) -> dict[str, Any]:
        """The session for a mailed code. Raises `TooOftenError`."""
        if not self._may("code", email, TRIES_A_MINUTE):
            raise TooOftenError
        return self._agreed(self.auth.verify_code(email, code, kind))

    def by_link(self, token_hash: str, kind: str) -> dict[str, Any]:
        """The session for a mailed link."""
        return self._agreed(self.auth.verify_link(token_hash, kind))

    def by_return(self, code: str, verifier: str) -> dict[str, Any]:
        """The session for what a project's standard link brought back."""
        return self._agreed(self.auth.finish(code, verifier))

    def by_password(self, email: str, password: str) -> dict[str, Any]:
        """The session for a password. The fifth wrong one locks the address for a while. Raises `LockedError`."""
        self._require_unlocked(email, "ask")
        try:
            session = self.auth.sign_in(email, password)
        except AuthRefusedError:
            self._require_unlocked(email, "failed")
            raise
        self._require_unlocked(email, "succeeded")
        return session

    def _require_unlocked(self, email: str, outcome: str) -> None:
        answer = self.database.call("pmc_count_login", p_email=email, p_outcome=outcome, p_now=self.clock())
        if answer["locked_until"]:
            raise LockedError(datetime.fromisoformat(answer["locked_until"]))

    def _agreed(self, session: dict[str, Any]) -> dict[str, Any]:
        """A new account says that its owner agreed to the terms when it was asked for: now that is written down."""
        user = session.get("user") or {}
        if (user.get("user_metadata") or {}).get("agreed_at") and isinstance(user.get("id"), str):
            self.database.call("pmc_agree", p_user_id=user["id"], p_now=self.clock())
        return session

    def _may(self, what: str, email: str, per_minute: int) -> bool:
        """Whether there is a turn left. Without Redis there is: Supabase has limits of its own."""
        name = hashlib.sha256(email.encode()).hexdigest()[:24]  # no address in Redis
        try:
            return not RateLimiter(self.redis, self.prefix).take(f"{what}:{name}", per_minute)
        except RedisError as error:
            log.warning("signing in is not rationed", extra={"error": type(error).__name__})
            return True
