"""One limit for a whole exchange over HTTP, headers and body together, and sessions that keep it.

`requests` bounds each read by itself, so that a peer which sends a byte now and then could hold a thread for ever.
Here one thread of the process looks after all exchanges and cuts the connection of one whose time is over:

    session = bounded_session()
    with Deadline(90.0), session.post(url, stream=True) as response:
        body = read_body(response, 65536)
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Self

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

_LOOK_SECONDS = 0.25
_CHUNK = 16 * 1024


class TooLongError(requests.RequestException):
    """The body is longer than it may be."""


class Deadline:
    """A limit in seconds for what this thread asks inside the `with`; past it that raises `requests.Timeout`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._passed = False
        self._connection: Any = None  # a socket, plain or of TLS
        self._token: Token[Deadline | None]

    def __enter__(self) -> Self:
        self.ends_at = time.monotonic() + self._seconds
        self._token = _current.set(self)
        _keeper.watch(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _keeper.forget(self)
        _current.reset(self._token)
        self._connection = None
        if self._passed and (error is None or isinstance(error, requests.RequestException)):
            raise requests.Timeout from error  # however a cut connection looked to the reader

    def uses(self, connection: Any) -> None:
        """This connection carries the exchange; it is cut at once when the time was over before it was made."""
        self._connection = connection
        if self._passed:
            self.cut()

    def cut(self) -> None:
        """End the exchange where it stands: whoever reads from the connection finds it closed."""
        self._passed = True
        # It may have ended by itself, or not begun. Not the connection's own `shutdown`, which would take TLS away
        # under the reader's hands.
        with suppress(OSError, TypeError):
            socket.socket.shutdown(self._connection, socket.SHUT_RDWR)


_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class _Keeper:
    """The thread that looks after all open exchanges of the process; it sleeps while there are none."""

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def watch(self, deadline: Deadline) -> None:
        with self._changed:
            self._open.add(deadline)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                self._thread.start()
            elif len(self._open) == 1:
                self._changed.notify()

    def forget(self, deadline: Deadline) -> None:
        with self._changed:  # never cut after this: the connection may carry the next exchange
            self._open.discard(deadline)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._open:
                    self._changed.wait()
                now = time.monotonic()
                for deadline in [one for one in self._open if one.ends_at <= now]:
                    deadline.cut()
                    self._open.discard(deadline)
            time.sleep(_LOOK_SECONDS)


_keeper = _Keeper()


class _Plain(HTTPConnection):
    def getresponse(self) -> Any:
        """The answer's headers; from here on the deadline of this thread may cut."""
        if deadline := _current.get():
            deadline.uses(self.sock)
        return super().getresponse()


class _Secure(_Plain, HTTPSConnection):
    """The same over TLS."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **words: Any) -> None:
        super().init_poolmanager(*args, **words)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}


def bounded_session() -> requests.Session:
    """A session that keeps one connection, takes nothing from the environment, and obeys a `Deadline`."""
    session = requests.Session()
    session.trust_env = False  # no proxies or netrc from the environment: settings are the only source
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(pool_connections=1, pool_maxsize=1))
    return session


def read_body(response: requests.Response, most: int) -> bytes:
    """The body of a streamed answer, `most` bytes at most. Raises `TooLongError`."""
    body = bytearray()
    for chunk in response.iter_content(_CHUNK):
        body += chunk
        if len(body) > most:
            raise TooLongError
    return bytes(body)
