"""The words of the queue: a job, one delivery of it, and what a task can say about how it went."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from shared.backoff import MAX_ATTEMPTS
from shared.source.breaker import Permit

_KEY = re.compile(r"[!-~]{1,200}")
_LAST_MS = 10**14  # far behind every time and every count of ours
_SHOWN = 2000  # characters of what cannot be read that its dead letter keeps


@dataclass(frozen=True, slots=True)
class Job:
    """Work to be queued: the task's name, the key that makes it unique while it waits or runs, its arguments.

    `expires_at` and `now` are epoch milliseconds by the clock that the slots use. A job whose `now` is set was
    queued by a replay, whose clock stands still while it works: its age is judged by that clock.
    Urgent jobs go before all others.
    """

    task: str
    key: str
    payload: dict[str, Any] = field(default_factory=dict)
    expires_at: int | None = None
    now: int | None = None
    urgent: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a key that the queue's bookkeeping could not hold."""
        if not _KEY.fullmatch(self.key):
            raise ValueError("a job's key must be 1 to 200 printable ASCII characters without spaces")


@dataclass(frozen=True, slots=True)
class PushResult:
    """How many of the pushed jobs are new, and how many were waiting or running already; the keys of the new ones."""

    enqueued: int
    already_queued: int
    keys: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(slots=True)
class Delivery:
    """One job in the hands of a consumer.

    `attempts` counts the ended attempts before this one, `deaths` the consumers that died while it ran. Times
    are epoch milliseconds. `alone`: no other job runs beside it. `permit` came with it from the breaker.
    """

    key: str
    id: str
    task: str
    payload: dict[str, Any]
    attempts: int = 0
    deaths: int = 0
    expires: int = 0
    due: int = 0
    now: int | None = None
    pushed: int = 0
    urgent: bool = False
    alone: bool = False
    permit: Permit | None = None
    max_attempts: int = MAX_ATTEMPTS

    @property
    def attempt(self) -> int:
        """The number of this attempt; the first is 1."""
        return self.attempts + 1

    @property
    def is_last_attempt(self) -> bool:
        """Whether a failure now is the end of it."""
        return self.attempt >= self.max_attempts

    @property
    def is_probe(self) -> bool:
        """Whether it came with leave to try the scraper while the breaker is half open."""
        return self.permit is not None and self.permit.probe is not None

    @property
    def entry(self) -> str:
        """What the queue's lists hold of it: key and id."""
        return f"{self.key} {self.id}"

    def as_json(self) -> str:
        """The job as it is stored. The queue's scripts read its first four fields where they stand."""
        head = f'{{"id":"{self.id}","deaths":{self.deaths},"attempts":{self.attempts},"expires":{self.expires},'
        names = ("due", "now", "pushed", "urgent", "task", "payload")
        return head + json.dumps({name: getattr(self, name) for name in names}, separators=(",", ":"))[1:]

    @classmethod
    def from_json(cls, entry: str, text: str, *, alone: bool = False) -> Delivery:
        """The inverse. What cannot be read becomes a delivery without a task, to be buried with its text."""
        key, _, job_id = entry.partition(" ")
        try:
            fields = json.loads(text)
            return cls(
                key=key,
                id=job_id,
                task=str(fields["task"]),
                payload=dict(fields["payload"]),
                attempts=whole(fields["attempts"]),
                deaths=whole(fields["deaths"]),
                expires=whole(fields["expires"]),
                due=whole(fields["due"]),
                now=None if fields["now"] is None else whole(fields["now"]),
                pushed=whole(fields["pushed"]),
                urgent=bool(fields["urgent"]),
                alone=alone,
            )
        except (ValueError, KeyError, TypeError, RecursionError):  # the last: brackets in brackets in brackets
            return cls(key=key, id=job_id, task="", payload={"unreadable": text[:_SHOWN]}, alone=alone)

    @classmethod
    def of(cls, job: Job, job_id: str, pushed_at: int) -> Delivery:
        """The first delivery of a new job."""
        return cls(
            key=job.key,
            id=job_id,
            task=job.task,
            payload=job.payload,
            expires=job.expires_at or 0,
            now=job.now,
            pushed=pushed_at,
            urgent=job.urgent,
        )

    def has_expired(self, clock_ms: int) -> bool:
        """Whether its time is over, by its replay's clock if it has one, else by `clock_ms`."""
        return 0 < self.expires <= (clock_ms if self.now is None else self.now)


def whole(value: Any) -> int:
    """A time or a count as we write them; raises `ValueError` for anything else, also for what no clock can show."""
    if type(value) is not int or not 0 <= value < _LAST_MS:
        raise ValueError("no time and no count")
    return value


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a consumer knows of itself without asking anyone: for its beat, its watchdog and the health check.

    `running` has key and age in seconds of each job; `waiting` is what Redis said last (None: it has changed since).
    `stalled_for`: seconds in which it has held jobs that could run and has started none; `found_lost`: how many jobs it
    has found that the queue knew and nobody had.
    """

    running: dict[str, float]
    buffered: int
    delayed: int
    waiting: int | None
    completed: int
    failed: int
    last_completed_at: float | None
    threads_alive: bool
    redis_connected: bool
    stopping: bool
    stalled_for: float = 0.0
    found_lost: int = 0


class NotDoneError(Exception):
    """How a task tells the queue that it did not succeed. Anything else it raises counts as a failed attempt."""


class RetryLater(NotDoneError):  # noqa: N818 (says what to do, not what went wrong)
    """This attempt failed; try again in `delay` seconds. After the last attempt: the dead letters."""

    def __init__(self, delay: float, error: str) -> None:
        super().__init__(error)
        self.delay = delay
        self.error = error


class Park(NotDoneError):  # noqa: N818 (says what to do, not what went wrong)
    """Not now, and not this job's fault: it goes back to the front without spending an attempt."""


class HandOn(NotDoneError):  # noqa: N818 (says what to do, not what went wrong)
    """This server cannot do it now, others may: it goes to the back without spending an attempt."""


class PauseQueue(NotDoneError):  # noqa: N818 (says what to do, not what went wrong)
    """The source asked everyone to wait `seconds`. All queued jobs are held; no attempt is spent."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"pause of {seconds:g} s")
        self.seconds = seconds


class GiveUp(NotDoneError):  # noqa: N818 (says what to do, not what went wrong)
    """Trying again is of no use: to the dead letters with this `reason` (a word) and `error` (for a person)."""

    def __init__(self, reason: str, error: str) -> None:
        super().__init__(error)
        self.reason = reason
        self.error = error
