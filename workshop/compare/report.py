"""How findings are told: a table on the terminal, one self-contained page, JSON."""

from __future__ import annotations

import io
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TextIO, cast

from jinja2 import Environment, FileSystemLoader, select_autoescape
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from workshop.compare.findings import Difference, Findings, Group
from workshop.compare.register import ADDED, KNOWN

_SHOWN = 50
"""How many differences of one cause the page lists; the JSON has all."""

_BUCKETS = 120
_LISTED = 10
"""How many differences without a cause the terminal lists."""


def show(console: Console, findings: Findings) -> None:
    """Print the figures and the differences by cause."""
    table = Table(title=findings.title, title_style="bold", header_style="bold")
    for name in ("", "Old side", "New side"):
        table.add_column(name, justify="left" if not name else "right")
    for row in findings.figures:
        table.add_row(*row)
    console.print(table)
    if findings.subject:
        console.print(findings.subject, highlight=False, markup=False)
    if findings.groups:
        console.print(_causes(findings))
    _show_unexplained(console, [one for group in findings.groups if group.id is None for one in group.members])
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


def write(all_findings: Sequence[Findings], *, page: Path | None, data: Path | None) -> str:
    """Write the page and the JSON, where wanted; what went wrong, or nothing."""
    problems = []
    if page is not None:
        problems += _written(page, render(all_findings))
    if data is not None:
        whole = [one.as_json() for one in all_findings]
        problems += _written(data, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    return "\n".join(problems)


def complain(console: Console, problem: str) -> None:
    """Say what went wrong, if anything."""
    if problem:
        console.print(problem, style="red", highlight=False, markup=False, soft_wrap=True)


def tell(findings: Findings, *, page: Path | None, data: Path | None, console: Console) -> int:
    """Write, then show, for nobody may be reading; 0 when it is good, 1 when not, 2 when a file cannot be written."""
    problem = write([findings], page=page, data=data)
    show(console, findings)
    complain(console, problem)
    return 2 if problem else 0 if findings.good else 1


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


def _written(path: Path, text: str) -> list[str]:
    """Write it; what went wrong, if anything."""
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        return [f"{path} could not be written: {error.strerror}."]
    return []


def _show_unexplained(console: Console, differences: Sequence[Difference]) -> None:
    """Uncut, since a cell of the table may hold too little of it to find out why."""
    for one in differences[:_LISTED]:
        words = f"{one.when} {one.where}, {one.what}: {one.old or '-'} | {one.new or '-'}"
        console.print(words, style="red", highlight=False, markup=False, soft_wrap=True)
    if len(differences) > _LISTED:
        console.print(f"and {len(differences) - _LISTED:,} more; the JSON has all", style="red", highlight=False)


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


class _Lasting(io.TextIOBase):
    """Standard output; what cannot be written any more is dropped."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._gone = stream, False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Which characters it takes."""
        return self._stream.encoding

    def isatty(self) -> bool:
        """Whether somebody reads along."""
        return self._stream.isatty()

    def fileno(self) -> int:
        """Its number, for its width."""
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Write, as long as there is a reader."""
        if not self._gone:
            try:
                self._stream.write(text)
            except OSError:
                self._leave()
        return len(text)

    def flush(self) -> None:
        """Hand on, as long as there is a reader."""
        if not self._gone:
            try:
                self._stream.flush()
            except OSError:
                self._leave()

    def _leave(self) -> None:
        """Python flushes what is left when it ends, and must not fail then."""
        self._gone = True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


def terminal() -> Console:
    """A console on standard output that does not mind when nobody reads it any more."""
    return Console(file=cast(IO[str], _Lasting(sys.stdout)))
