"""Slots: the half hours in which one half of the sections is due.

Minutes 0-29 of an hour are the "even" slot, 30-59 the "odd" one, by the last digit of `class_nbr`.
Every time is an aware `datetime`; slots are counted in UTC, as the origin did.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

Group = Literal["even", "odd"]
SLOT = timedelta(minutes=30)
ROUND = timedelta(hours=1)
"""A section is due once in a round: half of the slots are its own (O10)."""


def group_at(moment: datetime) -> Group:
    """The stagger group that is due at `moment`: `floor(minute / 30) % 2 == 0` is "even"."""
    return "even" if moment.astimezone(UTC).minute < 30 else "odd"


def group_of(class_nbr: str) -> Group:
    """The stagger group of a section, by the last digit of its number."""
    return "even" if int(class_nbr[-1]) % 2 == 0 else "odd"


def slot_start(moment: datetime) -> datetime:
    """The start of the slot that holds `moment`, whichever group's it is."""
    moment = moment.astimezone(UTC)
    return moment.replace(minute=0 if moment.minute < 30 else 30, second=0, microsecond=0)


def latest_slot(group: Group, moment: datetime) -> datetime:
    """The start of the latest slot of `group` that has begun at `moment`."""
    slot = slot_start(moment)
    return slot if group_at(slot) == group else slot - SLOT


def next_slot(group: Group, moment: datetime) -> datetime:
    """The start of the first slot of `group` after `moment`; a job queued at `moment` expires then."""
    return latest_slot(group, moment) + ROUND
