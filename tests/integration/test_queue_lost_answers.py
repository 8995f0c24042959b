"""Answers of Redis that get lost, after the work was done, before it, or long before: no job is lost with them.

The model drives consumers step by step, without threads. What a thread has decided to do (take, mark, write, give a
sign of life) and does later, when its turn comes, are two steps, so that anything may happen between them; and while a
round trip is under way, before its answer comes, anything may happen that does not wait for it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from redis.exceptions import NoScriptError, TimeoutError

from shared.durations import Durations
from shared.queue.dead_letters import letter_for
from shared.queue.fetcher import Fetcher
from shared.queue.holdings import Holdings
from shared.queue.intake import Wish
from shared.queue.jobs import Delivery, Job
from shared.queue.storage import QueueStorage
from shared.redis import RedisError
from shared.source.breaker import Breaker
from tests.support.redis import NOW
from workshop.parts.redis import EmbeddedRedis

pytestmark = pytest.mark.real_redis

KEYS = [f"k{number}" for number in range(14)]
WORKERS = 2
FATES = ["answered", "lost", "lost", "late", "never"]
"""What becomes of a command: it is answered; it runs and its answer is lost; it runs when it is no longer expected,
perhaps after others; it never runs."""


class Wire:
    """A client whose commands meet the fates that were dealt, in order; afterwards they are answered."""

    def __init__(self, storage: QueueStorage) -> None:
        self.fates: list[str] = []
        self.meanwhile: Callable[[], None] | None = None
        self.late: list[tuple[Any, ...]] = []
        self._send = storage.client.execute_command
        storage.client.execute_command = self.send  # type: ignore[method-assign]  # where all its commands pass

    def send(self, *command: Any, **options: Any) -> Any:
        fate = self.fates.pop(0) if self.fates else "answered"
        if fate == "late":
            self.late.append(command)
        if fate in ("late", "never"):
            raise TimeoutError("not answered")
        answer = self._send(*command, **options)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        if fate == "lost":
            raise TimeoutError("not answered")
        return answer

    def send_at_once(self, *command: Any) -> Any:
        """Past all fates."""
        return self._send(*command)

    def arrive(self, number: int) -> None:
        """A late command reaches the server; nobody hears the answer."""
        command = self.late.pop(number)
        try:
            self._send(*command)
        except NoScriptError:
            return


class Actor:
    """A consumer and what its threads have decided to do."""

    def __init__(self, name: str, storage: QueueStorage) -> None:
        self.name, self.storage, self.wire = name, storage, Wire(storage)
        breaker = Breaker(storage.client, "t:", storage.doorbell, Durations())
        self.fetcher = Fetcher(storage, breaker, workers=WORKERS, worker_id=name)
        self.fetcher._doorbell.wait = self._lose_ring  # type: ignore[method-assign]
        self.running: list[Delivery] = []
        self.decided: list[str] = []
        self.turn = ""
        """What it does, or did last."""

    @property
    def has_unmarked(self) -> bool:
        """Whether a thread is free and the next job is not marked."""
        held = self.fetcher.holdings
        return len(self.running) < WORKERS and self.fetcher._can_start() and held.ready[0].entry not in held.marked

    def _lose_ring(self, _: float) -> bool:
        """The server rang, and its answer was cut."""
        self.wire.send_at_once("DEL", self.storage.doorbell)
        raise ConnectionError("cut")

    def decide(self) -> None:
        """Its threads look what is to be done; each waits for its turn until it has done it."""
        fetcher = self.fetcher
        wants = {
            "take": fetcher._wants_jobs(),
            "mark": self.has_unmarked,
            "write": bool(fetcher.holdings.settled) or not fetcher.lease.connected or fetcher.lease.has_homeless,
            "renew": bool(fetcher.holdings),
        }
        self.decided += [what for what, wanted in wants.items() if wanted and what not in self.decided]

    def act(self, what: str) -> None:
        """One of them has its turn."""
        self.decided.remove(what)
        self.turn = what
        fetcher = self.fetcher
        if what == "take":
            fetcher._exchange(None)
        elif what == "mark":
            fetcher._mark_more()
        elif what == "write":
            fetcher._exchange(Wish())
        else:
            fetcher.lease.renew()


class LostAnswers(RuleBasedStateMachine):
    """Pushers and consumers on wires that lose answers; deaths, take-overs, stops."""

    server: EmbeddedRedis

    def __init__(self) -> None:
        super().__init__()
        self.server.flush()
        self.door = self._new_storage()
        self.door_wire = Wire(self.door)
        self.actors: dict[str, Actor] = {}
        self.wires = [self.door_wire]
        self.born = 0
        self.known: set[str] = set()  # ids of jobs that Redis has known
        self.ended: set[str] = set()
        self.push(KEYS, urgent=False, fate="answered")
        self.start_consumer()

    def _new_storage(self) -> QueueStorage:
        return QueueStorage(
            "test", url=self.server.url, prefix="t:", durations=Durations(), clock=lambda: NOW, gate="scraper"
        )

    def _actor(self, data: st.DataObject) -> Actor:
        return self.actors[data.draw(st.sampled_from(sorted(self.actors)))]

    # ---- what happens

    @rule(
        keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=len(KEYS), unique=True),
        urgent=st.booleans(),
        fate=st.sampled_from(FATES),
    )
    def push(self, keys: list[str], urgent: bool, fate: str) -> None:
        self.door_wire.fates = [fate]
        try:
            self.door.push([Job("work", key, {}, urgent=urgent) for key in keys], NOW)
        except RedisError:
            assert fate != "answered"
        self.door_wire.fates = []

    @precondition(lambda self: len(self.actors) < 3)
    @rule()
    def start_consumer(self) -> None:
        self.born += 1
        actor = Actor(f"c{self.born}", self._new_storage())
        self.actors[actor.name] = actor
        self.wires.append(actor.wire)

    @precondition(lambda self: self.actors)
    @rule(data=st.data(), ends=st.integers(0, 3))
    def work(self, data: st.DataObject, ends: int) -> None:
        """For a moment all goes well, so that there is something to lose."""
        actor = self._actor(data)
        for number in range(ends + 1):
            self._work(actor)
            if number < ends:
                self._end(actor, data)

    def _work(self, actor: Actor) -> None:
        actor.decide()
        for what in list(actor.decided):
            actor.act(what)
        while self._begin(actor):
            pass

    @precondition(lambda self: self.actors)
    @rule(
        data=st.data(),
        fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=3),
        turns=st.integers(1, 4),
        busy=st.booleans(),
        eager=st.booleans(),
    )
    def act(self, data: st.DataObject, fates: list[str], turns: int, busy: bool, eager: bool) -> None:
        """All its threads decide at once; some of them have their turns, one after the other."""
        actor = self._actor(data)
        actor.decide()
        actor.wire.fates = list(fates)
        if busy:
            actor.wire.meanwhile = lambda: self._something_happens(data, actor)
        for what in data.draw(st.permutations(actor.decided))[:turns]:
            actor.act(what)
            self.note()
            while eager and self._begin(actor):
                pass
        actor.wire.fates, actor.wire.meanwhile = [], None

    def _something_happens(self, data: st.DataObject, waiting: Actor) -> None:
        """While `waiting` waits for an answer: what does not need its turn."""
        self.note()
        happens = ["begin", "end", "take over", "push", "another", "arrive"]
        if waiting.turn != "take":  # the thread that takes is the one that listens
            happens.append("lose")
        for _ in range(data.draw(st.integers(1, 3))):
            what = data.draw(st.sampled_from(happens))
            if what == "begin":
                self._begin(waiting)
            elif what == "end":
                self._end(waiting, data)
            elif what == "lose":
                waiting.fetcher._listen()
            elif what == "take over":
                self._take_over(waiting.name)
            elif what == "push":
                self.door.push([Job("work", data.draw(st.sampled_from(KEYS)), {})], NOW)
            elif what == "arrive":
                self._arrive(data)
            else:
                self._another_acts(data, waiting)
            self.note()

    def _another_acts(self, data: st.DataObject, waiting: Actor) -> None:
        if others := [one for one in self.actors.values() if one is not waiting]:
            other = data.draw(st.sampled_from(others))
            other.decide()
            for intent in list(other.decided):
                other.act(intent)

    @precondition(lambda self: self.actors)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        self._begin(self._actor(data))

    def _begin(self, actor: Actor) -> bool:
        """A free thread starts the next job, if it may; whether it did."""
        held = actor.fetcher.holdings
        if len(actor.running) == WORKERS or not actor.fetcher._can_start() or held.ready[0].entry not in held.marked:
            return False
        job = actor.fetcher.next()
        assert job
        assert not job.alone or not actor.running, "it must run alone"
        assert not any(other.alone for other in actor.running), "nothing runs beside one that must run alone"
        actor.running.append(job)
        return True

    @precondition(lambda self: self.actors)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        self._end(self._actor(data), data)

    def _end(self, actor: Actor, data: st.DataObject) -> None:
        if not actor.running:
            return
        job = actor.running.pop(data.draw(st.integers(0, len(actor.running) - 1)))
        how = data.draw(st.sampled_from(["acknowledge", "acknowledge", "retry", "park", "bury"]))
        fetcher = actor.fetcher
        if how == "retry":
            fetcher.settle(lambda held: held.retry(job, NOW))
            with fetcher.lock:
                fetcher.holdings.wake_due(NOW, gate_open=True)
        elif how == "park":
            fetcher.settle(lambda held: held.park(job))
        elif how == "bury":
            fetcher.settle(lambda held: held.bury(job, letter_for(job, "tested", "", NOW)))
            self.ended.add(job.id)
        else:
            fetcher.settle(lambda held: held.acknowledge(job))
            self.ended.add(job.id)

    @precondition(lambda self: self.actors)
    @rule(data=st.data())
    def drain(self, data: st.DataObject) -> None:
        """All that waits is done; then a job comes, and its ring is lost, while an answer is awaited."""
        actor = self._actor(data)
        for _ in range(2 * len(KEYS)):
            self._work(actor)
            while actor.running:
                job = actor.running.pop()
                actor.fetcher.settle(lambda held, job=job: held.acknowledge(job))
                self.ended.add(job.id)
        if actor.fetcher.lease.connected and actor.fetcher.intake.left == 0:
            actor.wire.meanwhile = lambda: self._lose_a_ring(data, actor)
            actor.fetcher._exchange(Wish())

    def _lose_a_ring(self, data: st.DataObject, actor: Actor) -> None:
        self.door.push([Job("work", data.draw(st.sampled_from(KEYS)), {})], NOW)
        actor.fetcher._listen()

    @precondition(lambda self: any(wire.late for wire in self.wires))
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        self._arrive(data)

    def _arrive(self, data: st.DataObject) -> None:
        if wires := [wire for wire in self.wires if wire.late]:
            wire = data.draw(st.sampled_from(wires))
            wire.arrive(data.draw(st.integers(0, len(wire.late) - 1)))

    @precondition(lambda self: self.actors)
    @rule(
        data=st.data(),
        what=st.sampled_from(["loses its doorbell", "dies", "is taken over alive", "stops"]),
        fates=st.lists(st.sampled_from(FATES), max_size=4),
    )
    def misfortune(self, data: st.DataObject, what: str, fates: list[str]) -> None:
        actor = self._actor(data)
        if what == "loses its doorbell":
            actor.fetcher._listen()
        elif what == "dies":
            self._forget(actor)
            self._take_over(actor.name)
        elif what == "is taken over alive":
            self._take_over(actor.name)
        else:
            self._stop(actor, fates)

    def _stop(self, actor: Actor, fates: list[str]) -> None:
        actor.wire.fates = list(fates)
        actor.fetcher.hand_back(Holdings.give_back_all, for_good=True)
        actor.fetcher.hand_back(Holdings.give_back_running)
        left = actor.fetcher.leave()
        actor.wire.fates = []
        self._forget(actor)
        if not left:
            self._take_over(actor.name)

    def _take_over(self, name: str) -> None:
        self.note()
        self.door.client.delete(self.door.lease_key(name))
        assert self.door.take_over(name)
        self.note()

    def _forget(self, actor: Actor) -> None:
        del self.actors[actor.name]  # what its wire has under way may still arrive
        actor.fetcher._doorbell.close()

    # ---- what must hold

    @invariant()
    def note(self) -> None:
        """Remember which jobs there are, and which were buried as poison."""
        bodies = self.door.client.hgetall(self.door.jobs)
        self.known |= {json.loads(str(body))["id"] for body in bodies.values()}
        for letter in self.door.client.hgetall(self.door.dead).values():
            if (fields := json.loads(str(letter)))["reason"] == "poison":
                self.ended.add(fields["job"]["id"])

    @invariant()
    def every_job_is_in_exactly_one_place(self) -> None:
        client = self.door.client
        bodies = {str(key): json.loads(str(body))["id"] for key, body in client.hgetall(self.door.jobs).items()}
        places = [str(entry) for entry in client.lrange(self.door.waiting, 0, -1)]
        places += str(client.get(self.door.alone) or "").splitlines()
        for key in client.scan_iter(self.door.held_key("*")):
            lines = str(client.get(key) or "").splitlines()
            places += [line[2:] for line in lines if line[0] not in "MD"]
        count = Counter(places)
        for key, job_id in bodies.items():
            assert count[f"{key} {job_id}"] == 1, f"{key} is in {count[f'{key} {job_id}']} places"

    @invariant()
    def somebody_looks_for_what_waits(self) -> None:
        client = self.door.client
        if self.actors and client.llen(self.door.waiting) and not client.exists(self.door.doorbell):
            idle = [one for one in self.actors.values() if one.fetcher.lease.connected and one.fetcher.intake.left == 0]
            assert len(idle) < len(self.actors), "all of them wait for a ring that nobody gives"

    def teardown(self) -> None:
        for actor in list(self.actors.values()):
            self._forget(actor)
        for wire in self.wires:
            while wire.late:
                wire.arrive(0)
        for key in list(self.door.client.scan_iter(self.door.held_key("*"))):
            self._take_over(str(key).removeprefix(self.door.held_key("")))
        self._run_what_is_left()
        assert self.known <= self.ended, "a job was forgotten"
        self.door.close()

    def _run_what_is_left(self) -> None:
        last = Actor("last", self._new_storage())
        for _ in range(400):
            last.fetcher._exchange(None if last.fetcher._wants_jobs() else Wish())
            while last.fetcher._can_start():
                last.fetcher._mark_more()
                job = last.fetcher.next()
                assert job
                self.ended.add(job.id)
                last.fetcher.settle(lambda held, job=job: held.acknowledge(job))
            if not last.fetcher.holdings and not self.door.client.hlen(self.door.jobs):
                break
        assert self.door.client.hlen(self.door.jobs) == 0, "a job is in no place that anyone looks at"
        last.fetcher._doorbell.close()
        last.storage.close()


@pytest.fixture
def model(redis_server: EmbeddedRedis) -> Iterator[LostAnswers]:
    """The model, with a consumer and fourteen jobs, to be moved by hand."""
    LostAnswers.server = redis_server
    machine = LostAnswers()
    yield machine
    machine.teardown()


def hold_some(model: LostAnswers) -> Actor:
    """The consumer runs one job and holds two that are not marked yet; others wait."""
    (actor,) = model.actors.values()
    actor.fetcher._exchange(None)
    while len(actor.fetcher.holdings.ready) > WORKERS:
        while model._begin(actor):
            pass
        actor.fetcher.settle(lambda held: held.acknowledge(actor.running.pop()))
        if actor.has_unmarked:
            actor.fetcher._mark_more()
    actor.fetcher._exchange(Wish())
    actor.fetcher.holdings.mark(set())  # as if a batch's marks were used up
    assert actor.has_unmarked
    return actor


def test_a_mark_that_waited_behind_a_lost_answer_writes_nothing_over(model: LostAnswers) -> None:
    actor = hold_some(model)
    actor.wire.fates = ["lost"]
    actor.fetcher._exchange(None)
    actor.fetcher._mark_more()  # a thread decided to mark before, and waited for its turn
    actor.fetcher._exchange(Wish())
    model.every_job_is_in_exactly_one_place()


def test_a_late_mark_gives_nothing_to_a_consumer_that_does_not_hold_it(model: LostAnswers) -> None:
    actor = hold_some(model)
    actor.wire.fates = ["late"]
    actor.fetcher._mark_more()
    actor.fetcher.hand_back(Holdings.give_back_all)
    actor.fetcher._exchange(Wish())
    actor.wire.arrive(0)
    model.every_job_is_in_exactly_one_place()


def test_a_late_take_is_given_back_and_a_goodbye_does_not_forget_it(model: LostAnswers) -> None:
    (actor,) = model.actors.values()
    actor.wire.fates = ["late"]
    actor.fetcher._exchange(None)
    actor.fetcher._exchange(Wish())
    actor.wire.arrive(0)
    assert not actor.fetcher.leave(), "it stays listed, to be taken over"
    model.every_job_is_in_exactly_one_place()


def test_a_ring_that_is_lost_while_another_answer_is_awaited_is_made_up_for(
    model: LostAnswers, monkeypatch: pytest.MonkeyPatch
) -> None:
    (actor,) = model.actors.values()
    fetcher = actor.fetcher

    def wait(_: float) -> bool:
        raise ConnectionError("cut")

    monkeypatch.setattr(fetcher._doorbell, "wait", wait)
    fetcher.intake.left = 0  # it waits for the doorbell
    actor.wire.meanwhile = fetcher._listen
    fetcher._exchange(Wish())
    assert fetcher.lease.connected
    assert not fetcher.intake.must_listen(0.0), "it looks before it listens again"


def test_what_ended_while_it_became_somebody_elses_is_not_settled(model: LostAnswers) -> None:
    actor = hold_some(model)
    while model._begin(actor):
        pass
    job = actor.running.pop()

    def meanwhile() -> None:
        actor.fetcher.settle(lambda held: held.acknowledge(job))

    model._take_over(actor.name)
    actor.wire.meanwhile = meanwhile
    actor.fetcher._exchange(Wish())
    actor.fetcher._exchange(Wish())
    assert model.door.client.hexists(model.door.jobs, job.key), "the one who has it now will settle it"


def test_a_stop_asks_a_silent_redis_no_more_than_its_time_allows(model: LostAnswers) -> None:
    actor = hold_some(model)
    fetcher = actor.fetcher

    class Turn:
        """Whoever had the turn before found that Redis does not answer."""

        def __enter__(self) -> None:
            fetcher.lease.lose()

        def __exit__(self, *_: object) -> None: ...

    own, fetcher.lease.turn = fetcher.lease.turn, Turn()  # type: ignore[assignment]
    actor.wire.fates = ["never"]
    fetcher.hand_back(Holdings.give_back_all, for_good=True)
    assert actor.wire.fates == ["never"], "nothing was asked"
    fetcher.lease.turn = own
    assert not fetcher.leave(4.0)
    assert actor.wire.fates == ["never"], "an answer may take five seconds"
    model._take_over(actor.name)
    model._forget(actor)


def test_no_lost_answer_loses_a_job(redis_server: EmbeddedRedis, request: pytest.FixtureRequest) -> None:
    LostAnswers.server = redis_server
    limits = settings(
        max_examples=request.config.getoption("lost_answers"),
        stateful_step_count=50,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(LostAnswers, settings=limits)
