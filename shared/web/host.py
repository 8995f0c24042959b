"""All functions in one process behind one port: a table look-up in front of the Functions Framework's own apps.

One process costs a third of the memory of one process a function. Each function stays what it is under the
framework's command line; only the path decides here, and it is compared as it is (no trailing-slash redirect).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import functions_framework
from flask import Request, Response
from gunicorn.app.base import BaseApplication

from shared.settings import Settings
from shared.web.doors import door
from shared.web.replies import failure
from shared.web.routes import ROUTES

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger(__name__)

THREADS = 8
GRACEFUL_SECONDS = 28


def load_function(name: str, source: str) -> WSGIApplication:
    """One function as a WSGI application of its own, the way the framework's command line would make it.

    The framework calls every module `main`; it gets a name of its own here, so that two do not collide.
    """
    app: WSGIApplication = functions_framework.create_app(name, source, "http")  # type: ignore[no-untyped-call]  # it has no types
    module = sys.modules.pop("main", None)
    if module is not None:
        sys.modules[f"functions.{name}.main"] = module
    return app


def build() -> WSGIApplication:
    """The WSGI application that serves every route of the table, and 404 as JSON for all else."""
    sources = {route.name: str(route.source) for route in ROUTES}  # a function may answer more than one path
    functions = {name: load_function(name, source) for name, source in sources.items()}
    apps = {route.path: functions[route.name] for route in ROUTES}

    def dispatch(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        app = apps.get(environ.get("PATH_INFO", ""), _nowhere)
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


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """Gunicorn with our settings instead of a configuration file."""

    def __init__(self, settings: Settings, ready: Callable[[str], None]) -> None:
        self._settings, self._ready = settings, ready
        super().__init__()

    def load_config(self) -> None:
        options = {
            "bind": f"{self._settings.host}:{self._settings.port}",
            "workers": 1,
            "threads": THREADS,
            "worker_class": "gthread",
            "timeout": 60,
            "graceful_timeout": GRACEFUL_SECONDS,
            "control_socket_disable": True,
            "accesslog": None,
            "errorlog": "-",
            "loglevel": "warning",
            "worker_tmp_dir": None,
            "when_ready": lambda _server: self._ready(f"http://{self._settings.host}:{self._settings.port}"),
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIApplication:
        return build()


def serve(settings: Settings) -> None:
    """Serve until SIGTERM, then finish what is running and leave within 30 s."""
    _Server(settings, lambda address: log.info("functions are served", extra={"address": address})).run()
