"""What the health page shows: the answer of the health function, turned into words, rows and bars.

Nothing is decided here that the JSON does not say; sizes are percentages, so that the template only writes them down.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from shared.health.check import DEGRADED, HEALTHY, UNHEALTHY
from shared.health.checks_looks import LooksCheck
from shared.health.checks_mail import MailCheck
from shared.health.checks_work import FreshnessCheck, QueueCheck
from shared.health.checks_workers import WorkersCheck
from shared.health.report import Report
from shared.health.words import brief, clock_time, span

HEADLINES = {
    HEALTHY: "Everything works",
    DEGRADED: "It works, but something needs attention",
    UNHEALTHY: "It does not work",
}
_TONES = ((60.0, "good"), (90.0, "fair"), (float("inf"), "bad"))
_CODE = re.compile(r"`([^`]+)`")


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: what it stands for, its figure in words, its length or height in percent, and its tone."""

    label: str
    figure: str
    percent: float
    tone: str
    x: float = 0.0


@dataclass(frozen=True, slots=True)
class Figure:
    """One number worth a glance."""

    label: str
    value: str
    note: str = ""


def page_values(report: Report, zone: ZoneInfo, *, detailed: bool) -> dict[str, Any]:
    """Everything that the template needs. Without `detailed` only what anyone may see."""
    return {
        "overall": report.status,
        "headline": HEADLINES[report.status],
        "detailed": detailed,
        "time": clock_time(report.timestamp, zone, "%A %d %B %Y, %H:%M:%S"),
        "zone": str(zone),
        "troubles": _troubles(report) if detailed else _troubles_for_anyone(report),
        "checks": [(check.title, check.status, check.described(zone) if detailed else "") for check in report.checks],
        "figures": _figures(report) if detailed else [],
        "ages": _ages(report.history) if detailed else None,
        "day": _day(report.history, zone) if detailed else None,
        "ticks": _ticks(report.history, zone) if detailed else [],
        "mail": _mail(report) if detailed else [],
        "workers": _workers(report, zone) if detailed else [],
        "response_time_ms": report.response_time_ms,
    }


