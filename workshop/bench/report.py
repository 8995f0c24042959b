"""The figures of a run, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

Verdict = Literal["kept", "missed", ""]


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure. `bound` is what was promised of it, `at_least` says on which side; None: nothing was."""

    group: str
    name: str
    value: float
    unit: str = ""
    bound: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Whether the promise was kept."""
        if self.bound is None:
            return ""
        kept = self.value >= self.bound if self.at_least else self.value <= self.bound
        return "kept" if kept else "missed"


@dataclass(slots=True)
class Report:
    """Figures in the order they were taken, and what could not be measured and why."""

    figures: list[Figure] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    began: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def add(
        self,
        group: str,
        name: str,
        value: float,
        unit: str = "",
        *,
        bound: float | None = None,
        at_least: bool = False,
        note: str = "",
    ) -> None:
        """Take down a figure; see `Figure`."""
        self.figures.append(Figure(group, name, value, unit, bound, at_least, note))

    def value(self, group: str, name: str) -> float | None:
        """A figure taken earlier in this run."""
        return next((one.value for one in self.figures if (one.group, one.name) == (group, name)), None)

    def write(self, path: Path) -> None:
        """Everything as JSON, with the machine it was measured on."""
        content = {
            "began": self.began,
            "machine": machine(),
            "figures": [asdict(figure) | {"verdict": figure.verdict} for figure in self.figures],
            "skipped": self.skipped,
        }
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def show(self, console: Console) -> None:
        """Everything as a table."""
        about = machine()
        table = Table(title=f"{about['cores']} cores with a load of {about['load']}, Python {about['python']}")
        table.add_column("figure")
        table.add_column("value", justify="right", no_wrap=True)
        table.add_column("promised", justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        group = None
        for figure in self.figures:
            if figure.group != group:
                group = figure.group
                table.add_section()
                table.add_row(f"[bold]{group}[/bold]")
            table.add_row(
                f"  {figure.name}", _shown(figure.value, figure.unit), _promise(figure), _MARKS[figure.verdict]
            )
            if figure.note:
                table.add_row(f"  [dim]{figure.note}[/dim]")
        console.print(table)
        for what, why in self.skipped.items():
            console.print(f"[yellow]skipped[/yellow] {what}: {why}")


def machine() -> dict[str, str | int]:
    """What the figures were measured on. The load says how much of it others used."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _shown(value: float, unit: str) -> str:
    if value == int(value) and abs(value) < 1e9:
        text = f"{int(value):,}"
    elif abs(value) >= 100:
        text = f"{value:,.0f}"
    else:
        text = f"{value:,.1f}" if abs(value) >= 10 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def _promise(figure: Figure) -> str:
    if figure.bound is None:
        return ""
    return f"{'≥' if figure.at_least else '≤'} {_shown(figure.bound, figure.unit)}"


_MARKS: dict[Verdict, str] = {"kept": "[green]kept[/green]", "missed": "[red]missed[/red]", "": ""}
