"""`ops student`: everything known of one person, in words with remedies, and what is done by hand is written down."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shared.cli.main import ops
from shared.mail.send import send_due_mail
from tests.support.stage import EVEN, Stage
from tests.support.world import facts, see


@pytest.fixture
def address(stage: Stage) -> str:
    """A student who watches a section that is full."""
    user = stage.world.add_user()
    stage.world.add_watch(EVEN, user)
    see(stage.parts.database, facts(0), stage.clock(), section=EVEN)
    return str(stage.world.one("select email from auth.users where id = %s", user))


def run(*words: str) -> Result:
    return CliRunner().invoke(ops, ["student", *words])


def value(*words: str) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def profile(stage: Stage, assignment: str) -> None:
    stage.world.postgres.execute("insert into user_profiles (user_id) select id from auth.users on conflict do nothing")
    stage.world.postgres.execute(f"update user_profiles set {assignment}")


def told(stage: Stage) -> None:
    """The section opens and the student is mailed."""
    see(stage.parts.database, facts(2), stage.clock(), section=EVEN)
    send_due_mail(stage.parts.mail, "test")


def test_a_person_who_is_told_is_shown_with_watches_and_mail(stage: Stage, address: str) -> None:
    told(stage)
    said = run(address).output
    assert "Is told of 1 watched sections." in said
    assert f"{EVEN.term} {EVEN.class_nbr}" in said
    assert "accepted by Resend" in said


def test_nobody_is_exit_code_1_with_what_to_ask(stage: Stage) -> None:
    result = run("nobody@example.edu")
    assert (result.exit_code, "Ask for the one that they signed up with" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("assignment", "act", "words"),
    [
        ("email_bounced = true, email_bounced_at = now(), notifications_enabled = false", "forgive", "bounced"),
        ("notifications_enabled = false", "mail-on", "Wants no mail"),
        ("notifications_enabled = false, unsubscribed_at = now()", "mail-on", "Wants no mail since"),
        ("spam_complained = true, notifications_enabled = false, unsubscribed_at = now()", "mail-on", "spam"),
        (
            "is_disabled = true, disabled_at = now(), notifications_enabled = false, unsubscribed_at = now()",
            "reopen",
            "closed",
        ),
    ],
)
def test_each_hindrance_is_named_with_its_remedy_which_works_once_and_is_written_down(
    stage: Stage, address: str, assignment: str, act: str, words: str
) -> None:
    profile(stage, assignment)
    said = " ".join(run(address).output.split())
    assert words in said
    assert f"`ops student {address} {act}`" in said
    assert value(address, act)["done"] is True
    answer = value(address)
    assert answer["person"]["eligible"] is True
    assert [one["act"] for one in answer["acts"]] == [act]
    assert answer["acts"][0]["by"]
    again = run(address, act)
    assert (again.exit_code, "nothing was changed" in again.output) == (1, True)
    assert len(value(address)["acts"]) == 1


def test_an_account_that_was_unsubscribed_before_it_was_closed_stays_so(stage: Stage, address: str) -> None:
    profile(stage, "notifications_enabled = false, unsubscribed_at = now() - interval '1 day'")
    profile(stage, "is_disabled = true, disabled_at = now()")
    value(address, "reopen")
    assert value(address)["person"]["mail"] is False


def test_the_latest_mail_is_sent_once_more_only_when_that_is_certain(stage: Stage, address: str) -> None:
    assert "no mail has left" in run(address, "resend", "--yes").output
    told(stage)
    assert run(address, "resend").exit_code == 2
    assert value(address, "resend", "--yes")["done"] is True
    send_due_mail(stage.parts.mail, "test")
    assert stage.inbox.addresses() == [address, address]
    assert value(address)["acts"][0]["detail"]["mail_id"]


def test_mail_that_is_no_longer_true_is_not_sent_again(stage: Stage, address: str) -> None:
    told(stage)
    see(stage.parts.database, facts(0), stage.clock(), section=EVEN)
    value(address, "resend", "--yes")
    send_due_mail(stage.parts.mail, "test")
    assert stage.inbox.addresses() == [address]


def test_an_act_that_nobody_knows_is_refused(stage: Stage, address: str) -> None:
    assert run(address, "promote").exit_code == 2


def why(address: str) -> dict[str, Any]:
    result = CliRunner().invoke(ops, ["why", address, EVEN.term, EVEN.class_nbr, "--json"])
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_why_ends_with_what_to_do(stage: Stage, address: str) -> None:
    told(stage)
    assert why(address)["remedy"].startswith("Nothing to mend here: it left.")
    stage.world.postgres.execute("update pickmyclass.outbox set status = 'dead', last_error = 'refused'")
    assert why(address)["remedy"] == f"`ops student {address} resend` owes the mail once more."
    profile(stage, "email_bounced = true")
    assert why(address)["remedy"].startswith(f"`ops student {address}` tells what stands in the way")
    said = CliRunner().invoke(ops, ["why", address, EVEN.term, EVEN.class_nbr]).output
    assert " ".join(said.split()).endswith("how to end it.")
    assert why("nobody@example.edu")["remedy"].startswith("Ask for the address")
