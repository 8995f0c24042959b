"""How soon people hear: from the campus's own opening to the mail, and what was gone before anybody looked."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workshop.campus.sections import HALF_HOUR_MS, Timeline
from workshop.demo.oracle import Look, Watcher, openings_of

_HOUR_MS = 2 * HALF_HOUR_MS


@dataclass(frozen=True, slots=True)
class Opening:
    """Seats that came at `at_ms` and were gone at `until_ms` (`None`: they stayed), by the campus itself."""

    class_nbr: str
    at_ms: int
    until_ms: int | None


@dataclass(frozen=True, slots=True)
class Delays:
    """How long the told openings took to be told, in ms, shortest first; how many there were, and how many were missed.

    Missed is what was gone before anybody looked. What nobody saw full since the opening before it is neither told nor
    missed: as far as anyone knew those seats had been there all the time.
    """

    told_ms: Sequence[int]
    openings: int
    missed: int

    def quantile(self, share: float) -> float:
        """Minutes within which this share of the told openings was told; 0 when none was."""
        if not self.told_ms:
            return 0.0
        return self.told_ms[min(len(self.told_ms) - 1, int(len(self.told_ms) * share))] / 60_000

    def words(self) -> str:
        """One line that anyone understands."""
        if not self.openings:
            return "no section opened"
        told = f"half within {self.quantile(0.5):.1f} minutes, 95 of 100 within {self.quantile(0.95):.1f}"
        missed = f"{self.missed:,} of {self.openings:,} were gone before anyone looked"
        return f"{told}; {missed}" if self.told_ms else missed


def openings_between(
    timelines: Iterable[Timeline], watchers: Mapping[str, Sequence[Watcher]], door: str, from_ms: int, to_ms: int
) -> list[Opening]:
    """The openings of sections that somebody had watched for an hour or more, by then seen at least once as it was.

    Those of the last hour are left out: a season that ends is nobody's fault.
    """
    found = []
    for timeline in timelines:
        people = watchers.get(timeline.class_nbr, ())
        if not people:
            continue
        since = max(from_ms, min(one.since_ms for one in people)) + _HOUR_MS
        found += [
            Opening(timeline.class_nbr, at, until)
            for at, until in openings_of(timeline, door)
            if since < at < to_ms - _HOUR_MS
        ]
    return found


def measure(openings: Sequence[Opening], told: Iterable[tuple[str, int, int]], looks: Iterable[Look]) -> Delays:
    """How soon each opening was told. `told`: section, when it was seen, and when the first mail of it was accepted."""
    accepted: dict[str, dict[int, int]] = defaultdict(dict)
    for class_nbr, seen, when in told:
        accepted[class_nbr][seen] = min(when, accepted[class_nbr].get(seen, when))
    told_at = {class_nbr: sorted(of) for class_nbr, of in accepted.items()}
    looked_at: dict[str, list[int]] = defaultdict(list)
    for look in looks:
        for class_nbr in look.class_nbrs:
            looked_at[class_nbr].append(look.at_ms)
    delays, missed = [], 0
    for one in openings:
        told_by = _first_within(told_at.get(one.class_nbr, ()), one)
        if told_by is not None:
            delays.append(accepted[one.class_nbr][told_by] - one.at_ms)
        elif _first_within(looked_at[one.class_nbr], one) is None:
            missed += 1
    return Delays(sorted(delays), len(openings), missed)


def _first_within(times: Sequence[int], one: Opening) -> int | None:
    """The first of the `times` (in their order) at which the opening stood."""
    place = bisect_left(times, one.at_ms)
    return times[place] if place < len(times) and (one.until_ms is None or times[place] < one.until_ms) else None
