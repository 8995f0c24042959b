"""Sections, their facts as JSON, and how long a retry waits."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import retry_after, retry_delay
from shared.sections.section import Facts, Section


@pytest.mark.parametrize("term", ["", "225", "22577", "22a7", " 2257", "２２５７", "2257\n"])
def test_a_term_is_four_ascii_digits(term: str) -> None:
    with pytest.raises(ValueError, match="term"):
        Section(term, "12345")


@pytest.mark.parametrize("class_nbr", ["", "1234", "123456", "1234a", "१२३४५", "12345\n"])
def test_a_class_number_is_five_ascii_digits(class_nbr: str) -> None:
    with pytest.raises(ValueError, match="class_nbr"):
        Section("2257", class_nbr)


@given(st.from_regex(r"\A[0-9]{4}\Z"), st.from_regex(r"\A[0-9]{5}\Z"))
def test_a_key_names_its_section(term: str, class_nbr: str) -> None:
    section = Section(term, class_nbr)
    assert Section.from_key(section.key) == section


@given(st.builds(Facts, title=st.none() | st.text(), seats_available=st.none() | st.integers(0, 9)))
def test_facts_survive_the_way_through_json(facts: Facts) -> None:
    assert Facts.from_json({**facts.as_json(), "a field of a later release": 1}) == facts


@given(st.integers(1, 40))
def test_retries_wait_exponentially_longer_up_to_a_minute(attempt: int) -> None:
    longest = retry_delay(attempt, lambda low, high: high)
    assert longest == min(60.0, 2.0 ** (attempt - 1))
    assert retry_delay(attempt, lambda low, high: low) == 0


def test_attempts_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="from 1"):
        retry_delay(0, max)


@pytest.mark.parametrize(("header", "seconds"), [("7", 7), (None, 60), ("soon", 60), ("99999", 3600), ("-3", 60)])
def test_retry_after_is_believed_within_reason(header: str | None, seconds: float) -> None:
    assert retry_after(header) == seconds


def test_retry_after_may_be_a_date() -> None:
    assert retry_after("Mon, 02 Jan 2006 15:04:05 GMT") == 0
    assert retry_after("Sat, 02 Jan 2999 15:04:05 GMT") == 3600
    assert 1700 < retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=30), usegmt=True)) <= 1800
