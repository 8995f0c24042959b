"""Logs: JSON lines for machines, readable lines for people; one id joins tick, check, mail and request.

`bind(tick_id=…, term=…, class_nbr=…)` puts words on every line of the current thread's piece of work.
Addresses never appear: `fingerprint` gives a keyed hash, the same for the same person on every line. Secrets do not
either: what the settings know as one is blotted out, wherever in a line it stands, and so are passwords in URLs.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from shared.sections.text import visible

_context: ContextVar[dict[str, Any] | None] = ContextVar("log_context", default=None)
_ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}")
_PASSWORD = re.compile(r"(?<=://)[^/\s@]*@")
_SHORTEST_SECRET = 6  # a shorter one would blot out ordinary words
_key = b"not configured"
_secrets: re.Pattern[str] | None = None


@contextmanager
def bind(**words: Any) -> Iterator[None]:
    """Add `words` to every log line written inside the block; `None` values are left out."""
    token = _context.set({**(_context.get() or {}), **{name: word for name, word in words.items() if word is not None}})
    try:
        yield
    finally:
        _context.reset(token)


def fingerprint(address: str) -> str:
    """Twelve hex digits that stand for an address in logs, keyed so that they cannot be looked up."""
    return hmac.new(_key, address.strip().casefold().encode(), hashlib.sha256).hexdigest()[:12]


def configure(*, level: str, form: str, key: str, secrets: Iterable[str] = ()) -> None:
    """Send the project's logs to standard error.

    `form` is json, text or auto; `key` keys the fingerprints; `secrets` are never to be seen.
    """
    global _key, _secrets
    _key = key.encode()
    known = sorted({re.escape(secret) for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)
    _secrets = re.compile("|".join(known)) if known else None
    if form == "auto":
        form = "text" if sys.stderr.isatty() else "json"
    handler = logging.StreamHandler()
    handler.addFilter(_Words())
    handler.setFormatter(_Json() if form == "json" else _Text())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "urllib3", "hpack", "huey"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def clean(line: str) -> str:
    """A line without addresses and secrets, whoever wrote them: a message, an extra, or a traceback."""
    if _secrets is not None:
        line = _secrets.sub("***", line)
    if "@" in line:
        line = _ADDRESS.sub(lambda found: f"<{fingerprint(found[0])}>", _PASSWORD.sub("***@", line))
    return line


class _Words(logging.Filter):
    """Attach the bound words to the record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.words = _context.get() or {}
        return True


def _plain_extras(record: logging.LogRecord) -> dict[str, Any]:
    """What a caller passed as `extra=`: everything that a bare record does not have."""
    return {name: value for name, value in record.__dict__.items() if name not in _BARE and name != "words"}


_BARE = {*logging.LogRecord("", 0, "", 0, "", (), None).__dict__, "message", "asctime", "taskName"}


class _Json(JsonFormatter):
    """One JSON object a line: time, level, logger, message, the bound words and the caller's extras."""

    def __init__(self) -> None:
        super().__init__(
            "%(asctime)s %(levelname)s %(name)s %(message)s",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        super().add_fields(log_data, record, message_dict)
        bound = log_data.pop("words", {})
        log_data.update({name: word for name, word in bound.items() if name not in log_data})  # the line knows better

    def format(self, record: logging.LogRecord) -> str:
        return clean(super().format(record))


class _Text(logging.Formatter):
    """`12:00:01 INFO  tick begun  tick_id=… group=even`, always one line; a traceback's lines are set in."""

    def __init__(self) -> None:
        super().__init__(datefmt="%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        words = {**getattr(record, "words", {}), **_plain_extras(record)}
        head = f"{self.formatTime(record, self.datefmt)} {record.levelname:<7} {record.getMessage()}"
        lines = [head + "".join(f"  {name}={word}" for name, word in words.items())]
        if record.exc_info:
            lines += [f"    {line}" for line in self.formatException(record.exc_info).split("\n")]
        return clean("\n".join(map(visible, lines)))
