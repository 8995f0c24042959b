"""`./run.sh compare …`: the doors of the comparison."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
from rich.console import Console

from compare.register import KNOWN

_FILE = click.Path(dir_okay=False, path_type=Path)
_TAPE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def compare() -> None:
    """Compare with the old Workers version; exit code 0: every difference is a known one."""


@compare.command()
@click.option("--tape", type=_TAPE, required=True, help="A recorded campus.")
@click.option("--ticks", type=click.IntRange(56), default=56, show_default=True, help="How many half hours to play.")
@click.option("--whole", is_flag=True, help="Play the whole tape.")
@click.option("--defect", "defects", multiple=True, type=click.Choice([one.id for one in KNOWN]), help="Switch it on.")
@click.option("--each", is_flag=True, help="None, then each that shows in decisions, in turn.")
@click.option("--seed", type=int, default=7, show_default=True, help="Which students.")
@click.option("--html", "page", type=_FILE, help="Write the report as one page.")
@click.option("--json", "data", type=_FILE, help="Write the report for programs.")
def replay(
    tape: Path,
    ticks: int,
    whole: bool,
    defects: tuple[str, ...],
    each: bool,
    seed: int,
    page: Path | None,
    data: Path | None,
) -> None:
    """Play one campus to both sides and compare what each decides."""
    from compare.play import run_replay
    from compare.replay import Season

    logging.disable(logging.CRITICAL)  # the faults of the play are its own, not news
    season = Season(tape, None if whole else ticks, seed)
    sys.exit(run_replay(season, defects, each=each, page=page, data=data, console=Console()))


@compare.command()
def register() -> None:
    """Show the register: every known difference, where it shows, and why."""
    from compare.report import show_register

    show_register(Console())
