"""Leave to call a source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Permit:
    """`generation` names the breaker's state it was given under; a probe's has a token."""

    generation: int = 0
    probe: str | None = None
