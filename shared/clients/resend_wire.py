"""The HTTP side of the `resend` library: one kept connection, hard limits, and the frozen bytes untouched.

Imported only when the first email is sent: the library costs about 11 MB.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import requests
import resend
from requests.adapters import HTTPAdapter
from urllib3.exceptions import MaxRetryError, NewConnectionError

CONNECT_SECONDS = 5.0
MAX_ANSWER_BYTES = 1024 * 1024


@dataclass(slots=True)
class Exchange:
    """One request: what goes out, and what the library would not tell of how it went.

    `sent` is false when no connection came about, so that nothing can have been accepted.
    """

    body: bytes
    seconds: float
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    failure: str | None = None
    sent: bool = True


current: ContextVar[Exchange] = ContextVar("resend_exchange")
"""The exchange of this thread: the library has no parameter that could carry it."""


class _WireError(Exception):
    """The exchange failed; what happened is noted on it, and no word of it (host, address) reaches the message."""


class Wire(resend.HTTPClient):
    """The transport handed to the library; safe to share between threads, each keeps one connection."""

    def __init__(self) -> None:
        self._local = threading.local()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        json: Any = None,  # noqa: ARG002 - the library's own serialisation is ignored: the frozen bytes go out
        files: dict[str, Any] | None = None,  # noqa: ARG002 - part of the library's interface
        data: dict[str, str] | None = None,  # noqa: ARG002 - part of the library's interface
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send the current exchange's bytes and read the answer, bounded in size and time."""
        exchange = current.get()
        deadline = time.monotonic() + exchange.seconds
        try:
            with self._session().request(
                method,
                url,
                data=exchange.body,
                headers={**headers, "Content-Type": "application/json"},
                timeout=(min(CONNECT_SECONDS, exchange.seconds), exchange.seconds),
                allow_redirects=False,
                stream=True,
            ) as response:
                exchange.status = response.status_code
                exchange.headers = {name.lower(): value for name, value in response.headers.items()}
                return _read(response, deadline), response.status_code, exchange.headers
        except requests.Timeout:
            exchange.failure = f"no answer within {exchange.seconds:g} s"
        except requests.RequestException as error:
            exchange.sent = not _never_connected(error)
            exchange.failure = "the connection was cut" if exchange.sent else "cannot be reached"
        except _WireError as error:
            exchange.failure = str(error)
        raise _WireError(exchange.failure)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = requests.Session()
            session.trust_env = False  # no proxies or netrc from the environment: settings are the only source
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=1))
        return session


def _read(response: requests.Response, deadline: float) -> bytes:
    """The body, at most a megabyte and until `deadline`: a slow drip must not hold the mailer for ever."""
    if 300 <= response.status_code < 400:
        raise _WireError("the answer was a redirect")
    chunks = bytearray()
    for chunk in response.iter_content(16 * 1024):
        chunks += chunk
        if len(chunks) > MAX_ANSWER_BYTES:
            raise _WireError("the answer was too long")
        if time.monotonic() > deadline:
            raise _WireError("the answer did not end in time")
    return bytes(chunks)


def _never_connected(error: requests.RequestException) -> bool:
    """Whether no connection came about (refused, no route, no such host), so that nothing can have been sent."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
