"""Writer and reader of an email share no sentence, and agree on every section there can be."""

from __future__ import annotations

from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.renderer import OwedMail, Renderer
from shared.mail.tokens import UnsubscribeTokens
from shared.sections.section import Facts, Section
from workshop.compare.replay.mail_reader import Expected, faults, section_of

SECRET, USER = "a secret", "3f2b8c1e-0000-4000-8000-000000000001"
SEEN_AT = datetime(2026, 3, 3, 17, 2, tzinfo=UTC)
RENDERER = Renderer(
    site_url="https://pickmyclass.example",
    sender="PickMyClass <hello@example.edu>",
    zone=ZoneInfo("America/Phoenix"),
    tokens=UnsubscribeTokens(SECRET),
)
FACTS = Facts(
    "CSE", "110", "Principles of Programming", "Ada Byron", 5, 30, 3, "Coor Hall 170", "M W 9:00 AM - 10:15 AM"
)
WORDS = st.text("abcdefg &<>\"'é😀", min_size=1, max_size=30).map(lambda text: " ".join(text.split()) or "x")


def email_of(facts: Facts, kind: str = "seat_available", seen_at: datetime = SEEN_AT) -> dict[str, Any]:
    return RENDERER.write(
        OwedMail(
            id=1, kind=kind, section=Section("2267", "12431"), user_id=USER, address="ada@example.edu",
            facts=facts, event_at=seen_at, seen_at=seen_at, seen_before=None,
        )
    )  # fmt: skip


def expected(facts: Facts, kind: str = "seat_available", seen_at: datetime = SEEN_AT) -> Expected:
    return Expected("2267", "12431", kind, astuple(facts), seen_at, USER, SECRET)


@given(
    facts=st.builds(
        Facts,
        subject=st.sampled_from(["CSE", "MAT"]),
        catalog_nbr=st.sampled_from(["110", "240H"]),
        title=st.none() | WORDS,
        instructor_name=st.none() | st.just("Staff") | WORDS,
        seats_available=st.integers(0, 400),
        seats_capacity=st.none() | st.integers(0, 400),
        non_reserved_seats=st.none() | st.integers(0, 400),
        location=st.none() | WORDS,
        meeting_times=st.none() | WORDS,
    ),
    kind=st.sampled_from(["seat_available", "instructor_assigned"]),
    seen_at=st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)).map(
        lambda time: time.replace(microsecond=0)
    ),
)
def test_the_reader_finds_no_fault_in_what_the_writer_writes(facts: Facts, kind: str, seen_at: datetime) -> None:
    email = email_of(facts, kind, seen_at)
    assert faults(email, expected(facts, kind, seen_at)) == ()
    assert section_of(email) == ("2267", "12431")


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ({"seats_available": 6}, "seats"),
        ({"seats_capacity": 31}, "seats"),
        ({"non_reserved_seats": None}, "reserved"),
        ({"instructor_name": "Grace"}, "instructor"),
        ({"title": "Something else"}, "title"),
        ({"location": "Elsewhere"}, "location"),
        ({"meeting_times": "never"}, "meeting_times"),
        ({"catalog_nbr": "111"}, "course"),
    ],
)
def test_each_wrong_fact_is_named_in_both_bodies(written: dict[str, Any], fault: str) -> None:
    values = FACTS.as_json() | written
    told = faults(email_of(Facts.from_json(values)), expected(FACTS))
    assert {f"text: {fault}", f"html: {fault}"} <= set(told)


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"to": ["a@example.edu", "b@example.edu"]}, "not one recipient"),
        ({"subject": "Seats"}, "subject"),
        ({"headers": {}}, "header List-Unsubscribe"),
        ({"html": "<p></p>"}, "html: link to the section"),
        ({"html": "<style>5 open seats of 30</style>"}, "html: seats"),
    ],
)
def test_what_is_wrong_around_the_facts_is_named(changed: dict[str, Any], fault: str) -> None:
    assert fault in faults(email_of(FACTS) | changed, expected(FACTS))


def test_a_link_for_another_or_for_longer_is_wrong() -> None:
    other = Expected("2267", "12431", "seat_available", astuple(FACTS), SEEN_AT, USER.replace("1", "2"), SECRET)
    assert "text: link to unsubscribe" in faults(email_of(FACTS), other)
    later = email_of(FACTS, seen_at=SEEN_AT.replace(hour=18))
    assert {"text: seen", "text: link to unsubscribe"} <= set(faults(later, expected(FACTS)))
