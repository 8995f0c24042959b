"""A check in a few words, for the page and the terminal alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from shared.health.checks import Check

TITLES = {
    "database": "Database",
    "redis": "Redis",
    "circuit_breaker": "Breaker",
    "cron_lock": "Cron lock",
    "configuration": "Configuration",
    "email": "Mail",
    "queue": "Queue",
    "scheduler": "Scheduler",
    "workers": "Consumers",
    "freshness": "Freshness",
}


def span(seconds: float | None) -> str | None:
    """How long, in the largest unit that says enough: `45 s`, `12 min`, `3 h`, `2 days`."""
    if seconds is None:
        return None
    for limit, unit, words in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if abs(seconds) < limit:
            return f"{seconds / unit:.0f} {words}"
    return f"{seconds / 86400:.0f} days"


def clock_time(value: str | datetime | None, zone: ZoneInfo, form: str = "%H:%M:%S") -> str | None:
    """A time of day as `zone` knows it."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.astimezone(zone).strftime(form)


def describe(name: str, check: Check, zone: ZoneInfo) -> str:
    """What is worth saying of the check `name`, the most important first; empty when there is nothing."""
    if check.get("error"):
        return str(check["error"])
    words = _DESCRIBED.get(name)
    return ", ".join(words(check, zone)) if words and len(check) > 1 else ""


def _store(check: Check, _zone: ZoneInfo) -> Iterator[str]:
    if check.get("latency_ms") is not None:
        yield f"answers in {check['latency_ms']} ms"


def _breaker(check: Check, zone: ZoneInfo) -> Iterator[str]:
    yield check["state"].lower().replace("_", " ")
    if check["failure_count"]:
        yield f"{check['failure_count']} failures in a row"
    if check["state"] != "CLOSED" and check["last_state_change"]:
        yield f"since {clock_time(check['last_state_change'], zone)}"


def _lock(check: Check, _zone: ZoneInfo) -> Iterator[str]:
    if check["status"] == "healthy":
        yield f"held by {check['lock_holder']}" if check["locked"] else "free"


def _configuration(check: Check, _zone: ZoneInfo) -> Iterator[str]:
    yield "missing: " + ", ".join(check["missing_vars"])


def _email(check: Check, _zone: ZoneInfo) -> Iterator[str]:
    if not check["configured"]:
        yield "no key"
    if "pending" not in check:
        return
    yield f"{check['pending']} pending"
    if check["oldest_pending_seconds"] is not None:
        yield f"oldest {span(check['oldest_pending_seconds'])}"
    if check["dead"]:
        yield f"{check['dead']} given up"
    if check["delay_p95_seconds"] is not None:
        median, slow = _seconds(check["delay_p50_seconds"]), _seconds(check["delay_p95_seconds"])
        yield f"from seen to accepted {median} (p95 {slow})"


def _queue(check: Check, _zone: ZoneInfo) -> Iterator[str]:
    if "waiting" not in check:
        return
    yield f"{check['waiting'] if check['waiting'] is not None else 'some'} waiting"
    yield f"{check['active']} active"
    if check["delayed"]:
        yield f"{check['delayed']} to be retried"
    if check["dead"]:
        yield f"{check['dead']} given up"
    if check["paused_seconds"]:
        yield f"paused for {span(check['paused_seconds'])}"


def _scheduler(check: Check, zone: ZoneInfo) -> Iterator[str]:
    if "last_tick_at" in check:
        yield f"last tick {clock_time(check['last_tick_at'], zone, '%H:%M') or 'never'}"
        yield f"next {clock_time(check['next_tick_at'], zone, '%H:%M') or 'never'}"


def _workers(check: Check, _zone: ZoneInfo) -> Iterator[str]:
    alive = [one for one in check["workers"] if one["alive"]]
    yield f"{len(alive)} alive"
    if lost := len(check["workers"]) - len(alive):
        yield f"{lost} lost"


def _freshness(check: Check, _zone: ZoneInfo) -> Iterator[str]:
    yield f"{check['watched_sections']:,} watched"
    if check["overdue_sections"]:
        yield f"{check['overdue_sections']:,} overdue"
    if check["oldest_check_seconds"] is not None:
        yield f"oldest check {span(check['oldest_check_seconds'])} ago"


_DESCRIBED: dict[str, Callable[[Check, ZoneInfo], Iterator[str]]] = {
    "database": _store,
    "redis": _store,
    "circuit_breaker": _breaker,
    "cron_lock": _lock,
    "configuration": _configuration,
    "email": _email,
    "queue": _queue,
    "scheduler": _scheduler,
    "workers": _workers,
    "freshness": _freshness,
}


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else str(span(value))
