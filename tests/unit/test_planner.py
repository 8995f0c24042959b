"""When to look where: what must hold whatever is watched, and the few choices that the numbers are for."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.checks.planner import (
    LEAST_MINUTES,
    MOST_ROUNDS,
    Candidate,
    Watched,
    calls_by_hour,
    plan,
    round_minutes,
)
from shared.cli.looks import _why
from shared.sections.section import Section
from shared.source.answers import Listing

NOW = 1_775_000_000.0
HOUR = 3600.0


def watched(minutes: float | None = 10.0, *, open_seats: int | None = 0, watchers: int = 1, moved: float | None = None,
            since: float = 100.0) -> Watched:  # fmt: skip
    """A section that was last looked at so many minutes ago; `moved` and `since` are hours ago."""
    return Watched(
        Section("2267", "12431"),
        watchers,
        open_seats,
        None if moved is None else NOW - moved * HOUR,
        NOW - since * HOUR,
        None if minutes is None else NOW - minutes * 60,
    )


def listing(name: str, *sections: Watched, calls: int = 1) -> Candidate:
    return Candidate(Listing("2267", name), sections, calls)


SLOW = 0.05
"""Calls a minute at which nothing in these tests is near its bound."""


def order(*candidates: Candidate, budget: float = 1, a_minute: float = SLOW) -> list[str]:
    return [one.what.subject for one in plan(candidates, NOW, a_minute, budget) if isinstance(one.what, Listing)]


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (watched(), watched(open_seats=1)),
        (watched(open_seats=1), watched(open_seats=30)),
        (watched(watchers=9), watched(watchers=1)),
        (watched(moved=1), watched(moved=100)),
        (watched(moved=100), watched(moved=None, since=100)),
        (watched(since=1), watched(since=500)),
        (watched(11), watched(10)),
        (watched(open_seats=None), watched(open_seats=1)),
    ],
    ids=[
        "full before open",
        "nearly full before empty",
        "many watchers",
        "moved lately",
        "moved at all",
        "new to us",
        "older",
        "unknown counts as full",
    ],
)
def test_the_look_with_more_to_gain_comes_first(better: Watched, worse: Watched) -> None:
    assert order(listing("WORSE", worse), listing("BETTER", better)) == ["BETTER"]


def test_a_listing_is_worth_what_its_sections_are_for_each_call_that_it_needs() -> None:
    two, long = listing("TWO", watched(), watched()), listing("LONG", watched(), watched(), watched(), calls=2)
    assert order(listing("ONE", watched()), long, two, budget=3) == ["TWO", "LONG"]


def test_nothing_is_looked_at_twice_within_two_minutes() -> None:
    assert order(listing("FRESH", watched(LEAST_MINUTES - 0.1)), budget=99) == []
    assert order(listing("DUE", watched(LEAST_MINUTES)), budget=99) == ["DUE"]


def test_what_was_never_seen_comes_before_everything() -> None:
    assert order(listing("HOT", watched(60, watchers=900)), listing("NEW", watched(None, open_seats=30))) == ["NEW"]


def test_what_would_be_too_old_before_the_next_minutes_look_goes_first() -> None:
    oldest = MOST_ROUNDS * 2  # two listings, at one call a minute
    old, hot = watched(oldest - 1, open_seats=30), watched(oldest - 2, watchers=900)
    assert order(listing("HOT", hot), listing("OLD", old), a_minute=1) == ["OLD"]


def test_an_operator_is_told_of_what_is_older_than_two_rounds() -> None:
    one, now = listing("CSE", watched(9.0)), datetime.fromtimestamp(NOW, UTC)
    assert [_why(one, 9.0, now, oldest) for oldest in (8.0, 9.0)] == ["older than two rounds"] * 2
    assert _why(one, 9.0, now, 9.5) == "1 full, 1 watching"


def test_a_listing_is_as_old_as_its_oldest_section() -> None:
    assert listing("X", watched(3), watched(40)).age(NOW) == pytest.approx(40)


_SECTION = st.builds(
    watched,
    st.floats(0, 500),
    open_seats=st.none() | st.integers(0, 200),
    watchers=st.integers(1, 1000),
    moved=st.none() | st.floats(0, 5000),
    since=st.floats(0, 5000),
)


@given(_SECTION, st.floats(0.1, 500))
def test_the_longer_nobody_looked_the_more_urgent_it_is(section: Watched, minutes: float) -> None:
    older = replace(section, looked_at=(section.looked_at or NOW) - minutes * 60)
    assert listing("X", older).urgency(NOW) > listing("X", section).urgency(NOW)


@given(st.lists(st.tuples(_SECTION, st.integers(1, 3)), min_size=2, max_size=25), st.integers(1, 12), st.integers(1, 3))
def test_nobody_starves(watchlist: list[tuple[Watched, int]], calls_a_minute: int, rounds: int) -> None:
    """From any start within a round, each listing is looked at again before two rounds are over, for ever after."""
    everything = {str(n): listing(str(n), one, calls=calls) for n, (one, calls) in enumerate(watchlist)}
    once = round_minutes(list(everything.values()), calls_a_minute)
    everything = {
        name: replace(one, sections=(replace(one.sections[0], looked_at=NOW - n * 60 * once / len(watchlist)),))
        for n, (name, one) in enumerate(everything.items())
    }
    bound = max(MOST_ROUNDS * once, LEAST_MINUTES) + 1 + max(calls for _, calls in watchlist)
    debt = 0.0
    for minute in range(math.ceil(once * 3 * rounds) + 3):
        now = NOW + minute * 60
        picks = plan(list(everything.values()), now, calls_a_minute, calls_a_minute - debt)
        debt = max(sum(one.calls for one in picks) - calls_a_minute + debt, 0.0)
        for one in picks:
            assert isinstance(one.what, Listing)
            assert one.age(now) >= LEAST_MINUTES
            everything[one.what.subject] = replace(one, sections=(replace(one.sections[0], looked_at=now),))
        assert max(one.age(now) for one in everything.values()) <= bound


@given(st.lists(st.integers(0, 500), min_size=24, max_size=24), st.floats(1, 40_000), st.floats(1, 100))
def test_a_days_calls_follow_its_openings_and_add_up(openings: list[int], a_day: float, most: float) -> None:
    rates = calls_by_hour(openings, a_day, most)
    assert sum(rates) * 60 == pytest.approx(min(a_day, most * 24 * 60))
    assert max(rates) <= most + 1e-9
    by_openings = sorted(range(24), key=openings.__getitem__)
    for quiet, busy in pairwise(by_openings):
        assert rates[busy] >= rates[quiet] - 1e-9
