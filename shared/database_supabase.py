"""The gateway to Postgres through PostgREST with the service-role key, as a Supabase project has it."""

from __future__ import annotations

import threading
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from shared.clock import DatabaseClock
from shared.database import (
    CALL_SECONDS,
    Counted,
    DatabaseError,
    DatabaseKeyRefused,
    DatabaseUnavailable,
    from_sqlstate,
    iso,
)

if TYPE_CHECKING:
    import httpx
    import supabase

_AT_ONCE = 6


class SupabaseDatabase(Counted):
    """The gateway over the supabase client, loaded at the first call (it costs a second and 44 MB)."""

    def __init__(
        self,
        url: str,
        service_role_key: str,
        *,
        timeout: float = CALL_SECONDS,
        clock: DatabaseClock | None = None,
    ) -> None:
        """`timeout` (seconds) bounds every wait; `clock` learns the server's time from every answer."""
        super().__init__(clock)
        self._url = url
        self._key = service_role_key
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._timeout = timeout
        self._client: supabase.Client | None = None
        self._close_http: Any = None

    def call(self, function: str, **arguments: Any) -> Any:
        import httpx
        from postgrest.exceptions import APIError

        named = {name: iso(value) for name, value in arguments.items()}
        client = self._open_client()
        if not self._turns.acquire(timeout=self._timeout):
            raise DatabaseUnavailable(f"{function}: too many calls at once")
        self.count()
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
    return from_sqlstate(function, code, said)


def _is_sqlstate(code: str) -> bool:
    return len(code) == 5 and not code.startswith("PGRST")
