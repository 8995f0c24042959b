"""The run around a shadow: its sessions, its time, its report."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
from rich.console import Console

from shared.database import DatabaseError, connect_postgres
from shared.environment import prefixed
from shared.settings import SettingsError, load
from shared.source.scraper import Scraper
from workshop.compare import PREFIX, report
from workshop.compare.findings import Findings
from workshop.compare.shadow.copy import CopyError
from workshop.compare.shadow.report import report_shadow
from workshop.compare.shadow.session import Session
from workshop.compare.shadow.shadow import Shadow

_LOOK_AGAIN = 2.0


def run_shadow(
    share: int, per_minute: int, minutes: float, *, page: Path | None, data: Path | None, console: Console
) -> int:
    """Run until time is up or a signal ends it, then tell.

    0 when everything is explained, 1 if not, 2 when it cannot run or a report cannot be written.
    """
    try:
        settings = load()
    except SettingsError as error:
        console.print(str(error), style="red", highlight=False)
        return 2
    old = prefixed(PREFIX).get("OLD_DATABASE")
    copy, url, token = settings.database_url, settings.scraper_url, settings.scraper_secret_token
    if not (old and copy and url and token):
        needed = f"{PREFIX}OLD_DATABASE, DATABASE_URL, SCRAPER_URL and SCRAPER_SECRET_TOKEN"
        console.print(f"Not all of {needed} are set.", style="red", highlight=False)
        return 2
    try:
        with ExitStack() as stack:
            stop = stack.enter_context(_stop_on_signal())
            reading = stack.enter_context(closing(Session(old, read_only=True)))
            own = stack.enter_context(closing(Session(copy)))
            database = stack.enter_context(closing(connect_postgres(copy, pool_size=2)))
            scraper = Scraper(url, token)
            clock = lambda: datetime.now(UTC)  # noqa: E731 - the one clock of the run
            shadow = Shadow(reading, own, database, scraper, clock, stop.wait, share, per_minute)
            _follow(shadow, timedelta(minutes=minutes), stop, console)
            findings = conclude(shadow)
            findings.subject = f"{share} % of the sections, at most {per_minute} look-ups a minute, "
            findings.subject += f"from {_minute(shadow.begun)} to {_minute(datetime.now(UTC))}."
            return report.tell(findings, page=page, data=data, console=console)
    except CopyError as error:
        console.print(f"{error}.", style="red", highlight=False)
        return 2
    except (psycopg.Error, DatabaseError) as error:
        # The words of the driver may name hosts and users.
        console.print(f"A database failed ({type(error).__name__}).", style="red", highlight=False)
        return 2


def conclude(shadow: Shadow) -> Findings:
    """What a run found, also where a database does not answer any more."""
    findings = report_shadow(shadow)
    if shadow.cut_short and shadow.read_at:
        findings.notes.append(
            f"A database did not answer at the end; whom both told is known until {_minute(shadow.read_at)}."
        )
    elif shadow.cut_short:
        findings.nothing = "The databases never answered together, so nobody knows whom the sides told."
    return findings


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _follow(shadow: Shadow, length: timedelta, stop: threading.Event, console: Console) -> None:
    with console.status("Following …") as status:
        shadow.tell = lambda: status.update(
            f"Following since {shadow.begun:%H:%M} UTC: {shadow.checks:,} checks; Ctrl-C ends it with its report …"
        )
        while datetime.now(UTC) < shadow.begun + length and not stop.is_set():
            shadow.step()
            shadow.tell()
            stop.wait(_LOOK_AGAIN)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """Set by Ctrl-C, SIGTERM and a terminal that went away, so that no statement is cut in the middle."""
    stop = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # under nohup it goes on
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
