"""What is true of a section, and when: the truth that the scraper answers from and the oracle reads."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

HALF_HOUR_MS = 30 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Course:
    """What stays the same over a season."""

    subject: str
    catalog_nbr: str
    title: str
    location: str | None = None
    meeting_times: str | None = None


@dataclass(frozen=True, slots=True)
class Values:
    """What changes. `None`: the catalog does not say."""

    instructor: str | None
    seats_available: int | None
    seats_capacity: int | None
    non_reserved_seats: int | None = None


class Timeline:
    """One section over a season: each of its `values` holds from its time until the next one's.

    Before the first time the first values hold, after the last the last: a section is never missing.
    """

    __slots__ = ("class_nbr", "course", "times", "values")

    def __init__(self, class_nbr: str, course: Course, points: Sequence[tuple[int, Values]]) -> None:
        """`points` are (epoch ms, values), at least one, in the order of their times."""
        if not points:
            raise ValueError(f"section {class_nbr} has no values")
        self.class_nbr = class_nbr
        self.course = course
        self.times = [time for time, _ in points]
        self.values = [values for _, values in points]

    def at(self, now_ms: int) -> Values:
        """The values that hold at `now_ms`."""
        return self.values[max(0, bisect_right(self.times, now_ms) - 1)]
