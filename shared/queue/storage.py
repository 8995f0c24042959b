"""What the queue keeps in Redis, and the few round trips that change it (docs/decisions/leased-queue.md).

Under the queue's name: a list of waiting entries ("key id"), a hash of job bodies by key (which is also what makes a
key unique), per consumer a text of what it holds and a lease, a doorbell list, and the dead letters.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from huey.storage import BaseStorage

from shared.durations import Durations
from shared.queue.dead_letters import MAX_DEAD_LETTERS
from shared.queue.holdings import Settlement
from shared.queue.intake import MAX_BATCH, Taken, Wish
from shared.queue.jobs import Delivery, Job, PushResult
from shared.redis import Doorbell, RedisError, Script, Writes, connect_redis

PUSH_JOBS = 5000
PUSH_BYTES = 1_000_000
POISON_DEATHS = 3
_ADDED = {"M": "R", "D": "F"}  # what is added behind a held text, and the tag that a held job has from then on
_FRACTION = 3  # of a batch that is marked as possibly running when jobs stream

_PUSH = Script("queue/queue_rules", "queue/push")
_TAKE = Script("source/breaker_rules", "queue/queue_rules", "queue/take")
_TAKE_OVER = Script("queue/queue_rules", "queue/take_over")
_LEAVE = Script("queue/queue_rules", "queue/leave")
_LIMBO = Script("queue/queue_rules", "queue/limbo")
_PAUSE = Script("queue/pause_queue")


@dataclass(frozen=True, slots=True)
class Counts:
    """The queue as Redis has it. `leased` jobs are in a consumer's hands, `delayed` ones wait there for a retry.

    `limbo`: at least so many are known and in no place; the rescue puts them back.
    """

    waiting: int
    leased: int
    delayed: int
    dead: int
    oldest_waiting_seconds: float | None
    paused_for: float
    limbo: int = 0


class QueueStorage(BaseStorage):  # type: ignore[misc]  # huey has no types
    """Huey's storage, with leases."""

    blocking = True
    priority = True

    def __init__(
        self, name: str, *, url: str, prefix: str, durations: Durations, clock: Callable[[], int], gate: str
    ) -> None:
        """`prefix` begins every key; `clock` gives epoch milliseconds; `gate` names the breaker that jobs wait for."""
        super().__init__(name)
        self.writes = Writes()
        self.client = connect_redis(url, writes=self.writes)
        self.durations = durations
        self.clock = clock
        self.waiting = f"{prefix}queue:{name}"
        self.jobs = f"{self.waiting}:jobs"
        self.doorbell = f"{self.waiting}:doorbell"
        self.consumers = f"{self.waiting}:consumers"
        self.pause_key = f"{self.waiting}:pause"
        self.alone = f"{self.waiting}:alone"
        self.dead = f"{self.waiting}:dlq"
        self.dead_flag = f"{self.waiting}:dlq:any"
        self._held_prefix = f"{self.waiting}:held:"
        self._breaker = f"{prefix}circuit:{gate}"
        self._prefix, self._url = prefix, url
        self.has_dead = False
        """Whether there were dead letters when this process last took jobs."""

    def takes_writes(self) -> bool:
        """Whether Redis takes what this process writes, as it was last seen; asked again only where it did not."""
        if self.writes.refused:
            with suppress(RedisError):
                self.writes.try_one(self.client, self._prefix)
        return not self.writes.refused

    def open_doorbell(self) -> Doorbell:
        """A connection of its own to wait for jobs with."""
        return Doorbell(self.client, self._url, self.doorbell, self.durations.doorbell, self.writes)

    def held_key(self, worker: str) -> str:
        """Where the consumer `worker` says what it holds."""
        return self._held_prefix + worker

    def lease_key(self, worker: str) -> str:
        """The sign of life of the consumer `worker` while it holds jobs."""
        return f"{self.waiting}:lease:{worker}"

    def close(self) -> bool:
        """Close the connections."""
        self.client.close()
        return True

    def push(self, jobs: Iterable[Job], now_ms: int) -> PushResult:
        """Queue those of `jobs` that are not queued; expiry is judged by `now_ms`. May be repeated after an error."""
        pushed_at = self.clock()
        return self._push([Delivery.of(job, secrets.token_hex(6), pushed_at) for job in jobs], now_ms)

    def push_again(self, deliveries: Iterable[Delivery], now_ms: int) -> PushResult:
        """Queue jobs that Redis has forgotten, with the attempts and deaths they have."""
        return self._push(list(deliveries), now_ms)

    def _push(self, deliveries: list[Delivery], now_ms: int) -> PushResult:
        new: list[str] = []
        keys = [self.waiting, self.jobs, self.doorbell, self.consumers, self.dead, self.dead_flag]
        for chunk in _chunks(deliveries):
            new += _PUSH(self.client, keys, [now_ms, self._held_prefix, MAX_DEAD_LETTERS, *chunk])
        return PushResult(len(new), len(deliveries) - len(new), frozenset(new))

    def take(self, worker: str, expected: str, holding: str, settled: Settlement, wish: Wish) -> Taken:
        """One round trip of a consumer: settle, say what is held, take. Raises `RedisError`."""
        keys = [self.waiting, self.jobs, self.held_key(worker), self.lease_key(worker), self.doorbell]
        keys += [self.consumers, self.dead, self.pause_key, self._breaker, self.alone, self.dead_flag]
        keys.append(f"{self._breaker}:probe")
        arguments: list[Any] = [worker, expected, holding, wish.jobs, wish.share, wish.least, MAX_BATCH]
        arguments += [wish.may_start, _FRACTION if wish.flows else 0, int(wish.is_empty)]
        arguments += [round(self.durations.lease * 1000) if wish.renew_lease else 0, int(wish.ring_rest)]
        arguments += [round(self.durations.breaker_open * 1000), round(self.durations.probe_lease * 1000)]
        arguments += [secrets.token_hex(8), MAX_DEAD_LETTERS, round(self.durations.pause * 1000), self.clock()]
        for entries in (settled.acked, settled.dropped):
            arguments += [len(entries), *(delivery.entry for delivery in entries)]
        arguments += _with_text((delivery.entry, body) for delivery, body in settled.stored)
        for entries in (settled.front[::-1], settled.back):
            arguments += [len(entries), *(delivery.entry for delivery in entries)]
        arguments += _with_text((delivery.entry, letter) for delivery, letter in settled.buried)
        answer = _TAKE(self.client, keys, arguments)
        reason, wait, left, breaker, probe, alone, corrected, taken, lost, has_dead = answer
        self.has_dead = bool(has_dead)
        marked = max(wish.may_start, -(-len(taken) // 2 // _FRACTION) if wish.flows else 0)
        lines = (f"{'R' if n < marked else 'B'} {entry}\n" for n, entry in enumerate(taken[::2]))
        return Taken(
            reason=reason,
            wait=wait / 1000,
            left=left if left >= 0 else None,
            breaker=breaker,
            probe=probe or None,
            deliveries=[Delivery.from_json(entry, body, alone=bool(alone)) for entry, body in _in_pairs(taken)],
            held=corrected[1:] if corrected else holding + "".join(lines),
            marked=marked,
            lost={entry: other == "1" for entry, other in _in_pairs(lost)},
        )

    def mark(self, worker: str, lines: str) -> int:
        """Add `lines` to what is stored as held: one command that writes nothing over.

        Returns the length of the text, by which its writer knows it again. Raises `RedisError`.
        """
        return int(self.client.append(self.held_key(worker), lines))

    def renew_lease(self, worker: str) -> None:
        """Give a sign of life. One command. Raises `RedisError`."""
        self.client.set(self.lease_key(worker), "1", px=round(self.durations.lease * 1000))

    def leave(self, worker: str) -> bool:
        """Forget a consumer that has handed everything back; false when Redis knows better. Raises `RedisError`."""
        keys = [self.held_key(worker), self.lease_key(worker), self.consumers, self.waiting, self.doorbell]
        return bool(_LEAVE(self.client, keys, [worker]))

    def take_over(self, worker: str) -> tuple[int, int, int] | None:
        """Give the jobs of a dead consumer to the others; None while its lease stands. Raises `RedisError`.

        Returns how many went back to the queue, how many will run alone, and how many were buried as poison. Only
        for a consumer whose beat is old: a lease alone ends while a consumer is merely idle.
        """
        keys = [self.waiting, self.jobs, self.held_key(worker), self.lease_key(worker), self.doorbell]
        keys += [self.consumers, self.alone, self.dead, self.dead_flag]
        arguments = [worker, POISON_DEATHS, self.clock(), MAX_DEAD_LETTERS, round(self.durations.lease * 1000)]
        back, suspects, poisoned = _TAKE_OVER(self.client, keys, arguments)
        return None if back < 0 else (back, suspects, poisoned)

    def known_consumers(self) -> set[str]:
        """Every consumer that holds or held jobs and has not said goodbye. Raises `RedisError`."""
        return {str(worker) for worker in self.client.smembers(self.consumers)}

    def find_lost(self) -> tuple[int, set[str]]:
        """Put jobs back that are known and in no place; how many, and every consumer as `known_consumers` does.

        There is no way for a job to get there, so each is a fault of ours. Raises `RedisError`.
        """
        keys = [self.waiting, self.jobs, self.doorbell, self.consumers, self.alone, self.dead, self.dead_flag]
        count, workers = _LIMBO(self.client, keys, [self._held_prefix, self.clock(), MAX_DEAD_LETTERS])
        return count, {str(worker) for worker in workers}

    def pause(self, seconds: float) -> None:
        """Hold all queued jobs; a longer pause that is on already stays. Raises `RedisError`."""
        _PAUSE(self.client, [self.pause_key], [max(round(seconds * 1000), 1)])

    def resume(self) -> None:
        """End a pause now. Raises `RedisError`."""
        self.client.delete(self.pause_key)
        self.client.lpush(self.doorbell, "1")

    def counts(self) -> Counts:
        """Ask Redis how much there is. Meant for people and health: about ten commands. Raises `RedisError`.

        All of one moment; should a consumer come in between, it is asked again.
        """
        seen: set[str] | None = None
        workers = self.known_consumers()
        while seen is None or not workers <= seen:
            seen = workers
            with self.client.pipeline(transaction=True) as pipeline:
                pipeline.llen(self.waiting)
                pipeline.lindex(self.waiting, -1)
                pipeline.hlen(self.dead)
                pipeline.pttl(self.pause_key)
                pipeline.hlen(self.jobs)
                pipeline.mget(self.alone, *(self.held_key(worker) for worker in sorted(seen)))
                pipeline.smembers(self.consumers)
                waiting, oldest, dead, paused, known, (alone, *held), now = pipeline.execute()
            workers = {str(worker) for worker in now}
        tags = sum((_tags_in(text or "") for text in held), Counter[str]())
        leased, delayed = tags["R"] + tags["B"], tags["Z"]
        waiting += len((alone or "").splitlines())
        limbo = max(known - waiting - tags.total(), 0)
        age = self._age_of(oldest) if oldest else None
        return Counts(waiting, leased, delayed, dead, age, max(paused, 0) / 1000, limbo)

    def _age_of(self, entry: str) -> float | None:
        body = self.client.hget(self.jobs, entry.split(" ")[0])
        pushed = Delivery.from_json(entry, str(body)).pushed if body else 0
        return max(self.clock() - pushed, 0) / 1000 if pushed else None

    def queue_size(self) -> int:
        """How many jobs wait (Huey's name for it)."""
        return int(self.client.llen(self.waiting))

    def flush_queue(self) -> None:
        """Forget every job that waits or runs (Huey's name for it)."""
        self.client.delete(self.waiting, self.jobs, self.alone, self.doorbell, self.pause_key)


def _tags_in(held: str) -> Counter[str]:
    """How many jobs a held text has by their tags, as `queue_rules.lua` reads it."""
    tags: dict[str, str] = {}
    for line in held.splitlines():
        tag, entry = line[:1], line[2:]
        if tag not in _ADDED:
            tags[entry] = tag
        elif tags.get(entry, "F") != "F":
            tags[entry] = _ADDED[tag]
    return Counter(tags.values())


def _chunks(deliveries: list[Delivery]) -> Iterator[list[Any]]:
    """The script's arguments for as many jobs as one round trip may carry."""
    arguments: list[Any] = []
    size = 0
    for delivery in deliveries:
        body = delivery.as_json()
        if arguments and (len(arguments) >= 4 * PUSH_JOBS or size + len(body) > PUSH_BYTES):
            yield arguments
            arguments, size = [], 0
        arguments += [delivery.key, delivery.id, body, int(delivery.urgent)]
        size += len(body)
    if arguments:
        yield arguments


def _with_text(pairs: Iterable[tuple[str, str]]) -> list[Any]:
    flat = [item for pair in pairs for item in pair]
    return [len(flat), *flat]


def _in_pairs(items: list[str]) -> Iterator[tuple[str, str]]:
    return zip(items[::2], items[1::2], strict=True)
