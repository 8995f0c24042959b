"""`./run.sh up --local`: everything in real time, with pages to look at, until Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import socket
import threading
import time

from rich.console import Console

from workshop.campus.chance import make_campus
from workshop.campus.sections import Timeline
from workshop.campus.tape import term_of
from workshop.demo.students import Watch, make_students
from workshop.desk.desk import Desk, Example, choose_example
from workshop.parts.registry import Registry
from workshop.parts.stack import PartError, Stack
from workshop.parts.web import Server

_SECTIONS = 60
_SEED = 1
_PORT, _DESK_PORT = 8080, 8090  # of the functions and of the desk, when nobody says otherwise and they are free
_WEEK_MS = 7 * 24 * 3600 * 1000


def run_local(port: int | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; the exit code. The functions listen on `port` (default: 8080 or a free one)."""
    console = Console()
    stopped = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopped.set())
    start = int(time.time() * 1000)
    arguments = ["--seed", str(_SEED), "--sections", str(_SECTIONS), "--start-ms", str(start)]
    arguments += ["--length-ms", str(_WEEK_MS), "--rate", "1"]
    timelines = make_campus(_SEED, _SECTIONS, start, _WEEK_MS)
    term = term_of(timelines)
    watches = make_students(_SEED, [timeline.class_nbr for timeline in timelines], [start])
    desk = Desk()
    with (
        Server(desk, _free_or_zero(_DESK_PORT)) as front,
        Stack(
            [*arguments, "--term", term, "--desk", front.url],
            replay=False,
            port=port or _free_or_zero(_PORT) or None,
            aloud=True,
            settings={"SOURCE": "asu,scraper"},  # courses can be searched
        ) as stack,
    ):
        try:
            stack.start(
                lambda what: console.print(f"Starting {what} …"),
                before_product=lambda: _fill(stack, term, timelines, watches),
            )
            example = choose_example(stack, term, timelines, watches, start)
            settings_file = str(stack.write_settings())
            desk.open(stack, example, settings_file)
            _tell(console, stack, front.url, example, settings_file)
            while not stopped.wait(1.0):
                stack.check()
                desk.follow_the_clock()
        except (PartError, RuntimeError, OSError) as problem:
            console.print(f"[bold red]Broke off:[/] {problem}", highlight=False, soft_wrap=True)
            return 1
        finally:
            desk.close()
        console.print("Stopping …")
    return 0


def _free_or_zero(port: int) -> int:
    """The port that everybody expects; 0 (any) when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
        return port


def _fill(stack: Stack, term: str, timelines: list[Timeline], watches: list[Watch]) -> None:
    """Students with watches, so that there is something to check and somebody to tell."""
    courses = {timeline.class_nbr: timeline.course for timeline in timelines}
    with Registry(stack.postgres.url()) as registry:
        registry.sign_up(list({watch.student.user_id: watch.student for watch in watches}.values()))
        registry.add_watches(term, courses, watches)


def _tell(console: Console, stack: Stack, desk: str, example: Example, settings_file: str) -> None:
    lines = (
        ("Desk", f"{desk}/", "begin here: it links all of this"),
        ("Site", f"{stack.functions_url}/", "sign up with any address; its mails are in the inbox"),
        ("Health", f"{stack.functions_url}/api/monitoring/health", ""),
        ("Inbox", f"{stack.inbox_url}/", "what students get"),
        ("Campus", f"{stack.campus_url}/", "open a seat, name an instructor, break things"),
        ("Database", stack.postgres.url(), ""),
    )
    console.rule("[bold]PickMyClass is up[/]", style="magenta")
    for name, address, about in lines:
        console.print(f"{name:>10}  [bold]{address}[/]  [dim]{about}[/]", highlight=False, soft_wrap=True)
    words = (
        (
            f"Term {example.term}: {example.course} ({example.class_nbr}) is full, and {example.student} watches it:",
            f"curl -H 'Authorization: Bearer {example.token}' {stack.functions_url}/api/class-watches",
        ),
        (
            "Ticks come at every half hour. To check every section now, after you changed the campus:",
            f"curl -H 'Authorization: Bearer {stack.cron_secret}' '{stack.functions_url}/api/cron?group=all'",
        ),
        (
            "To look and act as an operator, in another shell:",
            f"set -a; . {shlex.quote(settings_file)}; set +a; ./run.sh ops status",
        ),
    )
    for about, command in words:
        console.print(f"\n{about}\n  {command}", highlight=False, soft_wrap=True)
    console.print("Ctrl-C stops everything.")
    console.rule(style="magenta")
