"""Slots: which half of the sections is due when."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from shared.sections.slots import ROUND, SLOT, group_at, group_of, latest_slot, next_slot, slot_start

moments = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))
groups = st.sampled_from(["even", "odd"])


@given(moments)
def test_the_stagger_group_is_the_origins_formula(moment: datetime) -> None:
    assert group_at(moment) == ("even" if (moment.minute // 30) % 2 == 0 else "odd")


@given(moments, groups)
def test_the_latest_slot_is_of_its_group_and_less_than_an_hour_old(moment: datetime, group) -> None:
    slot = latest_slot(group, moment)
    assert group_at(slot) == group
    assert timedelta(0) <= moment - slot < ROUND


@given(moments, groups)
def test_the_next_slot_is_the_first_of_its_group_after_the_moment(moment: datetime, group) -> None:
    slot = next_slot(group, moment)
    assert slot > moment
    assert slot - ROUND <= moment
    assert group_at(slot) == group


@given(moments)
def test_each_half_hour_is_one_groups_slot(moment: datetime) -> None:
    start = slot_start(moment)
    assert {group_at(start), group_at(start + SLOT)} == {"even", "odd"}


def test_slots_are_counted_in_utc_whatever_zone_the_time_comes_in() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    moment = datetime(2026, 3, 2, 15, 10, tzinfo=UTC)
    assert latest_slot("even", moment.astimezone(kathmandu)) == datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@given(st.integers(0, 99999))
def test_the_last_digit_decides_the_group(number: int) -> None:
    assert group_of(f"{number:05d}") == ("even" if number % 2 == 0 else "odd")
