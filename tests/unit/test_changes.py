"""The comparison of what was known with what was seen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from shared.sections.changes import Changes, EventKind, detect
from shared.sections.section import Facts, Known, Memory, Observation, known_from_json
from shared.sections.text import is_staff

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


def compare(before: Facts | None, seen: Facts) -> Changes:
    return detect(known(before), Observation(NOW, seen))


def walk(*looks: Facts | Observation) -> list[tuple[EventKind, ...]]:
    """The events of each look but the first, an hour apart, each compared with what the one before left."""
    at, told, state = NOW, [], known(None)
    for look in looks:
        at += timedelta(hours=1)
        seen = replace(look, observed_at=at) if isinstance(look, Observation) else Observation(at, look)
        changes = detect(state, seen)
        told.append(changes.events)
        state = Known(state.version + 1, at, changes.facts, memory=changes.memory)
    return told[1:]


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


ASSIGNED, UNASSIGNED = EventKind.INSTRUCTOR_ASSIGNED, EventKind.INSTRUCTOR_UNASSIGNED
OPENED, FILLED = EventKind.SEAT_AVAILABLE, EventKind.SEATS_FILLED


def taught_by(name: str | None) -> Facts:
    return Facts(instructor_name=name)


def unsaid() -> Observation:
    """A look that does not speak of the instructor."""
    return Observation(NOW, Facts(), says_instructor=False)


def test_a_name_that_comes_back_is_no_news_and_another_one_is() -> None:
    ada, staff, grace = map(taught_by, ("Ada Lovelace", "Staff", "Grace Hopper"))
    assert walk(ada, staff, ada) == [(UNASSIGNED,), ()]
    assert walk(ada, staff, taught_by(None), taught_by("ada  lovelace")) == [(UNASSIGNED,), (), ()]
    assert walk(ada, staff, grace) == [(UNASSIGNED,), (ASSIGNED,)]
    assert walk(ada, staff, ada, staff, grace) == [(UNASSIGNED,), (), (UNASSIGNED,), (ASSIGNED,)]
    assert walk(ada, staff, taught_by("Ada Lovelace, Grace Hopper")) == [(UNASSIGNED,), (ASSIGNED,)]
    assert walk(taught_by("Ada Lovelace; Grace Hopper"), staff, grace) == [(UNASSIGNED,), ()]


def test_whoever_does_not_speak_of_the_instructor_says_nothing() -> None:
    ada, staff = taught_by("Ada Lovelace"), taught_by("Staff")
    assert walk(ada, unsaid(), ada) == [(), ()]
    assert walk(staff, unsaid(), ada) == [(), (ASSIGNED,)]
    assert walk(unsaid(), ada, staff, taught_by("Grace Hopper")) == [(), (UNASSIGNED,), (ASSIGNED,)]
    assert walk(unsaid(), unsaid(), staff, ada) == [(), (), (ASSIGNED,)]
    assert detect(known(ada), unsaid()).facts.instructor_name == "Ada Lovelace"


@given(st.lists(names, min_size=1, max_size=8))
def test_over_any_history_a_naming_is_told_when_nobody_was_named_and_somebody_new_is(line: list[str | None]) -> None:
    told = walk(taught_by(line[0]), *(taught_by(name) for name in line[1:]))
    last = None
    for before, seen, events in zip(line, line[1:], told, strict=False):
        last = last if is_staff(before) else before
        assert (ASSIGNED in events) == (is_staff(before) and not is_staff(seen) and seen != last)


def seats_of(available: int | None, unreserved: int | None) -> Facts:
    return Facts(seats_available=available, non_reserved_seats=unreserved)


def test_reserved_seats_that_are_set_free_are_news_at_the_second_look() -> None:
    assert walk(seats_of(5, 0), seats_of(5, None), seats_of(5, None)) == [(), (OPENED,)]
    assert walk(seats_of(5, 0), seats_of(5, None), seats_of(5, None), seats_of(5, None)) == [(), (OPENED,), ()]


def test_a_reservation_that_is_not_told_for_one_look_is_no_news() -> None:
    assert walk(*[seats_of(5, 0), seats_of(5, None)] * 3) == [()] * 5
    assert walk(seats_of(5, 0), seats_of(5, None), seats_of(5, 0), seats_of(5, None)) == [(), (), ()]
    assert walk(seats_of(5, 0), seats_of(5, None), seats_of(5, 2)) == [(), (OPENED,)]
    assert walk(seats_of(5, 0), seats_of(5, None), seats_of(0, None), seats_of(0, None)) == [(), (FILLED,), ()]


def test_two_looks_at_once_are_one_look() -> None:
    state = Known(1, NOW, seats_of(5, 0), memory=Memory(reserved_unsaid=True))
    soon, later = (Observation(NOW + timedelta(seconds=s), seats_of(5, None)) for s in (119, 120))
    assert detect(state, soon).events == ()
    assert detect(state, soon).memory.reserved_unsaid
    assert detect(state, later).events == (OPENED,)


course = st.builds(
    lambda subject, number: Facts(subject, number), *[st.sampled_from([None, "", "CSE", "ART", "110"])] * 2
)


@given(course, course, facts, facts)
def test_another_course_under_the_number_is_a_first_sight(one: Facts, two: Facts, before: Facts, seen: Facts) -> None:
    before, seen = (
        replace(all_, subject=which.subject, catalog_nbr=which.catalog_nbr)
        for all_, which in ((before, one), (seen, two))
    )
    changes = compare(before, seen)
    said = all((one.subject, one.catalog_nbr, two.subject, two.catalog_nbr))
    assert changes.replaced == (said and (one.subject, one.catalog_nbr) != (two.subject, two.catalog_nbr))
    if changes.replaced:
        assert (changes.events, changes.facts, changes.first_observation) == ((), seen, True)


def test_the_course_is_the_same_in_another_spelling() -> None:
    assert not compare(Facts("CSE", "110"), Facts(" cse ", "110")).replaced


sources = st.sampled_from(["asu", "scraper"])


@given(facts, facts, sources, sources)
def test_another_source_is_compared_on_all_seats(before: Facts, seen: Facts, one: str, two: str) -> None:
    changes = detect(Known(1, NOW, before, one), Observation(NOW, seen, two))
    plain = before if one == two else replace(before, non_reserved_seats=None)
    expected = set(compare(plain, seen).events)
    if one != two:
        assert changes.facts.non_reserved_seats == seen.non_reserved_seats
        expected -= {EventKind.INSTRUCTOR_CHANGED, UNASSIGNED}
        expected -= {ASSIGNED} if before.instructor_name is None else set()
    assert set(changes.events) == expected


def test_a_name_that_another_source_did_not_tell_is_no_news_when_it_comes_back() -> None:
    ada, staff = taught_by("Ada Lovelace"), taught_by("Staff")
    first = detect(Known(1, NOW, ada, "asu"), Observation(NOW, staff, "scraper"))
    assert first.events == ()
    back = detect(Known(2, NOW, first.facts, "scraper", first.memory), Observation(NOW, ada, "asu"))
    assert back.events == ()
    other = detect(Known(2, NOW, first.facts, "scraper", first.memory), Observation(NOW, taught_by("Bo Li"), "asu"))
    assert other.events == (ASSIGNED,)


def test_an_instructor_is_no_news_when_the_source_before_could_not_have_told() -> None:
    state = Known(1, NOW, Facts(), "one", Memory(instructor_unsaid=True))
    assert detect(state, Observation(NOW, taught_by("Ada Lovelace"), "two")).events == ()
    state = Known(1, NOW, taught_by("Staff"), "one")
    assert detect(state, Observation(NOW, taught_by("Ada Lovelace"), "two")).events == (ASSIGNED,)


@given(facts, facts)
def test_what_a_check_leaves_is_read_back_as_it_was(before: Facts, seen: Facts) -> None:
    changes = compare(before, seen)
    row = {"version": 3, "observed_at": NOW.isoformat(), "facts": changes.baseline_json()}
    assert known_from_json(row) == Known(3, NOW, changes.facts, memory=changes.memory)
