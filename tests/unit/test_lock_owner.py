"""The cron lock: one owner, an end, and no way to give back what is someone else's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from shared.durations import Durations
from shared.lock import Busy, Held, Lock, LockStatus, Unavailable
from shared.redis import connect_redis
from tests.support.redis import NOW, command_counts


@pytest.fixture
def lock(any_redis_url: str) -> Iterator[Lock]:
    with connect_redis(any_redis_url) as client:
        yield Lock(client, "test:", Durations(), lambda: NOW)


def test_one_holds_it_and_the_other_learns_who(lock: Lock) -> None:
    assert lock.acquire("first") == Held()
    assert lock.acquire("second") == Busy("first")
    assert lock.release("first")
    assert lock.acquire("second") == Held()


def test_a_holder_that_did_not_hear_the_answer_gets_it_again(lock: Lock) -> None:
    lock.acquire("first")  # and the answer was lost
    assert lock.acquire("first") == Held()
    assert lock.acquire("second") == Busy("first")
    assert lock.release("first")
    assert not lock.release("first"), "said twice it does no harm"


def test_only_its_holder_gives_it_back(lock: Lock) -> None:
    lock.acquire("first")
    assert not lock.release("second")
    assert lock.status().holder == "first"


def test_it_ends_by_itself_after_25_minutes(lock: Lock, any_redis_url: str) -> None:
    lock.acquire("first")
    with connect_redis(any_redis_url) as client:
        assert 1_499_000 < client.pttl("test:lock:cron") <= 1_500_000
        assert 1_499_000 < client.pttl("test:lock:cron:meta") <= 1_500_000
        assert json.loads(client.get("test:lock:cron:meta") or "") == {"lockHolder": "first", "lockAcquiredAt": NOW}


def test_its_status_tells_holder_and_times(lock: Lock) -> None:
    assert lock.status() == LockStatus()
    lock.acquire("first")
    status = lock.status()
    assert (status.locked, status.holder, status.acquired_at) == (True, "first", NOW)
    assert 1_499_000 < (status.expires_in_ms or 0) <= 1_500_000


def test_an_operator_can_take_it_away(lock: Lock) -> None:
    lock.acquire("first")
    assert lock.force_release()
    assert not lock.force_release()
    assert lock.acquire("second") == Held()
    assert not lock.release("first")


def test_the_scheduler_waits_longer_each_time_and_five_minutes_at_most(lock: Lock) -> None:
    lock.acquire("other")
    waits: list[float] = []

    def sleep(seconds: float) -> bool:
        waits.append(seconds)
        return False

    assert lock.acquire_patiently("tick", sleep) == Busy("other")
    assert len(waits) == 9, "ten attempts"
    assert waits[0] == 5.0
    assert waits[:8] == sorted(waits[:8])
    assert sum(waits) == pytest.approx(300.0)


def test_the_scheduler_gets_it_when_the_other_lets_go(lock: Lock) -> None:
    lock.acquire("other")
    waits: list[float] = []

    def sleep(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 3:
            lock.release("other")
        return False

    assert lock.acquire_patiently("tick", sleep) == Held()
    assert len(waits) == 3


def test_a_stop_ends_the_waiting(lock: Lock) -> None:
    lock.acquire("other")
    assert lock.acquire_patiently("tick", lambda _: True) == Busy("other")


def test_an_unreachable_redis_is_not_busy() -> None:
    client = connect_redis("redis://127.0.0.1:1/0", timeout=0.5)
    lock = Lock(client, "test:", replace(Durations(), lock_patience=0.0), lambda: NOW)
    assert lock.acquire("tick") == Unavailable()
    assert lock.acquire_patiently("tick", lambda _: False) == Unavailable()
    assert lock.status() == LockStatus(known=False)


@pytest.mark.real_redis
def test_a_lock_taken_and_given_back_costs_six_commands(redis_url: str) -> None:
    with connect_redis(redis_url) as client:
        lock = Lock(client, "test:", Durations(), lambda: NOW)
        lock.acquire("warm-up")
        lock.release("warm-up")
        client.config_resetstat()
        lock.acquire("tick")
        lock.release("tick")
        assert sum(command_counts(client).values()) == 6
