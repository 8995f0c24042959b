"""The dead-man service: told when a tick begins, succeeds or fails; it raises its voice when it hears nothing.

    heart = Heartbeat(settings.heartbeat_url)      # None: nobody is told
    heart.start(); heart.success(group="even", enqueued=600); heart.fail("the lock is held")

The address of healthchecks.io and its like: `/start` and `/fail` behind the URL, the bare URL for success. One thread
sends, with short time limits; a tick only ever leaves its message there, so that a slow service holds nothing up.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from dataclasses import dataclass

import requests

from shared.exchange import bounded_session

log = logging.getLogger(__name__)

ANSWER_SECONDS = 8.0
MOST_BYTES = 64 * 1024
_MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class _Ping:
    path: str
    body: str


class Heartbeat:
    """Sends pings in order, from a thread of its own. None of its methods waits or raises."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._pings: queue.Queue[_Ping] = queue.Queue(_MOST_WAITING)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """A tick begins."""
        self._leave(_Ping("/start", ""))

    def success(self, **counts: int | str) -> None:
        """A tick succeeded; `counts` are shown there."""
        self._leave(_Ping("", json.dumps(counts)))

    def fail(self, reason: str) -> None:
        """A tick failed, for this reason (without addresses and secrets)."""
        self._leave(_Ping("/fail", reason[:500]))

    def flush(self, timeout: float = 2.0) -> bool:
        """Wait until everything was sent, `timeout` seconds at most; whether it was."""
        deadline = time.monotonic() + timeout
        while self._pings.unfinished_tasks and time.monotonic() < deadline:
            time.sleep(0.01)
        return not self._pings.unfinished_tasks

    def _leave(self, ping: _Ping) -> None:
        if self._url is None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="heartbeat", daemon=True)
                self._thread.start()
        try:
            self._pings.put_nowait(ping)
        except queue.Full:
            log.warning("heartbeat: the service is too slow; a ping is dropped")

    def _send_all(self) -> None:
        with bounded_session(MOST_BYTES) as session:
            while True:
                ping = self._pings.get()
                try:
                    self._send(session, ping)
                finally:
                    self._pings.task_done()

    def _send(self, session: requests.Session, ping: _Ping) -> None:
        try:
            answer = session.post(
                f"{self._url}{ping.path}", data=ping.body.encode(), timeout=ANSWER_SECONDS, allow_redirects=False
            )
            if answer.status_code >= 400:
                log.warning("heartbeat refused", extra={"status": answer.status_code})
        except requests.RequestException as error:
            log.warning("heartbeat not sent: %s", type(error).__name__)
