"""`./run.sh up --local`: everything in real time, with pages to look at, until Ctrl-C."""

from __future__ import annotations

import shlex
import signal
import socket
import threading
import time

from rich.console import Console

from workshop.campus.chance import make_campus
from workshop.campus.tape import term_of
from workshop.demo.students import make_students
from workshop.parts.registry import Registry
from workshop.parts.stack import PartError, Stack

_SECTIONS = 60
_SEED = 1
_PORT = 8080  # where the functions are when nobody says otherwise
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
    with Stack(arguments, replay=False, port=port or _usual_port(), aloud=True) as stack:
        try:
            stack.start(lambda what: console.print(f"Starting {what} …"), before_product=lambda: _fill(stack, start))
            _tell(console, stack)
            while not stopped.wait(1.0):
                stack.check()
        except (PartError, RuntimeError, OSError) as problem:
            console.print(f"[bold red]Broke off:[/] {problem}", highlight=False, soft_wrap=True)
            return 1
        console.print("Stopping …")
    return 0


def _usual_port() -> int | None:
    """The port everybody expects, unless it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", _PORT))
        except OSError:
            return None
        return _PORT


def _fill(stack: Stack, start: int) -> None:
    """Students with watches, so that there is something to check and somebody to tell."""
    timelines = make_campus(_SEED, _SECTIONS, start, _WEEK_MS)
    courses = {timeline.class_nbr: timeline.course for timeline in timelines}
    watches = make_students(_SEED, list(courses), [start])
    with Registry(stack.postgres.url()) as registry:
        registry.sign_up(list({watch.student.user_id: watch.student for watch in watches}.values()))
        registry.add_watches(term_of(timelines), courses, watches)


def _tell(console: Console, stack: Stack) -> None:
    lines = (
        ("Health", f"{stack.functions_url}/api/monitoring/health", ""),
        ("Inbox", f"{stack.inbox_url}/", "what students get"),
        ("Campus", f"{stack.campus_url}/", "open a seat, name an instructor, break things"),
        ("Database", stack.postgres.url(), ""),
    )
    console.rule("[bold]PickMyClass is up[/]", style="magenta")
    for name, address, about in lines:
        console.print(f"{name:>10}  [bold]{address}[/]  [dim]{about}[/]", highlight=False, soft_wrap=True)
    bearer = f"-H 'Authorization: Bearer {stack.cron_secret}'"
    console.print("\nTicks come at every half hour. To check every section now, after you changed the campus:")
    console.print(f"  curl {bearer} '{stack.functions_url}/api/cron?group=all'", highlight=False, soft_wrap=True)
    console.print("To look and act as an operator, in another shell:")
    read = f"set -a; . {shlex.quote(str(stack.write_settings()))}; set +a"
    console.print(f"  {read}; ./run.sh ops status", highlight=False, soft_wrap=True)
    console.print("Ctrl-C stops everything.")
    console.rule(style="magenta")
