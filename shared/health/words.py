"""Times as people say them, for the page and the terminal alike."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo


def span(seconds: float | None) -> str | None:
    """How long, in the largest unit that says enough: `45 s`, `12 min`, `3 h`, `2 days`."""
    if seconds is None:
        return None
    for limit, unit, words in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / unit:.0f} {words}"
    return f"{seconds / 86400:.0f} days"


def brief(seconds: float) -> str:
    """A span that may be short: `340 ms`, `2.4 s`, then as `span` says it."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else str(span(seconds))


def clock_time(value: str | datetime | None, zone: ZoneInfo, form: str = "%H:%M:%S") -> str | None:
    """A time of day as `zone` knows it."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(zone).strftime(form)
