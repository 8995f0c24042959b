"""The HTTP side of the `resend` library: one kept connection, hard limits, and the frozen bytes untouched.

Imported only when the first email is sent: the library costs about 11 MB.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import requests
import resend
from urllib3.exceptions import MaxRetryError, NewConnectionError

from shared.deadline import Deadline, TooLongError, bounded_session, read_body

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
        try:
            with (
                Deadline(exchange.seconds),
                self._session().request(
                    method,
                    url,
                    data=exchange.body,
                    headers={**headers, "Content-Type": "application/json"},
                    timeout=(min(CONNECT_SECONDS, exchange.seconds), exchange.seconds),
                    allow_redirects=False,
                    stream=True,
                ) as response,
            ):
                exchange.status = response.status_code
                exchange.headers = {name.lower(): value for name, value in response.headers.items()}
                if 300 <= response.status_code < 400:
                    raise _WireError("the answer was a redirect")
                return read_body(response, MAX_ANSWER_BYTES), response.status_code, exchange.headers
        except TooLongError:
            exchange.failure = "the answer was too long"
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
            session = self._local.session = bounded_session()
        return session


def _never_connected(error: requests.RequestException) -> bool:
    """Whether no connection came about (refused, no route, no such host), so that nothing can have been sent."""
    cause = error.args[0] if error.args else None
    return isinstance(cause, MaxRetryError) and isinstance(cause.reason, NewConnectionError)
