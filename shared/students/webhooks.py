"""What Resend tells us about mail that it accepted: arrived, given up, bounced, called spam."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Annotated, Any

from flask import Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.mail.resend import spellings
from shared.sections.text import one_line

log = logging.getLogger(__name__)

EVENTS = ("email.bounced", "email.complained", "email.delivered", "email.failed", "email.suppressed")
"""The types that do something; all others are acknowledged and forgotten."""

MAX_REASON = 300
MAX_ADDRESS = 320
_ADDRESS = re.compile(r"[^\s<>()\"',;:]+@[^\s<>()\"',;:]+")
_IN_BRACKETS = re.compile(r"<([^<>]+)>\s*$")


def _addresses(value: object) -> object:
    """Bare addresses: `to` is one or many, each bare or as `Name <address>`; one in punycode in both spellings."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return []
    texts = [text for text in value if isinstance(text, str)]
    bare = [one_line(match[1] if (match := _IN_BRACKETS.search(text)) else text, MAX_ADDRESS) for text in texts]
    return [spelling for address in bare for spelling in spellings(address)]


def _id(value: object) -> object:
    return one_line(value) if isinstance(value, str) else None


def _object(value: object) -> object:
    return value if isinstance(value, dict) else {}


class _Data(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    email_id: Annotated[str | None, BeforeValidator(_id)] = None
    to: Annotated[list[str], BeforeValidator(_addresses)] = []
    bounce: Annotated[dict[str, Any], BeforeValidator(_object)] = {}
    failed: Annotated[dict[str, Any], BeforeValidator(_object)] = {}
    suppressed: Annotated[dict[str, Any], BeforeValidator(_object)] = {}


class _Event(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    type: str
    data: _Data


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Handles verified messages; safe to share between threads."""

    database: DatabaseCalls
    clock: Clock

    def handle(self, svix_id: str, message: object) -> str:
        """Do what the message asks for, once: "handled", "repeated" (seen before) or "ignored".

        The id is recorded in the transaction of the effect: when that fails, the message is new the next time.
        Raises `DatabaseError`.
        """
        try:
            event = _Event.model_validate(message)
        except ValidationError:
            log.warning("webhook of an unknown shape")
            return "ignored"
        effect = _effect(event)
        if effect is None:
            return "ignored"
        answer = self.database.call(
            "pmc_record_webhook",
            p_svix_id=svix_id,
            p_event_type=event.type,
            p_effect=effect,
            p_message_id=event.data.email_id,
            p_addresses=event.data.to,
            p_reason=_reason(event),
            p_now=self.clock(),
        )
        words = {"event": event.type, "people": answer.get("people"), "mails": answer.get("mails")}
        log.info("webhook %s", answer["result"], extra=words)
        return str(answer["result"])


def _effect(event: _Event) -> str | None:
    """What the event does. Only a permanent bounce says that the address is of no use; a full mailbox does not.

    To suppress is Resend's word for not writing to an address that bounced before.
    """
    if event.type == "email.bounced":
        return "bounced" if str(event.data.bounce.get("type", "")).casefold() == "permanent" else None
    if event.type == "email.complained":
        return "complained"
    if event.type == "email.delivered":
        return "delivered"
    if event.type == "email.suppressed":
        return "suppressed"
    return "dead" if event.type in EVENTS else None


def _reason(event: _Event) -> str | None:
    """Why, in Resend's words, without the addresses they may quote."""
    data = event.data
    said = data.failed.get("reason") or data.bounce.get("message") or data.suppressed.get("message")
    kind = event.type.removeprefix("email.")
    text = f"{kind}: {said}" if isinstance(said, str) and said else kind
    return one_line(_ADDRESS.sub("<address>", text), MAX_REASON) if kind != "delivered" else None


_ID = re.compile(r"[!-~]{1,255}")


def is_signed(request: Request, secret: str) -> bool:
    """Whether one of the request's signatures is right and at most five minutes old, and its body is JSON.

    Resend's own library compares (in constant time); it is loaded here, because few processes ever get a webhook.
    """
    from resend import Webhooks

    headers = {name: request.headers.get(f"svix-{name}", "") for name in ("id", "timestamp", "signature")}
    if not _ID.fullmatch(headers["id"]):
        return False
    # Only the first version of the scheme is a keyed hash; others are not ours to check.
    headers["signature"] = " ".join(word for word in headers["signature"].split() if word.startswith("v1,"))
    try:
        payload = request.get_data().decode("utf-8")
        Webhooks.verify(
            {
                "payload": payload,
                "headers": {"id": headers["id"], "timestamp": headers["timestamp"], "signature": headers["signature"]},
                "webhook_secret": secret,
            }
        )
    except (ValueError, RecursionError):
        return False
    return True
