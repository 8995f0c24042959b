"""Jobs that were given up, kept for a person to look at: the latest failure of each key, 500 at most."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from shared.queue.jobs import Delivery, PushResult, whole

if TYPE_CHECKING:
    from shared.queue.storage import QueueStorage

MAX_DEAD_LETTERS = 500
_UNREADABLE = (ValueError, KeyError, TypeError, RecursionError)
"""What reading a text that others wrote may raise."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One job that was given up. Times are epoch milliseconds; `reason` is a word, `error` is for a person.

    A letter that cannot be read has the reason "damaged", and neither a task nor times.
    """

    key: str
    task: str
    payload: dict[str, Any]
    reason: str
    error: str
    attempts: int
    deaths: int
    first_failure: int
    last_failure: int


def letter_for(delivery: Delivery, reason: str, error: str, now_ms: int) -> str:
    """The text of a new dead letter. The queue's scripts read its first fields where they stand."""
    delivery = replace(delivery, attempts=delivery.attempt)
    fields = {"reason": reason, "error": error[:500]}
    head = f'{{"first_failure":{now_ms},"last_failure":{now_ms},'
    return f'{head}{json.dumps(fields, separators=(",", ":"))[1:-1]},"job":{delivery.as_json()}}}'


class DeadLetters:
    """The dead letters of one queue. Every method raises `RedisError` when Redis does not answer."""

    def __init__(self, storage: QueueStorage) -> None:
        """Over the queue's own storage, because a letter can be queued again."""
        self._storage = storage
        self._client = storage.client

    def list(self) -> list[DeadLetter]:
        """All of them, the latest failure first."""
        letters = [_read(str(key), str(text)) for key, text in self._client.hgetall(self._storage.dead).items()]
        return sorted(letters, key=lambda letter: (-letter.last_failure, letter.key))

    def show(self, key: str) -> DeadLetter | None:
        """The one of `key`, if there is one."""
        text = self._client.hget(self._storage.dead, key)
        return None if text is None else _read(key, str(text))

    def requeue(self, key: str, now_ms: int, expires_at: int | None = None) -> PushResult | None:
        """Queue it again with all its attempts, then forget the letter; None when there is none, or no
        job in it: then it stays.

        Its old expiry is replaced by `expires_at` (epoch milliseconds; None: never).
        """
        text = self._client.hget(self._storage.dead, key)
        try:
            job = _job_in(key, json.loads(text)) if text is not None else None
        except _UNREADABLE:
            return None
        if job is None or not job.task:
            return None
        again = replace(job, attempts=0, deaths=0, due=0, expires=expires_at or 0, now=None)
        result = self._storage.push_again([again], now_ms)
        self.drop(key)
        return result

    def drop(self, key: str) -> bool:
        """Forget the letter of `key`; whether there was one."""
        return bool(self._client.hdel(self._storage.dead, key))

    def resolve(self, key: str) -> bool:
        """The section has been checked after all, outside of the queue (in it, every success does this)."""
        return self.drop(key)

    def resolve_seen(self, keys: Sequence[str]) -> None:
        """A job of another key has checked these too, as a listing's look does. For a process that takes jobs: while
        it knows of no dead letters, this costs nothing.
        """
        if keys and self._storage.has_dead:
            self._client.hdel(self._storage.dead, *keys)


def _job_in(key: str, letter: dict[str, Any]) -> Delivery:
    job = letter["job"]
    job_id = job.get("id", "") if isinstance(job, dict) else ""
    return Delivery.from_json(f"{key} {job_id}", json.dumps(job))


def _read(key: str, text: str) -> DeadLetter:
    try:
        fields = json.loads(text)
        job = _job_in(key, fields)
        return DeadLetter(
            key=key,
            task=job.task,
            payload=job.payload,
            reason=str(fields["reason"]),
            error=str(fields["error"]),
            attempts=job.attempts,
            deaths=job.deaths,
            first_failure=whole(fields["first_failure"]),
            last_failure=whole(fields["last_failure"]),
        )
    except _UNREADABLE:
        return DeadLetter(key, "", {}, "damaged", "this dead letter cannot be read: drop it", 0, 0, 0, 0)
