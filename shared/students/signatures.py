"""Signatures of webhooks, by the Svix scheme that Resend uses, over the raw body."""

from __future__ import annotations

import re

from flask import Request

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
