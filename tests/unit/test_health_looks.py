"""What health makes of the looks: sources, calls against the budget, rounds, how late openings can have been seen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from shared.health.check import DEGRADED, HEALTHY, UNKNOWN
from shared.health.checks_looks import LooksCheck, SourceSeen, sources_of_beats, sources_told, with_calls_of

ZONE = ZoneInfo("America/Phoenix")
ASU, SCRAPER = SourceSeen("asu", "CLOSED", None, 12), SourceSeen("scraper", "CLOSED")


def figures(
    p50: float | None = 140.0, last: float | None = 300.0, usual: float | None = 290.0, age: float | None = 60.0
) -> Any:
    bound = {"count": 0 if p50 is None else 4, "p50_seconds": p50, "p95_seconds": p50 and 2 * p50}
    return {"opening_bound": bound, "round": {"seconds": last, "usual_seconds": usual, "age_seconds": age}}


def causes(check: LooksCheck) -> list[tuple[str, str]]:
    return [(trouble.cause, trouble.status) for trouble in check.troubles()]


def test_it_is_told_in_words() -> None:
    check = LooksCheck.of([ASU, SCRAPER], 30, figures())
    assert list(check.words(ZONE)) == [
        "asu closed",
        "scraper closed",
        "12 of 30 calls a minute",
        "a round takes 5 min",
        "openings seen within 2 min (95 %: 5 min)",
    ]
    assert check.status == HEALTHY
    told = check.facts()
    assert (told["calls_a_minute"], told["opening_bound_p95_seconds"], told["round_seconds"]) == (30, 280, 300)


def test_without_the_database_nothing_is_known_but_the_sources() -> None:
    check = LooksCheck.of([SCRAPER], None, None)
    assert check.status == UNKNOWN
    assert list(check.words(ZONE)) == ["scraper closed", "0 calls a minute"]


@pytest.mark.parametrize(
    ("last", "usual", "age", "is_slow"),
    [
        (900.0, 290.0, 10.0, True),
        (300.0, 290.0, 880.0, True),  # the one that goes on
        (860.0, 290.0, 860.0, False),
        (500.0, 20.0, 500.0, False),  # a handful of sections
        (None, None, 9000.0, False),  # the first one ever
        (900.0, 290.0, None, True),
        (None, 290.0, None, False),
    ],
)
def test_a_round_of_three_times_the_usual_length_is_an_alarm(
    last: float | None, usual: float | None, age: float | None, is_slow: bool
) -> None:
    check = LooksCheck.of([ASU], 30, figures(last=last, usual=usual, age=age))
    assert causes(check) == ([("slow round", DEGRADED)] if is_slow else [])


def test_a_source_that_is_left_alone_for_long_counts_when_no_other_can_stand_in() -> None:
    refused = SourceSeen("asu", "CLOSED", paused_seconds=1200)
    assert causes(LooksCheck.of([refused], 30, figures())) == [("source refuses", DEGRADED)]
    assert causes(LooksCheck.of([refused, SCRAPER], 30, figures())) == [("source refuses", HEALTHY)]
    assert causes(LooksCheck.of([SourceSeen("asu", "CLOSED", paused_seconds=300)], 30, figures())) == []


def test_calls_are_those_of_all_processes() -> None:
    beats = [
        {
            "figures": {
                "sources": [{"source": "asu", "state": "CLOSED", "paused_seconds": None, "calls_last_minute": 9}]
            }
        },
        {"figures": {}},
        {"figures": {"sources": "nonsense"}},
        {"figures": {"sources": [{"of": "another release"}]}},
    ]
    assert with_calls_of(beats, [ASU, SCRAPER])[0].calls_last_minute == 21
    assert [len(sources_told(beat)) for beat in beats] == [1, 0, 0, 0]


def test_sources_are_as_the_freshest_consumer_that_tells_of_them_saw_them() -> None:
    parts = cast(Any, SimpleNamespace(settings=SimpleNamespace(sources=("asu",))))
    told = {"source": "asu", "state": "OPEN", "paused_seconds": None, "calls_last_minute": 9}
    beats: list[dict[str, Any]] = [{"figures": {}}, {"figures": {"sources": [told]}}]
    assert sources_of_beats(parts, beats) == (SourceSeen("asu", "OPEN", None, 9),)
    assert sources_of_beats(parts, beats[:1]) == (SourceSeen("asu", "UNKNOWN"),)
