"""What Resend tells a site about mail that it accepted, told on demand, signed as Resend signs it (Svix)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import requests

from workshop.inbox.letters import recipients
from workshop.inbox.mailbox import Mail

_MORE: dict[str, dict[str, Any]] = {
    "delivered": {},
    "bounced": {"bounce": {"type": "Permanent", "subType": "General", "message": "The mailbox does not exist."}},
    "complained": {},
}
EVENTS = tuple(_MORE)


class Courier:
    """Brings events to one site's webhook."""

    def __init__(self, url: str, secret: str) -> None:
        """`secret` is the site's, as Resend shows it: `whsec_` and base64."""
        self._url, self._key = url, base64.b64decode(secret.removeprefix("whsec_"))
        self._http = requests.Session()
        self._http.trust_env = False

    def tell(self, mail: Mail, event: str) -> int:
        """Tell that `event` (of `EVENTS`) happened to `mail`; the status of the site's answer, 502 without one."""
        data = {
            "email_id": mail.id,
            "created_at": mail.received_at,
            "from": mail.body["from"],
            "to": recipients(dict(mail.body)),
            "subject": mail.body["subject"],
            **_MORE[event],
        }
        message = {"type": f"email.{event}", "created_at": datetime.now(UTC).isoformat(), "data": data}
        body = json.dumps(message).encode()
        try:
            return self._http.post(self._url, data=body, headers=self._sign(body), timeout=15).status_code
        except requests.RequestException:
            return 502

    def _sign(self, body: bytes) -> dict[str, str]:
        name, now = f"msg_{uuid.uuid4().hex}", str(int(time.time()))
        signature = hmac.new(self._key, f"{name}.{now}.".encode() + body, hashlib.sha256).digest()
        words = {"id": name, "timestamp": now, "signature": f"v1,{base64.b64encode(signature).decode()}"}
        return {"Content-Type": "application/json", **{f"svix-{word}": value for word, value in words.items()}}
