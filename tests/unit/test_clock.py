"""One clock for all servers: the database's, whatever this machine's says."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from shared.clock import DatabaseClock

TRUE = 1_800_000_000.0  # the database's time when our steady clock says 0

ways = st.tuples(st.floats(0, 20), st.floats(0, 20), st.floats(0, 1000))
"""Seconds that a call is on the way there and back, and seconds until the next one."""


class Hand:
    """A steady clock in our hand."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def hear(clock: DatabaseClock, hand: Hand, there: float, back: float, *, whole: bool = False) -> None:
    """One call; `whole`: the answer counts whole seconds, as HTTP's Date does."""
    sent = hand.at
    hand.at += there
    told = TRUE + hand.at
    hand.at += back
    earliest, latest = (told // 1, told // 1 + 1) if whole else (told, told)
    clock.heard(sent, earliest, latest)


def error(clock: DatabaseClock, hand: Hand) -> float:
    return clock().timestamp() - TRUE - hand.at


def test_before_the_first_answer_it_is_this_machines() -> None:
    hand = Hand()
    clock = DatabaseClock(lambda: TRUE - 3600, hand)
    first = clock()
    hand.at = 5.0
    assert clock() - first == timedelta(seconds=5)
    assert abs(error(clock, hand) + 3600) < 0.001


@given(st.floats(-1e6, 1e6), st.lists(ways, min_size=1, max_size=20), st.booleans())
def test_after_an_answer_it_is_wrong_by_no_more_than_the_way_of_the_quickest(
    off: float, calls: list[tuple[float, float, float]], whole: bool
) -> None:
    hand = Hand()
    clock = DatabaseClock(lambda: TRUE + off, hand)
    for there, back, pause in calls:
        hear(clock, hand, there, back, whole=whole)
        hand.at += pause
    quickest = min(there + back for there, back, _ in calls)
    assert abs(error(clock, hand)) <= quickest + whole + 0.001


@given(st.lists(ways, min_size=1, max_size=20))
def test_a_right_clock_is_never_moved_however_slow_the_answers(calls: list[tuple[float, float, float]]) -> None:
    hand = Hand()
    clock = DatabaseClock(lambda: TRUE, hand)
    for there, back, pause in calls:
        hear(clock, hand, there, back)
        hand.at += pause
        assert abs(error(clock, hand)) < 0.001
