"""How findings are told: a table on the terminal, one self-contained page, JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from compare.findings import Findings, Group
from compare.register import ADDED, KNOWN

_SHOWN = 50
"""How many differences of one cause the page lists; the JSON has all."""

_BUCKETS = 120


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
        console.print(note, highlight=False, markup=False)
    if findings.nothing:
        console.print(f"[bold red]Nothing was compared.[/] {findings.nothing}", highlight=False)
    for name in findings.absent:
        console.print(f"[bold red]{name} was expected and did not appear.[/]", highlight=False)
    if findings.unexplained:
        console.print(f"[bold red]Not explained: {findings.unexplained:,}.[/]", highlight=False)
    elif findings.good:
        words = f"Differences: {findings.count:,}, all of them known." if findings.count else "No difference."
        console.print(f"[bold green]{words}[/]")


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
    return templates.get_template("report.html").render(
        all=all_findings, now=now, shown=_SHOWN, strip=_strip, buckets=_BUCKETS
    )


def _strip(findings: Findings, group: Group) -> list[tuple[int, float]]:
    """(place, height up to 10) of the bars that draw how a cause is spread over the time of a comparison."""
    moments = [datetime.fromisoformat(one.when).timestamp() for one in group.members]
    start, end = (datetime.fromisoformat(edge).timestamp() for edge in (findings.first, findings.last))
    bars = Counter(min(_BUCKETS - 1, int(_BUCKETS * (one - start) / (end - start))) for one in moments)
    highest = max(bars.values())
    return [(place, round(2 + 8 * count / highest, 1)) for place, count in sorted(bars.items())]


def _causes(findings: Findings) -> Table:
    table = Table(title="Differences by cause", title_style="bold", header_style="bold")
    for name in ("Id", "Count", "First", "Last", "Why", "Example"):
        table.add_column(name, justify="right" if name == "Count" else "left")
    for group in findings.groups:
        one = group.example
        example = f"{one.what} at {one.where}: {one.old or '-'} | {one.new or '-'}"
        name = group.id or "[bold red]none[/]"
        table.add_row(name, f"{group.count:,}", group.first, group.last, escape(group.reason), escape(example))
    return table


def show_register(console: Console) -> None:
    """Print the register of known differences."""
    table = Table(title="Known differences", title_style="bold", header_style="bold")
    for name in ("Id", "Decided otherwise here, because", "Where it shows"):
        table.add_column(name)
    for known in (*KNOWN, *ADDED):
        places = [*(["decisions: " + ", ".join(known.decisions)] if known.decisions else [])]
        places += [f"http: {', '.join(known.http)}"] if known.http else []
        places += [f"proven by {known.proven}"] if known.proven else []
        table.add_row(known.id, known.reason, escape("; ".join(places)))
    console.print(table)
