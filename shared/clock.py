"""The time, handed in: a replay owns it from the tick to the SQL (docs/decisions/time-is-handed-in.md)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time, aware."""

    def __call__(self) -> datetime: ...


def now() -> datetime:
    """The time of this machine, aware, in UTC."""
    return datetime.now(UTC)
