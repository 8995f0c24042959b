"""The lock that lets one tick run at a time, with an owner and an end (O26, O27)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.durations import Durations
from shared.redis import Redis, RedisError, Script

_SCRIPT = Script("lock")
ATTEMPTS = 10
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class Held:
    """The lock is ours until it is released or its time is over."""


@dataclass(frozen=True, slots=True)
class Busy:
    """Someone else holds it."""

    holder: str


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Redis does not answer: nobody may start (fail closed), but nobody holds it either."""


@dataclass(frozen=True, slots=True)
class LockStatus:
    """Who holds the lock; times are epoch milliseconds. `known` is false when Redis did not answer."""

    known: bool = True
    holder: str | None = None
    acquired_at: int | None = None
    expires_in_ms: int | None = None

    @property
    def locked(self) -> bool:
        """Whether anyone holds it."""
        return self.holder is not None


class Lock:
    """The cron lock. `last_seen` is what this process last learned, without asking."""

    def __init__(self, client: Redis, prefix: str, durations: Durations, clock: Callable[[], int]) -> None:
        """`clock` gives epoch milliseconds, for the time shown beside the holder."""
        self.key = f"{prefix}lock:cron"
        self.last_seen = LockStatus()
        self._client = client
        self._keys = [self.key, f"{self.key}:meta"]
        self._expiry_ms = round(durations.lock * 1000)
        self._durations = durations
        self._clock = clock

    def acquire(self, holder: str) -> Held | Busy | Unavailable:
        """One attempt, one round trip."""
        now = self._clock()
        meta = json.dumps({"lockHolder": holder, "lockAcquiredAt": now})
        try:
            won, current = _SCRIPT(self._client, self._keys, ["acquire", holder, self._expiry_ms, meta])
        except RedisError:
            self.last_seen = LockStatus(known=False)
            return Unavailable()
        self.last_seen = LockStatus(holder=current or None, acquired_at=now if won else None)
        return Held() if won else Busy(current)

    def acquire_patiently(self, holder: str, sleep: Callable[[float], bool]) -> Held | Busy | Unavailable:
        """The scheduler's way: ten attempts, the first wait 5 s, then longer, five minutes in all.

        `sleep(seconds)` returns true when the wait was interrupted, and then this gives up with the last answer.
        """
        delay, patience = self._durations.lock_first_delay, self._durations.lock_patience
        answer = self.acquire(holder)
        for _ in range(ATTEMPTS - 1):
            if isinstance(answer, Held) or patience <= 0 or sleep(min(delay, patience)):
                break
            patience -= delay
            delay *= _GROWTH
            answer = self.acquire(holder)
        return answer

    def release(self, holder: str) -> bool:
        """Give it back if `holder` still holds it; whether that was so. Raises `RedisError`."""
        released, _ = _SCRIPT(self._client, self._keys, ["release", holder])
        self.last_seen = LockStatus()
        return bool(released)

    def status(self) -> LockStatus:
        """Ask Redis who holds it."""
        try:
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.get(self.key)
                pipeline.get(self._keys[1])
                pipeline.pttl(self.key)
                holder, meta, expires = pipeline.execute()
        except RedisError:
            self.last_seen = LockStatus(known=False)
            return self.last_seen
        acquired = _acquired_at(meta)
        self.last_seen = LockStatus(True, holder, acquired, expires if holder and expires > 0 else None)
        return self.last_seen

    def force_release(self) -> bool:
        """An operator takes it away, whoever holds it; whether anyone did. Raises `RedisError`."""
        self.last_seen = LockStatus()
        return bool(self._client.delete(*self._keys))


def _acquired_at(meta: Any) -> int | None:
    try:
        return int(json.loads(meta)["lockAcquiredAt"])
    except (TypeError, ValueError, KeyError):
        return None
