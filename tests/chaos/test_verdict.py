"""The verdict of a chaos run: it must notice every way to break a promise, or "nothing lost" would mean nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from workshop.campus.sections import HALF_HOUR_MS, Course, Timeline, Values
from workshop.campus.tape import read_tape
from workshop.chaos.budget import LOOKS, find_excesses
from workshop.chaos.nemesis import make_plan
from workshop.chaos.play import Played, PlayedSlot
from workshop.chaos.records import Commit
from workshop.chaos.season import SECTIONS, Season, by_chance, from_tape
from workshop.chaos.verdict import Verdict, judge
from workshop.demo.students import Student, Watch

START = datetime(2026, 9, 7, tzinfo=UTC)
SLOTS = [int(START.timestamp() * 1000) + number * HALF_HOUR_MS for number in range(6)]
NUMBER, ADDRESS = "12340", "wen@students.example.edu"
SEASON = Season(
    tape=Path("unused.csv"),
    term="2267",
    timelines=[
        Timeline(
            NUMBER,
            Course("CSE", "110", "Programming"),
            [
                (SLOTS[0], Values("Staff", 0, 30)),
                (SLOTS[2], Values("Staff", 3, 30)),
                (SLOTS[4], Values("Staff", 0, 30)),
            ],
        )
    ],
    slots_ms=SLOTS,
    watches=[Watch(Student("1", ADDRESS, None, True), NUMBER, SLOTS[0])],
)


def at(slot: int, seconds: float = 1.0) -> datetime:
    return START + slot * timedelta(minutes=30) + timedelta(seconds=seconds)


def seen(slot: int, seats: int, *, committed: float | None = None) -> Commit:
    moment = datetime.fromtimestamp(100.0 * slot + 2 if committed is None else committed, UTC)
    return Commit(NUMBER, at(slot), seats, "Staff", moment)


COMMITS = [seen(0, 0), seen(2, 3), seen(4, 0)]
ROW = {
    "id": 1,
    "class_nbr": NUMBER,
    "kind": "seat_available",
    "observed_at": at(2),
    "email": ADDRESS,
    "status": "sent",
    "message_id": "m1",
    "last_error": None,
    "filled_later": True,
    "delay": 0.1,
}
MAIL = {"id": "m1", "to": [ADDRESS], "subject": f"🎉 Seat Available: CSE 110 ({NUMBER})"}


def verdict(
    *,
    commits: list[Commit] = COMMITS,
    outbox: list[dict[str, Any]] | None = None,
    mails: list[dict[str, Any]] | None = None,
    rejected: set[str] | None = None,
    baselines: list[dict[str, Any]] | None = None,
    without_seats: list[tuple[float, float]] | None = None,
    **played: Any,
) -> Verdict:
    slots = [
        PlayedSlot(slot, "scheduler", 100.0 * number, 100.0 * number + 99, 0.0, 1.0)
        for number, slot in enumerate(SLOTS)
    ]
    return judge(
        SEASON,
        Played(**{"slots": slots} | played),
        commits,
        [ROW] if outbox is None else outbox,
        [MAIL] if mails is None else mails,
        rejected or set(),
        [{"class_nbr": NUMBER, "seats": 0, "instructor": "Staff"}] if baselines is None else baselines,
        without_seats or [],
    )


def test_an_email_that_was_owed_and_came_once_is_good() -> None:
    judged = verdict()
    assert judged.good
    assert (judged.owed, judged.sent, judged.commits) == (1, 1, 3)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda: verdict(outbox=[], mails=[]), "lost"),
        (lambda: verdict(mails=[]), "lost"),
        (lambda: verdict(outbox=[ROW | {"status": "pending", "message_id": None}], mails=[]), "lost"),
        (lambda: verdict(outbox=[ROW | {"status": "dead", "message_id": None}], mails=[]), "lost"),
        (lambda: verdict(mails=[MAIL | {"to": ["other@students.example.edu"]}]), "lost"),
        (lambda: verdict(mails=[MAIL | {"subject": f"👨‍🏫 Instructor Assigned: CSE 110 ({NUMBER})"}]), "lost"),
        (
            lambda: verdict(outbox=[ROW | {"status": "dropped", "message_id": None, "filled_later": False}], mails=[]),
            "lost",
        ),
        (lambda: verdict(mails=[MAIL, MAIL | {"id": "m2"}]), "twice"),
        (
            lambda: verdict(outbox=[ROW, ROW | {"id": 2, "message_id": "m2"}], mails=[MAIL, MAIL | {"id": "m2"}]),
            "twice",
        ),
        (lambda: verdict(outbox=[ROW, ROW | {"id": 2}]), "twice"),
        (lambda: verdict(outbox=[ROW, ROW | {"observed_at": at(4), "message_id": "m2"}]), "extra"),
        (lambda: verdict(commits=[*COMMITS, seen(5, 7)]), "wrong"),
        (lambda: verdict(commits=[seen(0, 3), *COMMITS[1:]]), "wrong"),
        (lambda: verdict(stuck={"jobs leased": 1}), "stuck"),
        (lambda: verdict(baselines=[{"class_nbr": NUMBER, "seats": 3, "instructor": "Staff"}]), "stale"),
        (lambda: verdict(slots=[PlayedSlot(SLOTS[0], "nobody", 0, 1, 0, 1, (NUMBER,))]), "unchecked"),
    ],
)
def test_every_broken_promise_is_noticed(change: Callable[[], Verdict], kind: str) -> None:
    judged = change()
    assert getattr(judged, kind)
    assert not judged.good


def test_a_drop_that_was_recorded_after_the_seats_were_filled_is_settled() -> None:
    judged = verdict(outbox=[ROW | {"status": "dropped", "message_id": None}], mails=[])
    assert judged.good
    assert judged.dropped == 1


def test_an_address_that_resend_was_made_to_reject_is_settled_and_no_other() -> None:
    row = ROW | {"status": "dead", "message_id": None, "last_error": "The address does not exist."}
    assert verdict(outbox=[row], mails=[], rejected={ADDRESS}).good
    assert not verdict(outbox=[row], mails=[], rejected={"other@students.example.edu"}).good


def test_what_was_never_committed_is_not_owed() -> None:
    assert verdict(commits=[COMMITS[0], COMMITS[2]], outbox=[], mails=[]).good


def test_a_scrape_that_slept_through_the_change_may_have_seen_either() -> None:
    slept = Commit(NUMBER, at(1), 3, "Staff", datetime.fromtimestamp(250.0, UTC))
    judged = verdict(commits=[COMMITS[0], slept], outbox=[ROW | {"observed_at": at(1)}])
    assert judged.good


def test_seats_that_the_catalog_left_out_may_stand_as_they_were_and_only_then() -> None:
    commits = [COMMITS[0], seen(2, 0)]
    assert verdict(commits=commits, outbox=[], mails=[]).wrong
    assert verdict(commits=commits, outbox=[], mails=[], without_seats=[(201.0, 203.0)]).good
    assert verdict(commits=commits, outbox=[], mails=[], without_seats=[(203.0, 204.0)]).wrong
    assert verdict(commits=[COMMITS[0], seen(2, 1)], outbox=[], mails=[], without_seats=[(201.0, 203.0)]).wrong


def test_an_opening_that_was_left_out_is_owed_when_it_is_seen_at_last() -> None:
    commits = [COMMITS[0], seen(2, 0, committed=202.0), seen(3, 3)]
    judged = verdict(commits=commits, outbox=[ROW | {"observed_at": at(3)}], without_seats=[(201.0, 203.0)])
    assert judged.good
    assert (judged.owed, judged.sent) == (1, 1)


def test_a_seed_means_the_same_plan_and_every_kind_of_fault_comes_early() -> None:
    plan = make_plan(7, 60.0, [ADDRESS])
    assert plan == make_plan(7, 60.0, [ADDRESS])
    assert plan != make_plan(8, 60.0, [ADDRESS])
    kinds = [fault.kind for fault in make_plan(7, 600.0, [ADDRESS])]
    assert len(set(kinds[:26])) == 26


def test_the_campus_by_chance_is_the_same_on_its_tape(tmp_path: Path) -> None:
    season = by_chance(3, tmp_path)
    assert len(season.timelines) == SECTIONS
    read = {timeline.class_nbr: timeline for timeline in read_tape(season.tape)}
    for timeline in season.timelines:
        assert all(timeline.at(slot) == read[timeline.class_nbr].at(slot) for slot in season.slots_ms)


def test_a_tape_is_played_from_its_first_to_its_last_hour_in_pairs_of_slots(tmp_path: Path) -> None:
    season = from_tape(3, by_chance(3, tmp_path).tape, minutes=1.0)
    hours = [slot // (2 * HALF_HOUR_MS) for slot in season.slots_ms]
    assert hours[::2] == hours[1::2]
    assert season.slots_ms == sorted(set(season.slots_ms))
    assert len(season.slots_ms) < 100


RESTLESS = replace(
    SEASON,
    rate=1,
    timelines=[
        Timeline(
            NUMBER,
            SEASON.timelines[0].course,
            [(SLOTS[0], Values("Staff", 0, 30)), (SLOTS[2] + 2000, Values("Staff", 3, 30))],
        )
    ],
)


@pytest.mark.parametrize(
    ("began", "committed", "seats", "good"),
    [
        (1.0, 201.2, 0, True),  # before the seats came
        (1.0, 203.0, 3, True),  # they came while it looked
        (1.0, 203.0, 0, True),  # it may have looked before they came
        (3.0, 204.0, 3, True),
        (3.0, 204.0, 0, False),  # they had come for certain
        (1.0, 201.2, 3, False),  # and cannot have been seen before
    ],
)
def test_on_a_campus_that_changes_during_a_look_both_values_are_true(
    began: float, committed: float, seats: int, good: bool
) -> None:
    slots = [PlayedSlot(slot, "scheduler", 100.0 * n, 100.0 * n + 99, 0.0, 1.0) for n, slot in enumerate(SLOTS)]
    commit = Commit(NUMBER, at(2, began), seats, "Staff", datetime.fromtimestamp(committed, UTC))
    judged = judge(RESTLESS, Played(slots=slots), [commit], [], [], set())
    assert (judged.wrong == []) is good


def test_a_restless_campus_changes_in_the_first_seconds_of_its_slots(tmp_path: Path) -> None:
    season = by_chance(3, tmp_path, restless=True)
    after = {
        time - slot
        for one in season.timelines
        for time in one.times[1:]
        for slot in season.slots_ms
        if 0 <= time - slot < HALF_HOUR_MS
    }
    assert season.rate == 1
    assert 0 < min(after) <= max(after) < 5000


def test_a_minute_with_too_many_looks_is_noticed_unless_redis_lost_the_count() -> None:
    even = [index * 6 / LOOKS + 0.001 * index for index in range(3 * LOOKS)]
    assert find_excesses(even, 6.0, []) == []
    assert find_excesses(sorted([*even, 3.0, 3.01]), 6.0, [])
    assert find_excesses(sorted([*even, 3.0, 3.01]), 6.0, [(8.5, 8.5)])
    assert find_excesses(sorted([*even, 3.0, 3.01]), 6.0, [(2.0, 4.0)]) == []


def test_the_catalog_is_broken_only_where_it_is_asked() -> None:
    with_it = {fault.target for fault in make_plan(1, 60, [ADDRESS], pause=0.5, catalog=True)}
    assert "catalog" in with_it
    assert "catalog" not in {fault.target for fault in make_plan(1, 60, [ADDRESS], pause=0.5)}
