"""`./run.sh compare …`: the doors of the comparison."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from workshop.compare.register import KNOWN


class _Target(click.Path):
    """A file to be written; refused at once when its folder is not there, not after an hour of work."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(str(super().convert(value, param, ctx)))
        if not path.absolute().parent.is_dir():
            self.fail(f"{path}: there is no folder {path.absolute().parent}; make it first", param, ctx)
        return path


_FILE = _Target(dir_okay=False, writable=True)
_IDS = click.Choice([one.id for one in KNOWN], case_sensitive=False)
_SECONDS = click.FloatRange(0.1, 3600)
_TAPE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _base(_context: click.Context, _option: click.Parameter, address: str) -> str:
    """A side's address; refused before anything is asked, and not quoted, because it may hold a password."""
    from workshop.compare.http.answer import base_of

    try:
        return base_of(address)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def compare() -> None:
    """Compare with the old Workers version; exit code 0: every difference is a known one."""


@compare.command()
@click.option("--tape", type=_TAPE, required=True, help="A recorded campus.")
@click.option("--ticks", type=click.IntRange(56), default=56, show_default=True, help="How many half hours to play.")
@click.option("--whole", is_flag=True, help="Play the whole tape.")
@click.option("--defect", "defects", multiple=True, type=_IDS, help="Switch it on.")
@click.option("--each", is_flag=True, help="None, then each that shows in decisions, in turn.")
@click.option("--crowd/--no-crowd", default=True, help="More than a thousand sections for a while, for O14.")
@click.option("--seed", type=int, default=7, show_default=True, help="Which students.")
@click.option("--html", "page", type=_FILE, help="Write the report as one page.")
@click.option("--json", "data", type=_FILE, help="Write the report for programs.")
def replay(
    tape: Path,
    ticks: int,
    whole: bool,
    defects: tuple[str, ...],
    each: bool,
    crowd: bool,
    seed: int,
    page: Path | None,
    data: Path | None,
) -> None:
    """Play one campus to both sides and compare what each decides."""
    from workshop.compare.replay.play import run_replay
    from workshop.compare.replay.theatre import ReplaySeason
    from workshop.compare.report import terminal

    if each and defects:
        raise click.UsageError("--each tries every defect in turn; leave --defect out.")
    season = ReplaySeason(tape, None if whole else ticks, seed, crowd)
    with _quiet():
        sys.exit(run_replay(season, defects, each=each, page=page, data=data, console=terminal()))


@compare.command()
@click.option("--old", required=True, callback=_base, help="Base URL of the old side.")
@click.option("--new", required=True, callback=_base, help="Base URL of the new side.")
@click.option("--cases", "file", type=_TAPE, help="Another file of cases (JSON) than the one that comes along.")
@click.option("--allow-writes", is_flag=True, help="Also the cases that change something.")
@click.option("--seconds", type=_SECONDS, default=100.0, show_default=True, help="How long an answer may take.")
@click.option("--html", "page", type=_FILE, help="Write the report as one page.")
@click.option("--json", "data", type=_FILE, help="Write the report for programs.")
def http(
    old: str, new: str, file: Path | None, allow_writes: bool, seconds: float, page: Path | None, data: Path | None
) -> None:
    """Ask both sides the same and compare their answers field by field.

    Secrets come from the environment: COMPARE_CRON_SECRET, COMPARE_USER_TOKEN, COMPARE_UNSUBSCRIBE_TOKEN; the
    section to ask for from COMPARE_TERM and COMPARE_CLASS_NBR (watched by that user) and COMPARE_OTHER_CLASS_NBR (not
    watched). What is not set leaves out the cases that need it. Exit code 2: nothing was compared, or a
    report could not be written.
    """
    from shared.environment import prefixed
    from workshop.compare import PREFIX, report
    from workshop.compare.http.case_file import SHIPPED, CaseError, read_cases
    from workshop.compare.http.compare import NothingComparedError, UnreachableError, compare_http

    console = report.terminal()
    try:
        cases = read_cases(file or SHIPPED)
        with console.status("Asking …") as status:
            tell = lambda number, count: status.update(f"Asking: case {number} of {count} …")  # noqa: E731 - a callback
            findings = compare_http(
                old, new, cases, prefixed(PREFIX), allow_writes=allow_writes, seconds=seconds, tell=tell
            )
    except (CaseError, UnreachableError) as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        sys.exit(2)
    except NothingComparedError as error:
        console.print(
            f"{error}\nNothing was compared. Set what is needed, or allow writes.",
            style="red",
            highlight=False,
            markup=False,
        )
        sys.exit(2)
    findings.subject = f"Old side {old}, new side {new}."
    sys.exit(report.tell(findings, page=page, data=data, console=console))


@compare.command()
@click.option("--share", type=click.IntRange(1, 100), default=10, show_default=True, help="Percent of the sections.")
@click.option("--per-minute", type=click.IntRange(1, 600), default=20, show_default=True, help="Look-ups at most.")
@click.option("--minutes", type=click.FloatRange(1), default=1440.0, show_default=True, help="How long.")
@click.option("--html", "page", type=_FILE, help="Write the report as one page.")
@click.option("--json", "data", type=_FILE, help="Write the report for programs.")
def shadow(share: int, per_minute: int, minutes: float, page: Path | None, data: Path | None) -> None:
    """Check beside the old side, on a database of its own; nothing is mailed. Ctrl-C ends it with its report.

    COMPARE_OLD_DATABASE is only read; DATABASE_URL is an empty, migrated one, into which people and states are brought
    over without addresses; the scraper is that of SCRAPER_URL and SCRAPER_SECRET_TOKEN.
    """
    from workshop.compare.report import terminal
    from workshop.compare.shadow.run import run_shadow

    with _quiet():
        sys.exit(run_shadow(share, per_minute, minutes, page=page, data=data, console=terminal()))


@compare.command()
def register() -> None:
    """Show the register: every known difference, where it shows, and why."""
    from workshop.compare.report import show_register, terminal

    show_register(terminal())


@contextmanager
def _quiet() -> Iterator[None]:
    """No log while it lasts: faults of a play and failed checks of a shadow are figures of its report, not news."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
