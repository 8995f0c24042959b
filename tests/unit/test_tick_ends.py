"""However a scheduler's tick ends, the dead-man service hears of it, and the consumer lives on."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis import RedisError

from shared.checks.duties import Duties, Worker
from shared.checks.tick import LockBusyError, LockUnavailableError, Ticker, TickOrder, _slot
from shared.database import DatabaseError
from shared.durations import Durations
from shared.lock import Unavailable

NOW = datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC)


class Ear:
    """A dead-man service's ear."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def start(self) -> None:
        self.heard.append(("start",))

    def success(self, **counts: int | str) -> None:
        self.heard.append(("success", counts))

    def fail(self, reason: str) -> None:
        self.heard.append(("fail", reason))


class Tick:
    """A ticker that ends as it is told, and a registry that knows of no tick of this slot."""

    def __init__(self, end: object) -> None:
        self.end = end

    def tick(self, _order: TickOrder, _wait: object) -> Any:
        if isinstance(self.end, Exception):
            raise self.end
        return self.end

    def call(self, _function: str, **_arguments: Any) -> Any:
        return {"even": None, "odd": None}


def run(end: object) -> tuple[Any, list[tuple[Any, ...]]]:
    ear, ticker = Ear(), Tick(end)
    worker = Worker("one:1", "one", "host", 4, {})
    duties = Duties(
        ticker, cast(Any, None), cast(Ticker, ticker), worker, Durations(), lambda: NOW, ear, lambda low, high: low
    )
    return duties.tick(NOW, lambda seconds: False), ear.heard


class LostAcquire:
    """A lock whose acquisition reaches Redis, though its answer does not come."""

    holder: str | None = None

    def acquire(self, holder: str) -> Unavailable:
        self.holder = holder
        return Unavailable()

    def release(self, holder: str) -> bool:
        assert self.holder == holder
        self.holder = None
        return True


def test_a_lock_whose_acquisition_was_never_answered_is_given_back() -> None:
    lock = LostAcquire()
    ticker = Ticker(cast(Any, None), cast(Any, None), cast(Any, lock), lambda: NOW)
    with pytest.raises(LockUnavailableError):
        ticker.tick(TickOrder(NOW, "even", "http"))
    assert lock.holder is None


def test_a_tick_that_ran_is_a_success_with_its_figures() -> None:
    report = SimpleNamespace(begun=True, group="even", enqueued=7, already_queued=2)
    answer, heard = run(report)
    assert answer is report
    assert heard == [("start",), ("success", {"group": "even", "enqueued": 7, "already_queued": 2})]


def test_a_tick_that_another_server_ran_is_not_called_ours() -> None:
    _, heard = run(SimpleNamespace(begun=False, group="even", enqueued=0, already_queued=0))
    assert heard == [("start",)]


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (LockBusyError("one:2"), "waiting for the lock"),
        (LockUnavailableError(), "lock's store does not answer"),
        (DatabaseError("pmc_begin_tick: failed", "XX000"), "tick failed: DatabaseError"),
        (RedisError("gone"), "tick failed: RedisError"),
    ],
    ids=["a busy lock", "no lock store", "the database", "the queue"],
)
def test_a_tick_that_could_not_run_is_told_as_failed_and_stops_nobody(end: Exception, said: str) -> None:
    answer, heard = run(end)
    assert answer is None
    assert [word[0] for word in heard] == ["start", "fail"]
    assert said in heard[1][1]


def test_a_tick_that_is_called_late_is_the_one_of_its_halfs_latest_slot() -> None:
    late = NOW.replace(minute=40)
    minutes = {group: _slot(TickOrder(late, group, "http")).minute for group in ("even", "odd", "all")}
    assert minutes == {"even": 0, "odd": 30, "all": 30}
