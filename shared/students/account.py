"""What a student may ask of their own data: take all of it along, or leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from shared.clock import Clock
from shared.database import DatabaseCalls


@dataclass(frozen=True, slots=True)
class Account:
    """Export and closing of accounts; safe to share between threads."""

    database: DatabaseCalls
    clock: Clock

    def export(self, user_id: str) -> dict[str, Any]:
        """Everything that is known about the student, in sections that a person can read."""
        answer: dict[str, Any] = self.database.call("pmc_export_user", p_user_id=user_id, p_now=self.clock())
        return answer

    def close(self, user_id: str) -> dict[str, Any]:
        """Disable the account and drop its waiting mail: `{disabled_at, permanent_deletion_date}`.

        It is kept for thirty days, so that a mistake can be undone; maintenance removes it after that date.
        """
        answer: dict[str, Any] = self.database.call("pmc_delete_user", p_user_id=user_id, p_now=self.clock())
        return answer
