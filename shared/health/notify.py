"""Word to systemd: ready, alive, stopping (sd_notify(3)), and the watchdog that decides what "alive" means.

Without a library on purpose: the protocol is one datagram of `NAME=value` lines to the socket that systemd names,
fewer lines than a dependency takes to pin, and the bindings on PyPI either need a compiler and libsystemd's headers
or are as small as this. Outside systemd there is no socket and nothing is sent.

Where the socket and the interval come from (NOTIFY_SOCKET, WATCHDOG_USEC) is known to `shared/environment.py` alone,
which takes them out: gunicorn would find the socket there and say READY=1 before a function is loaded.
"""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

_SEND_SECONDS = 1.0
_START_LOOK_SECONDS = 0.25
_LOOKS_PER_INTERVAL = 3

Hung = Callable[[], str | None]
"""Looks whether the work goes on: `None` when it does, else what hangs, for a person. It may block or raise."""


class Notifier:
    """Sends states to the supervisor's socket; `None` as address means that nobody listens."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    def ready(self) -> None:
        """The service does its work from now on; `systemctl start` returns."""
        self._send("READY=1")

    def alive(self) -> None:
        """Put the watchdog off by its whole interval, and clear what `status` said."""
        self._send("WATCHDOG=1\nSTATUS=")

    def status(self, words: str) -> None:
        """What `systemctl status` shows; one line."""
        self._send(f"STATUS={' '.join(words.split())[:200]}")

    def stopping(self) -> None:
        """The service is on its way out."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        """One datagram. A supervisor that does not take it must not stop the work, so errors are only logged."""
        if not self._address:
            return
        # A leading @ stands for the zero byte of an abstract socket.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
                out.settimeout(_SEND_SECONDS)
                out.sendto(state.encode(), address)
        except OSError as error:
            log.warning("the supervisor could not be told", extra={"state": state.split("=")[0], "error": str(error)})


class Watchdog:
    """Says READY=1 at the first look that finds nothing hung, then WATCHDOG=1 at each such look.

    A look that finds something hung, raises or never returns says nothing, and when that lasts for `interval`
    seconds systemd ends the process and starts it again. With `None` as interval it ends after READY=1.
    """

    def __init__(self, notifier: Notifier, interval: float | None, hung: Hung) -> None:
        self._notifier, self._interval, self._hung = notifier, interval, hung
        self._stop = threading.Event()
        self._said_ready = False

    def start(self) -> None:
        """Look from a thread of its own, until `stop`."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def stop(self) -> None:
        """Say STOPPING=1 and look no more."""
        if not self._stop.is_set():
            self._stop.set()
            self._notifier.stopping()

    def look(self) -> bool:
        """One look; returns whether all is well."""
        reason = self._ask()
        if self._stop.is_set():
            return reason is None
        if reason is not None:
            if self._said_ready:
                log.error("something hangs; the watchdog is not put off", extra={"reason": reason})
            self._notifier.status(reason)
            return False
        if not self._said_ready:
            self._said_ready = True
            self._notifier.ready()
        self._notifier.alive()
        return True

    def _ask(self) -> str | None:
        try:
            return self._hung()
        except Exception as error:
            return f"could not look: {type(error).__name__}"

    def _run(self) -> None:
        while not self._stop.is_set():
            self.look()
            if self._said_ready and self._interval is None:
                return
            pause = self._interval / _LOOKS_PER_INTERVAL if self._said_ready and self._interval else _START_LOOK_SECONDS
            self._stop.wait(pause)


def answers_http(host: str, port: int, path: str, timeout: float) -> Hung:
    """A look for a server: it hangs unless `GET path` on its own port is answered 200 within `timeout` seconds.

    The request takes the way of every caller, through the accepting loop and one of the threads.
    """
    own = {"0.0.0.0": "127.0.0.1", "::": "::1", "[::]": "::1"}.get(host, host)  # noqa: S104 - compared, not bound

    def look() -> str | None:
        connection = http.client.HTTPConnection(own, port, timeout=timeout)
        try:
            connection.request("GET", path)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException) as error:
            return f"no answer to {path}: {type(error).__name__}"
        finally:
            connection.close()
        return None if status == http.HTTPStatus.OK else f"{path} answers {status}"

    return look
