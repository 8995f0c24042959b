"""A small HTTP server for the stand-ins: one function from request to answer, kept connections, lines it can cut.

Only for the loopback. Each connection has a thread; an answer leaves in one packet, so that a client's delayed
acknowledgement never costs it 40 ms.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection

MAX_BODY = 16 * 1024 * 1024


class BadRequest(Exception):  # noqa: N818 - it is what the caller sent, not a failure of ours
    """The caller's request is wrong; the message says how. Answered with 400."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent. Header names are in small letters; `path` is decoded and has no query."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON; raises `BadRequest` when it is none."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise BadRequest("the body is not JSON") from error

    def fields(self) -> dict[str, Any]:
        """The body as a JSON object, empty when there is no body; raises `BadRequest` for anything else."""
        value = self.json() if self.body else {}
        if not isinstance(value, dict):
            raise BadRequest("the body must be a JSON object")
        return value

    @property
    def bearer(self) -> str | None:
        """The token of the Authorization header, if it is a bearer's."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" and token.strip() else None


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets. With `cut` the connection is closed without a byte."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False


Handler = Callable[[Request], Answer]
Conversation = Callable[[ServerConnection], None]


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """An answer whose body is `value` as JSON."""
    return Answer(status, json.dumps(value).encode(), headers=headers or {})


def page_answer(html: str) -> Answer:
    """A page for people. It may run its own script only, and nobody may frame it."""
    policy = (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src https: data:; "
        "connect-src 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )
    return Answer(200, html.encode(), "text/html; charset=utf-8", {"Content-Security-Policy": policy})


class Server:
    """Serves `handler` on the loopback, from threads of this process."""

    def __init__(self, handler: Handler, port: int = 0, websocket: Conversation | None = None) -> None:
        """Listen at once on `port` (0: any free one). Raises `OSError` when it is taken.

        `websocket` talks with whoever opens a websocket, on any path, in that connection's thread.
        """
        self._http = _Http(("127.0.0.1", port), handler, websocket)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True, name="http")

    @property
    def url(self) -> str:
        """Where it listens, without a trailing slash."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> Server:
        """Begin to answer, in the background."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and close every kept connection."""
        self._http.shutdown()
        self._http.close_connections()
        self._http.server_close()
        self._thread.join(5)

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], handler: Handler, websocket: Conversation | None) -> None:
        self.handler, self._websocket = handler, websocket
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, _Connection)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """A connection's thread begins here: who asks for a websocket gets one, all others HTTP."""
        if self._websocket is None or not _asks_for_websocket(request):
            super().finish_request(request, client_address)
            return
        self.remember(request)
        connection = ServerConnection(request, ServerProtocol(), close_timeout=1)
        try:
            connection.handshake()
            if connection.request is not None and connection.close_code is None:
                self._websocket(connection)
        finally:
            connection.close()
            self.forget(request)

    def remember(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def forget(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def close_connections(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _hang_up(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is everyday life here; anything else is a mistake of ours to be seen."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.remember(self.connection)

    def finish(self) -> None:
        self.server.forget(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """No access log: the pages and /control/ tell what happened."""

    def __getattr__(self, name: str) -> Callable[[], None]:
        """The base class looks for one method per HTTP method; ours all go the same way."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        body = self._read_body()
        if body is None:
            return
        address = urlsplit(self.path)
        request = Request(
            self.command,
            unquote(address.path),
            dict(parse_qsl(address.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            body,
        )
        self._send(self._answer(request))

    def _read_body(self) -> bytes | None:
        """The body, or `None` after having refused one of unknown or excessive size."""
        length = self.headers.get("content-length", "0")
        if "transfer-encoding" in self.headers or not length.isascii() or not length.isdigit():
            self.close_connection = True
            self._send(json_answer({"error": "send a Content-Length"}, 411))
            return None
        if int(length) > MAX_BODY:
            self.close_connection = True
            self._send(json_answer({"error": "the body is too large"}, 413))
            return None
        return self.rfile.read(int(length))

    def _answer(self, request: Request) -> Answer:
        try:
            return self.server.handler(request)
        except BadRequest as problem:
            return json_answer({"error": str(problem)}, 400)
        except Exception:
            traceback.print_exc()
            return json_answer({"error": "the stand-in itself failed; its output says why"}, 500)

    def _send(self, answer: Answer) -> None:
        if answer.cut:
            self.close_connection = True
            _hang_up(self.connection)
            return
        headers = {"Content-Type": answer.content_type, "Content-Length": str(len(answer.body)), **answer.headers}
        if self.close_connection:
            headers["Connection"] = "close"
        lines = [f"HTTP/1.1 {answer.status} {_phrase(answer.status)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        self.wfile.write(head if self.command == "HEAD" else head + answer.body)


def _asks_for_websocket(connection: socket.socket) -> bool:
    """Look at what came in first without taking it; the head of such a request comes in one piece."""
    head = connection.recv(4096, socket.MSG_PEEK).lower()
    return head.startswith(b"get ") and b"\r\nupgrade: websocket" in head


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _hang_up(connection: socket.socket) -> None:
    """End the connection now, whoever is still reading from it or writing to it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it was gone already
