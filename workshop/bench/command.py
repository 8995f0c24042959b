"""`./run.sh bench`: every measurement in turn, a table at the end, and JSON on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from workshop.bench import (
    measure_commands,
    measure_database,
    measure_growth,
    measure_looks,
    measure_memory,
    measure_month,
    measure_pages,
    measure_starts,
    rivals,
)
from workshop.bench.report import Report
from workshop.parts.redis import find_server

MEASUREMENTS: dict[str, Callable[[Report], None]] = {
    "commands": measure_commands.measure,
    "database": measure_database.measure,
    "queues": rivals.measure,
    "memory": measure_memory.measure,
    "starts": measure_starts.measure,
    "growth": measure_growth.measure,
    "month": measure_month.measure,
    "looks": measure_looks.measure,
    "pages": measure_pages.measure,
}


def run_bench(*, only: Sequence[str], json_file: Path | None) -> int:
    """Measure all, or `only` some; returns the exit code: 1 when a promise was missed or a measurement failed."""
    console, report, failed = Console(), Report(), False
    if find_server() is None:
        console.print("bench needs redis-server or valkey-server on the path: a stand-in's figures mean nothing.")
        return 2
    for name in only or MEASUREMENTS:
        console.print(f"[dim]measuring {name} …[/dim]")
        try:
            MEASUREMENTS[name](report)
        except (RuntimeError, OSError) as error:  # also TimeoutError: the others are still worth their time
            console.print(f"[red]{name} failed:[/red] {error}", markup=True)
            failed = True
    report.show(console)
    if json_file is not None:
        report.write(json_file)
    return 1 if failed or any(figure.verdict == "missed" for figure in report.figures) else 0
