"""Check now, for somebody who waits for it: a caller over HTTP, an operator, a student who adds a watch."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from redis import RedisError

from shared.checks.check import Checker, CheckOrder, CheckReport
from shared.mail.send import MailRoom, send_own_mail
from shared.sections.section import Section


class Resolves(Protocol):
    """The dead letters. Raises `redis.RedisError`."""

    def resolve(self, key: str) -> object: ...


@dataclass(frozen=True, slots=True)
class CheckedNow:
    """What the check saw, and how many emails Resend accepted during the call."""

    report: CheckReport
    emails_sent: int


@dataclass(frozen=True, slots=True)
class CheckNow:
    """Checks at once; safe to share between threads.

    Mail that nobody else has taken within `lease_seconds` goes back to the mailers.
    """

    checker: Checker
    mail: MailRoom
    dead_letters: Resolves
    lease_seconds: float

    def __call__(
        self,
        section: Section,
        timeout: float,
        then: Callable[[CheckReport], None] = lambda _: None,
        *,
        now: datetime | None = None,
    ) -> CheckedNow:
        """Check `section`, looking it up within `timeout` seconds; `now` stands for the clock.

        1. Ask the gate, look up, tell the gate what came of it, commit (`Checker.check`, and raises as that does).
        2. The section's dead letter has become history; without Redis the next queued check makes it so.
        3. Do what is to come between the check and its mail, which goes out whatever `then` raises.
        4. Send the mail that this check owes; what cannot be sent now is the mailers'.
        """
        # Without a key nothing is leased: a lease would only keep the rows from the mailers later.
        caller = f"now:{uuid.uuid4()}" if self.mail.resend else None
        order = CheckOrder(section, timeout, now=now, lease_to=caller, lease_seconds=self.lease_seconds)
        report = self.checker.check(order)
        sent = 0
        try:
            with suppress(RedisError):
                self.dead_letters.resolve(section.key)
            then(report)
        finally:
            if caller and report.emails_leased:
                sent = send_own_mail(self.mail, caller)
        return CheckedNow(report, sent)
