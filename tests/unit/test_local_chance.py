"""A campus by chance: the same for the same seed, and believable."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workshop.campus.chance import make_campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import HALF_HOUR_MS, Timeline

START = 1_787_000_000_000
DAY = 48 * HALF_HOUR_MS


def tell(timelines: list[Timeline]) -> list[object]:
    return [(one.class_nbr, one.course, one.times, one.values) for one in timelines]


def test_a_seed_names_one_campus() -> None:
    assert tell(make_campus(7, 30, START, DAY)) == tell(make_campus(7, 30, START, DAY))
    assert tell(make_campus(7, 30, START, DAY)) != tell(make_campus(8, 30, START, DAY))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 60))
def test_whatever_the_seed_it_could_be_a_campus(seed: int, sections: int, slots: int) -> None:
    timelines = make_campus(seed, sections, START, slots * HALF_HOUR_MS)
    assert len({timeline.class_nbr for timeline in timelines}) == sections
    for timeline in timelines:
        assert len(timeline.class_nbr) == 5
        assert timeline.times[0] == START
        assert timeline.times == sorted(timeline.times)
        for values in timeline.values:
            seats, free, capacity = values.seats_available, values.non_reserved_seats, values.seats_capacity
            assert capacity is not None
            assert seats is None or 0 <= seats <= capacity
            assert free is None or 0 <= free <= (capacity if seats is None else seats)


def test_a_day_brings_openings_names_and_a_department_that_raises_its_capacities() -> None:
    timelines = make_campus(1, 120, START, DAY)
    assert {int(timeline.class_nbr) % 2 for timeline in timelines} == {0, 1}
    pairs = [pair for one in timelines for pair in zip(one.values, one.values[1:], strict=False)]
    assert sum(a.seats_available == 0 and (b.seats_available or 0) > 0 for a, b in pairs) > 50
    assert sum(a.instructor in ("Staff", None) and b.instructor not in ("Staff", None) for a, b in pairs) > 5
    assert any(values.non_reserved_seats is not None for one in timelines for values in one.values)
    raised = [one for one in timelines if one.values[0].seats_capacity != one.values[-1].seats_capacity]
    assert len({one.course.subject for one in raised}) == 1
    assert len(raised) > 20


@pytest.mark.parametrize("sections", [0, -1, 50_001])
def test_a_campus_of_impossible_size_is_refused(sections: int) -> None:
    with pytest.raises(ValueError, match="1 to 50000"):
        make_campus(1, sections, START, DAY)


def test_the_clock_stands_still_until_told() -> None:
    clock = VirtualClock(START)
    assert clock.now_ms() == clock.now_ms() == START
    clock.set(START + 5)
    assert clock.now_ms() == START + 5
    clock.set(START, rate=1000.0)
    before = clock.now_ms()
    while clock.now_ms() == before:
        pass  # a running clock moves on by itself
    assert clock.rate == 1000.0
