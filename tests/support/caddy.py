"""The real Caddy with the project's own Caddyfile on the loopback, and a backend that tells what reached it."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.settings import ROOT
from workshop.parts.processes import Child, free_port, start_child, stop_child

CADDYFILE = ROOT / "Caddyfile"

needs_caddy = pytest.mark.skipif(shutil.which("caddy") is None, reason="caddy is not installed (Debian package caddy)")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: header names in small letters, the body as it was sent."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        packed = self.headers.get("content-encoding") == "gzip"
        return json.loads(gzip.decompress(self.body) if packed else self.body)


class Caddy:
    """One server; `request` talks TLS to it and trusts nothing but its own authority."""

    def __init__(self, folder: Path, functions: str, site: str | None, balancer: str | None = None) -> None:
        """`balancer`: what shares calls with other servers."""
        self.folder, self.access_log = folder, folder / "access.log"
        self.http_port, self.https_port = free_port(), free_port()
        environ = {name: value for name, value in os.environ.items() if name != "SITE_UPSTREAM"}
        environ |= {
            "DOMAIN": "localhost",
            "HTTP_PORT": str(self.http_port),
            "HTTPS_PORT": str(self.https_port),
            "FUNCTIONS": functions,
            "ACCESS_LOG": str(self.access_log),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        if site is not None:
            environ["SITE_UPSTREAM"] = site
        if balancer is not None:
            environ["BALANCER"] = balancer
        self._stderr = (folder / "stderr").open("wb")
        command = ["caddy", "run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
        self._child: Child = start_child(command, env=environ, stdout=subprocess.DEVNULL, stderr=self._stderr)
        self._wait()

    def trust(self) -> ssl.SSLContext:
        """A new context that trusts this server's own authority alone; a client may set its protocols on it."""
        return ssl.create_default_context(cafile=str(self.folder / "data/caddy/pki/authorities/local/root.crt"))

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterator[bytes] | None = None,
        timeout: float = 20,
    ) -> Answer:
        """One request over HTTP/1.1 with exactly this path; an iterator as body is sent without its length."""
        connection = http.client.HTTPSConnection("localhost", self.https_port, context=self.trust(), timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            return _answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        """A GET; underscores in the names of headers become hyphens."""
        return self.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    def get_in_the_clear(self, path: str) -> Answer:
        """A GET of the port for plain HTTP."""
        connection = http.client.HTTPConnection("localhost", self.http_port, timeout=20)
        try:
            connection.request("GET", path)
            return _answer(connection.getresponse())
        finally:
            connection.close()

    @property
    def words(self) -> str:
        """What it wrote to its standard error."""
        return (self.folder / "stderr").read_text()

    def close(self) -> None:
        """Stop it; its logs are complete afterwards."""
        stop_child(self._child, with_signal=signal.SIGTERM, timeout=5)
        self._stderr.close()

    def _wait(self) -> None:
        """Until it serves TLS, which is after its certificate was made."""
        blind = ssl.create_default_context()
        blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
        deadline = time.monotonic() + 20
        while True:
            try:
                with (
                    socket.create_connection(("localhost", self.https_port), 5) as plain,
                    blind.wrap_socket(plain, server_hostname="localhost"),
                ):
                    return
            except OSError:
                if self._child.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"caddy did not start: {self.words}") from None
                time.sleep(0.02)


class Backend:
    """Answers with what it was sent, as JSON; `/big` with 5,000 bytes of text, `/own` with headers of its own."""

    def __init__(self, port: int = 0) -> None:
        self.paths: list[str] = []
        backend = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version, sys_version = "backend", ""

            def _reply(self) -> None:
                backend.paths.append(self.path)
                seen = {"path": self.path, "length": self._read_body(), "headers": dict(self.headers.items())}
                content = b"x" * 5000 if self.path.startswith("/big") else json.dumps(seen).encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain" if self.path.startswith("/big") else "application/json")
                self.send_header("Content-Length", str(len(content)))
                if self.path.startswith("/own"):
                    self.send_header("X-Frame-Options", "SAMEORIGIN")
                    self.send_header("Set-Cookie", "session=SECRET-of-the-site")
                self.end_headers()
                self.wfile.write(content)

            def _read_body(self) -> int:
                """The length of the body, also of one that comes in chunks."""
                if "Transfer-Encoding" not in self.headers:
                    return len(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
                length = 0
                while size := int(self.rfile.readline(), 16):
                    length += len(self.rfile.read(size))
                    self.rfile.readline()
                return length

            do_GET = do_POST = do_PUT = do_DELETE = _reply  # noqa: N815 - names of the standard library

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.address = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def running_caddy(functions: str, site: str | None = None, balancer: str | None = None) -> Iterator[Caddy]:
    """A Caddy in front of `functions`, or of `balancer` before them, with the site's pages at `site` or nowhere."""
    with tempfile.TemporaryDirectory(prefix="pickmyclass-caddy-") as folder:
        caddy = Caddy(Path(folder), functions, site, balancer)
        try:
            yield caddy
        finally:
            caddy.close()


def _answer(response: http.client.HTTPResponse) -> Answer:
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
