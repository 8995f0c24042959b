"""How soon people hear: openings by the campus itself, and which of them were told when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workshop.campus.sections import HALF_HOUR_MS, Course, Timeline, Values
from workshop.demo.delay import Delays, Opening, measure, openings_between
from workshop.demo.oracle import Look, Watcher, judge, looks_of_ticks

COURSE = Course("CSE", "110", "Programming")
MINUTE, HOUR = 60_000, 2 * HALF_HOUR_MS
ANN = Watcher("ann@example.edu")


def section(*points: tuple[int, int], class_nbr: str = "12340") -> Timeline:
    """A section that shows so many seats from so many minutes on."""
    return Timeline(class_nbr, COURSE, [(at * MINUTE, Values("Ada", seats, 40)) for at, seats in points])


def openings(*timelines: Timeline, since: int = 0) -> list[tuple[int, int | None]]:
    """(minute it came, minute it was gone) of what counts within a day, for somebody who watches all since then."""
    people = {one.class_nbr: [Watcher("ann@example.edu", since * MINUTE)] for one in timelines}
    found = openings_between(timelines, people, "scraper", 0, 24 * HOUR)
    return [(one.at_ms // MINUTE, one.until_ms // MINUTE if one.until_ms else None) for one in found]


def test_seats_that_come_and_go_are_openings_however_short() -> None:
    assert openings(section((0, 0), (100, 2), (101, 0), (300, 1))) == [(100, 101), (300, None)]


def test_more_seats_are_no_opening_and_fewer_do_not_end_one() -> None:
    assert openings(section((0, 3), (100, 5))) == []
    assert openings(section((0, 0), (100, 5), (120, 1), (200, 0))) == [(100, 200)]


def test_what_nobody_had_watched_for_an_hour_does_not_count_nor_what_comes_at_the_very_end() -> None:
    changing = section((0, 0), (50, 2), (70, 0), (100, 2), (200, 0), (24 * 60 - 30, 2))
    assert openings(changing) == [(100, 200)]
    assert openings(changing, since=90) == []
    assert openings_between([changing], {}, "scraper", 0, 24 * HOUR) == []


def looks(*moments: int, class_nbr: str = "12340") -> list[Look]:
    return [Look(moment, [class_nbr]) for moment in moments]


def test_an_opening_is_told_by_the_first_mail_of_a_look_while_it_stood() -> None:
    two = [Opening("12340", 100, 200), Opening("12340", 300, None), Opening("12341", 100, None)]
    told = [("12340", 150, 170), ("12340", 150, 160), ("12340", 250, 260), ("12340", 320, 330), ("12341", 90, 400)]
    measured = measure(two, told, looks(150, 250, 320))
    assert (list(measured.told_ms), measured.openings, measured.missed) == ([30, 60], 3, 1)


@pytest.mark.parametrize(("gone", "missed"), [(200, 1), (201, 0)])
def test_a_look_at_the_moment_of_filling_is_too_late(gone: int, missed: int) -> None:
    assert measure([Opening("12340", 100, gone)], [], looks(99, 200)).missed == missed


def test_what_was_looked_at_but_never_seen_full_before_is_neither_told_nor_missed() -> None:
    two = [Opening("12340", 100, 200), Opening("12340", 210, 400)]
    measured = measure(two, [("12340", 150, 150)], looks(150, 300))
    assert (list(measured.told_ms), measured.missed) == ([50], 0)


def test_the_words_are_understood_without_a_manual() -> None:
    minutes = [MINUTE * minute for minute in range(1, 21)]
    assert Delays(minutes, 22, 2).words() == (
        "half within 11.0 minutes, 95 of 100 within 20.0; 2 of 22 were gone before anyone looked"
    )
    assert Delays([], 3, 3).words() == "3 of 3 were gone before anyone looked"
    assert Delays([], 0, 0).words() == "no section opened"


@given(st.lists(st.integers(61, 23 * 60 - 1), unique=True, max_size=12), st.integers(0, 1))
def test_looking_once_an_hour_tells_within_the_hour_what_stands_that_long(changes: list[int], digit: int) -> None:
    points = [(0, 0), *((at, (number + 1) % 2) for number, at in enumerate(sorted(changes)))]
    timeline = section(*points, class_nbr=f"1234{digit}")
    people = {timeline.class_nbr: [ANN]}
    slots = range(0, 25 * HOUR, HALF_HOUR_MS)
    seen = judge([timeline], people, slots).seen
    found = openings_between([timeline], people, "scraper", 0, 24 * HOUR)
    full_since = [0, *(one.until_ms or 0 for one in found)]
    long = [
        one
        for one, full in zip(found, full_since, strict=False)
        if one.at_ms - full >= HOUR and (one.until_ms is None or one.until_ms - one.at_ms > HOUR)
    ]
    measured = measure(long, [(number, at, at) for number, at in seen], looks_of_ticks([timeline], slots))
    assert (len(measured.told_ms), measured.missed) == (len(long), 0)
    assert all(delay <= HOUR for delay in measured.told_ms)
