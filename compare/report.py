"""How findings are told: a table on the terminal, one self-contained page, JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich.console import Console
from rich.table import Table

from compare.findings import Findings
from compare.register import KNOWN

_SHOWN = 50
"""How many differences of one cause the page lists; the JSON has all."""


def show(console: Console, findings: Findings) -> None:
    """Print the figures and the differences by cause."""
    table = Table(title=findings.title, title_style="bold", header_style="bold")
    for name in ("", "Old side", "New side"):
        table.add_column(name, justify="left" if not name else "right")
    for row in findings.figures:
        table.add_row(*row)
    console.print(table)
    if findings.groups:
        console.print(_causes(findings))
    for note in findings.notes:
        console.print(note, highlight=False)
    for name in findings.absent:
        console.print(f"[bold red]{name} was expected and did not appear.[/]", highlight=False)
    if findings.unexplained:
        console.print(f"[bold red]Not explained: {findings.unexplained:,}.[/]", highlight=False)
    elif findings.good:
        count = sum(group.count for group in findings.groups)
        console.print(
            f"[bold green]Differences: {count:,}, all of them known.[/]" if count else "[bold green]No difference.[/]"
        )


def write(all_findings: Sequence[Findings], *, page: Path | None, data: Path | None) -> None:
    """Write the page and the JSON, where wanted."""
    if page is not None:
        page.write_text(render(all_findings))
    if data is not None:
        data.write_text(json.dumps([one.as_json() for one in all_findings], indent=2, ensure_ascii=False) + "\n")


def render(all_findings: Sequence[Findings]) -> str:
    """The page: one file, no script, nothing from elsewhere."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=select_autoescape(("html",)), trim_blocks=True
    )
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return templates.get_template("report.html").render(all=all_findings, now=now, shown=_SHOWN)


def _causes(findings: Findings) -> Table:
    table = Table(title="Differences by cause", title_style="bold", header_style="bold")
    for name in ("Id", "Count", "First", "Last", "Why", "Example"):
        table.add_column(name, justify="right" if name == "Count" else "left")
    for group in findings.groups:
        one = group.example
        example = f"{one.what} at {one.where}: {one.old or '-'} | {one.new or '-'}"
        name = group.id or "[bold red]none[/]"
        table.add_row(name, f"{group.count:,}", group.first, group.last, group.reason, example)
    return table


def show_register(console: Console) -> None:
    """Print the register of known differences."""
    table = Table(title="Known differences", title_style="bold", header_style="bold")
    for name in ("Id", "Decided otherwise here, because", "Where it shows"):
        table.add_column(name)
    for known in KNOWN:
        places = [*(["decisions: " + ", ".join(known.decisions)] if known.decisions else [])]
        places += [f"http: {', '.join(known.http)}"] if known.http else []
        places += [f"proven by {known.proven}"] if known.proven else []
        table.add_row(known.id, known.reason, "; ".join(places))
    console.print(table)
