"""The words for a run: faults by kind, what was lost or told twice, how fast it recovered."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from workshop.chaos.nemesis import Done
from workshop.chaos.play import Played
from workshop.chaos.verdict import PROMISES, Verdict

_MOST_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Result:
    """One run: what was done to the product, what it did, and how that compares."""

    seed: int
    done: Sequence[Done]
    played: Played
    verdict: Verdict
    crashes: Sequence[str]
    seconds: float

    @property
    def good(self) -> bool:
        """Whether every promise was kept and no process ended by itself."""
        return self.verdict.good and not self.crashes

    def recoveries(self) -> list[tuple[str, float]]:
        """For each fault, seconds from the end of its cause until the slot's last attempt had ended (0: sooner)."""
        found = []
        for one in self.done:
            slot = next((slot for slot in self.played.slots if slot.ended_monotonic >= one.began), None)
            if slot is not None:
                found.append((one.fault.kind, max(0.0, slot.ended_monotonic - one.ended)))
        return found


def show(console: Console, results: Sequence[Result]) -> None:
    """Print the tables for all runs together, and what went wrong in which."""
    _show_faults(console, results)
    _show_figures(console, results)
    for result in results:
        if not result.good:
            console.print(_failure(result), highlight=False)
    if all(result.good for result in results):
        console.print("[bold green]Every email that was owed was sent, once, and no other; nothing is stuck.[/]")


def one_line(result: Result) -> str:
    """A run in a line."""
    verdict = result.verdict
    problems = {name: getattr(verdict, name) for name in PROMISES} | {"crashed": result.crashes}
    bad = ", ".join(f"{len(found)} {name}" for name, found in problems.items() if found)
    return (
        f"seed {result.seed}: {len(result.done)} faults, {len(result.played.slots)} slots, {verdict.commits:,} checks, "
        f"{verdict.owed:,} emails owed, {verdict.sent:,} sent, {verdict.dropped:,} dropped, {verdict.refused:,} "
        f"refused in {result.seconds:.0f} s: {bad or 'nothing lost, nothing twice, nothing stuck'}"
    )


def _show_faults(console: Console, results: Sequence[Result]) -> None:
    times: dict[str, list[float]] = defaultdict(list)
    counts: dict[str, int] = defaultdict(int)
    for result in results:
        for done in result.done:
            counts[done.fault.kind] += 1
        for kind, seconds in result.recoveries():
            times[kind].append(seconds)
    table = Table(title="Faults, and seconds until the slot's checks had ended", header_style="bold")
    table.add_column("What went wrong")
    for name in ("times", "p50", "p95", "max"):
        table.add_column(name, justify="right")
    for kind in sorted(counts):
        table.add_row(kind, f"{counts[kind]:,}", *_quantiles(times[kind]))
    table.add_section()
    table.add_row("all", f"{sum(counts.values()):,}", *_quantiles([one for many in times.values() for one in many]))
    console.print(table)


def _show_figures(console: Console, results: Sequence[Result]) -> None:
    table = Table(title="What came of it", header_style="bold")
    table.add_column("")
    table.add_column("", justify="right")
    verdicts = [result.verdict for result in results]
    delays = [delay for verdict in verdicts for delay in verdict.delays]
    slots = [slot.ended - slot.began for result in results for slot in result.played.slots]
    figures = {
        "Runs": len(results),
        "Slots": len(slots),
        "Committed checks": sum(verdict.commits for verdict in verdicts),
        "HTTP calls beside": sum(result.played.http_calls for result in results),
        "Emails owed": sum(verdict.owed for verdict in verdicts),
        "… sent once": sum(verdict.sent for verdict in verdicts),
        "… dropped, the seats were filled first": sum(verdict.dropped for verdict in verdicts),
        "… refused by Resend for the address": sum(verdict.refused for verdict in verdicts),
        "Lost": sum(len(verdict.lost) for verdict in verdicts),
        "Told twice or not owed": sum(len(verdict.twice) + len(verdict.extra) for verdict in verdicts),
        "Committed, but never true": sum(len(verdict.wrong) for verdict in verdicts),
        "Unchecked": sum(len(verdict.unchecked) for verdict in verdicts),
        "Older than the floor allows": sum(len(verdict.stale) for verdict in verdicts),
        "Minutes with too many looks": sum(len(verdict.excesses) for verdict in verdicts),
        "Stuck": sum(len(verdict.stuck) for verdict in verdicts),
        "Crashed by themselves": sum(len(result.crashes) for result in results),
    }
    for name, value in figures.items():
        table.add_row(name, f"{value:,}")
    table.add_section()
    table.add_row("Seen → accepted, s, p50 / p95 / max", " / ".join(_quantiles(delays)))
    table.add_row("A slot's checks, s, p50 / p95 / max", " / ".join(_quantiles(slots)))
    console.print(table)


def _quantiles(values: Sequence[float]) -> tuple[str, str, str]:
    if not values:
        return "-", "-", "-"
    ordered = sorted(values)
    p50, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.95))
    return f"{p50:.1f}", f"{p95:.1f}", f"{ordered[-1]:.1f}"


def _failure(result: Result) -> Panel:
    verdict = result.verdict
    words = []
    for name in PROMISES:
        found = getattr(verdict, name)
        words += [f"{name}: {one}" for one in found[:_MOST_SHOWN]]
        words += [f"… and {len(found) - _MOST_SHOWN} more {name}"] if len(found) > _MOST_SHOWN else []
    words += [f"crashed: {crash}" for crash in result.crashes]
    return Panel("\n".join(words), title=f"Seed {result.seed}", border_style="red")
