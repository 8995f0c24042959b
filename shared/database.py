"""The gateway to Postgres: SQL functions called by name, over one of two transports.

`connect_postgres` goes straight to a server (embedded parts, tests, any Postgres), `SupabaseDatabase`
through PostgREST (production). Both behave alike; one contract suite runs over both.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

from shared.clock import DatabaseClock

if TYPE_CHECKING:
    import psycopg
    import psycopg_pool

CALL_SECONDS = 15.0
"""How long a call may take in all; hosted Supabase itself ends statements of the service role after 8 s."""
CONNECT_SECONDS = 5.0
"""How long a call waits for a connection: long enough for a restart of Postgres, too short to fill every thread."""

_UNUSED_SECONDS = 30.0
"""After this time a session is asked whether it still stands; on the way something may have forgotten it."""

_UNAVAILABLE_CLASSES = ("08", "53", "57", "58")  # connection, resources, operator, system: SQLSTATE classes
_READ_ONLY = "25006"

DatabaseTrouble = Literal["no_answer", "no_writes", "key_refused", "refused"]


class DatabaseError(Exception):
    """A call failed. `code` is the SQLSTATE or PostgREST's code; the message names no host, SQL or secret."""

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code

    @property
    def kind(self) -> DatabaseTrouble:
        """What kind of trouble it is, for those who decide what to do about it."""
        return "no_writes" if self.code == _READ_ONLY else "refused"


class DatabaseUnavailable(DatabaseError):  # noqa: N818 - it says a state, not a mistake
    """The database could not be reached or did not answer in time. Whether the call took effect is unknown."""

    @property
    def kind(self) -> DatabaseTrouble:
        return "no_answer"


class DatabaseKeyRefused(DatabaseError):  # noqa: N818 - it says a state, not a mistake
    """Supabase's gateway does not let our key in: a wrong one, one that was switched off, or an unpaid bill."""

    @property
    def kind(self) -> DatabaseTrouble:
        return "key_refused"


class DatabaseCalls(Protocol):
    """What most of the program needs of the database: SQL functions by name. Raises `DatabaseError`."""

    def call(self, function: str, **arguments: Any) -> Any: ...


class Database(DatabaseCalls, Protocol):
    """The gateway."""

    @property
    def calls(self) -> int:
        """Round trips made so far."""

    def call(self, function: str, **arguments: Any) -> Any:
        """Call a SQL function by its full name and return its jsonb. Dicts and lists go as jsonb, times as ISO.

        Raises `DatabaseError`. Nothing is repeated here: the caller knows what may be repeated.
        """

    def close(self) -> None:
        """Close the connections; a later call opens them again."""


class Counted:
    """Counts round trips from any thread, and lets a clock hear what time the server says it is."""

    def __init__(self, clock: DatabaseClock | None) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._clock = clock or DatabaseClock()

    @property
    def calls(self) -> int:
        return self._calls

    def count(self) -> None:
        """One more round trip."""
        with self._lock:
            self._calls += 1


class PostgresDatabase(Counted):
    """Straight to a server through a pool of sessions; safe to share between threads, also after a fork."""

    def __init__(self, url: str, pool_size: int, timeout: float, clock: DatabaseClock | None = None) -> None:
        super().__init__(clock)
        self._url = url
        self._pool_size = pool_size
        self._timeout = timeout
        self._pool: psycopg_pool.ConnectionPool[psycopg.Connection[Any]] | None = None
        self._used_at: WeakKeyDictionary[psycopg.Connection[Any], float] = WeakKeyDictionary()

    def call(self, function: str, **arguments: Any) -> Any:
        import psycopg
        import psycopg_pool
        from psycopg import sql
        from psycopg.types.json import Jsonb

        statement = sql.SQL("select public.{}({}), clock_timestamp()").format(
            sql.Identifier(function),
            sql.SQL(", ").join(
                sql.SQL("{} => {}").format(sql.Identifier(name), sql.Placeholder()) for name in arguments
            ),
        )
        values = [Jsonb(value) if isinstance(value, dict | list) else iso(value) for value in arguments.values()]
        self.count()
        try:
            with self._open_pool().connection(timeout=min(CONNECT_SECONDS, self._timeout)) as connection:
                sent = self._clock.steady()
                row = connection.execute(statement, values).fetchone()
                self._used_at[connection] = time.monotonic()
        except psycopg_pool.PoolTimeout:
            raise DatabaseUnavailable(f"{function}: no connection to the database") from None
        except psycopg.Error as error:
            raise from_sqlstate(function, error.sqlstate, error.diag.message_primary) from None
        if row is None:
            return None
        told = row[1].timestamp()
        self._clock.heard(sent, told, told)
        return row[0]

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close(timeout=5)

    def _open_pool(self) -> psycopg_pool.ConnectionPool[psycopg.Connection[Any]]:
        """The pool, opened at the first call, so that a process that forks first does not share sessions."""
        import psycopg
        import psycopg_pool

        with self._lock:
            if self._pool is None:
                logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # its warnings name the host
                self._pool = psycopg_pool.ConnectionPool[psycopg.Connection[Any]](
                    self._url,
                    min_size=1,
                    max_size=self._pool_size,
                    open=True,
                    timeout=self._timeout,
                    reconnect_timeout=self._timeout,
                    check=self._check,
                    kwargs={
                        "autocommit": True,
                        "prepare_threshold": None,  # a pooler in transaction mode knows no prepared statements
                        "connect_timeout": max(2, int(self._timeout)),
                        "tcp_user_timeout": int(self._timeout * 1000),
                        "application_name": "pickmyclass",
                    },
                    configure=self._configure,
                )
            return self._pool

    def _configure(self, connection: psycopg.Connection[Any]) -> None:
        connection.execute("select set_config('statement_timeout', %s, false)", [f"{int(self._timeout * 1000)}"])
        self._used_at[connection] = time.monotonic()

    def _check(self, connection: psycopg.Connection[Any]) -> None:
        """Raise when the session is gone. Asking it costs as much time on the way as the call itself, so that is done
        only when its socket has something to say, as one does that was closed, or when it has not been used for long.
        """
        import psycopg_pool

        looks = select.poll()
        looks.register(connection.fileno(), select.POLLIN)
        unused = time.monotonic() - self._used_at.get(connection, 0.0)
        if unused > _UNUSED_SECONDS or looks.poll(0):
            psycopg_pool.ConnectionPool.check_connection(connection)


def connect_postgres(
    url: str, *, pool_size: int = 6, timeout: float = CALL_SECONDS, clock: DatabaseClock | None = None
) -> PostgresDatabase:
    """The gateway over psycopg. Connects at the first call; `timeout` (seconds) bounds every wait; `clock` learns the
    server's time from every answer.
    """
    return PostgresDatabase(url, pool_size, timeout, clock)


def iso(value: Any) -> Any:
    """An argument as it travels: times as ISO."""
    return value.isoformat() if isinstance(value, datetime) else value


def from_sqlstate(function: str, code: str | None, said: str | None) -> DatabaseError:
    """What the server said, for a person. Without a code the connection broke before it could say anything."""
    if code is None or code[:2] in _UNAVAILABLE_CLASSES:
        return DatabaseUnavailable(f"{function}: the database is not available", code)
    return DatabaseError(f"{function}: {said or 'failed'}", code)
