"""The gateway to Postgres: SQL functions called by name, over one of two transports.

`connect_supabase` goes through PostgREST with the service-role key (production), `connect_postgres` straight to
a server (embedded parts, tests, any Postgres). Both behave alike; one contract suite runs over both.
"""

from __future__ import annotations

import logging
import select
import threading
import time
from contextlib import suppress
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

from shared.clock import DatabaseClock

if TYPE_CHECKING:
    import httpx
    import psycopg
    import psycopg_pool
    import supabase

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


class _Counted:
    """Counts round trips from any thread, and lets a clock hear what time the server says it is."""

    def __init__(self, clock: DatabaseClock | None) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._clock = clock or DatabaseClock()

    @property
    def calls(self) -> int:
        return self._calls

    def _count(self) -> None:
        with self._lock:
            self._calls += 1


class PostgresDatabase(_Counted):
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
        values = [Jsonb(value) if isinstance(value, dict | list) else _iso(value) for value in arguments.values()]
        self._count()
        try:
            with self._open_pool().connection(timeout=min(CONNECT_SECONDS, self._timeout)) as connection:
                sent = self._clock.steady()
                row = connection.execute(statement, values).fetchone()
                self._used_at[connection] = time.monotonic()
        except psycopg_pool.PoolTimeout:
            raise DatabaseUnavailable(f"{function}: no connection to the database") from None
        except psycopg.Error as error:
            raise _from_sqlstate(function, error.sqlstate, error.diag.message_primary) from None
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


class SupabaseDatabase(_Counted):
    """Through PostgREST, by the supabase client, loaded at the first call (it costs a second and 44 MB)."""

    def __init__(
        self, url: str, service_role_key: str, pool_size: int, timeout: float, clock: DatabaseClock | None = None
    ) -> None:
        super().__init__(clock)
        self._url = url
        self._key = service_role_key
        self._turns = threading.BoundedSemaphore(pool_size)
        self._timeout = timeout
        self._client: supabase.Client | None = None
        self._close_http: Any = None

    def call(self, function: str, **arguments: Any) -> Any:
        import httpx
        from postgrest.exceptions import APIError

        named = {name: _iso(value) for name, value in arguments.items()}
        client = self._open_client()
        if not self._turns.acquire(timeout=self._timeout):
            raise DatabaseUnavailable(f"{function}: too many calls at once")
        self._count()
        try:
            return client.postgrest.rpc(function, named).execute().data
        except APIError as error:
            raise _from_postgrest(function, error.code, error.message) from None
        except _GatewayRefused as error:
            raise DatabaseKeyRefused(f"{function}: Supabase refuses our key (status {error})") from None
        except httpx.HTTPError as error:
            raise DatabaseUnavailable(f"{function}: {type(error).__name__}") from None
        finally:
            self._turns.release()

    def _note_when(self, request: httpx.Request) -> None:
        request.extensions["sent"] = self._clock.steady()

    def _hear(self, answer: httpx.Response) -> None:
        """Its `Date` counts whole seconds, and is believed only beside an answer that is PostgREST's own."""
        if answer.is_success and "content-range" in answer.headers and (date := answer.headers.get("date")):
            with suppress(ValueError):
                told = parsedate_to_datetime(date).timestamp()
                self._clock.heard(answer.request.extensions["sent"], told, told + 1.0)

    def close(self) -> None:
        with self._lock:
            closing, self._client, self._close_http = self._close_http, None, None
        if closing is not None:
            closing()

    def _open_client(self) -> supabase.Client:
        """One client for all threads, over one HTTP/1.1 session: the default HTTP/2 one is not thread-safe.

        How many call at once is limited by us and not by the session: when its own limit is reached, httpcore 1.0
        sometimes closes a connection that it has just handed to another thread.
        """
        import httpx
        from supabase import create_client
        from supabase.lib.client_options import SyncClientOptions

        with self._lock:
            if self._client is None:
                http = httpx.Client(
                    http2=False,
                    timeout=httpx.Timeout(self._timeout, connect=min(5.0, self._timeout)),
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=30),
                    event_hooks={"request": [self._note_when], "response": [_look_at, self._hear]},
                )
                options = SyncClientOptions(httpx_client=http, auto_refresh_token=False, persist_session=False)
                self._client = create_client(self._url, self._key, options=options)
                _ = self._client.postgrest  # built at first use and without a lock: do it while we hold ours
                self._close_http = http.close
            return self._client


def connect_postgres(
    url: str, *, pool_size: int = 6, timeout: float = CALL_SECONDS, clock: DatabaseClock | None = None
) -> PostgresDatabase:
    """The gateway over psycopg. Connects at the first call; `timeout` (seconds) bounds every wait; `clock` learns the
    server's time from every answer.
    """
    return PostgresDatabase(url, pool_size, timeout, clock)


def connect_supabase(
    url: str,
    service_role_key: str,
    *,
    pool_size: int = 6,
    timeout: float = CALL_SECONDS,
    clock: DatabaseClock | None = None,
) -> SupabaseDatabase:
    """The gateway over supabase-py. Connects at the first call; `timeout` (seconds) bounds every wait; `clock` learns
    the server's time from every answer.
    """
    return SupabaseDatabase(url, service_role_key, pool_size, timeout, clock)


def _iso(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _from_sqlstate(function: str, code: str | None, said: str | None) -> DatabaseError:
    """What the server said, for a person. Without a code the connection broke before it could say anything."""
    if code is None or code[:2] in _UNAVAILABLE_CLASSES:
        return DatabaseUnavailable(f"{function}: the database is not available", code)
    return DatabaseError(f"{function}: {said or 'failed'}", code)


class _GatewayRefused(Exception):  # noqa: N818 - its message is the status
    """Supabase's gateway, or PostgREST, refused the key."""


def _look_at(answer: httpx.Response) -> None:
    """Tell a refused key from everything else that says 401, 402 or 403: the client keeps no status.

    The gateway's own word is `{"message": …}` without a code; PostgREST's begins with PGRST30. A page of something
    that stands in between is neither.
    """
    if answer.status_code not in (401, 402, 403):
        return
    answer.read()
    try:
        said = answer.json()
    except ValueError:
        return
    if isinstance(said, dict) and isinstance(said.get("message"), str):
        code = said.get("code")
        if code is None or str(code).startswith("PGRST30"):
            raise _GatewayRefused(answer.status_code)


def _from_postgrest(function: str, code: str | None, said: str | None) -> DatabaseError:
    """PostgREST's errors: a SQLSTATE, its own PGRST… codes, or the bare HTTP status of something in between."""
    code = str(code) if code is not None else None
    if code is None or code.startswith("PGRST0") or (code.isdecimal() and not _is_sqlstate(code)):
        return DatabaseUnavailable(f"{function}: the database is not available", code)
    if code.startswith("PGRST") or not _is_sqlstate(code):
        return DatabaseError(f"{function}: the data API refused the call", code)
    return _from_sqlstate(function, code, said)


def _is_sqlstate(code: str) -> bool:
    return len(code) == 5 and not code.startswith("PGRST")
