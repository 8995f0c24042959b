"""Redis clients and Lua scripts. Every wait has a limit; setting a connection up costs no needless command."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from pathlib import Path
from typing import Any
from weakref import WeakSet

from redis import BlockingConnectionPool, Redis, RedisError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

ANSWER_SECONDS = 5.0
"""How long an answer is waited for, unless a client is told otherwise."""
_SHARED = Path(__file__).parent

_NO_WRITES = re.compile(r"\b(OOM|READONLY|MISCONF|NOREPLICAS|UNBLOCKED)\b")
"""Redis's own codes: full, a replica, a disk that takes no snapshot, too few replicas, just made a replica. A script's
error has them somewhere in its text."""

__all__ = [
    "ANSWER_SECONDS",
    "Doorbell",
    "Redis",
    "RedisError",
    "Script",
    "Writes",
    "connect_redis",
    "is_wrong_type",
    "refuses_writes",
    "wall_clock",
]


def wall_clock() -> int:
    """Epoch milliseconds; what waits between processes is measured by it, also while a replay owns the slots."""
    return time.time_ns() // 1_000_000


def is_wrong_type(error: RedisError) -> bool:
    """Whether a key was of another type than the command is for (what scripts do then: `queue/queue_rules.lua`)."""
    return str(error).startswith("WRONGTYPE")


def refuses_writes(error: RedisError) -> bool:
    """Whether the server answers and takes no writes: out of memory, or a replica."""
    return isinstance(error, OutOfMemoryError | ReadOnlyError) or bool(_NO_WRITES.search(str(error)))


class Writes:
    """Whether the server takes what clients write, as far as this process has seen. Clients may share one."""

    def __init__(self) -> None:
        self.refused = False

    def try_one(self, client: Redis, prefix: str) -> None:
        """Write something that means nothing, which costs what a PING costs and tells more. Raises `RedisError`."""
        client.set(f"{prefix}health", 1, px=60_000)
        self.refused = False


class _Client(Redis):
    """A client that notices when it is refused a write. Then it connects anew: after a fail-over the connections that
    were kept still lead to the old master, which may answer reads with what is no longer true."""

    writes: Writes

    def parse_response(self, connection: Any, command_name: Any, **options: Any) -> Any:
        try:
            return super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        except RedisError as error:
            if refuses_writes(error):
                self.writes.refused = True
                connection.disconnect()
                self.connection_pool.disconnect(inuse_connections=False)
            raise


def connect_redis(
    url: str, *, timeout: float = ANSWER_SECONDS, pool_size: int = 8, writes: Writes | None = None
) -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`, with or without password; connects at first use.

    `timeout` (seconds) bounds each answer, so a client that blocks needs one longer than its blocking command:
    redis-py would drop the connection, and with it what was popped. Nothing is retried here, because a repeated
    write may happen twice; callers know what may be repeated. RESP2 without client info saves the HELLO and the
    refused CLIENT SETINFO commands of each new connection, which hosted plans count. `writes` is told of refused ones.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        driver_info=None,
        socket_timeout=timeout,
        socket_connect_timeout=min(timeout, 5.0),
        health_check_interval=0,
        max_connections=pool_size,
        timeout=timeout,
        decode_responses=True,
        encoding_errors="surrogateescape",  # what others wrote must not make an answer unreadable
    )
    client = _Client.from_pool(pool)
    assert isinstance(client, _Client)
    client.writes = writes or Writes()
    return client


class Script:
    """A Lua script made of one or more files below `shared/` (shared rules first), called by its hash."""

    def __init__(self, *names: str) -> None:
        """Read `names`, without their suffix, in order."""
        self._text = "\n".join((_SHARED / f"{name}.lua").read_text(encoding="utf-8") for name in names)
        self._hash = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()
        self._sent_by: WeakSet[Redis] = WeakSet()

    def __call__(self, client: Redis, keys: list[str], arguments: list[Any]) -> Any:
        """Run it. The first time a client sends the text, which costs less than to be refused the hash first."""
        if client in self._sent_by:
            try:
                return client.evalsha(self._hash, len(keys), *keys, *arguments)
            except NoScriptError:
                pass  # the server was restarted
        answer = client.eval(self._text, len(keys), *keys, *arguments)
        self._sent_by.add(client)
        return answer


class Doorbell:
    """A list to block on until somebody rings. One thread waits; any other may interrupt it.

    What has rung is moved to a list beside it, which whoever takes the last job deletes. A pop would do, but a full
    Redis serves that, and who waits would never learn of it.
    """

    def __init__(self, helper: Redis, url: str, key: str, longest: float, writes: Writes | None = None) -> None:
        """`longest` is the most seconds that `wait` will be asked for; `helper` answers while this one blocks."""
        self._client = connect_redis(url, timeout=longest + 15.0, pool_size=1, writes=writes)
        self._helper = helper
        self._key, self._heard = key, f"{key}:heard"
        self._number: int | None = None  # the server's name for the connection that blocks
        self._is_known = False  # whether that is this connection's name, not the lost one's before
        self._is_nameless = False  # the server, or what stands before it, lets nobody be called by name: asked once
        self._interrupted = False
        self._silent = threading.Event()
        self._silent.set()

    def wait(self, seconds: float) -> bool:
        """Whether it rang within `seconds`; false also when interrupted. Raises `RedisError`."""
        self._silent.clear()
        try:
            if not self._is_known:
                self._unblock()  # the server may still count the lost connection as waiting: it would get our ring
                self._number = self._ask_name()
                self._is_known = True
            if self._interrupted:
                return False
            return self._client.brpoplpush(self._key, self._heard, seconds) is not None
        except (RedisError, OSError, AttributeError, ValueError) as error:
            # A cut connection: by the network, or by an interrupt, which makes the read fail in one of many ways.
            self._is_known = False
            if self._interrupted:
                return False
            if isinstance(error, RedisError) and is_wrong_type(error):
                self._helper.delete(self._key, self._heard)  # no list, so no rings in it
                return True
            raise
        finally:
            self._interrupted = False
            self._silent.set()

    def interrupt(self) -> None:
        """Make the current wait, or the next one, return at once. At most a ring is lost, never a job."""
        self._interrupted = True
        began = time.monotonic()
        while not self._silent.is_set() and time.monotonic() - began < 1.0:
            # A server that hangs was asked for seconds.
            if not self._unblock() and (self._is_nameless or time.monotonic() - began > 0.3):
                self._client.connection_pool.disconnect()
            self._silent.wait(0.02)

    def _unblock(self) -> bool:
        """Ask the server to end the wait: it then forgets this waiter, which a cut connection may not make it do."""
        try:
            return self._number is not None and bool(self._helper.client_unblock(self._number))
        except ResponseError:
            self._number, self._is_nameless = None, True
        except RedisError:
            pass
        return False

    def _ask_name(self) -> int | None:
        """What the server calls this connection; `None` where it refuses to say. Raises `RedisError`."""
        if self._is_nameless:
            return None
        try:
            return int(self._client.client_id())
        except ResponseError:
            self._is_nameless = True
            return None

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
