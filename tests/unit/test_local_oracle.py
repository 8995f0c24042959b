"""The oracle: who must be told what, on examples worked out by hand and on campuses by chance."""

from __future__ import annotations

import ast
import itertools
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import workshop.demo.oracle
from workshop.campus.sections import HALF_HOUR_MS, Course, Timeline, Values
from workshop.demo.oracle import NAME, SEAT, Look, Owed, Watcher, judge, judge_looks, show

COURSE = Course("CSE", "110", "Programming")
SLOTS = [slot * HALF_HOUR_MS for slot in range(12)]
ROUND = 2 * HALF_HOUR_MS
ANN, BEN = Watcher("ann@example.edu"), Watcher("ben@example.edu")

Shown = tuple[int | None, str | None, int | None]


def campus(*shown: Shown | int, class_nbr: str = "12340", capacity: int | None = 40) -> Timeline:
    """A section that shows these (seats, name, unreserved) one after the other, one a round."""
    points = []
    for number, one in enumerate(shown):
        seats, name, free = (one, "Ada", None) if isinstance(one, int) else one
        points.append((number * ROUND, Values(name, seats, capacity, free)))
    return Timeline(class_nbr, COURSE, points)


def owed(timeline: Timeline, *watchers: Watcher) -> list[tuple[int, str, str]]:
    """(round, kind, name of the person) of each email owed."""
    verdict = judge([timeline], {timeline.class_nbr: watchers or (ANN,)}, SLOTS)
    return [(one.seen_ms // ROUND, one.kind, one.recipient.split("@")[0]) for one in sorted(verdict.owed)]


def test_it_shares_no_rule_with_the_product() -> None:
    source = ast.parse(Path(workshop.demo.oracle.__file__).read_text())
    modules = [node.module or "" for node in ast.walk(source) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(source) if isinstance(node, ast.Import) for alias in node.names]
    assert not [module for module in modules if module.startswith("shared")]


def test_first_sight_tells_nobody() -> None:
    assert owed(campus(5)) == []
    assert owed(campus((5, "Ada", 5))) == []


def test_an_opening_tells_every_watcher_once() -> None:
    assert owed(campus(0, 3, 2), ANN, BEN) == [(1, SEAT, "ann"), (1, SEAT, "ben")]


def test_filled_and_opened_again_is_told_again() -> None:
    assert owed(campus(0, 3, 0, 1)) == [(1, SEAT, "ann"), (3, SEAT, "ann")]


def test_an_opening_between_two_looks_is_nobodys() -> None:
    values = [(0, Values("Ada", 0, 9)), (HALF_HOUR_MS, Values("Ada", 3, 9)), (ROUND, Values("Ada", 0, 9))]
    assert owed(Timeline("12340", COURSE, values)) == []


def test_an_odd_section_is_looked_at_in_the_other_half_hour() -> None:
    values = [(0, Values("Ada", 0, 9)), (ROUND, Values("Ada", 3, 9))]
    verdict = judge([Timeline("12341", COURSE, values)], {"12341": [ANN]}, SLOTS)
    assert verdict.owed == {Owed(3 * HALF_HOUR_MS, "12341", SEAT, ANN.recipient)}
    assert verdict.checks == 6


def test_staff_or_nobody_becoming_a_name_is_told() -> None:
    assert owed(campus((5, "Staff", None), (5, "Ada", None))) == [(1, NAME, "ann")]
    assert owed(campus((5, None, None), (5, "Ada", None))) == [(1, NAME, "ann")]
    assert owed(campus((5, " STAFF ", None), (5, "", None), (5, "Ada", None))) == [(2, NAME, "ann")]


def test_one_name_after_another_is_not_told_but_staff_between_them_is() -> None:
    assert owed(campus((5, "Ada", None), (5, "Bo", None))) == []
    assert owed(campus((5, "Ada", None), (5, "Staff", None), (5, "Bo", None))) == [(2, NAME, "ann")]


def test_a_name_that_comes_back_is_not_told() -> None:
    assert owed(campus((5, "Ada", None), (5, "Staff", None), (5, "Ada", None))) == []
    assert owed(campus((5, "Ada", None), (5, "TBA", None), (5, "Staff; Bo", None))) == [(2, NAME, "ann")]
    assert owed(campus((5, "Staff, TBA", None), (5, "To Be Announced", None), (5, "Ada; Staff", None))) == [
        (2, NAME, "ann")
    ]


def test_reserved_seats_set_free_are_told_at_the_second_look() -> None:
    assert owed(campus((5, "Ada", 0), (5, "Ada", None), (5, "Ada", None), (5, "Ada", None))) == [(2, SEAT, "ann")]


def test_more_students_than_seats_means_none_open() -> None:
    assert owed(campus(2, -1, 1)) == [(2, SEAT, "ann")]


def test_both_at_once_are_two_emails() -> None:
    assert owed(campus((0, "Staff", None), (1, "Ada", None))) == [(1, NAME, "ann"), (1, SEAT, "ann")]


def test_whoever_comes_later_is_told_of_what_comes_later() -> None:
    late = Watcher("late@example.edu", since_ms=ROUND + 1)
    assert owed(campus(0, 3, 0, 1), ANN, late) == [(1, SEAT, "ann"), (3, SEAT, "ann"), (3, SEAT, "late")]


def test_a_section_nobody_watches_yet_is_seen_first_when_somebody_does() -> None:
    assert owed(campus(0, 3, 0, 1), Watcher("late@example.edu", since_ms=ROUND)) == [(3, SEAT, "late")]


def test_unreserved_seats_decide_where_both_looks_know_them() -> None:
    assert owed(campus((3, "Ada", 0), (3, "Ada", 1))) == [(1, SEAT, "ann")]
    assert owed(campus((0, "Ada", 0), (3, "Ada", 0))) == []


def test_unreserved_seats_that_come_and_go_raise_no_false_alarm() -> None:
    assert owed(campus(*[(3, "Ada", 0), (3, "Ada", None)] * 2, (3, "Ada", 0))) == []


def test_after_an_edge_of_all_seats_the_old_unreserved_number_counts_no_more() -> None:
    # Known as 0 unreserved, full in all, then open in all: told. The 2 unreserved after it are no second opening.
    assert owed(campus((2, "Ada", 0), (0, "Ada", None), (2, "Ada", None), (2, "Ada", 2))) == [(2, SEAT, "ann")]


def test_who_was_told_is_not_told_again_before_it_was_full_or_a_day_has_passed() -> None:
    # It opens by all seats, none of them for everybody; then by those that are, and never was no seat left between.
    flapping: list[Shown] = [(0, "Ada", None), (5, "Ada", 0), (5, "Ada", 0), (5, "Ada", 2)]
    assert owed(campus(*flapping)) == [(1, SEAT, "ann")]
    late = Watcher("late@example.edu", since_ms=2 * ROUND)
    assert owed(campus(*flapping), ANN, late) == [(1, SEAT, "ann"), (3, SEAT, "late")]
    times = [0, ROUND, 2 * ROUND, 25 * ROUND]
    points = [(time, Values(name, seats, 40, free)) for time, (seats, name, free) in zip(times, flapping, strict=True)]
    day = [slot * HALF_HOUR_MS for slot in range(60)]
    verdict = judge([Timeline("12340", COURSE, points)], {"12340": [ANN]}, day)
    assert [one.seen_ms // ROUND for one in sorted(verdict.owed)] == [1, 25]


def test_an_unknown_number_is_not_zero() -> None:
    assert owed(campus(3, (None, "Ada", None), 3)) == []
    assert owed(campus(0, (None, "Ada", None), 3)) == [(2, SEAT, "ann")]


def test_a_number_that_cannot_be_counts_as_unknown() -> None:
    assert owed(campus(0, -1, 0)) == []
    assert owed(campus(0, 81, 0)) == []
    assert owed(campus(0, 80)) == [(1, SEAT, "ann")]
    assert owed(campus(0, 900, capacity=None)) == [(1, SEAT, "ann")]


shown = st.tuples(st.one_of(st.none(), st.integers(0, 2)), st.sampled_from(["Staff", None, "Ada", "Bo"]), st.none())


@given(st.lists(shown, min_size=1, max_size=6), st.lists(st.sampled_from([ANN, BEN]), unique=True))
def test_without_reserved_seats_it_counts_as_anyone_would(rounds: list[Shown], watchers: list[Watcher]) -> None:
    timeline = campus(*rounds)
    verdict = judge([timeline], {timeline.class_nbr: watchers}, SLOTS)
    looks = [timeline.at(slot) for slot in SLOTS[::2]]
    known = [values.seats_available for values in looks if values.seats_available is not None]
    openings = sum(a == 0 and b > 0 for a, b in itertools.pairwise(known))
    names = [None if values.instructor == "Staff" else values.instructor for values in looks]
    namings, last = 0, None
    for before, now in itertools.pairwise(names):
        last = before or last
        namings += before is None and now is not None and now != last
    assert (verdict.openings, verdict.namings) == ((openings, namings) if watchers else (0, 0))
    assert len(verdict.owed) == (openings + namings) * len(watchers)
    assert verdict.checks == (6 if watchers else 0)


def test_whoever_was_told_is_told_again_after_no_seat_was_left_even_if_none_was_for_everybody_before() -> None:
    reserved = campus((0, "Ada", 0), (1, "Ada", None), (1, "Ada", 0), (0, "Ada", 0), (0, "Ada", None), (2, "Ada", 2))
    assert owed(reserved) == [(1, SEAT, "ann"), (5, SEAT, "ann")]


def looked(timeline: Timeline, *rounds: int, door: str = "scraper") -> list[tuple[int, str, str]]:
    """(round, kind, name) of what is owed to Ann when the section is looked at in these rounds, at this door."""
    looks = [Look(number * ROUND, [timeline.class_nbr], door) for number in rounds]
    verdict = judge_looks([timeline], {timeline.class_nbr: [ANN]}, looks)
    return [(one.seen_ms // ROUND, one.kind, one.recipient.split("@")[0]) for one in sorted(verdict.owed)]


def test_every_opening_that_stood_at_a_look_is_owed_and_no_other() -> None:
    changing = campus(0, 3, 0, 1, 0, 2)
    assert looked(changing, 0, 1, 2, 3, 4, 5) == [(1, SEAT, "ann"), (3, SEAT, "ann"), (5, SEAT, "ann")]
    assert looked(changing, 0, 2, 4, 5) == [(5, SEAT, "ann")]
    assert looked(changing, 0, 1, 3) == [(1, SEAT, "ann")], "nobody saw that it had been full"
    assert looked(changing, 1, 3, 5) == []


def test_a_look_tells_only_of_the_sections_that_it_tells() -> None:
    other = campus(0, 3, class_nbr="12342")
    looks = [Look(0, ["12340", "12342"]), Look(ROUND, ["12340"])]
    people = {"12340": [ANN], "12342": [ANN]}
    verdict = judge_looks([campus(0, 3), other], people, looks)
    assert (verdict.seen, verdict.checks) == ([("12340", ROUND)], 3)


def test_what_the_catalog_shows_of_a_section() -> None:
    assert show(Values("Ada", -2, 30), "asu") == Values("Ada", 0, 30), "more people than places"
    assert show(Values("Ada", 31, 30, 2), "asu") == Values("Ada", None, 30), "fewer people than none"
    assert show(Values("Ada", None, 30, 2), "asu") == Values("Ada", None, 30), "no numbers, so no seats"
    assert show(Values("Ada", 3, 30, 0), "asu") == Values("Ada", 3, 30, None), "it is called open, but not for all"
    assert show(Values("Ada", 3, 30, 2), "asu") == Values("Ada", 3, 30, 2)
    assert show(Values("Ada", None, 30, 0), "scraper") == Values("Ada", None, 30, 0)


def test_a_row_without_seats_still_tells_who_teaches() -> None:
    named = campus((0, "Staff", None), (None, "Ada", None), (2, "Ada", None))
    for door in ("scraper", "asu"):
        assert looked(named, 0, 1, 2, door=door) == [(1, NAME, "ann"), (2, SEAT, "ann")]
