"""The queue's structures under any order of events: each job is in exactly one place, and none is forgotten.

Consumers are driven step by step, without threads, so that hypothesis can find the shortest order that breaks it.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.durations import Durations
from shared.queue import LeasedHuey
from shared.queue.dead_letters import letter_for
from shared.queue.fetcher import Fetcher
from shared.queue.holdings import Holdings
from shared.queue.intake import Taken, Wish
from shared.queue.jobs import Delivery, Job
from shared.queue.storage import QueueStorage
from shared.redis import RedisError, connect_redis
from shared.source.breaker import Breaker
from tests.support.redis import NOW
from workshop.parts.redis import EmbeddedRedis

pytestmark = pytest.mark.real_redis

KEYS = [f"k{number}" for number in range(12)]


class Unanswering(QueueStorage):
    """A storage whose next answer gets lost after the server has done its work."""

    loses_next = False

    def take(self, *arguments: Any) -> Taken:
        taken = super().take(*arguments)
        if self.loses_next:
            self.loses_next = False
            raise RedisError("lost")
        return taken


class Machine(RuleBasedStateMachine):
    """Pushers, consumers, deaths, take-overs, lost answers, pauses of a whole process."""

    server: EmbeddedRedis
    may_be_emptied = False

    def __init__(self) -> None:
        super().__init__()
        self.server.flush()
        self.storage = self._new_storage()
        self.consumers: dict[str, tuple[Fetcher, Unanswering, list[Delivery]]] = {}
        self.zombies: list[str] = []
        self.pushed = self.poisoned = 0
        self.ended: Counter[str] = Counter()
        self.born = 0

    def _new_storage(self) -> Unanswering:
        return Unanswering(
            "test", url=self.server.url, prefix="t:", durations=Durations(), clock=lambda: NOW, gate="scraper"
        )

    def _consumer(self, data: st.DataObject) -> tuple[str, Fetcher, Unanswering, list[Delivery]]:
        name = data.draw(st.sampled_from(sorted(self.consumers)))
        return name, *self.consumers[name]

    @rule(keys=st.lists(st.sampled_from(KEYS), max_size=6), urgent=st.booleans())
    def push(self, keys: list[str], urgent: bool) -> None:
        result = self.storage.push([Job("work", key, {}, urgent=urgent) for key in keys], NOW)
        assert result.enqueued + result.already_queued == len(keys)
        self.pushed += result.enqueued

    @precondition(lambda self: len(self.consumers) < 3)
    @rule()
    def start_consumer(self) -> None:
        self.born += 1
        storage = self._new_storage()
        breaker = Breaker(storage.client, "t:", storage.doorbell, Durations())
        fetcher = Fetcher(storage, breaker, workers=2, worker_id=f"c{self.born}")
        self.consumers[f"c{self.born}"] = (fetcher, storage, [])

    @precondition(lambda self: self.consumers)
    @rule(data=st.data(), loses=st.booleans())
    def take(self, data: st.DataObject, loses: bool) -> None:
        _, fetcher, storage, _ = self._consumer(data)
        storage.loses_next = loses
        if fetcher._wants_jobs():
            fetcher._exchange(None)
        storage.loses_next = False

    @precondition(lambda self: self.consumers)
    @rule(data=st.data(), loses=st.booleans())
    def settle(self, data: st.DataObject, loses: bool) -> None:
        _, fetcher, storage, _ = self._consumer(data)
        storage.loses_next = loses
        fetcher._exchange(Wish())
        storage.loses_next = False

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        _, fetcher, storage, running = self._consumer(data)
        if len(running) < 2 and fetcher._can_start():
            fetcher._mark_more()
            if fetcher._can_start() and fetcher.holdings.ready[0].entry in fetcher.holdings.marked:
                job = fetcher.next()
                assert job
                assert not job.alone or not running, "it must run alone"
                assert not any(other.alone for other in running), "nothing runs beside one that must run alone"
                held = storage.client.get(storage.held_key(fetcher.lease._worker_id))
                if fetcher.lease._worker_id not in self.zombies:
                    marks = (f"R {job.entry}\n", f"M {job.entry}\n")
                    assert any(mark in str(held) for mark in marks), "survivors could not know that it ran"
                running.append(job)

    @precondition(lambda self: self.consumers)
    @rule(data=st.data(), how=st.sampled_from(["acknowledge", "acknowledge", "retry", "park", "bury"]))
    def end(self, data: st.DataObject, how: str) -> None:
        _, fetcher, _, running = self._consumer(data)
        if not running:
            return
        job = running.pop(data.draw(st.integers(0, len(running) - 1)))
        if how == "retry":
            fetcher.settle(lambda held: held.retry(job, NOW))
            with fetcher.lock:
                fetcher.holdings.wake_due(NOW, gate_open=True)
        elif how == "park":
            fetcher.settle(lambda held: held.park(job))
        elif how == "bury":
            fetcher.settle(lambda held: held.bury(job, letter_for(job, "tested", "", NOW)))
            self.ended[job.id] += 1
        else:
            fetcher.settle(lambda held: held.acknowledge(job))
            self.ended[job.id] += 1

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        name, _, _, running = self._consumer(data)
        self._forget(name)
        answer = self._take_over(name)
        if name not in self.zombies:
            assert answer[1] + answer[2] >= len(running), "each running one is suspected"

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def be_taken_over_alive(self, data: st.DataObject) -> None:
        name, *_ = self._consumer(data)
        self._take_over(name)
        self.zombies.append(name)

    def _take_over(self, name: str) -> tuple[int, int, int]:
        self.storage.client.delete(self.storage.lease_key(name))
        answer = self.storage.take_over(name)
        assert answer
        self.poisoned += answer[2]
        return answer

    @precondition(lambda self: self.may_be_emptied)
    @rule()
    def be_emptied(self) -> None:
        self.storage.client.flushall()
        self.zombies += self.consumers  # what they had marked is forgotten

    @precondition(lambda self: self.consumers)
    @rule(data=st.data())
    def stop(self, data: st.DataObject) -> None:
        name, fetcher, _, _ = self._consumer(data)
        fetcher.hand_back(Holdings.give_back_all, for_good=True)
        fetcher.hand_back(Holdings.give_back_running)
        assert fetcher.leave()
        self._forget(name)

    def _forget(self, name: str) -> None:
        _, storage, _ = self.consumers.pop(name)
        storage.close()

    def places(self) -> Counter[str]:
        """Where entries are: waiting, alone, or held by someone; stale ones do not count."""
        client = self.storage.client
        bodies = {str(key): str(body) for key, body in client.hgetall(self.storage.jobs).items()}
        entries = [str(entry) for entry in client.lrange(self.storage.waiting, 0, -1)]
        entries += str(client.get(self.storage.alone) or "").splitlines()
        for worker in self.storage.known_consumers():
            text = str(client.get(self.storage.held_key(worker)) or "")
            entries += [line[2:] for line in text.splitlines() if line[0] not in "MD"]
        current = {f"{key} {_id_in(body)}" for key, body in bodies.items()}
        return Counter(entry for entry in entries if entry in current)

    @invariant()
    def every_body_is_in_exactly_one_place(self) -> None:
        places = self.places()
        bodies = self.storage.client.hgetall(self.storage.jobs)
        for key, body in bodies.items():
            assert places[f"{key} {_id_in(str(body))}"] == 1, f"{key} is in {places} places"

    def teardown(self) -> None:
        for name in list(self.consumers):
            self._forget(name)
            self._take_over(name)
        self.start_consumer()
        ((fetcher, storage, _),) = self.consumers.values()
        for _ in range(400):
            fetcher._exchange(None if fetcher._wants_jobs() else Wish())
            while fetcher._can_start():
                fetcher._mark_more()
                job = fetcher.next()
                assert job
                self.ended[job.id] += 1
                fetcher.settle(lambda held, job=job: held.acknowledge(job))
            if not fetcher.holdings and not self.storage.client.hlen(self.storage.jobs):
                break
        assert storage.client.hlen(storage.jobs) == 0, "something was forgotten"
        assert self.may_be_emptied or len(self.ended) + self.poisoned >= self.pushed, "every pushed job ended"
        self._forget(next(iter(self.consumers)))
        self.storage.close()


def _id_in(body: str) -> str:
    return body.split('"')[3]


@pytest.mark.parametrize("may_be_emptied", [False, True])
def test_no_order_of_events_forgets_or_doubles_a_job(redis_server: EmbeddedRedis, may_be_emptied: bool) -> None:
    Machine.server, Machine.may_be_emptied = redis_server, may_be_emptied
    health = list(HealthCheck)
    limits = settings(max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=health)
    run_state_machine_as_test(Machine, settings=limits)


def test_racing_pushers_queue_each_job_once(any_redis_url: str) -> None:
    enqueued: list[int] = []

    def push() -> None:
        huey = LeasedHuey(redis_url=any_redis_url)
        result = huey.push([Job("work", f"k{number}", {}) for number in range(500)], NOW)
        enqueued.append(result.enqueued)
        huey.close()

    threads = [threading.Thread(target=push) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sum(enqueued) == 500
    with connect_redis(any_redis_url) as client:
        assert client.llen("pickmyclass:queue:class-check") == 500
