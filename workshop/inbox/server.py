"""Resend's API as far as mail goes, truthfully, and `/control/` for whoever plays with it.

`POST /emails/batch` takes 1 to 100 emails, `POST /emails` one. An `Idempotency-Key` answers the same request the
same again for a day. Errors look like Resend's: `{statusCode, name, message}`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from typing import Any

from workshop.inbox.letters import problem_with, recipients
from workshop.inbox.limits import Limits
from workshop.inbox.mailbox import KeyBusy, KeyReused, Mailbox, Replay
from workshop.inbox.webhooks import EVENTS, Courier
from workshop.parts.faults import Fault, Faults, Kinds
from workshop.parts.web import Answer, BadRequest, Request, json_answer, page_answer

LARGEST_BATCH = 100
FAULTS: Kinds = {
    "error": {"status": 500, "accepted": False},
    "hang": {"seconds": 120.0, "accepted": False},
    "cut": {"accepted": False},
    "nonsense": {"accepted": False},
    "rate_limit": {"retry_after": 1},
    "quota": {"period": ("daily", "monthly")},
    "missing_key": {},
    "forbid": {"name": ("invalid_api_key", "validation_error")},
    "invalid": {"message": "Invalid `from` field."},
    "concurrent": {},
    "reject": {"message": "Invalid `to` field. The address does not exist."},
}
_WHOLE_CALL = FAULTS.keys() - {"reject"}  # that one is about an address, not about a call


class InboxApp:
    """Answers the requests of one account."""

    def __init__(self, api_key: str, mailbox: Mailbox, limits: Limits, courier: Courier | None = None) -> None:
        """`api_key` is what the account's callers must show; `courier` brings events to their webhook, if any."""
        self.mailbox, self.limits, self._courier = mailbox, limits, courier
        self.faults = Faults(FAULTS)
        self._api_key = api_key
        self._stopping = threading.Event()

    def __call__(self, request: Request) -> Answer:
        """Answer one request."""
        if request.path in ("/emails", "/emails/batch"):
            return self._send(request) if request.method == "POST" else _error(405, "method_not_allowed", "Use POST.")
        if request.path == "/control/faults":
            return self.faults.answer(request)
        if request.path == "/control/emails":
            return self._emails(request)
        if request.path.startswith("/control/emails/"):
            return self._email(request)
        if request.path == "/control/day" and request.method == "POST":
            self.limits.start_a_day()
            return json_answer({"ok": True})
        if request.path == "/health":
            return json_answer({"status": "ok", "accepted": self.mailbox.accepted})
        if request.path == "/" and request.method == "GET":
            return page_answer(files(__package__).joinpath("page.html").read_text())
        return _error(404, "not_found", "The requested endpoint does not exist")

    def stop(self) -> None:
        """Let nobody hang any longer."""
        self._stopping.set()

    def _send(self, request: Request) -> Answer:
        """Who asks, how often, what goes wrong on demand, then the key, then the mails."""
        allowed, headers = self.limits.take_request()
        refused = self._refusal(request, allowed)
        fault = None if refused else self.faults.take(kinds=_WHOLE_CALL)
        answer = refused or self._under_fault(request, fault)
        return answer if answer.cut else replace(answer, headers={**headers, **answer.headers})

    def _refusal(self, request: Request, allowed: bool) -> Answer | None:
        if request.bearer is None:
            return _error(401, "missing_api_key", "Missing API key in the authorization header.")
        if request.bearer != self._api_key:
            return _error(403, "invalid_api_key", "API key is invalid")
        if not allowed:
            rate = self.limits.rate
            return _error(
                429, "rate_limit_exceeded", f"Too many requests. You can only make {rate} requests per second."
            )
        return None

    def _under_fault(self, request: Request, fault: Fault | None) -> Answer:
        """The answer, spoiled as `fault` asks: before or after the mails were accepted."""
        if fault is None:
            return self._under_key(request)
        options = fault.options
        honest = self._under_key(request) if options.get("accepted") else None
        if honest and honest.status >= 400:
            return honest  # refused as it is: nothing was accepted that could be spoiled
        if fault.kind == "hang":
            self._stopping.wait(options["seconds"])
            return honest or Answer(cut=True)
        if fault.kind == "cut":
            return Answer(cut=True)
        if fault.kind == "nonsense":
            return Answer(200, b"<html><body>502 Bad Gateway</body></html>", "text/html")
        return _asked_for(fault)

    def _under_key(self, request: Request) -> Answer:
        """The request once and only once, if it carries a key."""
        key = request.headers.get("idempotency-key")
        if key is None:
            return self._accept(request, None)
        if not 1 <= len(key) <= 256:
            return _error(400, "invalid_idempotency_key", "The key must be between 1-256 chars.")
        try:
            self.mailbox.begin(key, request.path, request.body)
        except Replay as before:
            return json_answer(before.answer)
        except KeyReused:
            message = "Same idempotency key used with a different request payload."
            return _error(409, "invalid_idempotent_request", message)
        except KeyBusy:
            message = "Same idempotency key used while original request is still in progress."
            return _error(409, "concurrent_idempotent_requests", message)
        answer = None
        try:
            answer = self._accept(request, key)
        finally:
            self.mailbox.finish(key, json.loads(answer.body) if answer and answer.status < 300 else None)
        return answer

    def _accept(self, request: Request, key: str | None) -> Answer:
        """Look at every mail, refuse or keep."""
        batch = request.path == "/emails/batch"
        try:
            value = json.loads(request.body)
        except ValueError:
            return _error(422, "validation_error", "The request body is not valid JSON.")
        emails = value if batch else [value]
        if not isinstance(emails, list) or not 1 <= len(emails) <= LARGEST_BATCH:
            return _error(422, "validation_error", f"The batch must hold 1 to {LARGEST_BATCH} emails.")
        problems = {index: problem for index, email in enumerate(emails) if (problem := self._problem(email))}
        permissive = batch and request.headers.get("x-batch-validation", "strict").lower() == "permissive"
        if problems and not permissive:
            problem = next(iter(problems.values()))
            name = "missing_required_field" if problem.startswith("Missing") else "validation_error"
            return _error(422, name, problem)
        good = [email for index, email in enumerate(emails) if index not in problems]
        if not self.limits.take_emails(len(good)):
            return _error(429, "daily_quota_exceeded", "You have reached your daily email sending quota.")
        ids = [{"id": mail_id} for mail_id in self.mailbox.accept(good, key)]
        if not batch:
            return json_answer(ids[0])
        errors = [{"index": index, "message": problem} for index, problem in problems.items()]
        return json_answer({"data": ids, "errors": errors} if permissive else {"data": ids})

    def _problem(self, email: Any) -> str | None:
        """What is wrong with an email, by Resend's rules or because a fault wants its address rejected."""
        problem = problem_with(email)
        if problem:
            return problem
        for address in recipients(email):
            fault = self.faults.take({address}, {"reject"})
            if fault:
                return str(fault.options["message"])
        return None

    def _email(self, request: Request) -> Answer:
        """One mail, or (POST `{event}`) what is to be said to the site's webhook of it."""
        mail = self.mailbox.mail(request.path.rsplit("/", 1)[1])
        if mail is None:
            return _error(404, "not_found", "Email not found")
        if request.method != "POST":
            return json_answer(mail.as_json(full=True) | {"events": list(EVENTS) if self._courier else []})
        event = request.fields().get("event")
        if event not in EVENTS:
            raise BadRequest(f"event must be one of {', '.join(EVENTS)}")
        if self._courier is None:
            raise BadRequest("this inbox knows no webhook: start it with --webhook and --webhook-secret")
        return json_answer({"answered": self._courier.tell(mail, event)})

    def _emails(self, request: Request) -> Answer:
        if request.method == "DELETE":
            self.mailbox.clear()
        query = request.query
        try:
            after, limit = int(query.get("after", "0")), int(query.get("limit", "100000"))
        except ValueError as error:
            raise BadRequest("after and limit must be whole numbers") from error
        mails = self.mailbox.mails(after=after, to=query.get("to", ""), search=query.get("search", ""))
        if query.get("order") == "newest":
            mails = mails[::-1]
        full = query.get("full") == "1"
        shown = [mail.as_json(full=full) for mail in mails[: max(0, limit)]]
        return json_answer({"accepted": self.mailbox.accepted, "found": len(mails), "emails": shown})


def _error(status: int, name: str, message: str, headers: dict[str, str] | None = None) -> Answer:
    return json_answer({"statusCode": status, "name": name, "message": message}, status, headers)


def _asked_for(fault: Fault) -> Answer:
    """The error that a fault asks for, in Resend's words."""
    options = fault.options
    errors: dict[str, Callable[[], Answer]] = {
        "error": lambda: _error(options["status"], "application_error", "An unexpected error occurred."),
        "rate_limit": lambda: _error(
            429, "rate_limit_exceeded", "Too many requests.", {"retry-after": str(options["retry_after"])}
        ),
        "quota": lambda: _error(
            429,
            f"{options['period']}_quota_exceeded",
            f"You have reached your {options['period']} email sending quota.",
        ),
        "missing_key": lambda: _error(401, "missing_api_key", "Missing API key in the authorization header."),
        "forbid": lambda: _error(403, options["name"], "The API key may not do this."),
        "invalid": lambda: _error(422, "validation_error", options["message"]),
        "concurrent": lambda: _error(
            409,
            "concurrent_idempotent_requests",
            "Same idempotency key used while original request is still in progress.",
        ),
    }
    return errors[fault.kind]()
