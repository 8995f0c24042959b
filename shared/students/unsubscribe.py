"""Leaving by the link in a mail, without signing in."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.mail.tokens import UnsubscribeTokens

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Asks and acts; safe to share between threads."""

    database: DatabaseCalls
    tokens: UnsubscribeTokens
    clock: Clock

    def is_valid(self, token: str) -> bool:
        """Whether `token` would unsubscribe someone. Changes nothing: mail scanners follow links (O12)."""
        return self.tokens.verify(token, self.clock()) is not None

    def act(self, token: str) -> bool:
        """Unsubscribe the student that `token` speaks for and drop their waiting mail; false for a bad token.

        May be repeated. Raises `DatabaseError`.
        """
        user_id = self.tokens.verify(token, self.clock())
        if user_id is None:
            return False
        answer = self.database.call("pmc_unsubscribe", p_user_id=user_id, p_now=self.clock())
        log.info("unsubscribed", extra={"changed": answer["changed"], "dropped": answer["dropped"]})
        return True
