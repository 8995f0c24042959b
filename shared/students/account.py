"""What a student may ask of their own data: take all of it along, or leave."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.mail.tokens import UnsubscribeTokens
from shared.web.outputs import Closed, Export


@dataclass(frozen=True, slots=True)
class Account:
    """Export and closing of accounts; safe to share between threads."""

    database: DatabaseCalls
    clock: Clock

    def export(self, user_id: str) -> Export:
        """Everything that is known about the student."""
        return Export.model_validate(self.database.call("pmc_export_user", p_user_id=user_id, p_now=self.clock()))

    def close(self, user_id: str) -> Closed:
        """Disable the account and drop its waiting mail.

        It is kept for thirty days, so that a mistake can be undone; maintenance removes it after that date.
        """
        dates = self.database.call("pmc_delete_user", p_user_id=user_id, p_now=self.clock())
        message = "Your account is closed. It and all of its data are removed for good after 30 days."
        return Closed(success=True, message=message, **dates)


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
