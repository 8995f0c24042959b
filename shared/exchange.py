"""Sessions of `requests` whose timeout is what people take it for: the limit of a whole exchange.

By itself `requests` bounds each read, so that a peer which sends a byte now and then could hold a thread for ever, and
it reads a body of any length. Here an adapter, the library's own place for another way to send, asks by Python's
`http.client` over a socket whose every wait is what is left of the exchange's time:

    with bounded_session(most=65536) as session:
        body = session.get(url, timeout=90.0).content
"""

from __future__ import annotations

import errno
import io
import select
import socket
import ssl
import sys
import time
import weakref
import zlib
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_encoding_from_headers

CONNECT_SECONDS = 10.0
_IDLE_SECONDS, _PROBE_SECONDS, _PROBES = 10, 5, 2
"""A line that is silent so long is probed, so often: the peer behind a cut network is given up after twenty seconds."""

_NETWORK_GONE = {errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN}
"""What the system says of a line that is lost; the end of our own patience has no number."""


class TooLongError(requests.RequestException):
    """The body is longer than it may be."""


class UnreachableError(requests.ConnectionError):
    """The peer had no part in it: no connection came about, or the network between was lost."""


class NotConnectedError(UnreachableError):
    """No connection came about (refused, no route, no such host, no TLS), so that nothing can have been sent."""


def bounded_session(most: int) -> requests.Session:
    """A session that takes answers of `most` bytes, keeps one connection, and follows nothing but its caller.

    A body packed by gzip is unpacked, within the same bound.
    `timeout`, in seconds and required, bounds everything from connecting to the answer's last byte; past it
    `requests.Timeout` is raised. Raises `TooLongError` and `UnreachableError` too. Not to be shared between threads.
    """
    session = requests.Session()
    session.trust_env = False  # no proxies or netrc from the environment: settings are the only source
    session.headers["Accept-Encoding"] = "identity"  # whoever expects much asks for gzip
    session.max_redirects = 0
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(most))
    return session


