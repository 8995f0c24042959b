"""What one process counts of its own work: ended checks, and how long checks and look-ups took.

A consumer sends its counts with its beat, so that `/metrics` can tell them from whichever process it is asked in.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from shared.checks.check import Checker, CheckOrder, CheckReport
from shared.source.answers import Answer, ListingAnswer, Reading

BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 90.0)
"""Upper bounds of the histograms' buckets, in seconds; the last bucket has none."""


class Measures:
    """Counts since the process began; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks: Counter[str] = Counter()
        self._lookups: Counter[str] = Counter()
        self._calls: Counter[str] = Counter()
        self._latest: deque[tuple[float, str, int]] = deque()
        self._seconds = {"check": [0] * (len(BOUNDS) + 1), "lookup": [0] * (len(BOUNDS) + 1)}
        self._sums = {"check": 0.0, "lookup": 0.0}

    def check_ended(self, outcome: str, seconds: float) -> None:
        """Count a check by its outcome, or by the error that ended it."""
        with self._lock:
            self._checks[outcome] += 1
            self._observe("check", seconds)

    def looked(self, source: str, answer: Answer | ListingAnswer, seconds: float) -> None:
        """Count a look at a source, by the kind of its answer, and the calls that it took."""
        now, calls = time.monotonic(), answer.calls if isinstance(answer, Reading) else 1
        with self._lock:
            self._lookups[type(answer).__name__.lower()] += 1
            self._observe("lookup", seconds)
            self._calls[source] += calls
            self._latest.append((now, source, calls))
            while self._latest[0][0] < now - 60.0:
                self._latest.popleft()

    @property
    def seconds_of_a_look(self) -> float | None:
        """How long a look takes on average; none before the first."""
        with self._lock:
            looks = sum(self._lookups.values())
            return self._sums["lookup"] / looks if looks else None

    def calls_of_the_minute(self, source: str) -> int:
        """How many calls to a source ended in the last minute."""
        since = time.monotonic() - 60.0
        with self._lock:
            return sum(calls for at, name, calls in self._latest if name == source and at >= since)

    def as_json(self) -> dict[str, Any]:
        """Everything counted so far, as it travels with a beat."""
        with self._lock:
            durations = {
                name: {"buckets": list(buckets), "sum": round(self._sums[name], 3)}
                for name, buckets in self._seconds.items()
            }
            counts = {"checks": self._checks, "lookups": self._lookups, "calls": self._calls}
            return {**{name: dict(counter) for name, counter in counts.items()}, "seconds": durations}

    def _observe(self, name: str, seconds: float) -> None:
        self._seconds[name][sum(seconds > bound for bound in BOUNDS)] += 1
        self._sums[name] += seconds


@dataclass(frozen=True, slots=True)
class MeasuredChecker(Checker):
    """A checker whose checks are counted."""

    measures: Measures = field(default_factory=Measures)

    def check(self, order: CheckOrder) -> CheckReport:
        """Check, counted by outcome; what it raises passes on."""
        began, outcome = time.monotonic(), "failed"
        try:
            report = Checker.check(self, order)
            outcome = report.outcome.value
            return report
        finally:
            self.measures.check_ended(outcome, time.monotonic() - began)
