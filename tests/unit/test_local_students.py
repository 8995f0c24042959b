"""Students by chance, and the comparison of what they got with what they were owed."""

from __future__ import annotations

import io
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from workshop.demo.comparison import compare, show
from workshop.demo.oracle import NAME, SEAT, Owed, Verdict
from workshop.demo.replay import Played
from workshop.demo.students import MOST_WATCHES, make_students, who_is_told

SLOTS = [number * 1_800_000 for number in range(48)]
ANN = Owed(0, "12340", SEAT, "ann@example.edu")
BEN = Owed(1_800_000, "12341", NAME, "ben@example.edu")
HEALTH = {"email_delay": {"count": 0, "p50_seconds": None, "p95_seconds": None}}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 150))
def test_every_section_is_watched_and_nobody_watches_too_much(seed: int, sections: int) -> None:
    numbers = [str(10_000 + number) for number in range(sections)]
    watches = make_students(seed, numbers, SLOTS)
    assert {watch.class_nbr for watch in watches} == set(numbers)
    assert max(Counter(watch.student.user_id for watch in watches).values()) <= MOST_WATCHES
    assert len({(watch.student.user_id, watch.class_nbr) for watch in watches}) == len(watches)
    emails = {watch.student.user_id: watch.student.email for watch in watches}
    assert len(set(emails.values())) == len(emails)
    assert all(email.isascii() for email in emails.values())
    assert {watch.since_ms for watch in watches} <= set(SLOTS)


def test_some_must_not_be_mailed_and_some_come_later() -> None:
    watches = make_students(1, [str(10_000 + number) for number in range(200)], SLOTS)
    assert {watch.student.refuses for watch in watches} == {None, "muted", "bounced", "complained", "disabled"}
    assert any(watch.since_ms > 0 for watch in watches)
    assert any(not watch.student.has_profile for watch in watches)
    told = who_is_told(watches)
    refusing = {watch.student.email for watch in watches if watch.student.refuses}
    assert not refusing & {one.recipient for people in told.values() for one in people}
    assert make_students(1, ["10000"], SLOTS) == make_students(1, ["10000"], SLOTS)


def played(*emails: Owed) -> Played:
    return Played(ticks=2, checks=4, emails=list(emails), seconds=2.0)


def verdict(*owed: Owed) -> Verdict:
    return Verdict(checks=4, namings=1, seen=[("12340", 0)], owed=set(owed))


EVENTS = {SEAT: 1, NAME: 1}


def test_agreement_is_no_difference() -> None:
    assert compare(played(ANN, BEN), EVENTS, verdict(ANN, BEN)) == []


def test_each_difference_is_named() -> None:
    problems = [str(one) for one in compare(played(BEN, BEN), EVENTS, verdict(ANN, BEN))]
    assert problems == [
        "never sent: seat_available of 12340 to ann@example.edu, seen 1970-01-01 00:00 UTC",
        "sent 2 times: instructor_assigned of 12341 to ben@example.edu, seen 1970-01-01 00:30 UTC",
    ]
    assert "not owed: " in str(compare(played(ANN), EVENTS, verdict())[0])
    strange = Played(ticks=2, checks=3, strange=["Win a prize"], seconds=1.0)
    words = [str(one) for one in compare(strange, {}, verdict())]
    assert words[0] == "an email of another kind: Win a prize"
    assert words[1:] == [
        "Sections checked: 3 instead of 4",
        "Openings seen: 0 instead of 1",
        "Instructors named: 0 instead of 1",
    ]


def test_the_table_says_whether_all_agree() -> None:
    for emails, agree in (((ANN, BEN), True), ((ANN,), False)):
        output = io.StringIO()
        console = Console(file=output, width=100)
        assert show(console, played(*emails), EVENTS, verdict(ANN, BEN), HEALTH) is agree
        assert ("Every email that was owed was sent" in output.getvalue()) is agree
        assert ("never sent: instructor_assigned of 12341" in output.getvalue()) is not agree
