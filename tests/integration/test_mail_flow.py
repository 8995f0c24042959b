"""Mail from the outbox to the inbox when nothing goes wrong: order, content, drops, who sends what."""

from __future__ import annotations

import itertools
import logging
import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest

from shared.database import Database
from shared.mail import send
from shared.mail.resend import Accepted
from shared.mail.send import MailRoom, send_own_mail, send_test_mail
from shared.sections.section import Section
from tests.support.mail import SEEN_AT, PostOffice


def test_everyone_who_is_owed_mail_gets_it_once(post_office: PostOffice, caplog: pytest.LogCaptureFixture) -> None:
    post_office.owe(250)
    report = post_office.send()
    assert (report.state, report.accepted, report.batches) == ("idle", 250, 3)
    assert len(set(post_office.inbox.addresses())) == len(post_office.inbox.addresses()) == 250
    assert post_office.statuses() == {"sent": 250}
    assert post_office.send().accepted == 0
    assert [record for record in caplog.records if record.levelno > logging.INFO] == []


def test_the_log_tells_how_long_resend_took(
    post_office: PostOffice, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = itertools.count(1000.0, 0.25)
    monkeypatch.setattr(send, "time", SimpleNamespace(monotonic=lambda: next(times)))
    post_office.owe(1)
    with caplog.at_level(logging.INFO):
        post_office.send()
    assert [record.__dict__["milliseconds"] for record in caplog.records if "emails" in record.__dict__] == [250]


def test_administrators_see_how_much_mail_each_account_got(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.send()
    (one, *_) = post_office.sql("select user_id from public.user_profiles order by user_id")
    post_office.sql("update public.user_profiles set is_admin = true where user_id = %s", one["user_id"])
    asked = {"p_user_id": str(one["user_id"]), "p_search": "", "p_page": 1}
    assert [user["mails"] for user in post_office.database.call("pmc_admin_users", **asked)["users"]] == [1, 1, 1]


def test_mail_goes_the_same_way_over_either_transport(post_office: PostOffice, any_database: Database) -> None:
    facts = {"subject": "CSE", "catalog_nbr": "110", "title": 'Über "Prögramming" \\ 🎓'}
    post_office.owe(3, facts=facts)
    post_office.inbox.misbehave("reject", match="student2@example.edu")
    post_office.room = replace(post_office.room, database=any_database)
    report = post_office.send()
    assert (report.accepted, report.dead) == (2, 1)
    assert facts["title"] in post_office.inbox.app.mailbox.mails()[0].body["text"]
    assert [row["status"] for row in post_office.mail()] == ["sent", "dead", "sent"]


def test_each_row_knows_its_message_id(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.send()
    ids = {mail.body["to"][0]: mail.id for mail in post_office.inbox.app.mailbox.mails()}
    assert {row["email"]: row["message_id"] for row in post_office.mail()} == ids


def test_the_oldest_event_comes_first_and_then_who_began_to_watch_first(post_office: PostOffice) -> None:
    post_office.owe(3, section=Section("2261", "22222"), seen_at=SEEN_AT)
    post_office.owe(3, section=Section("2261", "33333"), seen_at=SEEN_AT - timedelta(minutes=1))
    post_office.sql("update pickmyclass.outbox set watched_since = '2025-01-01' where id = 3")
    post_office.send()
    order = [address.removesuffix("@example.edu") for address in post_office.inbox.addresses()]
    assert order == ["student4", "student5", "student6", "student3", "student1", "student2"]


def test_the_first_batch_holds_the_oldest_events_whatever_was_written_down_first(post_office: PostOffice) -> None:
    post_office.owe(2, section=Section("2261", "22222"), seen_at=SEEN_AT)
    post_office.owe(2, section=Section("2261", "33333"), seen_at=SEEN_AT - timedelta(minutes=1))
    rows = post_office.database.call("pmc_gather_mail", p_worker="w", p_limit=3)["rows"]
    assert [row["email"].removesuffix("@example.edu") for row in rows] == ["student3", "student4", "student1"]


def test_a_row_that_goes_by_itself_and_is_taken_does_not_keep_the_others_waiting(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.sql(
        "update pickmyclass.outbox set alone = true, leased_by = 'other', leased_until = now() + interval '1 min' "
        "where id = 1"
    )
    assert post_office.send().accepted == 2


def test_without_a_key_everything_stays_pending(post_office: PostOffice) -> None:
    post_office.owe(2)
    room = MailRoom(post_office.database, None, post_office.writer, post_office.on_recheck)
    post_office.room = room
    assert post_office.send().state == "not_configured"
    assert send_own_mail(room, "http") == 0
    assert post_office.statuses() == {"pending": 2}


@pytest.mark.parametrize(
    "harm",
    [
        "notifications_enabled = false",
        "email_bounced = true",
        "spam_complained = true",
        "is_disabled = true",
    ],
)
def test_who_may_not_be_told_is_dropped(post_office: PostOffice, harm: str) -> None:
    post_office.owe(3)
    post_office.sql(
        f"update public.user_profiles set {harm} where user_id = (select user_id from pickmyclass.outbox limit 1)"
    )
    assert post_office.send().accepted == 2
    assert post_office.statuses() == {"dropped": 1, "sent": 2}
    assert [row["last_error"] for row in post_office.mail() if row["status"] == "dropped"] == [
        "unsubscribed, bounced, complained or disabled"
    ]


@pytest.mark.parametrize(("switch", "unwanted"), [("seats", "seat_available"), ("instructors", "instructor_assigned")])
def test_mail_of_a_kind_that_is_switched_off_is_dropped_and_that_of_the_other_sent(
    post_office: PostOffice, switch: str, unwanted: str
) -> None:
    kinds = ("seat_available", "instructor_assigned")
    for kind in kinds:
        post_office.owe(1, kind=kind)
    post_office.sql(
        f"insert into pickmyclass.preferences (user_id, {switch}) select user_id, false from pickmyclass.outbox"
    )
    post_office.send()
    ends = {row["notification_type"]: row["status"] for row in post_office.sql("select * from pickmyclass.outbox")}
    assert ends == {kind: "dropped" if kind == unwanted else "sent" for kind in kinds}


def test_who_unsubscribes_between_gather_and_freeze_is_not_told(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.writer.hook = lambda mail: post_office.sql(
        "update public.user_profiles set notifications_enabled = false "
        "where user_id = (select user_id from pickmyclass.outbox where id = 1)"
    )
    post_office.send()
    assert post_office.inbox.addresses() == ["student2@example.edu"]
    assert post_office.statuses() == {"dropped": 1, "sent": 1}


def test_a_new_address_between_gather_and_freeze_is_the_one_that_is_used(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.writer.hook = lambda mail: post_office.sql("update auth.users set email = 'new@example.edu'")
    assert post_office.send().accepted == 1
    assert post_office.inbox.addresses() == ["new@example.edu"]


def test_an_account_that_is_gone_is_dropped(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.sql("delete from auth.users where email = 'student1@example.edu'")
    post_office.send()
    assert post_office.statuses() == {"dropped": 1, "sent": 1}


def test_seat_mail_is_dropped_when_the_seats_are_gone_before_it_left(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.owe(1, kind="instructor_assigned")
    post_office.fill()
    post_office.send()
    assert post_office.statuses() == {"dropped": 2, "sent": 1}
    assert {row["last_error"] for row in post_office.mail() if row["status"] == "dropped"} == {
        "the seats were taken again before it could leave"
    }


def test_seat_mail_is_dropped_when_the_seats_go_between_gather_and_freeze(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.writer.hook = lambda mail: post_office.fill()
    post_office.send()
    assert post_office.statuses() == {"dropped": 1}
    assert post_office.inbox.requests == []


def test_seat_mail_that_is_already_sending_is_not_dropped(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.resend.before = post_office.fill
    assert post_office.send().accepted == 1
    assert post_office.statuses() == {"sent": 1}


def test_an_opening_after_the_fill_is_owed_of_its_own(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.fill()
    post_office.owe(1)
    post_office.send()
    assert post_office.inbox.addresses() == ["student2@example.edu"]


def test_thousands_of_rows_that_are_owed_no_more_do_not_keep_others_waiting(post_office: PostOffice) -> None:
    post_office.owe(3000)
    post_office.fill()
    post_office.owe(1, section=Section("2261", "22222"))
    assert post_office.send().accepted == 1
    assert post_office.statuses() == {"dropped": 3000, "sent": 1}


def test_two_mailers_at_once_tell_nobody_twice(post_office: PostOffice) -> None:
    post_office.owe(1500)
    barrier = threading.Barrier(3)

    def work(name: str) -> None:
        barrier.wait()
        post_office.send(name)

    threads = [threading.Thread(target=work, args=(f"mailer-{n}",)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(post_office.inbox.addresses()) == sorted(f"student{n}@example.edu" for n in range(1, 1501))
    keys = [key for key, _ in post_office.inbox.requests]
    assert len(set(keys)) == len(keys)


def test_a_caller_sends_only_what_its_own_commit_leased_to_it(post_office: PostOffice) -> None:
    post_office.owe(5)
    post_office.sql(
        "update pickmyclass.outbox set leased_by = 'http:1', leased_until = now() + interval '2 min' where id > 3"
    )
    assert post_office.send("mailer").accepted == 3
    assert send_own_mail(post_office.room, "http:1") == 2
    assert post_office.statuses() == {"sent": 5}


def test_what_a_dead_caller_leased_is_sent_by_a_mailer_when_its_lease_ends(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.sql("update pickmyclass.outbox set leased_by = 'http:1', leased_until = now() + interval '2 min'")
    report = post_office.send("mailer")
    assert report.accepted == 0
    assert report.wait_seconds is not None
    assert 100 < report.wait_seconds <= 120
    post_office.pass_time(minutes=2)
    assert post_office.send("mailer").accepted == 2


def test_a_caller_whose_mail_is_held_gives_it_back_at_once(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.sql("update pickmyclass.outbox set leased_by = 'http:1', leased_until = now() + interval '2 min'")
    post_office.database.call("pmc_hold_mail", p_reason="trial")
    assert send_own_mail(post_office.room, "http:1") == 0
    post_office.database.call("pmc_release_mail")
    assert post_office.send("mailer").accepted == 2


def test_a_trial_email_arrives_and_is_written_down_nowhere(post_office: PostOffice) -> None:
    outcome = send_test_mail(post_office.resend, post_office.writer, "me@example.edu", SEEN_AT)
    assert isinstance(outcome, Accepted)
    assert post_office.inbox.addresses() == ["me@example.edu"]
    assert post_office.mail() == []


def test_a_stopped_mailer_takes_nothing(post_office: PostOffice) -> None:
    post_office.owe(2)
    stop = threading.Event()
    stop.set()
    assert post_office.send(stop=stop).state == "stopped"
    assert post_office.statuses() == {"pending": 2}


def test_a_stop_lets_the_batch_in_flight_settle(post_office: PostOffice) -> None:
    post_office.owe(150)
    stop = threading.Event()
    post_office.resend.before = stop.set
    report = post_office.send(stop=stop)
    assert (report.state, report.accepted) == ("stopped", 100)
    assert post_office.statuses() == {"pending": 50, "sent": 100}


def test_one_payload_that_cannot_be_written_does_not_stop_the_others(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.sql("update pickmyclass.outbox set payload = '[]' where id = 1")
    post_office.sql("update auth.users set email = 'no address at all' where email = 'student2@example.edu'")
    assert post_office.send().accepted == 1
    ends = {row["id"]: (row["status"], row["last_error"]) for row in post_office.mail() if row["status"] != "sent"}
    assert ends == {
        1: ("dead", "cannot be written: AttributeError"),  # our fault: somebody should look
        2: ("dropped", "cannot be written: the account has no usable address"),
    }


def test_an_address_in_a_script_of_its_own_is_written_in_punycode(post_office: PostOffice) -> None:
    post_office.owe(2)
    for number, domain in ((1, "b\u00fccher.example"), (2, "\u4f8b\u3048.jp")):
        post_office.sql(
            "update auth.users set email = %s where email = %s", f"ann@{domain}", f"student{number}@example.edu"
        )
    assert post_office.send().accepted == 2
    assert sorted(post_office.inbox.addresses()) == ["ann@xn--bcher-kva.example", "ann@xn--r8jz45g.jp"]
