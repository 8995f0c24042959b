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


def check_schedule(expression: str, timezone: str) -> None:
    """Raise `ScheduleError` unless `expression` is `off` or a five-field cron expression that hits every slot.

    It is tried in its own zone, where an hour may begin in the middle of ours, on an ordinary day and on those of 2026
    on which the clocks there are changed: a list of hours is taken at its word then, and an hour that comes twice is
    ticked once.
    """
    if expression == OFF:
        return
    if len(expression.split()) != 5:
        raise ScheduleError("must be five cron fields such as 0,30 * * * *, or off")
    if expression.split()[2:] != ["*", "*", "*"]:
        raise ScheduleError("must run every day: write * for day, month and weekday, such as 0,30 * * * *")
    zone = ZoneInfo(timezone)
    for start in _telling_days(zone):
        skipped = _skipped(expression, zone, start)
        if skipped:
            when = f"{skipped.astimezone(zone):%H:%M}" + ("" if start == _ORDINARY else f" on {start:%d %B}")
            raise ScheduleError(f"skips the slot at {when}; every half hour needs a tick, such as 0,30 * * * *")


_ORDINARY = datetime(2026, 1, 1, tzinfo=UTC)


def _telling_days(zone: ZoneInfo) -> list[datetime]:
    """Starts (UTC) of an ordinary day and of those on which the zone's offset changes."""
    days = [_ORDINARY + timedelta(days=number) for number in range(365)]
    offsets = [day.astimezone(zone).utcoffset() for day in [*days, days[-1] + timedelta(days=1)]]
    return [_ORDINARY] + [day for number, day in enumerate(days) if offsets[number] != offsets[number + 1]]


def _skipped(expression: str, zone: ZoneInfo, start: datetime) -> datetime | None:
    """The first slot of the day from `start` that has no tick."""
    try:
        ticks = CronSim(expression, (start - timedelta(minutes=1)).astimezone(zone))
        hit = {slot_start(tick) for tick in _until(ticks, start + timedelta(days=1))}
    except CronSimError as error:
        raise ScheduleError("must be five cron fields such as 0,30 * * * *, or off") from error
    return next((slot for number in range(48) if (slot := start + SLOT * number) not in hit), None)


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
