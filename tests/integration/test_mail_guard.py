"""Holding mail: by the mass-event guard when too many full sections open at once, and by an operator's hand."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from shared.database import DatabaseError
from shared.mail.send import send_own_mail
from shared.sections.section import Section
from tests.support.mail import FACTS, SEEN_AT, SLOT, PostOffice

FULL = FACTS | {"seats_available": 0}


class Campus:
    """Sections with one watcher each, checked through the real commit."""

    def __init__(self, post_office: PostOffice) -> None:
        self._office = post_office
        self._versions: dict[str, int] = {}
        post_office.sql(
            "insert into pickmyclass.ownership (term, class_nbr, owner) values ('', '', 'server') "
            "on conflict (term, class_nbr) do update set owner = 'server'"
        )

    def watch(self, *numbers: str, name: str = "watcher") -> None:
        for number in numbers:
            user = uuid.uuid4()
            self._office.sql("insert into auth.users (id, email) values (%s, %s)", user, f"{name}{number}@example.edu")
            self._office.sql(
                "insert into public.class_watches (id, user_id, term, subject, catalog_nbr, class_nbr) "
                "values (gen_random_uuid(), %s, '2261', 'CSE', '110', %s)",
                user, number,
            )  # fmt: skip

    def check(self, number: str, *, at: datetime, seats: int, event: str | None, was_full: bool, **more: Any) -> Any:
        check = {
            "term": "2261", "class_nbr": number, "version": self._versions.get(number, 0),
            "observed_at": at.isoformat(), "slot": more.pop("slot", SLOT).isoformat(), "tick_id": "tick-1",
            "facts": FACTS | {"seats_available": seats}, "was_full": was_full,
            "events": [{"kind": event, "before": FULL, "after": FACTS}] if event else [], **more,
        }  # fmt: skip
        answer = self._office.database.call("pmc_commit_check", p_check=check, p_now=at)
        assert answer["result"] == "committed"
        self._versions[number] = answer["version"]
        return answer

    def open(self, number: str, at: datetime = SEEN_AT, **more: Any) -> Any:
        return self.check(number, at=at, seats=3, event="seat_available", was_full=True, **more)

    def stay_full(self, number: str, at: datetime = SEEN_AT) -> None:
        self.check(number, at=at, seats=0, event=None, was_full=True)

    def stay_open(self, number: str, at: datetime) -> None:
        self.check(number, at=at, seats=2, event=None, was_full=False)

    def fill(self, number: str, at: datetime) -> None:
        self.check(number, at=at, seats=0, event="seats_filled", was_full=False)

    def first_sight(self, *numbers: str) -> None:
        for number in numbers:
            self.check(number, at=SEEN_AT - timedelta(hours=1), slot=SLOT - timedelta(hours=1), seats=0, event=None,
                       was_full=False)  # fmt: skip


@pytest.fixture
def campus(post_office: PostOffice) -> Campus:
    """Thirty full sections, seen an hour ago."""
    campus = Campus(post_office)
    campus.watch(*NUMBERS)
    campus.first_sight(*NUMBERS)
    return campus


NUMBERS = [f"1{n:03}0" for n in range(30)]
LATER = SEEN_AT + timedelta(minutes=5)


def open_some(campus: Campus, opened: int, of: int = 30) -> None:
    for number in NUMBERS[:opened]:
        campus.open(number)
    for number in NUMBERS[opened:of]:
        campus.stay_full(number)


def test_a_third_of_the_full_sections_opening_at_once_is_held_and_looked_at_again(
    post_office: PostOffice, campus: Campus
) -> None:
    open_some(campus, 10)
    report = post_office.send()
    assert report.accepted == 0
    assert post_office.rechecked == [Section("2261", number) for number in NUMBERS[:10]]
    assert all(row["held"] for row in post_office.mail())


@pytest.mark.parametrize(("opened", "of"), [(9, 30), (6, 20), (19, 19), (5, 19)])
def test_a_usual_number_of_openings_is_sent(post_office: PostOffice, campus: Campus, opened: int, of: int) -> None:
    open_some(campus, opened, of)
    assert post_office.send().accepted == opened
    assert post_office.rechecked == []


def test_held_sections_are_queued_once_and_not_at_every_gather(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 30)
    for _ in range(3):
        post_office.send()
    assert sorted(post_office.rechecked) == [Section("2261", number) for number in NUMBERS]


def test_a_section_is_not_queued_again_for_a_row_that_is_held_later(post_office: PostOffice, campus: Campus) -> None:
    campus.watch(NUMBERS[0], name="second")
    open_some(campus, 10)
    post_office.sql(
        "update pickmyclass.outbox set leased_by = 'other', leased_until = now() + interval '1 min' where id = 1"
    )
    post_office.send()
    post_office.pass_time(minutes=1)
    post_office.send()
    assert all(row["held"] for row in post_office.mail())
    assert len(post_office.mail()) == 11
    assert len(post_office.rechecked) == 10


def test_a_later_check_releases_what_is_still_open_and_drops_what_is_full_again(
    post_office: PostOffice, campus: Campus
) -> None:
    open_some(campus, 10)
    post_office.send()
    campus.stay_open(NUMBERS[0], LATER)
    campus.fill(NUMBERS[1], LATER)
    assert post_office.send().accepted == 1
    assert post_office.inbox.addresses() == [f"watcher{NUMBERS[0]}@example.edu"]
    assert post_office.statuses() == {"sent": 1, "dropped": 1, "pending": 8}
    assert len(post_office.rechecked) == 10


def test_a_failed_look_leaves_the_mail_held(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 10)
    post_office.send()
    post_office.database.call(
        "pmc_end_attempt", p_term="2261", p_class_nbr=NUMBERS[0], p_slot=SLOT, p_error="down", p_now=LATER
    )
    post_office.send()
    assert post_office.statuses() == {"pending": 10}


def test_sections_that_could_not_be_queued_are_named_again(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 10)

    def unreachable(sections: Any) -> None:
        raise ConnectionError("no queue")

    room = post_office.room
    object.__setattr__(room, "on_recheck", unreachable)
    post_office.send()
    object.__setattr__(room, "on_recheck", post_office.on_recheck)
    post_office.send()
    assert len(post_office.rechecked) == 10
    post_office.send()
    assert len(post_office.rechecked) == 10


def test_the_guard_holds_only_seat_mail(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 30)
    campus.check(NUMBERS[0], at=LATER, seats=3, event="instructor_assigned", was_full=False)
    assert post_office.send().accepted == 2
    sent = [(row["class_nbr"], row["notification_type"]) for row in post_office.mail() if row["status"] == "sent"]
    # Its section was looked at again for the instructor and was still open: no doubt is left about its seats.
    assert sorted(sent) == [(NUMBERS[0], "instructor_assigned"), (NUMBERS[0], "seat_available")]
    assert post_office.statuses()["pending"] == 29


def test_the_guard_is_asked_again_when_a_batch_is_frozen(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 10, of=19)
    twentieth = iter(NUMBERS[20:21])
    post_office.writer.hook = lambda mail: [campus.stay_full(number) for number in twentieth]
    post_office.send()
    assert post_office.statuses() == {"pending": 10}
    assert len(post_office.rechecked) == 10


def test_a_caller_over_http_cannot_pass_the_guard(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 10)
    campus.open(NUMBERS[11], at=LATER, lease_to="http:1", lease_limit=100)
    assert send_own_mail(post_office.room, "http:1") == 0
    assert post_office.statuses() == {"pending": 11}


def test_mail_that_a_later_slot_has_looked_at_again_is_not_held(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 10)
    post_office.database.call("pmc_hold_mail", p_reason="trial")
    for number in NUMBERS:
        campus.check(number, at=SEEN_AT + timedelta(hours=1), slot=SLOT + timedelta(hours=1), seats=3, event=None,
                     was_full=False)  # fmt: skip
    post_office.database.call("pmc_release_mail")
    assert post_office.send().accepted == 10


def test_an_operator_holds_and_releases_all_mail(post_office: PostOffice) -> None:
    post_office.owe(2)
    assert post_office.database.call("pmc_hold_mail", p_reason="strange day") == {"held": True, "pending": 2}
    report = post_office.send()
    assert (report.state, report.reason, report.accepted) == ("held", "strange day", 0)
    post_office.database.call("pmc_release_mail")
    assert post_office.send().accepted == 2


def test_a_hold_leaves_nothing_to_wait_for(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.sql("update pickmyclass.outbox set leased_by = 'dead', leased_until = now() - interval '1 min'")
    post_office.database.call("pmc_hold_mail", p_reason="trial")
    assert post_office.send(patience=5.0).wait_seconds is None


def test_what_is_frozen_before_the_hold_is_still_settled(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.inbox.misbehave("cut", accepted=True)
    post_office.send()
    post_office.database.call("pmc_hold_mail", p_reason="")
    post_office.pass_time(seconds=5)
    assert post_office.send().accepted == 2


def test_a_hold_between_gather_and_freeze_holds(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.writer.hook = lambda mail: post_office.database.call("pmc_hold_mail", p_reason="stop")
    assert post_office.send().state == "held"
    assert post_office.statuses() == {"pending": 2}
    assert post_office.inbox.requests == []


def test_a_release_by_hand_lets_what_the_guard_holds_leave(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 10)
    post_office.send()
    assert post_office.database.call("pmc_release_mail")["released"] == 10
    assert post_office.send().accepted == 10


def test_dead_mail_is_owed_again_on_request_but_never_what_may_have_been_sent(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.sql("update pickmyclass.outbox set status = 'dead', last_error = 'Invalid' where id = 1")
    post_office.sql("update pickmyclass.outbox set status = 'dead', last_error = 'unknown whether sent' where id = 2")
    post_office.sql("update pickmyclass.outbox set status = 'dead', message_id = 'x' where id = 3")
    assert post_office.database.call("pmc_retry_mail") == {"retried": 1}
    assert post_office.statuses() == {"dead": 2, "pending": 1}
    assert post_office.database.call("pmc_retry_mail", p_ids=[2]) == {"retried": 1}
    assert post_office.send().accepted == 2


def test_the_list_for_operators_shows_no_address(post_office: PostOffice) -> None:
    post_office.owe(2)
    answer = post_office.database.call("pmc_list_mail", p_status="pending", p_limit=10)
    assert "student" not in str(answer)
    assert [mail["recipient"] for mail in answer["mail"]] == ["s***@e***"] * 2
    assert answer["counts"] == {"pending": 2}


def test_mail_that_was_held_leaves_when_its_sections_go_to_the_workers(post_office: PostOffice, campus: Campus) -> None:
    open_some(campus, 30)
    assert post_office.send().accepted == 0
    post_office.database.call("pmc_switch_ownership", p_owner="workers")
    assert post_office.send().accepted == 30


def test_mail_of_sections_that_went_to_the_workers_before_it_was_sent_is_not_held(
    post_office: PostOffice, campus: Campus
) -> None:
    open_some(campus, 30)
    post_office.database.call("pmc_switch_ownership", p_owner="workers")
    assert post_office.send().accepted == 30
    assert post_office.rechecked == []


def test_a_gather_that_meets_a_switch_under_way_waits_for_nobody_and_comes_again(
    post_office: PostOffice, campus: Campus, postgres_url: str
) -> None:
    open_some(campus, 30)
    with psycopg.connect(postgres_url) as operator:
        operator.execute("select pmc_switch_ownership('workers')")
        with pytest.raises(DatabaseError, match="try again"):
            post_office.send()
        operator.commit()
    assert post_office.send().accepted == 30
