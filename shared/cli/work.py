"""Operators' commands that make work: a tick now, a check now."""

from __future__ import annotations

import sys
import time
import uuid
from typing import Any, Literal

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from shared.checks.check import BreakerOpenError, CheckError, CheckReport
from shared.checks.tick import LockBusyError, LockUnavailableError, TickOrder
from shared.cli.console import Failed, Screen, command, section_of, table
from shared.health.checks_workers import WorkersCheck, living
from shared.sections.slots import group_at
from shared.wiring import Wiring

_FIRST_LOOK, _LONGEST_LOOK = 0.5, 10.0


@click.command()
@click.option("--group", type=click.Choice(["even", "odd", "all"]), help="Which half; default: the slot's own.")
@click.option("--wait", is_flag=True, help="Wait until everything that is queued has been checked.")
@click.option("--timeout", type=click.IntRange(1), default=1800, show_default=True, help="Seconds to wait at most.")
@command
def tick(parts: Wiring, screen: Screen, group: Literal["even", "odd", "all"] | None, wait: bool, timeout: int) -> None:
    """Queue the due sections now, as a call of /api/cron would."""
    now = parts.clock()
    try:
        report = parts.ticker.tick(TickOrder(now, group or group_at(now), "http", parts.name, parts.replay))
    except LockBusyError as busy:
        raise Failed(f"{busy}. It is held by {busy.holder}; `ops lock release` takes it away.") from None
    except LockUnavailableError:
        raise Failed("Redis does not answer, so the lock cannot be taken and nothing was queued.") from None
    answer: dict[str, Any] = {
        "success": True,
        "tick_id": report.tick_id,
        "stagger_group": report.group,
        "sections_enqueued": report.enqueued,
        "already_queued": report.already_queued,
        "duration": report.duration_ms,
    }
    sentence = f"Queued {report.enqueued} sections ({report.group}); {report.already_queued} were queued already."
    if wait:
        answer |= _wait(parts, screen, report.tick_id, timeout)
        sentence += f"\nChecked {answer['checked']}, given up {answer['failed']}, in {answer['seconds']} s."
    screen.show(answer, sentence)
    if wait and (answer["left"] or answer["failed"]):
        sys.exit(1)


def _wait(parts: Wiring, screen: Screen, tick_id: str, timeout: int) -> dict[str, Any]:
    """Until the queue is empty; how this tick's checks went. Looks seldom: each look costs about ten commands."""
    if not WorkersCheck(living(parts.database.call("pmc_list_workers"))).alive():
        raise Failed("The sections are queued, but no consumer is alive to check them: `ops workers list`.")
    began, pause, most = time.monotonic(), _FIRST_LOOK, 1
    columns = (
        TextColumn("checking"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=screen.console, transient=True, disable=screen.as_json) as progress:
        bar = progress.add_task("checking", total=1)
        while True:
            counts = parts.huey.counts()
            left = counts.waiting + counts.leased + counts.delayed
            most = max(most, left)
            progress.update(bar, total=most, completed=most - left)
            if not left or time.monotonic() - began > timeout:
                break
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_LOOK)
    done = parts.database.call("pmc_read_tick", p_tick_id=tick_id)
    seconds = round(time.monotonic() - began, 1)
    return {"checked": done["checked"], "failed": done["failed"], "left": left, "seconds": seconds}


@click.command()
@click.argument("term")
@click.argument("class_nbr")
@click.option("--queue", is_flag=True, help="Leave it to a consumer, ahead of all other jobs.")
@command
def check(parts: Wiring, screen: Screen, term: str, class_nbr: str, queue: bool) -> None:
    """Look one section up now and mail who is owed, whatever its slot."""
    section = section_of(term, class_nbr)
    if queue:
        enqueued = parts.ticker.requeue([section], f"ops-{uuid.uuid4().hex[:12]}", replay=parts.replay)
        said = "Queued, ahead of all others." if enqueued else "It is queued already."
        screen.show({"success": True, "enqueued": enqueued}, said)
        return
    try:
        checked = parts.check_now(section, parts.durations.scrape)
    except BreakerOpenError as error:
        raise Failed(f"the breaker is open for another {error.retry_after:.0f} s: `ops breaker status`") from None
    except CheckError as error:
        raise Failed(str(error)) from None
    report, sent = checked.report, checked.emails_sent
    screen.show(_as_json(report, sent), _as_table(report, sent))


def _as_json(report: CheckReport, sent: int) -> dict[str, Any]:
    return {
        "success": True,
        "outcome": report.outcome.value,
        "events": [event.value for event in report.events],
        "first_observation": report.first_observation,
        "emails_queued": report.emails_queued,
        "emails_sent": sent,
        "facts": report.facts.as_json() if report.facts else None,
    }


def _as_table(report: CheckReport, sent: int) -> Any:
    rows: list[tuple[str, Any]] = [
        ("outcome", report.outcome.value + (", seen for the first time" if report.first_observation else "")),
        ("changes", ", ".join(event.value for event in report.events) or "none"),
        ("emails", f"{report.emails_queued} owed, {sent} accepted by Resend so far"),
    ]
    if report.facts:
        facts = report.facts
        rows += [
            ("course", f"{facts.subject} {facts.catalog_nbr}: {facts.title or 'no title'}"),
            ("seats", f"{_known(facts.seats_available)} of {_known(facts.seats_capacity)} open"),
            ("unreserved", _known(facts.non_reserved_seats)),
            ("instructor", facts.instructor_name or "Staff"),
            ("where, when", ", ".join(filter(None, (facts.location, facts.meeting_times))) or "not known"),
        ]
    return table("", "", rows=rows)


def _known(count: int | None) -> str:
    return "unknown" if count is None else str(count)
