"""A database session for a day: opened when it is asked for, and again after it was lost."""

from __future__ import annotations

from typing import Any

import psycopg

_CONNECT_SECONDS = 10
_STATEMENT_MS = 60_000
_SILENT_SECONDS = 30


class Session:
    """Calling it gives the session. Each statement is a transaction of its own; none lasts over a minute. Close it."""

    def __init__(self, url: str, *, read_only: bool = False) -> None:
        self._url = url
        self._options = f"-c statement_timeout={_STATEMENT_MS}"
        if read_only:
            self._options += " -c default_transaction_read_only=on"
        self._session: psycopg.Connection[Any] | None = None

    def __call__(self) -> psycopg.Connection[Any]:
        """The session, a new one when the last was lost, which it is asked for. Raises `psycopg.OperationalError`."""
        if self._session is None or not _answers(self._session):
            self._session = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=_CONNECT_SECONDS,
                options=self._options,
                keepalives_idle=_SILENT_SECONDS,
                tcp_user_timeout=1000 * _SILENT_SECONDS,
            )
        return self._session

    def close(self) -> None:
        """End it."""
        if self._session is not None:
            self._session.close()


def _answers(session: psycopg.Connection[Any]) -> bool:
    """Whether the session lives; that its server ended it is known only after a statement."""
    try:
        session.execute("select 1")
    except psycopg.Error:
        session.close()
        return False
    return True
