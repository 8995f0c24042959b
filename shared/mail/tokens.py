"""Unsubscribe tokens: who, until when, and proof that the link is ours.

`base64url("<user_id>:<expires_ms>:<hex hmac-sha256(secret, "<user_id>:<expires_ms>")>")` without padding, the
format of the links already in people's inboxes. Those were signed with the old service-role key (O33): it may
still verify, it never signs.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from datetime import datetime, timedelta

LIFETIME = timedelta(days=90)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,512}")
_CONTENT = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}):([0-9]{1,15}):([0-9a-f]{64})")


class UnsubscribeTokens:
    """Issues tokens with `secret`, and verifies those signed with it or with the `legacy` secret."""

    def __init__(self, secret: str, legacy: str | None = None) -> None:
        if not secret:
            raise ValueError("the signing secret is empty")
        self._secrets = tuple(word.encode() for word in (secret, legacy) if word)

    def issue(self, user_id: str, event_at: datetime) -> str:
        """A token for `user_id` that ends 90 days after the event it was mailed for."""
        expires = round((event_at + LIFETIME).timestamp() * 1000)
        claim = f"{user_id.lower()}:{expires}"
        signed = f"{claim}:{_sign(self._secrets[0], claim)}"
        return base64.urlsafe_b64encode(signed.encode()).decode().rstrip("=")

    def verify(self, token: str, now: datetime) -> str | None:
        """The user id that `token` speaks for, or `None` when it is not ours, altered or over."""
        content = _decode(token)
        match = _CONTENT.fullmatch(content) if content else None
        if match is None:
            return None
        user_id, expires, signature = match.groups()
        claim = f"{user_id}:{expires}"
        # Every secret is tried, each in constant time (O13): how long it took tells nothing.
        known = [hmac.compare_digest(_sign(secret, claim), signature) for secret in self._secrets]
        return user_id if any(known) and now.timestamp() * 1000 < int(expires) else None


def _sign(secret: bytes, claim: str) -> str:
    return hmac.new(secret, claim.encode(), hashlib.sha256).hexdigest()


def _decode(token: str) -> str | None:
    """The text inside, or `None` when this is no base64url of ASCII."""
    if not _TOKEN.fullmatch(token):
        return None
    try:
        return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return None
