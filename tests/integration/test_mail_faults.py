"""Mail when things go wrong between us and Resend: nothing is lost, and nobody is told twice."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import Any

import pytest

from shared.database import DatabaseUnavailable
from shared.mail.resend import Invalid, ResendClient
from tests.support.mail import KEY, Killed, PostOffice
from workshop.parts.processes import free_port


def kill() -> None:
    raise Killed


def expect_one_batch_repeated(post_office: PostOffice, times: int) -> None:
    """All requests so far carried the same key and the same bytes."""
    requests = post_office.inbox.requests
    assert len(requests) == times
    assert len(set(requests)) == 1


def test_a_mailer_killed_before_it_froze_leaves_the_rows_to_the_next(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.writer.hook = lambda mail: kill()
    post_office.send_and_die()
    post_office.writer.hook = lambda mail: None
    assert post_office.send("next").accepted == 0  # still leased
    post_office.pass_time(seconds=61)
    assert post_office.send("next").accepted == 3


def test_a_mailer_killed_before_it_sent_is_followed_by_the_same_bytes(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.resend.before = kill
    post_office.send_and_die()
    frozen = post_office.batches()[0]
    post_office.resend.before = lambda: None
    post_office.pass_time(seconds=61)
    assert post_office.send("next").accepted == 3
    assert post_office.inbox.requests == [(str(frozen["id"]), frozen["body"].encode())]


def test_a_mailer_killed_between_acceptance_and_settlement_tells_nobody_twice(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.resend.after = kill
    post_office.send_and_die()
    post_office.resend.after = lambda: None
    assert post_office.statuses() == {"sending": 3}
    post_office.pass_time(seconds=61)
    assert post_office.send("next").accepted == 3
    expect_one_batch_repeated(post_office, 2)
    assert len(post_office.inbox.addresses()) == 3
    assert all(row["message_id"] for row in post_office.mail())


def test_after_a_mailer_died_in_flight_a_refusal_is_no_longer_certain(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.resend.after = kill
    post_office.send_and_die()
    post_office.resend.after = lambda: None
    post_office.inbox.misbehave("missing_key")
    post_office.pass_time(seconds=61)
    post_office.send("next")
    assert post_office.statuses() == {"sending": 1}
    post_office.pass_time(minutes=16)
    post_office.send("next")
    assert post_office.statuses() == {"sent": 1}
    expect_one_batch_repeated(post_office, 3)


@pytest.mark.parametrize(
    ("fault", "options"),
    [
        ("error", {"status": 500, "accepted": True}),
        ("error", {"status": 503, "accepted": True}),
        ("cut", {"accepted": True}),
        ("nonsense", {"accepted": True}),
        ("hang", {"accepted": True, "seconds": 2.0}),
        ("error", {"status": 500, "accepted": False}),
        ("cut", {"accepted": False}),
        ("nonsense", {"accepted": False}),
    ],
)
def test_an_unknown_outcome_repeats_the_same_bytes_under_the_same_key(
    post_office: PostOffice, fault: str, options: dict[str, Any]
) -> None:
    post_office.owe(3)
    post_office.resend._client = ResendClient(post_office.inbox.server.url, KEY, seconds=0.5)
    post_office.inbox.misbehave(fault, **options)
    report = post_office.send()
    assert (report.state, report.accepted, report.dead) == ("parked", 0, 0)
    assert report.reason is not None
    assert report.reason.startswith("Resend")
    assert post_office.statuses() == {"sending": 3}
    post_office.pass_time(seconds=5)
    assert post_office.send().accepted == 3
    expect_one_batch_repeated(post_office, 2)
    assert len(post_office.inbox.addresses()) == 3


def test_a_concurrent_request_is_not_a_certain_refusal_and_delays_nobody_else(post_office: PostOffice) -> None:
    post_office.owe(201)
    post_office.inbox.misbehave("concurrent", count=2)
    assert post_office.send().accepted == 1
    assert post_office.statuses() == {"sending": 200, "sent": 1}
    post_office.pass_time(seconds=5)
    assert post_office.send().accepted == 200
    assert len(post_office.inbox.addresses()) == 201
    tries = post_office.sql("select attempts, count(*) from pickmyclass.outbox group by attempts order by attempts")
    assert [(row["attempts"], row["count"]) for row in tries] == [(1, 1), (2, 200)]


def test_a_rate_limit_is_waited_for(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.inbox.misbehave("rate_limit", retry_after=7)
    report = post_office.send()
    assert report.state == "paused"
    assert report.wait_seconds is not None
    assert 5 < report.wait_seconds <= 7
    assert post_office.statuses() == {"pending": 3}
    post_office.pass_time(seconds=7)
    assert post_office.send().accepted == 3


def test_patience_waits_for_a_rate_limit(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.inbox.misbehave("rate_limit", retry_after=1)
    assert post_office.send(patience=20.0).accepted == 3


@pytest.mark.parametrize(
    ("fault", "options", "words", "minutes"),
    [
        ("quota", {"period": "daily", "count": 2}, "daily_quota_exceeded", 60),
        ("quota", {"period": "monthly", "count": 2}, "monthly_quota_exceeded", 60),
        ("missing_key", {}, "missing_api_key", 15),
        ("forbid", {"name": "invalid_api_key"}, "invalid_api_key", 15),
        ("forbid", {"name": "validation_error"}, "validation_error", 15),
    ],
)
def test_quota_and_account_park_mail_and_never_kill_it(
    post_office: PostOffice, fault: str, options: dict[str, Any], words: str, minutes: int
) -> None:
    post_office.owe(3)
    post_office.inbox.misbehave(fault, **options)
    report = post_office.send()
    assert report.state == "parked"
    assert words in (report.reason or "")
    assert report.wait_seconds is not None
    assert (minutes - 1) * 60 < report.wait_seconds <= minutes * 60
    assert post_office.statuses() == {"pending": 3}
    post_office.pass_time(minutes=minutes)
    assert post_office.send().accepted == 3


def test_parked_seat_mail_can_still_be_dropped(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.inbox.misbehave("quota", count=2)  # of three, and of one
    assert post_office.send().state == "parked"
    post_office.fill()
    post_office.pass_time(hours=1)
    post_office.send()
    assert post_office.statuses() == {"dropped": 3}


def test_an_operator_releases_parked_mail_at_once(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.inbox.misbehave("missing_key")
    post_office.send()
    post_office.database.call("pmc_release_mail")
    assert post_office.send().accepted == 3


def test_a_refused_connection_is_certain_and_parks_longer_and_longer(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.resend._client = ResendClient(f"http://127.0.0.1:{free_port()}", KEY)
    waits = []
    for _ in range(4):
        report = post_office.send()
        assert report.state == "parked"
        waits.append(round(report.wait_seconds or 0))
        post_office.pass_time(minutes=6)
    assert waits == [1, 2, 4, 8]
    assert post_office.statuses() == {"pending": 1}
    assert [batch["outcome"] for batch in post_office.batches()] == ["dissolved"] * 4


def test_when_resend_is_back_nobody_waits_out_his_backoff(post_office: PostOffice) -> None:
    post_office.owe(350)
    post_office.inbox.misbehave("error", count=3, status=503, accepted=True)
    for _ in range(3):
        post_office.send()
        post_office.sql("update pickmyclass.mail_hold set parked_until = null")
        post_office.sql("update pickmyclass.mail_batches set next_attempt_at = now() + interval '15 min'")
    assert post_office.statuses() == {"sending": 300, "pending": 50}
    assert post_office.send().accepted == 350
    assert len(post_office.inbox.addresses()) == 350


def test_a_batch_in_trouble_among_others_that_pass_keeps_its_backoff(post_office: PostOffice) -> None:
    post_office.owe(101)
    post_office.inbox.misbehave("error", status=500)
    post_office.send()
    post_office.sql("update pickmyclass.mail_hold set parked_until = null")
    post_office.sql("update pickmyclass.mail_batches set next_attempt_at = now() + interval '15 min'")
    assert post_office.send().accepted == 1


def test_an_address_that_is_refused_is_given_up_while_other_mail_is_under_way(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.inbox.misbehave("error", status=500)
    post_office.send()
    assert post_office.statuses() == {"sending": 2}
    post_office.sql("update pickmyclass.mail_hold set parked_until = null")
    post_office.owe(1)
    post_office.resend._client = Refuses()
    post_office.send("next")
    assert post_office.statuses() == {"sending": 2, "dead": 1}


class Refuses:
    """A Resend that takes no email as it is."""

    def send_batch(self, _key: str, _body: str, _size: int) -> Invalid:
        return Invalid("no")


def test_a_part_of_the_days_quota_is_used(post_office: PostOffice) -> None:
    post_office.inbox.app.limits.daily_quota = 40
    post_office.owe(90)
    report = post_office.send(patience=30)
    assert (report.accepted, report.state) == (40, "parked")
    assert post_office.statuses() == {"sent": 40, "pending": 50}


def test_a_batch_that_the_quota_does_not_hold_is_halved_by_its_own_size(post_office: PostOffice) -> None:
    post_office.owe(160)
    post_office.inbox.misbehave("concurrent", count=1)
    post_office.inbox.misbehave("quota", count=1)
    post_office.send()
    assert post_office.sql("select batch_limit from pickmyclass.mail_hold") == [{"batch_limit": 30}]


def test_one_bad_address_fails_alone(post_office: PostOffice) -> None:
    post_office.owe(5)
    post_office.inbox.misbehave("reject", match="student3@example.edu", count=None)
    report = post_office.send()
    assert (report.accepted, report.dead) == (4, 1)
    ids = {mail.body["to"][0]: mail.id for mail in post_office.inbox.app.mailbox.mails()}
    for row in post_office.mail():
        if row["email"] == "student3@example.edu":
            assert (row["status"], row["message_id"]) == ("dead", None)
            assert row["last_error"] == "Invalid `to` field. The address does not exist."
        else:
            assert (row["status"], row["message_id"]) == ("sent", ids[row["email"]])


def test_a_batch_refused_as_a_whole_is_tried_row_by_row(post_office: PostOffice) -> None:
    post_office.owe(3)
    post_office.inbox.misbehave("invalid", count=2, message="Something about student1@example.edu is wrong.")
    report = post_office.send()
    assert (report.accepted, report.dead) == (2, 1)
    assert [len(json.loads(body)) for _, body in post_office.inbox.requests] == [3, 1, 1, 1]
    dead = next(row for row in post_office.mail() if row["status"] == "dead")
    assert dead["last_error"] == "Resend: Something about <address> is wrong. (422 validation_error)"


def test_a_row_that_was_invalid_beside_others_does_not_join_new_ones(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.inbox.misbehave("invalid")
    post_office.inbox.misbehave("quota")
    post_office.send()
    post_office.owe(2)
    post_office.database.call("pmc_release_mail")
    assert post_office.send().accepted == 4
    assert [len(json.loads(body)) for _, body in post_office.inbox.requests] == [2, 1, 1, 1, 2]


def test_an_outcome_unknown_for_twenty_hours_is_given_up_and_never_sent_blindly(post_office: PostOffice) -> None:
    post_office.owe(2)
    post_office.inbox.misbehave("cut", count=None, accepted=True)
    post_office.send()
    post_office.pass_time(hours=19, minutes=59)
    post_office.send()
    assert post_office.statuses() == {"sending": 2}
    assert len(post_office.inbox.requests) == 2
    post_office.pass_time(minutes=2)
    post_office.send()
    assert post_office.statuses() == {"dead": 2}
    assert {row["last_error"] for row in post_office.mail()} == {"unknown whether sent"}
    assert len(post_office.inbox.requests) == 2
    assert post_office.batches()[0]["outcome"] == "dead"


def test_a_mailer_that_died_twenty_hours_ago_is_not_repeated(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.resend.after = kill
    post_office.send_and_die()
    post_office.resend.after = lambda: None
    post_office.pass_time(hours=20)
    post_office.send()
    assert post_office.statuses() == {"dead": 1}
    assert len(post_office.inbox.addresses()) == 1


def test_twenty_hours_of_refusals_for_certain_kill_nothing(post_office: PostOffice) -> None:
    post_office.owe(1)
    post_office.inbox.misbehave("quota", count=30)
    for _ in range(30):
        assert post_office.send().state == "parked"
        post_office.pass_time(hours=1)
    assert post_office.send().accepted == 1


def test_a_settlement_that_the_database_lost_is_made_again(
    post_office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    post_office.owe(2)
    pauses: list[float] = []
    monkeypatch.setattr("shared.mail.send.time", SimpleNamespace(monotonic=time.monotonic, sleep=pauses.append))
    call, lost = post_office.database.call, ["first", "second"]

    def flaky(function: str, **arguments: Any) -> Any:
        answer = call(function, **arguments)
        if function == "pmc_settle_batch" and lost:
            lost.pop()  # done, but the answer does not arrive
            raise DatabaseUnavailable("gone")
        return answer

    monkeypatch.setattr(post_office.database, "call", flaky)
    post_office.send()
    assert post_office.statuses() == {"sent": 2}
    assert 0 < pauses[0] < pauses[1], "and each pause is longer"


def test_a_freeze_whose_answer_was_lost_is_sent_once(post_office: PostOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    post_office.owe(2)
    call, lost = post_office.database.call, ["once"]

    def flaky(function: str, **arguments: Any) -> Any:
        answer = call(function, **arguments)
        if function == "pmc_freeze_batch" and lost:
            lost.pop()
            raise DatabaseUnavailable("gone")
        return answer

    monkeypatch.setattr(post_office.database, "call", flaky)
    with pytest.raises(DatabaseUnavailable):
        post_office.send()
    post_office.pass_time(seconds=61)
    assert post_office.send().accepted == 2
    assert len(post_office.inbox.addresses()) == 2


def test_a_freeze_made_twice_gives_the_same_answer(post_office: PostOffice) -> None:
    post_office.owe(2)
    call = post_office.database.call
    rows = call("pmc_gather_mail", p_worker="w")["rows"]
    emails = [{"id": row["id"], "to": row["email"], "email": "{}"} for row in rows]
    batch = {"p_worker": "w", "p_batch_id": "0b9c1f5e-6f0a-4c33-9d2e-1b0c5d7e8f90", "p_emails": emails}
    assert call("pmc_freeze_batch", **batch) == call("pmc_freeze_batch", **batch)
    assert len(post_office.batches()) == 1


class TestALateMailer:
    """A mailer that was paused past its lease (SIGSTOP) while another one took its batch over."""

    @pytest.fixture
    def batch(self, post_office: PostOffice) -> str:
        post_office.owe(2)
        call = post_office.database.call
        rows = call("pmc_gather_mail", p_worker="late")["rows"]
        emails = [{"id": row["id"], "to": row["email"], "email": "{}"} for row in rows]
        batch = "0b9c1f5e-6f0a-4c33-9d2e-1b0c5d7e8f90"
        call("pmc_freeze_batch", p_worker="late", p_batch_id=batch, p_emails=emails)
        post_office.pass_time(seconds=61)
        assert call("pmc_gather_mail", p_worker="other")["batch"]["id"] == batch
        return batch

    def test_its_refusal_counts_for_nothing(self, post_office: PostOffice, batch: str) -> None:
        outcome = Invalid("no").as_json()
        answer = post_office.database.call("pmc_settle_batch", p_batch_id=batch, p_worker="late", p_outcome=outcome)
        assert answer["state"] == "waiting"
        assert post_office.statuses() == {"sending": 2}
        assert post_office.batches()[0]["leased_by"] == "other"

    def test_its_acceptance_is_a_fact(self, post_office: PostOffice, batch: str) -> None:
        outcome = {"kind": "accepted", "message_ids": ["a", "b"], "errors": []}
        call = post_office.database.call
        assert call("pmc_settle_batch", p_batch_id=batch, p_worker="late", p_outcome=outcome)["sent"] == 2
        late = call("pmc_settle_batch", p_batch_id=batch, p_worker="other", p_outcome=Invalid("no").as_json())
        assert late["state"] == "settled before"
        assert [row["message_id"] for row in post_office.mail()] == ["a", "b"]

    def test_it_cannot_freeze_what_another_has_gathered(self, post_office: PostOffice) -> None:
        post_office.owe(1)
        call = post_office.database.call
        rows = call("pmc_gather_mail", p_worker="late")["rows"]
        post_office.pass_time(seconds=61)
        call("pmc_gather_mail", p_worker="other")
        emails = [{"id": row["id"], "to": row["email"], "email": "{}"} for row in rows]
        batch = "0b9c1f5e-6f0a-4c33-9d2e-1b0c5d7e8f90"
        answer = call("pmc_freeze_batch", p_worker="late", p_batch_id=batch, p_emails=emails)
        assert answer["state"] == "empty"
