"""Trying an address again that bounced: one mail a day, and only its delivery clears the bounce."""

from __future__ import annotations

import json
import logging
import uuid
from dataclasses import dataclass

from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.mail.resend import Accepted
from shared.mail.send import SendsBatches

log = logging.getLogger(__name__)

_SUBJECT = "Does this reach you?"
_TEXT = """\
You asked PickMyClass to try your address again.

This mail arrived, so nothing is left to do: emails about your classes are on again.

{site_url}/settings
"""


@dataclass(frozen=True, slots=True)
class AddressTests:
    """Sends them; safe to share between threads. Without `resend` nothing can be sent."""

    database: DatabaseCalls
    resend: SendsBatches | None
    sender: str
    site_url: str
    clock: Clock

    def send(self, user_id: str, email: str) -> bool:
        """Whether the test mail went out. Once a day, also when two pages ask at once. Raises `DatabaseError`."""
        begun = self.database.call("pmc_begin_address_test", p_user_id=user_id, p_now=self.clock())
        if not begun["allowed"] or self.resend is None:
            return False
        mail = {"from": self.sender, "to": [email], "subject": _SUBJECT, "text": _TEXT.format(site_url=self.site_url)}
        outcome = self.resend.send_batch(str(uuid.uuid4()), json.dumps([mail]), 1)
        message_id = outcome.message_ids[0] if isinstance(outcome, Accepted) else None
        if message_id is None:
            log.warning("test mail was not sent", extra={"outcome": type(outcome).__name__})
            return False
        self.database.call("pmc_note_address_test", p_user_id=user_id, p_message_id=message_id)
        return True
