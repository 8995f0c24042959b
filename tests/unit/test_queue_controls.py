"""Control work: on time, in its timezone, and never in the way of a stop."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from huey import crontab

from shared.queue.controls import Control, Turn
from shared.schedule import is_due
from shared.sections.slots import SLOT, slot_start


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


def test_the_next_due_minute_is_the_first_after_now() -> None:
    control = Control("tick", lambda turn: None, is_due=crontab(minute="0,30"))
    assert control.next_due(utc(2026, 11, 22, 11, 59, 59)) == utc(2026, 11, 22, 12, 0)
    assert control.next_due(utc(2026, 11, 22, 12, 0)) == utc(2026, 11, 22, 12, 30)


def test_minutes_are_those_of_the_timezone_also_across_a_change_of_clocks() -> None:
    nightly = Control(
        "tidy", lambda turn: None, is_due=crontab(minute="30", hour="3"), timezone=ZoneInfo("Europe/Berlin")
    )
    assert nightly.next_due(utc(2026, 10, 24, 12)) == utc(2026, 10, 25, 2, 30), "winter time since half an hour"
    assert nightly.next_due(utc(2026, 10, 23, 12)) == utc(2026, 10, 24, 1, 30)


@pytest.mark.parametrize("zone", ["America/Phoenix", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Chatham"])
def test_each_slot_has_its_tick_where_offsets_have_half_hours_or_quarters(zone: str) -> None:
    start = utc(2026, 4, 4)  # clocks go back: on Lord Howe by half an hour
    ticks = Control("tick", lambda turn: None, is_due=is_due("0,30 * * * *"), timezone=ZoneInfo(zone))
    at, hit = start - SLOT / 30, set()
    while at < start + 48 * SLOT:
        due = ticks.next_due(at)
        assert due
        at = due
        hit.add(slot_start(at))
    assert hit >= {start + number * SLOT for number in range(48)}


def test_a_schedule_that_never_comes_is_none() -> None:
    assert Control("never", lambda turn: None, is_due=lambda moment: False).next_due(utc(2026, 1, 1)) is None


def test_a_waiting_turn_ends_at_once_when_asked_to_stop() -> None:
    begun, ended = threading.Event(), threading.Event()

    def patient(turn: Turn) -> None:
        begun.set()
        assert turn.wait(3600.0)
        assert turn.is_stopping
        ended.set()

    control = Control("tick", patient, every=3600.0)
    thread = threading.Thread(target=control.loop)
    thread.start()
    assert begun.wait(5)
    control.halt()
    thread.join(5)
    assert ended.is_set()
    assert not thread.is_alive()


def test_a_control_that_waits_for_its_minute_stops_at_once() -> None:
    control = Control("tick", lambda turn: None, is_due=lambda moment: False)
    thread = threading.Thread(target=control.loop)
    thread.start()
    control.halt()
    thread.join(5)
    assert not thread.is_alive()


class Overslept(Control):
    """Its next minute was long ago: the machine was asleep."""

    def next_due(self, after: datetime) -> datetime | None:
        return utc(2026, 1, 1, 0, 0)


def test_an_overslept_minute_is_made_up_for() -> None:
    turns: list[datetime | None] = []

    def note(turn: Turn) -> None:
        turns.append(turn.scheduled_at)
        control.halt()

    control = Overslept("tick", note, is_due=crontab())
    control.loop()
    assert turns == [utc(2026, 1, 1, 0, 0)]
