"""A door in front of a Postgres socket that counts round trips: how often an answer was waited for."""

from __future__ import annotations

import shutil
import socket
import tempfile
import threading
from pathlib import Path
from typing import Self
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit


class TurnCounter:
    """Passes bytes on between clients and the server at `url` (a URL over a unix socket)."""

    def __init__(self, url: str) -> None:
        """`url` after `__enter__` is the way through this door."""
        parts = urlsplit(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name = f".s.PGSQL.{query['port']}"
        self._behind = Path(query["host"]) / name
        self._folder = Path(tempfile.mkdtemp(prefix="pickmyclass-turns-"))
        self._front = self._folder / name
        self.url = urlunsplit(parts._replace(query=urlencode(query | {"host": str(self._folder)})))
        self.turns = 0
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        self._listener.bind(str(self._front))
        self._listener.listen(32)
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        shutil.rmtree(self._folder)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # closed
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(str(self._behind))
            asked = threading.Event()  # the client has spoken since the server did
            for source, target, asks in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._pass, args=(source, target, asked, asks), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, asked: threading.Event, asks: bool) -> None:
        try:
            while data := source.recv(65536):
                if asks:
                    asked.set()
                elif asked.is_set():
                    asked.clear()
                    with self._lock:
                        self.turns += 1
                target.sendall(data)
        except OSError:
            pass  # the other side has gone
        finally:
            target.close()
