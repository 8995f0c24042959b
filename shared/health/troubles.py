"""What is wrong, in words, with what to do about it: read off the checks of a health answer.

One list of rules for the page, `ops status` and the alerts. `cause` names a trouble for good: an operator who was
told of it is told once more when it is over. docs/operate.md has a paragraph for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.health.checks import DEGRADED, NOT_CONFIGURED, UNHEALTHY, UNKNOWN, Check

Checks = Mapping[str, Check]

_CATCHING_UP = 300.0
"""Seconds in which a server that was away catches up by itself."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. `alert_after`: seconds it must last before the operator is told by mail."""

    cause: str
    status: str
    what: str
    remedy: str
    alert_after: float = 0.0


def troubles(checks: Checks) -> list[Trouble]:
    """Everything that is wrong, the worst first. Works on what anyone may see, too: then without figures."""
    found = [trouble for rule in _RULES for trouble in rule(checks)]
    return sorted(found, key=lambda trouble: trouble.status != UNHEALTHY)


def _stores(checks: Checks) -> Iterator[Trouble]:
    if _status(checks, "database") == UNHEALTHY:
        yield Trouble(
            "database",
            UNHEALTHY,
            _with("The database does not answer", checks["database"].get("error")),
            "Look at the Supabase project's status, or at the Postgres service. Nothing is lost: work goes on by "
            "itself when it is back.",
        )
    if _status(checks, "redis") == UNHEALTHY:
        yield Trouble(
            "redis",
            UNHEALTHY,
            _with("Redis does not answer", checks["redis"].get("error")),
            "`systemctl status redis-server`, or the provider's status page. Nothing that matters is only in Redis: "
            "the rescue queues what is missing when it is back.",
            alert_after=120,
        )
    elif _status(checks, "cron_lock") == UNKNOWN and _status(checks, "redis") != UNKNOWN:
        yield Trouble(
            "redis",
            DEGRADED,
            "Redis does not tell who holds the cron lock",
            "Look again in a minute; if it stays so, `./run.sh ops doctor`.",
            alert_after=120,
        )


def _configuration(checks: Checks) -> Iterator[Trouble]:
    check = checks.get("configuration", {})
    if check.get("status") == UNHEALTHY:
        yield Trouble(
            "configuration",
            UNHEALTHY,
            _with("Settings are missing", ", ".join(check.get("missing_vars", ()))),
            "Set them in .env (.env.example explains each) and restart both services; `./run.sh ops doctor` tells "
            "what is right.",
        )


def _workers(checks: Checks) -> Iterator[Trouble]:
    check = checks.get("workers", {})
    lost = [one["worker_name"] for one in check.get("workers", ()) if not one["alive"]]
    if check.get("status") == UNHEALTHY:
        yield Trouble(
            "workers",
            UNHEALTHY,
            "No consumer is alive: nothing is checked and nothing is mailed",
            "`systemctl status pickmyclass-consumer`, then `journalctl -u pickmyclass-consumer -n 50`. Jobs that "
            "were running are taken over by the next consumer that starts.",
        )
    elif lost:
        yield Trouble(
            "lost worker",
            DEGRADED,
            f"Not heard of: {', '.join(lost)}",
            "The others have taken its jobs over. Look at that machine.",
            alert_after=300,
        )


def _freshness(checks: Checks) -> Iterator[Trouble]:
    check = checks.get("freshness", {})
    if check.get("source_looks_broken"):
        yield Trouble(
            "source broken",
            DEGRADED,
            f"The source does not know {check['struck_sections']} of {check['watched_sections']} watched sections",
            "Look a few of them up in the catalog by hand. If they are there, the scraper reads it wrongly: mend the "
            "scraper. No section is retired meanwhile.",
        )
    overdue = check.get("overdue_sections")
    if overdue or (check.get("status") == DEGRADED and overdue is None):
        yield Trouble(
            "overdue",
            DEGRADED,
            f"{_count(overdue, 'section')} not been checked for longer than a slot"
            if overdue
            else "Sections have not been checked for longer than a slot",
            "What was lost is queued again within minutes. If a consumer is alive and the breaker closed, a slot's "
            "checks take longer than a slot: look at the scraper's speed, raise WORKERS, or add a consumer.",
            alert_after=_CATCHING_UP,
        )
    refused = sum(one["sections"] for one in check.get("failures", ()) if "refused our token" in one["error"])
    if refused:
        yield Trouble(
            "scraper token",
            DEGRADED,
            f"The scraper refuses our token ({_sections(refused)})",
            "Put the scraper's current token into SCRAPER_SECRET_TOKEN and restart the consumer.",
        )


