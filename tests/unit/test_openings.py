"""What pages say of a section's openings, and how they say times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from shared.students.openings import LEAST_OPENINGS, Opening, habit_of, openings_of, strip_of
from shared.students.story import chart_of
from shared.students.terms import coming_terms, likely_term, name_of
from shared.students.told import count, hour, long, moment

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
ZONE = ZoneInfo("America/Phoenix")
EDGES = st.lists(st.tuples(st.integers(0, 60 * 24 * 60), st.booleans(), st.none() | st.integers(1, 40)), max_size=40)


def edges(rows: list[tuple[int, bool, int | None]]) -> list[dict]:
    start = NOW - timedelta(days=60)
    return [
        {"at": (start + timedelta(minutes=at)).isoformat(), "open": is_open, "seats": None, "all_seats": seats}
        for at, is_open, seats in sorted(rows, key=lambda row: row[0])
    ]


@given(EDGES)
def test_openings_never_overlap_and_only_the_last_may_still_be_open(rows: list[tuple[int, bool, int | None]]) -> None:
    found = openings_of(edges(rows))
    for one, following in pairwise(found):
        assert one.end is not None
        assert one.start <= one.end <= following.start
    assert all(one.lasted(NOW) >= timedelta(0) for one in found)


@given(EDGES)
def test_every_opening_can_be_seen_on_the_strip_and_none_leaves_it(rows: list[tuple[int, bool, int | None]]) -> None:
    found = openings_of(edges(rows))
    pieces = strip_of(found, NOW - timedelta(days=60), NOW)
    assert len(pieces) == len(found)
    assert all(x >= 0 and width >= 0.6 and x + width <= 100.01 for x, width in pieces)


def test_an_opening_lies_on_the_strip_where_it_was() -> None:
    begin = NOW - timedelta(days=10)
    whole = [Opening(begin + timedelta(days=day), begin + timedelta(days=day + 2), 1) for day in (0, 5)]
    still = Opening(begin + timedelta(days=9), None, 1)
    assert strip_of([*whole, still], begin, NOW) == [(0.0, 20.0), (50.0, 20.0), (90.0, 10.0)]
    short = [Opening(begin, begin + timedelta(seconds=50), 1)]
    assert strip_of(short, begin, begin + timedelta(seconds=100)) == [(0.0, 50.0)]


@given(EDGES)
def test_a_habit_is_told_only_of_enough_openings(rows: list[tuple[int, bool, int | None]]) -> None:
    found = openings_of(edges(rows))
    habit = habit_of(found, NOW, ZONE)
    recent = [one for one in found if one.start > NOW - timedelta(days=30)]
    assert (habit is not None) == (len(recent) >= LEAST_OPENINGS)
    if habit and habit.hours:
        inside = [one for one in recent if habit.hours[0] <= one.start.astimezone(ZONE).hour < habit.hours[1]]
        assert len(inside) * 2 > len(recent)


def test_the_hours_of_a_habit_are_the_narrowest_in_which_most_began() -> None:
    begun = [datetime(2026, 11, day, hour, 30, tzinfo=ZONE) for day, hour in enumerate((9, 10, 9, 10, 22, 9), start=5)]
    habit = habit_of([Opening(at, at + timedelta(minutes=20), 1) for at in begun], NOW, ZONE)
    assert habit
    assert (habit.times, habit.median, habit.hours) == (6, timedelta(minutes=20), (9, 11))


@given(EDGES)
def test_the_picture_stays_in_its_frame(rows: list[tuple[int, bool, int | None]]) -> None:
    found = openings_of(edges(rows))
    if found:
        chart = chart_of(found, NOW, ZONE)
        assert all(0 <= x <= chart.width and 0 <= y <= chart.height for x, y, _ in chart.marks)


def test_an_edge_that_repeats_the_one_before_changes_nothing() -> None:
    rows = [(0, False, None), (10, True, 3), (20, True, 9), (50, False, None), (60, False, None)]
    start = NOW - timedelta(days=60)
    assert openings_of(edges(rows)) == [Opening(start + timedelta(minutes=10), start + timedelta(minutes=50), 3)]


def test_spans_are_told_in_the_units_that_matter() -> None:
    told = [long(timedelta(seconds=seconds)) for seconds in (5, 60, 119, 3600, 7800, 86_400, 5 * 86_400)]
    assert told == ["less than a minute", "1 min", "2 min", "1 h", "2 h 10 min", "1 day", "5 days"]
    assert [count(number, "seat") for number in (0, 1, 2, 1200)] == ["0 seats", "1 seat", "2 seats", "1,200 seats"]


def test_moments_are_told_as_of_now_and_in_the_universitys_zone() -> None:
    assert moment(NOW - timedelta(minutes=3), NOW, ZONE).ago == "3 min ago"
    assert moment(NOW + timedelta(minutes=3), NOW, ZONE).ago == "in 3 min"
    assert moment(NOW, NOW, ZONE).exact == "Thu, Nov 26, 5:00 AM"
    assert [hour(number) for number in (0, 9, 12, 15, 24)] == ["midnight", "9 AM", "noon", "3 PM", "midnight"]


def test_the_term_that_people_mean_is_one_that_does_not_end_soon() -> None:
    assert name_of("2267") == "Fall 2026"
    assert [term for term, _ in coming_terms(NOW, ZONE)] == ["2267", "2271", "2274", "2277"]
    assert likely_term(NOW, ZONE) == "2271"
    assert likely_term(datetime(2026, 9, 1, tzinfo=UTC), ZONE) == "2267"
    assert likely_term(datetime(2026, 5, 1, tzinfo=UTC), ZONE) == "2264"
