"""Supabase Auth over HTTP (`/auth/v1`), as far as its documentation and its source say what a client meets.

https://github.com/supabase/auth/blob/master/openapi.yaml
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from workshop.parts.web import Answer, Request, json_answer
from workshop.supabase import letters
from workshop.supabase.accounts import Accounts
from workshop.supabase.sessions import AuthProblem, Sessions

OTP_SECONDS = 3600
_NAMED_CODES = "2024-01-01"
"""From this version on an error's code is a word."""
_BY_CODE = AuthProblem(403, "otp_expired", "Token has expired or is invalid")
_BY_LINK = AuthProblem(403, "otp_expired", "Email link is invalid or has expired")


@dataclass(slots=True)
class _Otp:
    """A mail that signs in once: by its six digits or by its link."""

    user_id: str
    kind: str
    code: str
    link: str
    until: float
    challenge: str | None


@dataclass(frozen=True, slots=True)
class _Flow:
    """A sign-in by link that the browser which asked for it has still to finish (PKCE)."""

    user_id: str
    challenge: str
    until: float


class AuthApp:
    """Answers the requests under `/auth/v1` of one project."""

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        send: letters.Send,
        clock: Callable[[], float],
        *,
        anon_key: str,
        site_url: str,
        mail_interval: float = 1.0,
    ) -> None:
        """`anon_key` is what every call must show; `mail_interval`: seconds between two mails to one person."""
        self.accounts, self.sessions, self._send_mail, self._clock = accounts, sessions, send, clock
        self._anon_key, self._site_url, self._mail_interval = anon_key, site_url, mail_interval
        self._otps: dict[str, _Otp] = {}  # by user: the latest mail counts
        self._mailed_at: dict[str, float] = {}
        self._flows: dict[str, _Flow] = {}
        self._lock = threading.Lock()
        self.down = False
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", "/otp"): self._otp,
            ("POST", "/magiclink"): self._otp,
            ("POST", "/recover"): self._recover,
            ("POST", "/verify"): self._verify,
            ("GET", "/verify"): self._follow_link,
            ("POST", "/token"): self._token,
            ("GET", "/user"): self._user,
            ("PUT", "/user"): self._change_user,
            ("POST", "/logout"): self._logout,
            ("GET", "/settings"): lambda _: json_answer({"external": {"email": True}, "disable_signup": False}),
            ("GET", "/health"): lambda _: json_answer({"name": "GoTrue", "version": "stand-in"}),
        }

    def __call__(self, request: Request, path: str) -> Answer:
        """Answer one request; `path` is what comes after `/auth/v1`."""
        if self.down:
            return json_answer({"message": "name resolution failed"}, 503)
        if path == "/.well-known/jwks.json":
            return json_answer(self.sessions.keys())
        key = request.headers.get("apikey") or request.query.get("apikey")
        if (request.method, path) != ("GET", "/verify") and key != self._anon_key:  # a link in a mail shows no key
            return json_answer({"message": "Invalid API key" if key else "No API key found in request"}, 401)
        route = self._routes.get((request.method, path))
        if route is None:
            return _error(request, AuthProblem(404, "not_found", "Requested path is not found"))
        try:
            return route(request)
        except AuthProblem as problem:
            return _error(request, problem)

    def _otp(self, request: Request) -> Answer:
        fields = request.fields()
        email = _address(fields)
        user_id = self.accounts.find(email)
        if user_id is None:
            if fields.get("create_user", True) is False:
                raise AuthProblem(422, "otp_disabled", "Signups not allowed for otp")
            user_id = self.accounts.create(email, fields.get("data") or {})
        self._mail(user_id, email, "email", fields, request.query)
        return json_answer({})

    def _recover(self, request: Request) -> Answer:
        fields = request.fields()
        email = _address(fields)
        user_id = self.accounts.find(email)
        if user_id is not None:  # the answer does not tell
            self._mail(user_id, email, "recovery", fields, request.query)
        return json_answer({})

    def _mail(self, user_id: str, email: str, kind: str, fields: Mapping[str, Any], query: Mapping[str, str]) -> None:
        now = self._clock()
        with self._lock:
            wait = self._mailed_at.get(user_id, float("-inf")) + self._mail_interval - now
            if wait > 0:
                words = f"For security purposes, you can only request this after {int(wait) + 1} seconds."
                raise AuthProblem(429, "over_email_send_rate_limit", words)
            self._mailed_at[user_id] = now
            challenge = fields.get("code_challenge") or None
            link = ("pkce_" if challenge else "") + secrets.token_hex(28)
            otp = _Otp(user_id, kind, f"{secrets.randbelow(10**6):06}", link, now + OTP_SECONDS, challenge)
            self._otps[user_id] = otp
        back = query.get("redirect_to") or self._site_url
        link_type = "recovery" if kind == "recovery" else "magiclink"
        question = urlencode({"token": otp.link, "type": link_type, "redirect_to": back})
        subject, content = letters.write(
            kind,
            {
                "Email": email,
                "Token": otp.code,
                "TokenHash": otp.link,
                "SiteURL": self._site_url,
                "RedirectTo": back,
                "ConfirmationURL": f"{self.sessions.issuer}/verify?{question}",
            },
        )
        self._send_mail(email, subject, content)

    def _verify(self, request: Request) -> Answer:
        fields = request.fields()
        if fields.get("type") not in ("email", "magiclink", "signup", "recovery", "invite", "email_change"):
            raise AuthProblem(400, "validation_failed", "Verify requires a verification type")
        if fields.get("token_hash"):
            if fields.get("token") or fields.get("email"):
                raise AuthProblem(400, "validation_failed", "Only the token_hash and type should be provided")
            otp = self._spend(lambda one: secrets.compare_digest(one.link, str(fields["token_hash"])), _BY_LINK)
        else:
            user_id = self.accounts.find(_address(fields))
            code = str(fields.get("token") or "")
            otp = self._spend(
                lambda one: one.user_id == user_id and secrets.compare_digest(one.code.encode(), code.encode()),
                _BY_CODE,
            )
        return json_answer(self.sessions.begin(self.accounts.has_signed_in(otp.user_id), "otp"))

    def _follow_link(self, request: Request) -> Answer:
        """The link of a project's standard mail: to where the caller wanted, with a session or a code for one."""
        back = request.query.get("redirect_to") or self._site_url
        try:
            otp = self._spend(lambda one: secrets.compare_digest(one.link, request.query.get("token", "")), _BY_LINK)
        except AuthProblem as problem:
            said = {"error": "access_denied", "error_code": problem.code, "error_description": problem.message}
            return Answer(303, headers={"Location": f"{back}#{urlencode({**said, 'sb': ''})}"})
        if otp.challenge:
            code = secrets.token_urlsafe(24)
            with self._lock:
                self._flows[code] = _Flow(otp.user_id, otp.challenge, self._clock() + 300)
            joint = "&" if "?" in back else "?"
            return Answer(303, headers={"Location": f"{back}{joint}{urlencode({'code': code})}"})
        session = self.sessions.begin(self.accounts.has_signed_in(otp.user_id), "otp")
        shown = {name: session[name] for name in ("access_token", "expires_at", "expires_in", "refresh_token")}
        more = {**shown, "sb": "", "token_type": "bearer", "type": request.query.get("type", "magiclink")}
        return Answer(303, headers={"Location": f"{back}#{urlencode(more)}"})

    def _spend(self, is_it: Callable[[_Otp], bool], refused: AuthProblem) -> _Otp:
        """The mail that was meant, once; it is worth nothing afterwards."""
        with self._lock:
            for user_id, otp in self._otps.items():
                if is_it(otp) and self._clock() < otp.until:
                    del self._otps[user_id]
                    return otp
        raise refused

    def _token(self, request: Request) -> Answer:
        fields, kind = request.fields(), request.query.get("grant_type")
        if kind == "password":
            user_id = self.accounts.check_password(_address(fields), str(fields.get("password") or ""))
            user = self.accounts.user(user_id)
            if not user["email_confirmed_at"]:
                raise AuthProblem(400, "email_not_confirmed", "Email not confirmed")
            return json_answer(self.sessions.begin(self.accounts.has_signed_in(user_id), "password"))
        if kind == "refresh_token":
            token = str(fields.get("refresh_token") or "")
            return json_answer(self.sessions.refresh(token, self.accounts.user(self.sessions.user_of(token))))
        if kind == "pkce":
            return self._finish_flow(str(fields.get("auth_code") or ""), str(fields.get("code_verifier") or ""))
        raise AuthProblem(400, "validation_failed", "unsupported_grant_type")

    def _finish_flow(self, code: str, verifier: str) -> Answer:
        with self._lock:
            flow = self._flows.get(code)
            if flow is None:
                raise AuthProblem(404, "flow_state_not_found", "invalid flow state, no valid flow state found")
            if self._clock() >= flow.until:
                raise AuthProblem(422, "flow_state_expired", "invalid flow state, flow state has expired")
            digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
            if not secrets.compare_digest(digest, flow.challenge):
                words = "code challenge does not match previously saved code verifier"
                raise AuthProblem(400, "bad_code_verifier", words)
            del self._flows[code]
        return json_answer(self.sessions.begin(self.accounts.has_signed_in(flow.user_id), "otp"))

    def _user(self, request: Request) -> Answer:
        return json_answer(self.accounts.user(self._claims(request)["sub"]))

    def _change_user(self, request: Request) -> Answer:
        claims, fields = self._claims(request), request.fields()
        password = fields.get("password")
        data = fields.get("data") or {}
        return json_answer(self.accounts.change(claims["sub"], password=password, data=data))

    def _logout(self, request: Request) -> Answer:
        scope = request.query.get("scope", "global")
        if scope not in ("global", "local", "others"):
            raise AuthProblem(400, "validation_failed", f"Unsupported logout scope: {scope}")
        self.sessions.end(self._claims(request)["session_id"], scope)
        return Answer(204)

    def _claims(self, request: Request) -> dict[str, Any]:
        if request.bearer is None:
            raise AuthProblem(401, "no_authorization", "This endpoint requires a valid Bearer token")
        return self.sessions.verify(request.bearer)


def _address(fields: Mapping[str, Any]) -> str:
    email = fields.get("email")
    if not isinstance(email, str) or "@" not in email:
        raise AuthProblem(400, "validation_failed", "Unable to validate email address: invalid format")
    return email.strip()


def _error(request: Request, problem: AuthProblem) -> Answer:
    """In the shape of the version that the client asked for."""
    if request.headers.get("x-supabase-api-version", "") >= _NAMED_CODES:
        told = {"X-Supabase-Api-Version": _NAMED_CODES}  # clients read the body by what is said here
        return json_answer({"code": problem.code, "message": problem.message}, problem.status, told)
    body = {"code": problem.status, "error_code": problem.code, "msg": problem.message}
    return json_answer(body, problem.status)