class _Adapter(BaseAdapter):
    """Sends one request after the other, to the same server over the same connection as long as it lasts."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most
        self._origin = ("", "")
        self._wire: _Wire | None = None

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - this and what follows are part of the library's interface
        timeout: Any = None,
        verify: Any = True,  # noqa: ARG002
        cert: Any = None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
    ) -> requests.Response:
        if timeout is None:
            raise ValueError("an exchange needs a timeout, in seconds")
        ends_at = time.monotonic() + timeout
        wire = self._connected(request.url or "", ends_at)
        try:
            answer, body = wire.ask(request, self._most + 1)
        except OSError as error:
            if error.errno in _NETWORK_GONE:
                raise UnreachableError(request=request) from error
            kind = requests.ReadTimeout if isinstance(error, TimeoutError) else requests.ConnectionError
            raise kind(request=request) from error
        except HTTPException as error:
            raise requests.ConnectionError(request=request) from error
        if len(body) <= self._most:
            if not answer.will_close:
                self._wire = wire
            body = _unpacked(answer, body, self._most + 1)
        if len(body) > self._most:
            raise TooLongError(request=request)
        return _response(request, answer, body)

    def close(self) -> None:
        """Hang up."""
        wire, self._wire = self._wire, None
        if wire:
            wire.hang_up()

    def _connected(self, url: str, ends_at: float) -> _Wire:
        """The kept connection where it leads to the same server and lives, else a new one. The caller owns it."""
        parts = urlsplit(url)
        wire, self._wire = self._wire, None
        if wire and self._origin == parts[:2] and not wire.has_ended():
            wire.ends_at = ends_at
            return wire
        if wire:
            wire.hang_up()
        self._origin = parts[:2]
        seconds = max(0.001, min(CONNECT_SECONDS, ends_at - time.monotonic()))
        try:
            plain = socket.create_connection((parts.hostname, parts.port or _PORTS[parts.scheme]), seconds)
            _set_up(plain)
            return _Wire(_secured(plain, parts.hostname) if parts.scheme == "https" else plain, ends_at)
        except (OSError, UnicodeError) as error:  # the latter of a name that no host can have
            raise NotConnectedError from error


_PORTS = {"http": 80, "https": 443}


def _set_up(plain: socket.socket) -> None:
    """Send at once, and notice a peer that is gone while its answer is waited for."""
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        for option, value in (
            (socket.TCP_KEEPIDLE, _IDLE_SECONDS),
            (socket.TCP_KEEPINTVL, _PROBE_SECONDS),
            (socket.TCP_KEEPCNT, _PROBES),
            (socket.TCP_USER_TIMEOUT, 1000 * (_IDLE_SECONDS + _PROBES * _PROBE_SECONDS)),
        ):
            plain.setsockopt(socket.IPPROTO_TCP, option, value)


def _secured(plain: socket.socket, host: str | None) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)
    try:
        return context.wrap_socket(plain, server_hostname=host)
    except OSError:
        plain.close()
        raise


class _Wire:
    """A connection whose every wait is what is left until `ends_at` (monotonic)."""

    def __init__(self, connected: socket.socket, ends_at: float) -> None:
        self.ends_at = ends_at
        self._socket = connected
        weakref.finalize(self, connected.close)  # of a session that nobody holds any more, as at the end of its thread

    def ask(self, request: requests.PreparedRequest, most: int) -> tuple[HTTPResponse, bytes]:
        """Send the request; the answer with at most `most` bytes of its body. What fails or is cut off hangs up."""
        host = urlsplit(request.url or "").netloc.rpartition("@")[2]
        talk = HTTPConnection("unused")
        talk.sock = self  # what it needs of a socket is here
        body = request.body.encode() if isinstance(request.body, str) else request.body
        try:
            talk.putrequest(request.method or "GET", request.path_url, skip_host=True, skip_accept_encoding=True)
            for name, value in {"Host": host, **request.headers}.items():
                talk.putheader(name, value)
            talk.endheaders(body)
            answer = talk.getresponse()
            read = answer.read(most)
            if answer.length and len(read) < most:
                raise IncompleteRead(read, answer.length)
        except BaseException:
            self.hang_up()
            raise
        if answer.will_close or len(read) == most:
            self.hang_up()
        return answer, read

    def has_ended(self) -> bool:
        """Whether the peer has hung up: an idle connection has nothing else to say."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def hang_up(self) -> None:
        with suppress(OSError):
            self._socket.close()

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(self.left())
        self._socket.sendall(data)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self._socket, self))

    def close(self) -> None:
        """The connection outlives the answer; whoever asked hangs up."""

    def left(self) -> float:
        """Seconds left. Raises `TimeoutError` when there are none."""
        seconds = self.ends_at - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds


class _Reader(io.RawIOBase):
    """What comes in, each read bounded by the time that is left."""

    def __init__(self, connected: socket.socket, wire: _Wire) -> None:
        self._socket, self._wire = connected, wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._socket.settimeout(self._wire.left())
        return self._socket.recv_into(buffer)


def _unpacked(answer: HTTPResponse, body: bytes, most: int) -> bytes:
    """The body as it was before it was packed, `most` bytes of it at most: a bomb is measured while it is unpacked.

    What cannot be unpacked stays as it came, for its reader to refuse.
    """
    if (answer.getheader("Content-Encoding") or "").strip().lower() != "gzip":
        return body
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(body, most)
    except zlib.error:
        return body


def _response(request: requests.PreparedRequest, answer: HTTPResponse, body: bytes) -> requests.Response:
    response = requests.Response()
    response.status_code, response.reason = answer.status, answer.reason
    response.headers = CaseInsensitiveDict(answer.getheaders())
    response.encoding = get_encoding_from_headers(response.headers)
    response.url, response.request = request.url or "", request
    response.raw = io.BytesIO(body)
    return response
