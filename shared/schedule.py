"""The cron schedule: validated so that no slot is skipped, and asked when the next tick is.

Every half hour is somebody's slot, so a schedule that misses one leaves half of the sections unchecked for an
hour; such a schedule is refused at start instead of being noticed by a student.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from shared.sections.slots import ROUND, SLOT, Group, group_at, slot_start

OFF = "off"


class ScheduleError(ValueError):
    """The schedule cannot be read, or skips a slot; the message says which and what to write instead."""


def check_schedule(expression: str) -> None:
    """Raise `ScheduleError` unless `expression` is `off` or a five-field cron expression that hits every slot."""
    if expression == OFF:
        return
    if len(expression.split()) != 5:
        raise ScheduleError("must be five cron fields such as 0,30 * * * *, or off")
    if expression.split()[2:] != ["*", "*", "*"]:
        raise ScheduleError("must run every day: write * for day, month and weekday, such as 0,30 * * * *")
    start = datetime(2026, 1, 1, tzinfo=UTC)  # any day will do: the schedule is the same on all of them
    try:
        ticks = CronSim(expression, start - timedelta(minutes=1))
        hit = {slot_start(tick) for tick in _until(ticks, start + timedelta(days=1))}
    except CronSimError as error:
        raise ScheduleError("must be five cron fields such as 0,30 * * * *, or off") from error
    slots = [start + SLOT * number for number in range(48)]
    skipped = next((slot for slot in slots if slot not in hit), None)
    if skipped:
        raise ScheduleError(f"skips the slot at {skipped:%H:%M}; every half hour needs a tick, such as 0,30 * * * *")


def next_tick(expression: str, timezone: str, after: datetime) -> datetime | None:
    """The first tick after `after` (aware), in UTC; `None` when the schedule is off."""
    if expression == OFF:
        return None
    return next(CronSim(expression, after.astimezone(ZoneInfo(timezone)))).astimezone(UTC)


def is_due(expression: str) -> Callable[[datetime], bool]:
    """Whether a minute (naive, in the schedule's own time zone) is one of the schedule's, as Huey asks it."""
    if expression == OFF:
        return lambda _minute: False
    before = timedelta(seconds=1)
    return lambda minute: next(CronSim(expression, minute - before)) == minute


def latest_slots(expression: str, timezone: str, now: datetime) -> dict[Group, datetime]:
    """The latest slot of each group whose tick was due by `now`; empty when the schedule is off."""
    if expression == OFF:
        return {}
    start = (now - ROUND - SLOT).astimezone(ZoneInfo(timezone))
    return {group_at(tick): slot_start(tick) for tick in _until(CronSim(expression, start), now)}


def _until(ticks: CronSim, end: datetime) -> list[datetime]:
    """The ticks before `end`; the iterator itself goes on for ever."""
    found = []
    for tick in ticks:
        if tick >= end:
            break
        found.append(tick)
    return found