def in_code(words: str) -> Markup:
    """Words with what stands between backticks set as code; everything is escaped."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(words))))  # noqa: S704 - escaped on the line itself


def _troubles(report: Report) -> list[tuple[str, str, Markup]]:
    """Status, words and remedy of everything that is wrong."""
    return [(trouble.status, trouble.what, in_code(trouble.remedy)) for trouble in report.troubles()]


def _troubles_for_anyone(report: Report) -> list[tuple[str, str, Markup]]:
    """Without figures, names and remedies, and only what counts."""
    counting = (trouble for trouble in report.troubles() if trouble.status != HEALTHY)
    return [(trouble.status, trouble.for_anyone or trouble.what, Markup()) for trouble in counting]


def _figures(report: Report) -> list[Figure]:
    """The few numbers that tell most."""
    fresh, mail, queue = report.find(FreshnessCheck), report.find(MailCheck), report.find(QueueCheck)
    found = []
    if fresh and fresh.seen:
        on_time = f"{fresh.seen.watched_sections - fresh.seen.overdue_sections:,}"
        found.append(Figure("sections on time", on_time, f"of {fresh.seen.watched_sections:,} watched"))
        found.append(Figure("oldest check", span(fresh.seen.oldest_check_seconds) or "none", "ago"))
    day = (report.history or {}).get("slots", ())
    if day:
        found.append(Figure("openings seen", f"{sum(slot['openings'] for slot in day):,}", "in the last day"))
        found.append(Figure("emails sent", f"{sum(slot['emails'] for slot in day):,}", "for the last day"))
    if mail and mail.seen and mail.seen.delay_p50_seconds is not None and mail.seen.delay_p95_seconds is not None:
        median, slow = brief(mail.seen.delay_p50_seconds), brief(mail.seen.delay_p95_seconds)
        found.append(Figure("from seen to sent", median, f"p95 {slow}"))
    looks = report.find(LooksCheck)
    if looks and looks.seen and looks.seen.opening_count:
        bounds = (looks.seen.opening_bound_p50_seconds, looks.seen.opening_bound_p95_seconds)
        found.append(Figure("from full to seen open", span(bounds[0]) or "", f"at most; p95 {span(bounds[1])}"))
    if queue and queue.seen and queue.seen.waiting is not None:
        found.append(Figure("checks waiting", f"{queue.seen.waiting:,}", f"{queue.seen.active:,} running"))
    return found


def _ages(history: dict[str, Any] | None) -> list[Bar] | None:
    """How many sections were checked how long ago."""
    if history is None:
        return None
    buckets, never = history["ages"]["buckets"], history["ages"]["never"]
    most = max(1, never, *(bucket["sections"] for bucket in buckets))
    bars, lower = [], 0
    for bucket in buckets:
        upper = bucket["up_to_minutes"]
        label = f"{lower:.0f} to {upper:.0f} min" if upper is not None else f"over {span(lower * 60)}"
        tone = next(name for limit, name in _TONES if (upper or float("inf")) <= limit)
        bars.append(Bar(label, f"{bucket['sections']:,}", 100 * bucket["sections"] / most, tone))
        lower = upper or lower
    if never:
        bars.append(Bar("never yet", f"{never:,}", 100 * never / most, "none"))
    return bars


def _day(history: dict[str, Any] | None, zone: ZoneInfo) -> dict[str, Any] | None:
    """Checks and openings of the last 48 slots."""
    if history is None:
        return None
    slots = history["slots"]
    hours = [datetime.fromisoformat(slots[0]["slot"]) + timedelta(hours=6 * step) for step in range(4)]
    missed = sum(not slot["ticked"] for slot in slots)
    return {
        "checks": _columns(slots, zone, "queued", "checks"),
        "openings": _columns(slots, zone, "openings", "openings"),
        "labels": [str(clock_time(hour, zone, "%H:%M")) for hour in hours] + ["now"],
        "most_checks": max(slot["queued"] for slot in slots),
        "most_openings": max(slot["openings"] for slot in slots),
        "words": f"{_count(slots, 'queued', 'check')} and {_count(slots, 'openings', 'opening')} in 48 slots"
        + (f", {missed} of them without a tick" if missed else ""),
    }


def _count(slots: list[dict[str, Any]], name: str, noun: str) -> str:
    total = sum(slot[name] for slot in slots)
    return f"{total:,} {noun}" if total == 1 else f"{total:,} {noun}s"


def _columns(slots: list[dict[str, Any]], zone: ZoneInfo, name: str, noun: str) -> list[Bar]:
    most = max(1, *(slot[name] for slot in slots))
    columns = []
    for place, slot in enumerate(slots):
        tone = "bad" if slot["failed"] else "good" if slot[name] else "none"
        figure = f"{slot[name]:,} {noun}" if slot["ticked"] or slot[name] else "no tick"
        # A stub shows that there was a slot at all; a height of zero would look like the end of the picture.
        height = max(2.0, 100 * slot[name] / most)
        at = str(clock_time(slot["slot"], zone, "%H:%M"))
        columns.append(Bar(at, figure, round(height, 1), tone, x=round(place * 100 / len(slots), 3)))
    return columns


def _ticks(history: dict[str, Any] | None, zone: ZoneInfo) -> list[tuple[str, ...]]:
    """The latest ticks: slot, group, source, queued, how long it took or what went wrong."""
    rows: list[tuple[str, ...]] = []
    for tick in (history or {}).get("ticks", ()):
        took = "not finished"
        if tick["finished_at"]:
            began, ended = (datetime.fromisoformat(tick[name]) for name in ("started_at", "finished_at"))
            took = brief((ended - began).total_seconds())
        queued = "" if tick["enqueued"] is None else f"{tick['enqueued']:,}"
        slot = str(clock_time(tick["slot"], zone, "%H:%M"))
        rows.append((slot, tick["group"], tick["source"], queued, tick["error"] or took))
    return rows


def _mail(report: Report) -> list[tuple[str, str]]:
    """What became of the mail of the last day, in the order of its life."""
    if report.history is None:
        return []
    counts = report.history["mail"]
    words = {
        "pending": "waiting",
        "sending": "on the way",
        "sent": "accepted",
        "delivered": "delivered",
        "dropped": "no longer owed",
        "dead": "given up",
    }
    return [(noun, f"{counts.get(status, 0):,}") for status, noun in words.items()]


def _workers(report: Report, zone: ZoneInfo) -> list[tuple[str, str, str, str]]:
    check = report.find(WorkersCheck)
    return [
        (
            one.worker_name,
            one.status if one.alive else "lost",
            f"{one.current_jobs} of {one.max_concurrent_jobs}",
            str(clock_time(one.last_heartbeat, zone)),
        )
        for one in (check.workers if check else None) or ()
    ]
