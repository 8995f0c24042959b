"""When to look where: a pure function of what is known of the watched sections.

The floor looks at everything once an hour. Between its ticks each minute's calls go to whatever has the most to gain
from a look. The numbers were found by playing recorded seasons against each other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from shared.sections.section import Section
from shared.source.answers import Listing

HOURS_AFTER_A_MOVE = 48.0
"""A section that opened or filled moves again soon; after two days half as likely as at once."""
HOURS_WITHOUT_A_MOVE = 72.0
"""One that never moved counts as one that moved three days before it was first watched."""
OPEN = 0.1
"""An open section can only fill, which owes no mail; with many seats it will not even do that soon."""
AGE_POWER = 2
"""An opening is waited for the longer the older the last look is, and the likelier has come: both grow with age."""
LEAST_MINUTES = 2.0
"""Nothing is looked at twice within two minutes: a source is not asked for what it has just told."""
MOST_ROUNDS = 2.0
"""And everything at least once in two rounds, however little it has to gain."""
OPENINGS_POWER, OPENINGS_MORE = 0.35, 2
"""How a day's looks follow the hours in which openings were seen: flatter than they, and never nothing."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A watched section. Times are epoch seconds; `None`: never."""

    section: Section
    watchers: int
    open_seats: int | None
    moved_at: float | None
    watched_since: float | None
    looked_at: float | None

    def promise(self, now: float) -> float:
        """How much a look at it is worth, its age aside."""
        if self.moved_at is not None:
            hours = _hours(now - self.moved_at)
        else:
            hours = HOURS_WITHOUT_A_MOVE + _hours(now - (self.watched_since or now))
        full = 1.0 if not self.open_seats else OPEN / self.open_seats
        return math.sqrt(self.watchers) * full / (HOURS_AFTER_A_MOVE + hours)


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one look can tell: a listing with its watched sections, or a section alone, and the calls that it needs."""

    what: Listing | Section
    sections: tuple[Watched, ...]
    calls: int = 1

    def age(self, now: float) -> float:
        """Minutes since its least lately seen section was looked at; infinite when one never was."""
        return (now - min(one.looked_at or -math.inf for one in self.sections)) / 60

    def urgency(self, now: float) -> float:
        """What its calls are worth now, each."""
        worth = sum(
            one.promise(now) * ((now - (one.looked_at or now - 86400)) / 60) ** AGE_POWER for one in self.sections
        )
        return worth / self.calls


def round_minutes(candidates: Sequence[Candidate], calls_a_minute: float) -> float:
    """How long it takes to look at everything once."""
    return sum(one.calls for one in candidates) / calls_a_minute


def plan(candidates: Sequence[Candidate], now: float, calls_a_minute: float, budget: float) -> list[Candidate]:
    """What to look at in this minute, in order, with `budget` calls; the last look may need more than is left.

    First what would otherwise be older than two rounds before its turn comes, oldest first; then the most urgent.
    """
    if budget <= 0:
        return []
    due = [(age, one) for one in candidates if (age := one.age(now)) >= LEAST_MINUTES]
    due.sort(key=lambda pair: -pair[0])
    must = _must(due, calls_a_minute, MOST_ROUNDS * round_minutes(candidates, calls_a_minute))
    rest = sorted((one for _, one in due[must:]), key=lambda one: -one.urgency(now))
    picks = []
    for one in [*(one for _, one in due[:must]), *rest]:
        if budget <= 0:
            break
        picks.append(one)
        budget -= one.calls
    return picks


def _must(by_age: Sequence[tuple[float, Candidate]], calls_a_minute: float, oldest: float) -> int:
    """How many of the oldest cannot wait another minute, if each is to be looked at before it is `oldest` minutes old.

    The calls of the oldest k must fit into the minutes that the k-th has left; as many are taken as make that true
    again for every k.
    """
    needed, calls = 0.0, 0
    for age, one in by_age:
        calls += one.calls
        needed = max(needed, calls - calls_a_minute * max(max(oldest - age, 0.0) - 1, 0.0))
    calls = 0
    for place, (_, one) in enumerate(by_age):
        if calls >= needed:
            return place
        calls += one.calls
    return len(by_age)


def calls_by_hour(openings: Sequence[int], a_day: float, most_a_minute: float) -> list[float]:
    """Calls a minute for each of the 24 hours: `a_day` in all, after how many `openings` each saw, never over the most.

    What does not fit into a busy hour goes to the others.
    """
    weights = [(count + OPENINGS_MORE) ** OPENINGS_POWER for count in openings]
    rates, left, open_hours = [most_a_minute] * len(weights), a_day / 60, set(range(len(weights)))
    while open_hours:
        share = left / sum(weights[hour] for hour in open_hours)
        full = {hour for hour in open_hours if weights[hour] * share > most_a_minute}
        if not full:
            for hour in open_hours:
                rates[hour] = weights[hour] * share
            break
        left -= most_a_minute * len(full)
        open_hours -= full
    return rates


def _hours(seconds: float) -> float:
    return max(seconds, 0.0) / 3600
