"""Supabase Auth over its REST interface: mails that sign in, passwords, tokens, and their end.

https://github.com/supabase/auth/blob/master/openapi.yaml. Each call has one limit of time for all of it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import requests

from shared.exchange import bounded_session

log = logging.getLogger(__name__)

SECONDS = 8.0
MAX_BYTES = 256 * 1024
SILENT = ("otp_disabled", "over_email_send_rate_limit", "signup_disabled", "user_banned", "email_not_confirmed")
"""Refusals that would tell who has an account; whoever asks for a mail is answered as if it had been sent."""

Scope = Literal["local", "global", "others"]


class AuthRefusedError(Exception):
    """Auth said no; `code` is its own word for why (`invalid_credentials`, `otp_expired` …)."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class AuthUnavailableError(Exception):
    """Auth could not be reached, failed, or has too much to do: worth another try in a while."""


@dataclass(frozen=True, slots=True)
class AuthService:
    """One project's Auth. Safe to share between threads. Everything raises both errors of this page.

    A session is the JSON that Auth gives: `access_token`, `refresh_token`, `expires_at` (Unix seconds), `user`.
    """

    url: str
    anon_key: str

    def send_mail(self, email: str, *, may_create: bool, agreed_at: str | None, back_to: str, challenge: str) -> None:
        """Mail a link and a code that sign in. `may_create`: an address that is new gets an account.

        `agreed_at` (ISO 8601) is written into a new account; `back_to` is where a standard link returns, with a code
        for whoever knows what `challenge` was made of. It ends the same whether the address is known or not.
        """
        data = {"agreed_at": agreed_at} if agreed_at else {}
        body = {"email": email, "create_user": may_create, "data": data, **_pkce(challenge)}
        self._silently(f"/otp?{urlencode({'redirect_to': back_to})}", body)

    def send_recovery(self, email: str, *, back_to: str, challenge: str) -> None:
        """Mail a link and a code to whoever forgot the password; the same for addresses that nobody has."""
        self._silently(f"/recover?{urlencode({'redirect_to': back_to})}", {"email": email, **_pkce(challenge)})

    def verify_code(self, email: str, code: str, kind: str) -> dict[str, Any]:
        """The session for the code of a mail of `kind` (email, recovery)."""
        return self._session("/verify", {"type": kind, "email": email, "token": code})

    def verify_link(self, token_hash: str, kind: str) -> dict[str, Any]:
        """The session for the link of a mail."""
        return self._session("/verify", {"type": kind, "token_hash": token_hash})

    def finish(self, code: str, verifier: str) -> dict[str, Any]:
        """The session for what a standard link brought back, when `verifier` made its challenge."""
        return self._session("/token?grant_type=pkce", {"auth_code": code, "code_verifier": verifier})

    def sign_in(self, email: str, password: str) -> dict[str, Any]:
        """The session for a password."""
        return self._session("/token?grant_type=password", {"email": email, "password": password})

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        """The session's next tokens; the one shown is used up by that."""
        return self._session("/token?grant_type=refresh_token", {"refresh_token": refresh_token})

    def set_password(self, access_token: str, password: str) -> None:
        """Give the account a (new) password."""
        self._call("PUT", "/user", {"password": password}, access_token)

    def sign_out(self, access_token: str, scope: Scope) -> None:
        """End this session, all of the person's, or all others. One that has ended already is no error."""
        try:
            self._call("POST", f"/logout?scope={scope}", {}, access_token)
        except AuthRefusedError as refusal:
            log.info("signed out already", extra={"code": refusal.code})

    def _silently(self, path: str, body: dict[str, Any]) -> None:
        try:
            self._call("POST", path, body)
        except AuthRefusedError as refusal:
            if refusal.code not in SILENT:
                raise
            log.info("no sign-in mail", extra={"code": refusal.code})

    def _session(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        session = self._call("POST", path, body)
        if not all(isinstance(session.get(name), str) for name in ("access_token", "refresh_token")):
            raise AuthUnavailableError("an answer without a session")
        return session

    def _call(self, method: str, path: str, body: dict[str, Any], access_token: str | None = None) -> dict[str, Any]:
        headers = {"apikey": self.anon_key, "Authorization": f"Bearer {access_token or self.anon_key}"}
        try:
            with bounded_session(MAX_BYTES) as http:
                response = http.request(
                    method,
                    f"{self.url}/auth/v1{path}",
                    json=body,
                    headers=headers,
                    timeout=SECONDS,
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            log.warning("sign-in service cannot be reached", extra={"error": type(error).__name__})
            raise AuthUnavailableError("unreachable") from None
        return _read(response.status_code, response.content)


def challenge_of(verifier: str) -> str:
    """What may be shown of a `verifier` before it is used (RFC 7636, S256)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")


def _read(status: int, content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content) if content else {}
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise AuthUnavailableError("an answer that is none")
    if status < 300:
        return answer
    code = str(answer.get("error_code") or answer.get("code") or answer.get("error") or status)
    # 401 comes from the gateway before Auth: our key is wrong, which nobody who signs in can help.
    if status == 401 or status >= 500 or code == "over_request_rate_limit":
        log.warning("sign-in service failed", extra={"status": status, "code": code})
        raise AuthUnavailableError(code)
    raise AuthRefusedError(code)


def _pkce(challenge: str) -> dict[str, str]:
    return {"code_challenge": challenge, "code_challenge_method": "s256"}
