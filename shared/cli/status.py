"""Operators' command to look: how it goes, from the same answer that the health function gives."""

from __future__ import annotations

import sys
from zoneinfo import ZoneInfo

import click
from rich.text import Text

from shared.cli.console import STYLES, Screen, command, local_time, table
from shared.health.checks import HEALTHY
from shared.health.health import health_of
from shared.health.troubles import troubles
from shared.health.words import TITLES, describe
from shared.wiring import Wiring


@click.command()
@command
def status(parts: Wiring, screen: Screen) -> None:
    """How it goes; exit code 1 unless all is healthy."""
    report = health_of(parts).full()
    headline = Text.assemble("PickMyClass is ", (report.status, STYLES[report.status]))
    found = [(Text(f"! {one.what}", style="bold"), Text(f"  {one.remedy}")) for one in troubles(report.checks)]
    words = [line for pair in found for line in pair]
    zone = ZoneInfo(parts.settings.cron_timezone)
    rows = [(TITLES[name], check["status"], describe(name, check, zone)) for name, check in report.checks.items()]
    checks = table("check", "status", "", rows=rows)
    workers = report.checks["workers"]["workers"]
    listed = [
        (
            one["worker_name"],
            one["status"] if one["alive"] else "lost",
            local_time(one["last_heartbeat"], parts),
            f"{one['current_jobs']} of {one['max_concurrent_jobs']}",
        )
        for one in workers
    ]
    tables = [table("consumer", "status", "last beat", "jobs", rows=listed)] if listed else []
    screen.show(report.details(), headline, *words, "", checks, "", *tables)
    if report.status != HEALTHY:
        sys.exit(1)
