"""How a stand-in runs as a process: says where it listens, serves until SIGTERM or Ctrl-C, ends cleanly."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable

from workshop.parts.web import Server


def serve_until_stopped(name: str, server: Server, stop: Callable[[], None] = lambda: None) -> None:
    """Print `NAME listening on URL`, serve until a signal, then call `stop` and close. For the main thread."""
    stopped = threading.Event()
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: stopped.set())
    with server:
        print(f"{name} listening on {server.url}", flush=True)
        stopped.wait()
        stop()
