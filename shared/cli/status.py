"""Operators' command to look: how it goes, from the same answer that the health function gives."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

import click
from rich.text import Text

from shared.cli.console import STYLES, Screen, command, local_time, table
from shared.health.check import HEALTHY
from shared.health.checks_workers import WorkersCheck
from shared.sections.text import visible
from shared.wiring import Wiring


@click.command()
@command
def status(parts: Wiring, screen: Screen) -> None:
    """How it goes; exit code 1 unless all is healthy."""
    report = parts.health.full()
    headline = Text.assemble("PickMyClass is ", (report.status, STYLES[report.status]))
    found = [(Text(visible(f"! {one.what}"), style="bold"), f"  {one.remedy}") for one in report.troubles()]
    words = [line for pair in found for line in pair]
    zone = ZoneInfo(parts.settings.cron_timezone)
    rows = [(check.title, check.status, check.described(zone)) for check in report.checks]
    checks = table("check", "status", "", rows=rows)
    workers = report.find(WorkersCheck)
    listed = [
        (
            one.worker_name,
            one.status if one.alive else "lost",
            local_time(one.last_heartbeat, parts),
            f"{one.current_jobs} of {one.max_concurrent_jobs}",
        )
        for one in (workers.workers if workers else None) or ()
    ]
    tables = [table("consumer", "status", "last beat", "jobs", rows=listed)] if listed else []
    screen.show(report.details().model_dump(exclude_unset=True), headline, *words, "", checks, "", *tables)
    if report.status != HEALTHY:
        sys.exit(1)
