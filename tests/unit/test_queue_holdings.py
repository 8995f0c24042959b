"""The pure bookkeeping of a consumer: what it holds, what it may start, what it wants."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from shared.queue.holdings import Holdings, Settlement
from shared.queue.intake import MAX_BATCH, PEEK_EVERY, Intake, Taken
from shared.queue.jobs import Delivery
from shared.queue.lease import Lease
from shared.source.breaker import Permit

NOW = 1_764_000_000_000


def job(key: str, *, due: int = 0, expires: int = 0, alone: bool = False, probe: bool = False) -> Delivery:
    permit = Permit(probe="token") if probe else None
    return Delivery(key, f"id-{key}", "work", {}, due=due, expires=expires, alone=alone, permit=permit)


def holding(*jobs: Delivery, workers: int = 4, may_start: int = 0) -> Holdings:
    held = Holdings(workers)
    held.accept(jobs, may_start, NOW)
    return held


def start_all(held: Holdings) -> list[Delivery]:
    held.mark(held.with_more_marked(99))
    return [held.start() for _ in range(len(held.ready))]


def taken(*jobs: Delivery, left: int | None = None, reason: str = "none") -> Taken:
    return Taken(reason, 0.0, left, "", None, list(jobs), "", 0, {})


def test_the_text_tells_running_marked_buffered_delayed_and_finished_jobs_apart() -> None:
    held = holding(job("run"), job("mark"), job("wait"), job("later", due=NOW + 5), may_start=2)
    finished = job("done")
    held.running[finished.entry] = finished
    held.acknowledge(finished)
    held.start()
    assert held.text() == "R run id-run\nR mark id-mark\nB wait id-wait\nZ later id-later\nF done id-done\n"


def test_more_marks_count_only_once_redis_knows_them() -> None:
    held = holding(job("a"), job("b"), job("c"), may_start=1)
    more = held.with_more_marked(2)
    assert held.marked == {"a id-a"}
    assert "R b id-b\n" in held.text(more)
    held.mark(more)
    assert held.marked == {"a id-a", "b id-b"}


def test_marks_are_made_for_a_third_of_a_batch_at_a_time() -> None:
    assert holding(*(job(str(number)) for number in range(100))).stride == 34
    assert holding(job("a"), job("b")).stride == 1
    assert holding().stride == 1


def test_expired_jobs_are_dropped_when_they_should_start() -> None:
    held = holding(job("old", expires=NOW), job("new", expires=NOW + 1))
    first = held.first_ready(NOW, gate_open=True)
    assert first
    assert first.key == "new"
    assert [dropped.key for dropped in held.settled.dropped] == ["old"]


def test_behind_a_closed_gate_only_a_probe_starts() -> None:
    assert holding(job("a")).first_ready(NOW, gate_open=False) is None
    assert holding(job("a", probe=True)).first_ready(NOW, gate_open=False)


def test_nothing_starts_beside_a_job_that_must_run_alone() -> None:
    held = holding(job("suspect", alone=True), job("late"))
    assert held.is_alone
    start_all_but_last = held.start()
    assert start_all_but_last.alone
    assert held.first_ready(NOW, gate_open=True) is None
    held.acknowledge(start_all_but_last)
    assert held.first_ready(NOW, gate_open=True)


def test_a_retry_waits_until_it_is_due_and_then_goes_first() -> None:
    held = holding(job("a"), job("b"))
    first, _ = start_all(held)
    held.retry(first, NOW + 100)
    held.accept([job("c")], 0, NOW)
    assert held.next_due() == NOW + 100
    assert held.wake_due(NOW + 99, gate_open=True) == 0
    assert held.wake_due(NOW + 100, gate_open=True) == 1
    assert [ready.key for ready in held.ready] == ["a", "c"]
    assert held.ready[0].attempts == 1
    ((_, text),) = held.settled.stored
    assert '"attempts":1' in text


def test_a_retry_that_is_due_behind_a_closed_gate_goes_behind_the_parked_ones() -> None:
    held = holding(job("a"))
    (first,) = start_all(held)
    held.retry(first, NOW)
    assert held.wake_due(NOW, gate_open=False) == 0
    assert [back.key for back in held.settled.back] == ["a"]


def test_a_job_that_was_handed_back_while_it_ran_is_not_settled_any_more() -> None:
    held = holding(job("a"))
    (first,) = start_all(held)
    assert held.give_back_running() == 1
    held.acknowledge(first)
    assert not held.settled.acked
    assert [front.key for front in held.settled.front] == ["a"]


def test_jobs_that_others_have_are_let_go_and_forgotten_ones_are_queued_again() -> None:
    held = holding(job("run"), job("theirs"), job("nobodys"))
    held.mark(held.with_more_marked(1))
    running = held.start()
    lost = {"run id-run": True, "theirs id-theirs": True, "nobodys id-nobodys": False}
    homeless = held.disown(lost, Settlement())
    assert [lonely.key for lonely in homeless] == ["nobodys"]
    assert held.text() == ""
    held.acknowledge(running)
    assert not held.settled.acked, "it is someone else's to settle"


def test_a_retry_that_redis_forgot_is_queued_again_and_waits_here_no_longer() -> None:
    held = holding(job("forgotten", due=NOW + 5), job("theirs", due=NOW + 6), job("ours", due=NOW + 7))
    lost = {"forgotten id-forgotten": False, "theirs id-theirs": True}
    assert [lonely.key for lonely in held.disown(lost, Settlement())] == ["forgotten"]
    assert held.wake_due(NOW + 9, gate_open=True) == 1
    assert held.start().key == "ours"


def test_what_ended_while_it_became_somebody_elses_is_not_settled() -> None:
    held = holding(job("a"), job("b"), job("c"), job("d"))
    done, failed, parked, given_up = start_all(held)
    held.acknowledge(done)
    held.retry(failed, NOW)
    held.park(parked)
    held.bury(given_up, "letter")
    homeless = held.disown({"a id-a": True, "b id-b": True, "c id-c": False, "d id-d": True}, Settlement())
    assert not held.settled
    assert [lonely.key for lonely in homeless] == ["c"]


def test_a_job_that_comes_back_while_it_still_runs_here_is_ours_again() -> None:
    held = holding(job("a"))
    (first,) = start_all(held)
    held.disown({first.entry: True}, Settlement())
    held.accept([job("a")], 1, NOW)
    assert not held.ready, "once is enough"
    held.acknowledge(first)
    assert [ended.key for ended in held.settled.acked] == ["a"]


def test_the_keeper_sleeps_until_the_first_retry_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.queue.lease.wall_clock", lambda: NOW)
    keeper = Lease(cast(Any, None), "one")
    keeper.renew_at = time.monotonic() + 3600
    assert keeper.until_chore(holding(job("later", due=NOW + 20_000), job("first", due=NOW + 700))) == 0.7


def test_a_delay_that_no_retry_has_is_none() -> None:
    held = holding(job("damaged", due=NOW + 3_600_001))
    assert held.ready
    assert held.next_due() is None


def test_what_could_not_be_written_is_written_first_the_next_time() -> None:
    held = holding(job("a"), job("b"))
    first, second = start_all(held)
    held.acknowledge(first)
    failed = held.take_settled()
    held.acknowledge(second)
    held.put_back(failed)
    assert [ended.key for ended in held.settled.acked] == ["a", "b"]


def test_finished_jobs_are_written_when_nothing_runs_or_after_five_seconds() -> None:
    held = holding(job("a"), job("b"))
    first, second = start_all(held)
    held.acknowledge(first)
    held.ended_at = 10.0
    assert not held.should_flush(14.5, take_is_near=False), "another one runs"
    assert held.should_flush(15.0, take_is_near=False)
    held.acknowledge(second)
    assert held.should_flush(10.5, take_is_near=False)
    assert not held.should_flush(10.5, take_is_near=True), "they can go with the take"


def test_a_consumer_keeps_as_many_jobs_in_reserve_as_it_has_threads() -> None:
    intake = Intake()
    assert intake.wants_jobs(holding(workers=2))
    assert intake.wants_jobs(holding(job("a"), job("b"), workers=2))
    assert not intake.wants_jobs(holding(job("a"), job("b"), job("c"), workers=2))
    assert not intake.wants_jobs(holding(job("suspect", alone=True)))


def test_while_much_waits_full_batches_are_taken_without_counting() -> None:
    intake = Intake()
    assert intake.wish(holding(), flows=False).jobs == -1
    intake.note(taken(*(job(str(number)) for number in range(100)), left=900))
    assert intake.wish(holding(), flows=False).jobs == MAX_BATCH
    for _ in range(7):
        intake.note(taken(*(job(str(number)) for number in range(100))))
    assert intake.left == 200
    intake.note(taken(job("a")))
    assert intake.wish(holding(), flows=False).jobs == -1


def test_a_consumer_that_met_a_lonely_job_drains_before_it_asks_again() -> None:
    intake, held = Intake(), holding(job("a"))
    intake.note(taken(reason="alone"))
    assert not intake.wants_jobs(held)
    (first,) = start_all(held)
    held.acknowledge(first)
    assert intake.wants_jobs(held)


def test_an_empty_queue_is_listened_to_and_looked_at_only_after_many_silences() -> None:
    intake = Intake()
    intake.note(taken(left=0))
    for _ in range(PEEK_EVERY - 1):
        intake.listened(rang=False, in_vain=True)
        assert intake.must_listen(0.0)
    intake.listened(rang=False, in_vain=True)
    assert not intake.must_listen(0.0)


def test_a_ring_or_the_end_of_a_pause_makes_it_ask() -> None:
    intake = Intake()
    for rang, in_vain in ((True, True), (False, False)):
        intake.note(taken(left=0))
        intake.close(100.0)
        assert intake.must_listen(99.0)
        intake.listened(rang=rang, in_vain=in_vain)
        assert not intake.must_listen(99.0)
