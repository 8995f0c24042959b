"""How two records of one season differ."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from workshop.compare import findings as finding
from workshop.compare.findings import Findings
from workshop.compare.quantiles import p50_p95
from workshop.compare.register import ADDED, KNOWN
from workshop.compare.replay.decisions import (
    EXTRA_EVENT,
    EXTRA_MAIL,
    FACTS,
    MISSING_EVENT,
    MISSING_MAIL,
    OTHER_MAIL,
    OTHER_STATE,
    Disagreement,
    Mail,
    Row,
    Slot,
    differences,
)
from workshop.compare.report import show, show_register

HERE, THERE = ("2267", "12431"), ("2261", "12431")
ROW: Row = ("CSE", "110", "Principles", "Ada", 5, 30, None, "BYAC 110", "MWF 9:00")
OPENING = Mail(HERE, "seat_available", "a@b.edu", "🎉", ROW)


def found(old: list[Slot], new: list[Slot]) -> list[Disagreement]:
    return [one for _, _, some, _ in differences(old, new) for one in some]


def row(**changed: int) -> Row:
    return tuple({**dict(zip(FACTS, ROW, strict=True)), **changed}.values())


@given(
    st.lists(
        st.builds(
            Slot,
            st.just(0),
            events=st.dictionaries(st.tuples(st.just(HERE), st.sampled_from("ab")), st.integers(1, 3)).map(Counter),
            mails=st.lists(st.just(OPENING), max_size=3),
            states=st.dictionaries(
                st.sampled_from([HERE, THERE]), st.sampled_from([ROW, row(seats_available=0), None])
            ),
        ),
        max_size=5,
    )
)
def test_a_record_does_not_differ_from_itself(slots: list[Slot]) -> None:
    assert found(slots, slots) == []


@pytest.mark.parametrize(("old", "new", "what"), [(0, 1, MISSING_EVENT), (1, 0, EXTRA_EVENT), (1, 2, MISSING_EVENT)])
def test_events_are_counted(old: int, new: int, what: str) -> None:
    sides = [Slot(0, events=Counter({(HERE, "seats_filled"): count})) for count in (old, new)]
    assert [one.what for one in found(*([side] for side in sides))] == [what]


@pytest.mark.parametrize(("old", "new", "what"), [(0, 1, MISSING_MAIL), (1, 0, EXTRA_MAIL), (2, 1, EXTRA_MAIL)])
def test_emails_are_counted_by_person(old: int, new: int, what: str) -> None:
    sides = [Slot(0, mails=[OPENING] * count) for count in (old, new)]
    told = found(*([side] for side in sides))
    assert [(one.what, one.recipient, one.old, one.new) for one in told] == [(what, "a@b.edu", str(old), str(new))]


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (replace(OPENING, subject="other"), "other"),
        (replace(OPENING, facts=row(seats_available=6)), "seats_available=6"),
        (replace(OPENING, faults=("text: seats",)), "wrong: text: seats"),
    ],
)
def test_an_email_differs_by_subject_facts_and_what_it_tells_wrong(other: Mail, told: str) -> None:
    (one,) = found([Slot(0, mails=[OPENING])], [Slot(0, mails=[other])])
    assert (one.what, one.new) == (OTHER_MAIL, told)


def test_a_row_that_goes_on_to_differ_is_told_once_and_again_when_it_differs_otherwise() -> None:
    old = [Slot(number, states={HERE: ROW} if number == 0 else {}) for number in range(4)]
    new = [
        Slot(0, states={HERE: row(seats_available=4)}),
        Slot(1),
        Slot(2, states={HERE: row(seats_available=3)}),
        Slot(3),
    ]
    told = found(old, new)
    assert [(one.slot_ms, one.what, one.new) for one in told] == [
        (0, OTHER_STATE, "seats_available=4"),
        (2, OTHER_STATE, "seats_available=3"),
    ]


def test_a_row_that_went_is_a_difference() -> None:
    (one,) = found([Slot(0, states={HERE: ROW})], [Slot(0)])
    assert (one.what, one.old, one.new) == (OTHER_STATE, "a row", "no row")


def test_durations_are_told_by_rank() -> None:
    assert p50_p95([number / 1000 for number in range(1, 101)]) == "50.0 ms / 95.0 ms"
    assert p50_p95([60.0], "s") == "60 s / 60 s"
    assert p50_p95([]) == "-"


def test_brackets_from_outside_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    findings = Findings("A title", notes=["[/red] in a note"])
    findings.add([finding.Difference("here", "2026-04-01 10:00", "what", "[/red]", "[bold]x", None)])
    show(Console(width=200), findings)
    told = capsys.readouterr().out
    assert "[/red] | [bold]x" in told
    assert "[/red] in a note" in told


def test_the_register_shows_every_entry(capsys: pytest.CaptureFixture[str]) -> None:
    show_register(Console(width=200))
    told = capsys.readouterr().out
    assert not [known.id for known in (*KNOWN, *ADDED) if f"│ {known.id} " not in told]
