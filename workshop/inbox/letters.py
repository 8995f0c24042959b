"""What Resend takes as an email (https://resend.com/docs/api-reference/emails/send-batch-emails)."""

from __future__ import annotations

import re
from typing import Any

_ADDRESS = r"[^\s<>@,;\"]+@[^\s<>@,;\"]+\.[^\s<>@,;\".]+"
_FULL = re.compile(rf"(?:[^<>\r\n]*<({_ADDRESS})>|({_ADDRESS}))")
_FORMAT = "The email address needs to follow the `email@example.com` or `Name <email@example.com>` format."
MOST_RECIPIENTS = 50


def address_of(value: str) -> str:
    """The bare address, in small letters, of `Name <address>` or `address`; the text itself when it is neither."""
    found = _FULL.fullmatch(value.strip())
    return (found.group(1) or found.group(2) if found else value).lower()


def recipients(email: dict[str, Any]) -> list[str]:
    """The bare addresses of the people in `to`."""
    to = email["to"]
    return [address_of(one) for one in ([to] if isinstance(to, str) else to)]


def problem_with(email: Any) -> str | None:
    """What Resend would say is wrong with an email; `None` when it is fine."""
    if not isinstance(email, dict):
        return "Expected an object for each email."
    for name in ("from", "to", "subject"):
        if not email.get(name):
            return f"Missing `{name}` field."
    if not _is_address(email["from"]):
        return f"Invalid `from` field. {_FORMAT}"
    return _problem_with_to(email["to"]) or _problem_with_content(email) or _problem_with_headers(email.get("headers"))


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and _FULL.fullmatch(value.strip()) is not None


def _problem_with_to(to: Any) -> str | None:
    people = [to] if isinstance(to, str) else to
    if not isinstance(people, list) or not all(_is_address(one) for one in people):
        return f"Invalid `to` field. {_FORMAT}"
    return "The `to` field may hold 50 addresses at most." if len(people) > MOST_RECIPIENTS else None


def _problem_with_content(email: dict[str, Any]) -> str | None:
    if not isinstance(email["subject"], str) or "\n" in email["subject"] or "\r" in email["subject"]:
        return "The `\\n` is not allowed in the `subject` field."
    if not any(isinstance(email.get(name), str) and email[name] for name in ("html", "text")):
        return "Missing `html` or `text` field."
    if email.get("attachments") or email.get("scheduled_at"):
        return "Batch emails do not support `attachments` or `scheduled_at`."
    return None


def _problem_with_headers(headers: Any) -> str | None:
    if headers is None:
        return None
    if not isinstance(headers, dict):
        return "The `headers` field must be an object."
    for name, value in headers.items():
        if not isinstance(value, str) or "\n" in value or "\r" in value:
            return f"Invalid value of the header `{name}`."
    return None
