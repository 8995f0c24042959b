"""What Resend says of a mail before the mailer has written down its message id: kept, and heard when it has."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.mail import Killed, PostOffice

RECORD = "select public.pmc_record_webhook(%s, 'email.any', %s, %s, '[]', %s)"


def kill() -> None:
    raise Killed


@pytest.fixture
def ids(post_office: PostOffice) -> list[str]:
    """Two mails that Resend accepted from a mailer that was killed then; the message ids that only Resend knows."""
    post_office.owe(2)
    post_office.resend.after = kill
    post_office.send_and_die()
    post_office.resend.after = lambda: None
    post_office.pass_time(seconds=61)
    return [mail.id for mail in post_office.inbox.app.mailbox.mails()]


@pytest.fixture
def resend(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """The session in which webhooks are recorded."""
    with psycopg.connect(postgres_url, autocommit=True) as session:
        yield session


def until_one_waits(post_office: PostOffice) -> None:
    """Until some session waits for a lock of another."""
    deadline = time.monotonic() + 10
    while not post_office.sql("select pid from pg_locks where not granted"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def told(post_office: PostOffice) -> list[tuple[str, str | None]]:
    return [(row["status"], row["last_error"]) for row in post_office.mail()]


def test_a_word_that_came_too_early_is_heard_when_the_batch_is_settled(
    post_office: PostOffice, ids: list[str], resend: psycopg.Connection[Any]
) -> None:
    resend.execute(RECORD, ["msg-1", "delivered", ids[0], None])
    resend.execute(RECORD, ["msg-2", "dead", ids[1], "failed: no such box"])
    assert post_office.statuses() == {"sending": 2}
    post_office.send("next")
    assert told(post_office) == [("delivered", None), ("dead", "failed: no such box")]


def test_of_several_early_words_the_last_stands(
    post_office: PostOffice, ids: list[str], resend: psycopg.Connection[Any]
) -> None:
    resend.execute(RECORD, ["msg-1", "delivered", ids[0], None])
    resend.execute(RECORD, ["msg-2", "dead", ids[0], "suppressed"])
    post_office.send("next")
    assert told(post_office) == [("dead", "suppressed"), ("sent", None)]


def test_a_word_of_mail_that_never_left_from_here_changes_nothing(
    post_office: PostOffice, ids: list[str], resend: psycopg.Connection[Any]
) -> None:
    resend.execute(RECORD, ["msg-1", "dead", "another system's mail", "failed"])
    post_office.send("next")
    assert post_office.statuses() == {"sent": 2}
    assert ids


@pytest.mark.parametrize("first", ["word", "settling"])
def test_a_word_and_the_settling_at_once_meet_whichever_comes_first(
    post_office: PostOffice, ids: list[str], resend: psycopg.Connection[Any], postgres_url: str, first: str
) -> None:
    settle = "update pickmyclass.outbox set status = 'sent', message_id = %s where id = %s"
    row = post_office.mail()[0]["id"]
    with psycopg.connect(postgres_url) as settling:
        one = (settling, settle, [ids[0], row])
        other = (resend, RECORD, ["msg-1", "delivered", ids[0], None])
        if first == "word":
            resend.autocommit = False
            one, other = other, one
        one[0].execute(one[1].encode(), one[2])
        late = threading.Thread(target=lambda: other[0].execute(other[1].encode(), other[2]))
        late.start()
        until_one_waits(post_office)
        one[0].commit()
        late.join(10)
        other[0].commit()
    assert told(post_office)[0] == ("delivered", None)


def test_an_unknown_effect_is_refused(resend: psycopg.Connection[Any]) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="p_effect must be"):
        resend.execute(RECORD, ["msg-1", "opened", "a", None])
