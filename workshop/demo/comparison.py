"""What the product did against what the campus really did, and the words for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from workshop.demo.delay import Delays
from workshop.demo.oracle import NAME, SEAT, Owed, Verdict
from workshop.demo.replay import Played

_MOST_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which the two disagree, in words that name who, what and when."""

    words: str

    def __str__(self) -> str:
        return self.words


def compare(played: Played, events: Mapping[str, int], verdict: Verdict) -> list[Difference]:
    """Every difference, the worst first: emails lost, emails too many, strange ones, counts."""
    sent = Counter(played.emails)
    lost = sorted(verdict.owed - sent.keys())
    extra = sorted(one for one in sent if one not in verdict.owed)
    twice = sorted(one for one, count in sent.items() if count > 1)
    differences = [Difference(f"never sent: {_tell(one)}") for one in lost]
    differences += [Difference(f"not owed: {_tell(one)}") for one in extra]
    differences += [Difference(f"sent {sent[one]} times: {_tell(one)}") for one in twice]
    differences += [Difference(f"an email of another kind: {subject}") for subject in played.strange]
    for what, seen, real in _counts(played, events, verdict):
        if seen != real:
            differences.append(Difference(f"{what}: {seen:,} instead of {real:,}"))
    return differences


def show_delays(console: Console, ours: Delays, stagger: Delays) -> None:
    """How soon people heard, and how soon they would have, in two lines."""
    console.print("From an opening on campus to the mail:", style="bold")
    console.print(f"  here                  {ours.words()}", highlight=False, soft_wrap=True)
    console.print(f"  looking once an hour  {stagger.words()}", highlight=False, soft_wrap=True, style="dim")


def show(
    console: Console, played: Played, events: Mapping[str, int], verdict: Verdict, health: Mapping[str, Any]
) -> bool:
    """Print the table and the differences; whether there were none."""
    differences = compare(played, events, verdict)
    table = Table(title="What was done, against what the campus did", title_style="bold", header_style="bold")
    table.add_column("")
    for name in ("PickMyClass", "Campus"):
        table.add_column(name, justify="right")
    table.add_column("", justify="center")
    table.add_row("Ticks", f"{played.ticks:,}", "", "")
    for what, seen, real in [*_counts(played, events, verdict), ("Emails", len(played.emails), len(verdict.owed))]:
        agrees = seen == real and (what != "Emails" or not differences)
        table.add_row(what, f"{seen:,}", f"{real:,}", "[green]✓[/]" if agrees else "[bold red]✗[/]")
    table.add_section()
    for what, value in _figures(played, health):
        table.add_row(what, value, "", "")
    console.print(table)
    if differences:
        words = [str(one) for one in differences[:_MOST_SHOWN]]
        if len(differences) > _MOST_SHOWN:
            words.append(f"… and {len(differences) - _MOST_SHOWN:,} more")
        console.print(
            Panel("\n".join(words), title=f"{len(differences):,} differences", border_style="red"), highlight=False
        )
    else:
        console.print("[bold green]Every email that was owed was sent, once, and no other.[/]")
    return not differences


def _counts(played: Played, events: Mapping[str, int], verdict: Verdict) -> list[tuple[str, int, int]]:
    return [
        ("Sections checked", played.checks, verdict.checks),
        ("Openings seen", events.get(SEAT, 0), verdict.openings),
        ("Instructors named", events.get(NAME, 0), verdict.namings),
    ]


def _figures(played: Played, health: Mapping[str, Any]) -> list[tuple[str, str]]:
    delay = health["email_delay"]
    told = f"{delay['p50_seconds']:.2f} s / {delay['p95_seconds']:.2f} s" if delay["count"] else "no opening"
    return [
        ("Looked at twice (mass events)", f"{played.twice:,}"),
        ("Seen → accepted, p50 / p95", told),
        ("Checks per second", f"{played.checks / played.seconds:,.0f}" if played.seconds else "-"),
        ("Time", f"{played.seconds:.1f} s"),
    ]


def _tell(one: Owed) -> str:
    when = datetime.fromtimestamp(one.seen_ms / 1000, UTC)
    return f"{one.kind} of {one.class_nbr} to {one.recipient}, seen {when:%Y-%m-%d %H:%M} UTC"