def _breaker(checks: Checks) -> Iterator[Trouble]:
    check = checks.get("circuit_breaker", {})
    # Without Redis nobody can read it, and without a consumer nobody did: that is said already.
    if _status(checks, "redis") not in (UNHEALTHY, UNKNOWN) and check.get("status") not in ("healthy", None):
        half = check["status"] == DEGRADED
        tried = "it is being tried with one call at a time" if half else "calls are held back"
        yield Trouble(
            "breaker",
            DEGRADED,
            f"The scraper fails: {tried}",
            "See whether the scraper answers (`./run.sh ops doctor`). Queued checks wait and go on by themselves; "
            "`./run.sh ops breaker reset` closes the breaker at once.",
            alert_after=600,
        )


def _queue(checks: Checks) -> Iterator[Trouble]:
    check = checks.get("queue", {})
    if check.get("status") != DEGRADED:
        return
    dead = check.get("dead")
    if dead or dead is None:
        yield Trouble(
            "dead letters",
            DEGRADED,
            f"{_sections(dead)} could not be checked" if dead else "Some work was given up or waits too long",
            "`./run.sh ops dead list` tells why; `ops dead requeue` tries again. Each is resolved by its section's "
            "next successful check.",
        )
    if (check.get("oldest_waiting_seconds") or 0) > 1800:
        yield Trouble(
            "slow queue",
            DEGRADED,
            f"A job has waited for {check['oldest_waiting_seconds'] // 60} minutes",
            "Too little is checked for what is due: look at the scraper's speed, raise WORKERS, or add a consumer.",
        )


def _scheduler(checks: Checks) -> Iterator[Trouble]:
    check = checks.get("scheduler", {})
    if check.get("status") == DEGRADED:
        yield Trouble(
            "scheduler",
            DEGRADED,
            _with("The last tick is older than two slots", check.get("last_tick_error")),
            "A living consumer ticks unless CRON_SCHEDULE is off; `./run.sh ops tick` ticks now, `ops lock status` "
            "tells whether a tick hangs.",
            alert_after=_CATCHING_UP,
        )


def _mail(checks: Checks) -> Iterator[Trouble]:
    check = checks.get("email", {})
    if check.get("status") in (NOT_CONFIGURED, None):
        return
    if check.get("parked_until"):
        yield Trouble(
            "mail parked",
            DEGRADED,
            _with("Resend takes no mail from us now", check.get("park_reason")),
            "Quota: raise the plan or wait for the next day. Key or domain: mend it at Resend, then "
            "`./run.sh ops mail release`. Nothing is lost meanwhile.",
        )
    if check.get("held"):
        yield Trouble(
            "mail held by hand",
            DEGRADED,
            _with("Mail is held by an operator", check.get("held_reason")),
            "`./run.sh ops mail release` lets it go.",
            alert_after=3600,
        )
    if check.get("held_by_guard"):
        yield Trouble(
            "mass event",
            DEGRADED,
            f"Unusually many sections opened at once; {check['held_by_guard']} emails are held until a second look",
            "Each is released or dropped by its section's next check. `./run.sh ops mail release` lets all go now.",
        )
    waits = check.get("oldest_pending_seconds")
    if waits and waits > 900:
        yield Trouble(
            "mail stuck",
            DEGRADED,
            f"Mail has waited for {waits // 60} minutes ({check['pending']} pending)",
            "`./run.sh ops mail pending` tells why; look at Resend's status and at the consumer's log.",
        )
    if check.get("dead"):
        yield Trouble(
            "dead mail",
            DEGRADED,
            f"{check['dead']} emails were given up",
            "`./run.sh ops mail pending --status dead` tells why; `ops mail retry` owes those again that certainly "
            "never left.",
        )
    if check["status"] == DEGRADED and "dead" not in check:
        yield Trouble("mail stuck", DEGRADED, "Mail waits or was given up", "`./run.sh ops mail pending` tells why.")


_RULES: tuple[Callable[[Checks], Iterator[Trouble]], ...] = (
    *(_stores, _configuration, _workers, _freshness, _breaker, _queue, _scheduler, _mail),
)


def _status(checks: Checks, name: str) -> Any:
    return checks.get(name, {}).get("status")


def _with(sentence: str, reason: str | None) -> str:
    return f"{sentence}: {reason}" if reason else sentence


def _sections(count: int) -> str:
    return "1 section" if count == 1 else f"{count} sections"


def _count(count: int | None, noun: str) -> str:
    return f"1 {noun} has" if count == 1 else f"{count} {noun}s have"
