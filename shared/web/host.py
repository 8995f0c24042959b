"""All functions in one process behind one port: a table look-up in front of the Functions Framework's own apps.

One process costs a third of the memory of one process a function. Each function stays what it is under the
framework's command line; only the path decides here, and it is compared as it is (no trailing-slash redirect).
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import signal
import socket
import sys
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

import functions_framework
from flask import Request, Response
from gunicorn import util
from gunicorn.config import Config
from gunicorn.sock import create_sockets
from gunicorn.workers.gthread import ThreadWorker

from shared.environment import take_supervisor
from shared.health.notify import Notifier, Watchdog, answers_http
from shared.settings import Settings
from shared.web.doors import door
from shared.web.replies import failure
from shared.web.routes import BESIDE_A_SITE, PAGES, ROUTES, find_page

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

THREADS = 8
GRACEFUL_SECONDS = 28
MAX_HEADER_BYTES = 64 * 1024
"""Of one header: the site's cookie alone may come in sixteen chunks of three kilobytes."""
KEEP_ALIVE_SECONDS = 75
"""How long an idle connection is kept: longer than Caddy and HAProxy keep it, so that a POST never meets a port that
has just been closed, which neither of them could send again. An idle connection holds no thread."""
LOOK_SECONDS = 10.0


def load_function(name: str, source: str) -> WSGIApplication:
    """One function as a WSGI application of its own, the way the framework's command line would make it.

    The framework calls every module `main`; it gets a name of its own here, so that two do not collide.
    """
    app: WSGIApplication = functions_framework.create_app(name, source, "http")  # type: ignore[no-untyped-call]  # it has no types
    module = sys.modules.pop("main", None)
    if module is not None:
        sys.modules[f"functions.{name}.main"] = module
    return app


def build(start: str = "") -> WSGIApplication:
    """The WSGI application that serves every route of the tables, the pages from `start` on, and 404 for all else."""
    # A function may answer more than one path.
    sources = {route.name: str(route.source) for route in (*ROUTES, *PAGES)}
    functions = {name: load_function(name, source) for name, source in sources.items()}
    apps = {route.path: functions[route.name] for route in ROUTES}

    def page_at(environ: WSGIEnvironment, path: str) -> WSGIApplication | None:
        page = find_page(path.removeprefix(start) or "/") if f"{path}/".startswith(f"{start}/") else None
        if page is None:
            return None
        inside = path.removeprefix(start) or "/"
        # The framework answers some paths (/robots.txt, /favicon.ico) itself; under another they reach the function.
        environ["SCRIPT_NAME"], environ["PATH_INFO"] = start, f"/assets{inside}" if page.name == "assets" else inside
        return functions[page.name]

    def dispatch(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        app = apps.get(path) or page_at(environ, path) or _nowhere
        if environ["REQUEST_METHOD"] not in METHODS:
            # The framework answers such a method in HTML; no function allows OPTIONS, so each refuses it as JSON.
            environ = {**environ, "REQUEST_METHOD": "OPTIONS"}
        return app(environ, start_response)

    return dispatch


METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""What the framework hands to a function."""


@door(*METHODS)
def _not_found(_request: Request) -> Response:
    raise failure("Not found", 404)


def _nowhere(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return _not_found(Request(environ))(environ, start_response)


def _refuse(connection: socket.socket, status: int, reason: str, _detail: str) -> None:
    """What gunicorn cannot read is refused as JSON like everything else, without a word of what was sent."""
    body = json.dumps({"success": False, "error": reason})
    head = [
        f"HTTP/1.1 {status} {reason}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Request-Id: {uuid.uuid4().hex}",
    ]
    util.write_nonblock(connection, "\r\n".join([*head, "", body]).encode())


class _Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn's threaded worker as the only process, without the master that would fork and watch it.

    The master costs a third of this process's memory again. What it does is done by others here: systemd starts the
    service anew when it has ended and kills it when it hangs (`Restart=`, `WatchdogSec=`).
    """

    def is_parent_alive(self) -> bool:
        """Whoever started us may leave: a shell, `nohup`."""
        return True

    def init_signals(self) -> None:
        """Ctrl-C ends in good order too, and the watchdog's SIGABRT shows where every thread hangs."""
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)
        if faulthandler.is_enabled():
            faulthandler.disable()
            faulthandler.enable()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Stopping, answer whoever has connected already and close the port at once.

        The next caller is refused and comes again (Caddy does so for ten seconds), instead of waiting in a line that
        nobody will serve.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            served = -1
            while served < self.nr_conns < self.worker_connections:
                served = self.nr_conns
                self.accept(listener)  # adds a connection, or finds none
            listener.close()


class _Application:
    """What the worker wants to know of the application."""

    def __init__(self, settings: Settings) -> None:
        self._start = BESIDE_A_SITE if settings.site_upstream else ""

    def wsgi(self) -> WSGIApplication:
        """The WSGI application, built when the port is held already."""
        return build(self._start)


def _configuration(settings: Settings, watchdog: Watchdog) -> Config:
    def served(_worker: ThreadWorker) -> None:
        log.info("functions are served", extra={"address": f"http://{settings.host}:{settings.port}"})
        watchdog.start()

    options = {
        "bind": f"{settings.host}:{settings.port}",
        "threads": THREADS,
        "worker_class": "gthread",
        "graceful_timeout": GRACEFUL_SECONDS,
        "keepalive": KEEP_ALIVE_SECONDS,
        "accesslog": None,
        "errorlog": "-",
        "loglevel": "warning",
        "limit_request_line": 8190,
        "limit_request_field_size": MAX_HEADER_BYTES,
        "forwarder_headers": "",  # nobody in front may rename our paths (SCRIPT_NAME)
        "post_worker_init": served,
    }
    configuration = Config()
    for name, value in options.items():
        configuration.set(name, value)
    return configuration


def serve(settings: Settings) -> NoReturn:
    """Serve until SIGTERM, then finish what is running, within 28 s, and end this process with status 0."""
    supervisor = take_supervisor()
    live = answers_http(settings.host, settings.port, "/api/monitoring/health?probe=live", LOOK_SECONDS)
    watchdog = Watchdog(Notifier(supervisor.notify_socket), supervisor.watchdog_seconds, live)
    configuration = _configuration(settings, watchdog)
    logger = configuration.logger_class(configuration)
    logger.error_log.handlers.clear()  # its lines go the way of all others, in their form and without secrets
    logger.error_log.propagate = True
    util.write_error = _refuse  # a page of its own otherwise
    sockets = create_sockets(configuration, logger)
    _Worker(
        0, os.getppid(), sockets, _Application(settings), configuration.timeout, configuration, logger
    ).init_process()
    watchdog.stop()
    logging.shutdown()
    os._exit(0)  # not `sys.exit`, which would wait for requests that still hang
