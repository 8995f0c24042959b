"""An email that is owed, as the database hands it to a mailer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.sections.section import Facts, Section


@dataclass(frozen=True, slots=True)
class OwedMail:
    """One row of the outbox with its address. Times are aware.

    `kind` is `seat_available`, `instructor_assigned` or `section_removed`. `seen_before`: when the section had
    been seen before `seen_at`, `last_full`: when it was last seen full; `None` when that is not known.
    `replaced_by`: the course that a removed section's number means now, where it means another.
    """

    id: int
    user_id: str
    address: str | None
    section: Section
    kind: str
    facts: Facts
    seen_at: datetime
    seen_before: datetime | None
    event_at: datetime
    tick_id: str | None = None
    last_full: datetime | None = None
    replaced_by: Facts | None = None

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> OwedMail:
        """A row of `pmc_gather_mail`; its payload was written by the commit of the check."""
        payload = row["payload"]
        seen_before, last_full = payload.get("previous_observed_at"), payload.get("last_full_at")
        event_at = datetime.fromisoformat(row["event_at"])
        return cls(
            id=row["id"],
            user_id=row["user_id"],
            address=row["email"],
            section=Section(row["term"], row["class_nbr"]),
            kind=row["notification_type"],
            facts=Facts.from_json(payload.get("facts") or {}),
            seen_at=datetime.fromisoformat(payload["observed_at"]) if payload.get("observed_at") else event_at,
            seen_before=datetime.fromisoformat(seen_before) if seen_before else None,
            event_at=event_at,
            tick_id=row["tick_id"],
            last_full=datetime.fromisoformat(last_full) if last_full else None,
            replaced_by=Facts.from_json(payload["after"]) if payload.get("after") else None,
        )
