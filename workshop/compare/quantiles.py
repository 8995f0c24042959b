"""Durations as people read them: the middle one, and the one that nineteen of twenty stay under."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

_SCALE = {"s": (1.0, ".0f"), "ms": (1_000.0, ".1f")}


def p50_p95(seconds: Sequence[float], unit: Literal["s", "ms"] = "ms") -> str:
    """The p50 and p95 of durations in seconds, told in `unit`; a dash when there are none."""
    if not seconds:
        return "-"
    ordered, (scale, form) = sorted(seconds), _SCALE[unit]
    picks = [ordered[max(0, math.ceil(share * len(ordered)) - 1)] for share in (0.5, 0.95)]
    return " / ".join(f"{scale * one:{form}} {unit}" for one in picks)
