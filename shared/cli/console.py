"""What every operator's command shares: its output for people or for programs, its errors, its exit codes.

0: it was done, or all is well. 1: it was not, or something is wrong. 2: the command or the settings are wrong.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, NoReturn, TypeVar
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared import logs
from shared.database import DatabaseError
from shared.health.check import since_epoch
from shared.redis import RedisError
from shared.sections.section import Section
from shared.sections.text import is_clean, json_text, visible
from shared.settings import SettingsError
from shared.wiring import Wiring, wiring

Command = TypeVar("Command", bound=Callable[..., Any])

STYLES = {
    **dict.fromkeys(("healthy", "active", "CLOSED", "ok", "sent", "delivered"), "green"),
    **dict.fromkeys(("degraded", "HALF_OPEN", "paused", "draining", "note", "pending", "sending", "held"), "yellow"),
    **dict.fromkeys(("unhealthy", "OPEN", "UNKNOWN", "problem", "dead", "lost"), "bold red"),
}


class Failed(click.ClickException):
    """The command did not do what was asked; the message says why. Exit code 1."""


class Screen:
    """Where a command writes: tables and sentences for people, or one JSON value for programs."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.console = Console(highlight=False, markup=False)

    def show(self, value: Any, *lines: Any) -> None:
        """`value` for programs; `lines` (tables, sentences) for people."""
        if self.as_json:
            click.echo(json_text(value, indent=2))
            return
        for line in lines:
            self.console.print("\n".join(map(visible, line.split("\n"))) if isinstance(line, str) else line)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask before something is destroyed; a program must say `--yes`."""
        if yes:
            return
        if self.as_json or not sys.stdin.isatty():
            raise click.UsageError(f"{question} Say --yes to do it.")
        click.confirm(question, abort=True)


def command(function: Command) -> Command:
    """Give a command `--json`, the process's parts and a screen, and turn what fails into words.

    The function is called with `parts`, `screen` and its own parameters.
    """

    @click.option("--json", "as_json", is_flag=True, help="One JSON value for programs.")
    @functools.wraps(function)
    def run(*arguments: Any, as_json: bool, **options: Any) -> Any:
        screen = Screen(as_json)
        try:
            if not all(map(is_clean, _texts(options))):
                raise Failed("an argument holds characters that are no text; type it anew")
            return function(*arguments, parts=open_parts(), screen=screen, **options)
        except SettingsError as error:
            _fail(screen, "the settings need attention:\n" + str(error), 2)
        except DatabaseError as error:
            _fail(screen, f"database: {error}")
        except RedisError as error:
            _fail(screen, f"Redis does not answer ({type(error).__name__})")
        except Failed as error:
            _fail(screen, error.message)

    return run  # type: ignore[return-value]  # click has changed its parameters


def _texts(options: dict[str, Any]) -> Iterable[str]:
    """The words that an operator typed."""
    for value in options.values():
        yield from (word for word in (value if isinstance(value, tuple) else (value,)) if isinstance(word, str))


def open_parts() -> Wiring:
    """The process's parts; what they log below a warning is not for an operator's terminal."""
    parts = wiring()
    settings = parts.settings
    logs.configure(level="WARNING", form="auto", key=settings.cron_secret or "", secrets=settings.secrets())
    return parts


def _fail(screen: Screen, message: str, code: int = 1) -> NoReturn:
    if screen.as_json:
        click.echo(json_text({"success": False, "error": message}))
    else:
        click.echo("\n".join(map(visible, f"Error: {message}".split("\n"))), err=True)
    sys.exit(code)


def table(*columns: str, rows: Iterable[Iterable[Any]], title: str | None = None) -> Table:
    """A plain table; statuses are coloured, what is empty shows as a dash."""
    drawn = Table(
        *columns, title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False
    )
    for row in rows:
        drawn.add_row(*(cell(value) for value in row))
    return drawn


def cell(value: Any) -> Text:
    """One value as text."""
    text = "-" if value is None or value == "" else visible(str(value))
    return Text(text, style=STYLES.get(text, ""))


def local_time(value: str | datetime | None, parts: Wiring) -> str | None:
    """A time as the operator's own day knows it, to the second."""
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{moment.astimezone(ZoneInfo(parts.settings.cron_timezone)):%Y-%m-%d %H:%M:%S}"


def epoch_time(milliseconds: object, parts: Wiring) -> str | None:
    """Epoch milliseconds, as `local_time` says it; None for what no date can hold."""
    return local_time(since_epoch(milliseconds), parts)


def section_of(term: str, class_nbr: str) -> Section:
    """The section that the arguments name; raises a usage error that says which of them is wrong."""
    try:
        return Section(term, class_nbr)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
