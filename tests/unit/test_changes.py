"""The comparison of what was known with what was seen."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from shared.sections.changes import EventKind, detect, is_staff
from shared.sections.section import Facts, Known, Observation

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
seats = st.none() | st.integers(0, 40)
names = st.sampled_from([None, "", " ", "Staff", "STAFF", "Ada Lovelace", "Grace Hopper"])
facts = st.builds(
    Facts,
    subject=st.just("CSE"),
    catalog_nbr=st.just("110"),
    title=st.none() | st.text(max_size=5),
    instructor_name=names,
    seats_available=seats,
    seats_capacity=seats,
    non_reserved_seats=seats,
)


def known(values: Facts | None) -> Known:
    return Known(version=3, observed_at=NOW, facts=values)


def compare(before: Facts | None, seen: Facts):
    return detect(known(before), Observation(NOW, seen))


@given(facts)
def test_first_sight_is_a_baseline_and_nobody_is_told(seen: Facts) -> None:
    changes = compare(None, seen)
    assert changes.first_observation
    assert changes.events == ()
    assert changes.facts == seen


@given(facts)
def test_seeing_the_same_again_is_no_event(seen: Facts) -> None:
    changes = compare(seen, seen)
    assert changes.events == ()
    assert changes.facts == seen


@given(facts, facts)
def test_a_repeated_observation_is_no_event_the_second_time(before: Facts, seen: Facts) -> None:
    kept = compare(before, seen).facts
    assert compare(kept, seen).events == ()


@given(facts, facts)
def test_the_seat_edge_compares_like_with_like(before: Facts, seen: Facts) -> None:
    events = compare(before, seen).events
    pairs = [(before.seats_available, seen.seats_available)]
    if before.non_reserved_seats is not None and seen.non_reserved_seats is not None:
        pairs = [(before.non_reserved_seats, seen.non_reserved_seats)]
    old, new = pairs[0]
    assert (EventKind.SEAT_AVAILABLE in events) == (old == 0 and new is not None and new > 0)
    assert (EventKind.SEATS_FILLED in events) == (new == 0 and old is not None and old > 0)


@given(facts, facts)
def test_an_unknown_value_keeps_the_old_one(before: Facts, seen: Facts) -> None:
    changes = compare(before, seen)
    for name in ("seats_available", "seats_capacity", "title"):
        fresh = getattr(seen, name)
        assert getattr(changes.facts, name) == (getattr(before, name) if fresh is None else fresh)


def test_unreserved_seats_become_unknown_when_the_edge_was_decided_on_all_seats() -> None:
    # O30: the old number belongs to the other side of the edge; comparing with it later would tell a lie.
    before = Facts(seats_available=0, non_reserved_seats=0)
    changes = compare(before, Facts(seats_available=4, non_reserved_seats=None))
    assert changes.saw(EventKind.SEAT_AVAILABLE)
    assert changes.facts.non_reserved_seats is None
    assert compare(changes.facts, Facts(seats_available=4, non_reserved_seats=3)).events == ()


def test_flapping_between_a_number_and_unknown_tells_nobody() -> None:
    # O30: reserved seats open while unreserved ones stay at none.
    told: list[EventKind] = []
    state = Facts(seats_available=5, non_reserved_seats=0)
    for unreserved in (None, 0, None, 0):
        changes = compare(state, Facts(seats_available=5, non_reserved_seats=unreserved))
        told += changes.events
        state = changes.facts
    assert told == []


def test_unknown_seats_are_not_zero() -> None:
    # O29: an unread number must not look like a full class, nor its return like an opening.
    changes = compare(Facts(seats_available=3), Facts(seats_available=None))
    assert changes.events == ()
    assert compare(changes.facts, Facts(seats_available=3)).events == ()


@given(names, names)
@example(None, "Ada Lovelace")
def test_instructor_edges_follow_who_is_named(before: str | None, seen: str | None) -> None:
    # O34: nothing and "Staff" both mean nobody yet.
    events = set(compare(Facts(instructor_name=before), Facts(instructor_name=seen)).events)
    expected = {
        (True, False): {EventKind.INSTRUCTOR_ASSIGNED},
        (False, True): {EventKind.INSTRUCTOR_UNASSIGNED},
        (True, True): set(),
        (False, False): {EventKind.INSTRUCTOR_CHANGED} if before != seen else set(),
    }
    assert events == expected[is_staff(before), is_staff(seen)]


def test_seat_and_instructor_can_change_in_one_look() -> None:
    changes = compare(
        Facts(seats_available=0, instructor_name="Staff"), Facts(seats_available=1, instructor_name="Ada Lovelace")
    )
    assert changes.events == (EventKind.SEAT_AVAILABLE, EventKind.INSTRUCTOR_ASSIGNED)
    assert changes.was_full


@given(facts, facts)
def test_was_full_means_no_open_seat_by_the_number_that_was_compared(before: Facts, seen: Facts) -> None:
    changes = compare(before, seen)
    if changes.saw(EventKind.SEAT_AVAILABLE):
        assert changes.was_full
    if changes.saw(EventKind.SEATS_FILLED):
        assert not changes.was_full


def test_events_carry_the_facts_before_and_after() -> None:
    before = Facts(seats_available=0)
    changes = compare(before, replace(before, seats_available=2))
    (event,) = changes.events_json(known(before))
    assert (event["kind"], event["before"]["seats_available"], event["after"]["seats_available"]) == (
        "seat_available",
        0,
        2,
    )
