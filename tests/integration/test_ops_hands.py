"""Operators' hands on queue, breaker, lock, consumers and mail."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shared.cli.main import ops
from shared.health.pulse import LastError
from shared.source.breaker import Permit
from tests.support.ops import Bundle
from tests.support.stage import EVEN, Stage
from tests.support.world import facts, see


def run(*words: str) -> Result:
    return CliRunner().invoke(ops, list(words))


def value(*words: str, code: int = 0) -> Any:
    """The JSON that a command prints, after its exit code was as expected."""
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def waiting(bundle: Bundle) -> int:
    return bundle.parts.huey.counts().waiting


# ---- dead


def test_dead_letters_are_listed_and_shown_with_their_reason(bundle: Bundle) -> None:
    assert run("dead", "list").output.strip() == "There are none."
    bundle.bury("2267:12431")
    assert value("dead", "list")[0]["error"] == "scraper cannot be reached"
    assert "2267:12431" in run("dead", "list").output
    assert value("dead", "show", "2267:12431")["payload"] == {"tick_id": "t"}
    assert "scraper cannot be reached" in run("dead", "show", "2267:12431").output
    assert value("dead", "show", "2267:99999", code=1)["success"] is False


@pytest.mark.parametrize("odd", [b"\xff\xfe", "\x9b31m".encode(), b"\x1b]0;x\x07", b"\xed\xa0\xbc"])
def test_an_odd_letter_in_a_dead_letter_reaches_no_terminal_and_hides_nothing(bundle: Bundle, odd: bytes) -> None:
    bundle.bury("2267:12431")
    with bundle.redis.connect() as client:
        book = "pickmyclass:queue:class-check:dlq"
        letter = client.hget(book, "2267:12431").replace(b"scraper", b"scra" + json_safe(odd) + b"per")
        client.hset(book, "2267:12431", letter)
        client.hset(book, b"2267:" + odd, letter)
    for words in (("dead", "list"), ("dead", "show", "2267:12431")):
        result = run(*words)
        assert (result.exit_code, result.exception) == (0, None)
        assert "scra" in result.output
        assert result.output.replace("\n", "").isprintable()
        plain = run(*words, "--json").stdout
        assert plain.replace("\n", "").isprintable()
        json.loads(plain)


def json_safe(odd: bytes) -> bytes:
    """As it stands in a JSON text that somebody else wrote."""
    return odd.replace(b"\x1b", b"\\u001b").replace(b"\x07", b"\\u0007")


def test_dead_letters_are_queued_again(bundle: Bundle) -> None:
    bundle.bury("2267:12431", "2267:12432", "2267:12433")
    assert value("dead", "requeue", "2267:12431")["requeued"] == ["2267:12431"]
    assert waiting(bundle) == 1
    with bundle.redis.connect() as client:
        job = json.loads(client.hget("pickmyclass:queue:class-check:jobs", "2267:12431"))
    expires = datetime.fromtimestamp(job["expires"] / 1000, UTC)
    assert timedelta() < expires - bundle.parts.clock() <= timedelta(hours=1)
    assert len(value("dead", "requeue", "--all")["requeued"]) == 2
    assert (waiting(bundle), value("dead", "list")) == (3, [])


def test_a_dead_letter_that_is_not_there_is_exit_code_1(bundle: Bundle) -> None:
    assert value("dead", "requeue", "2267:12431", code=1)["missing"] == ["2267:12431"]


def test_dead_letters_are_dropped_only_when_that_is_certain(bundle: Bundle) -> None:
    bundle.bury("2267:12431")
    assert run("dead", "drop", "--all").exit_code == 2
    assert len(value("dead", "list")) == 1
    assert value("dead", "drop", "--all", "--yes")["dropped"] == ["2267:12431"]
    assert (value("dead", "list"), waiting(bundle)) == ([], 0)


@pytest.mark.parametrize("words", [("requeue",), ("requeue", "2267:12431", "--all"), ("drop",)])
def test_neither_all_nor_some_is_a_usage_error(bundle: Bundle, words: tuple[str, ...]) -> None:
    assert run("dead", *words).exit_code == 2


# ---- breaker, lock


def test_the_breaker_is_shown_and_reset(bundle: Bundle) -> None:
    assert value("breaker", "status")["state"] == "CLOSED"
    for _ in range(10):
        bundle.parts.breaker.record_failure(Permit(bundle.parts.breaker.last_seen.last_state_change or 0))
    assert value("breaker", "status", code=1)["state"] == "OPEN"
    assert "OPEN" in run("breaker", "status").output
    assert value("breaker", "reset")["state"] == "CLOSED"
    assert run("breaker", "status").exit_code == 0


def test_the_lock_is_shown_and_taken_away_when_that_is_certain(bundle: Bundle) -> None:
    assert "free" in run("lock", "status").output
    bundle.parts.lock.acquire("scheduler:box:1")
    assert value("lock", "status")["lock_holder"] == "scheduler:box:1"
    assert "scheduler:box:1" in run("lock", "status").output
    assert run("lock", "release").exit_code == 2
    assert value("lock", "release", "--yes") == {"released": True, "holder": "scheduler:box:1"}
    assert value("lock", "status")["locked"] is False
    assert value("lock", "release")["released"] is False


def test_without_redis_they_say_so(bundle: Bundle) -> None:
    bundle.redis.kill()
    for words in (("dead", "list"), ("breaker", "reset"), ("lock", "status"), ("lock", "release")):
        result = run(*words)
        assert (result.exit_code, "Redis does not answer" in result.output) == (1, True), words


# ---- workers


def test_consumers_are_listed(bundle: Bundle) -> None:
    assert "none" in run("workers", "list").output
    bundle.beat()
    bundle.beat("two", age=500)
    assert [one["worker_name"] for one in value("workers", "list")] == ["one", "two"]
    said = run("workers", "list").output
    assert "active" in said
    assert "lost" in said


def test_consumers_are_paused_resumed_and_drained_by_name_or_all(bundle: Bundle) -> None:
    one, two = bundle.beat(), bundle.beat("two")

    def statuses() -> list[str]:
        return [worker["status"] for worker in value("workers", "list")]

    assert value("workers", "pause", "one")["workers"] == [one]
    assert statuses() == ["paused", "active"]
    assert value("workers", "resume", one)["status"] == "active"
    assert run("workers", "drain", "--all").exit_code == 2
    assert value("workers", "drain", "--all", "--yes")["workers"] == [one, two]
    assert statuses() == ["draining", "draining"]
    assert value("workers", "pause", "three", code=1)["success"] is False


def test_pausing_the_last_one_that_takes_jobs_asks_first(bundle: Bundle) -> None:
    bundle.beat()
    bundle.beat("two")
    assert value("workers", "pause", "one")["status"] == "paused"
    refused = run("workers", "pause", "two")
    assert refused.exit_code == 2
    assert "nothing would be checked" in refused.output
    assert [one["status"] for one in value("workers", "list")] == ["paused", "active"]
    assert value("workers", "pause", "two", "--yes")["status"] == "paused"


def test_consumers_show_how_fast_they_are_what_went_wrong_last_and_their_release(bundle: Bundle) -> None:
    errors = LastError(bundle.clock)
    logger = logging.getLogger("test.last.error")
    logger.addHandler(errors)
    logger.error("a tick gave up")
    logger.removeHandler(errors)
    figures = {"queue": {"completed": 90}, "last_error": errors.as_json()}
    bundle.beat(figures=figures)
    bundle.world.postgres.execute(
        "update pickmyclass.workers set created_at = last_heartbeat - interval '3 minutes',"
        ' capabilities = \'{"release": "20261126T1-0123abc"}\''
    )
    said = " ".join(run("workers", "list").output.split())
    for words in ("30.0/min", "tick gave", "0123abc"):
        assert words in said


# ---- mail


def test_mail_is_listed_with_its_reason_and_without_addresses(bundle: Bundle) -> None:
    _owe(bundle)
    answer = value("mail", "pending")
    assert answer["counts"] == {"pending": 1}
    assert "@example.edu" not in json.dumps(answer)
    said = run("mail", "pending").output
    assert "1 pending" in said
    assert "student" not in said


def test_mail_is_held_and_released(bundle: Bundle) -> None:
    _owe(bundle)
    assert value("mail", "hold", "a", "new", "template")["pending"] == 1
    assert "a new template" in run("mail", "pending").output
    assert value("mail", "release")["pending"] == 1
    assert "Held" not in run("mail", "pending").output


def test_what_the_guard_holds_is_released_only_when_that_is_certain(bundle: Bundle) -> None:
    _owe(bundle)
    bundle.world.postgres.execute("update pickmyclass.outbox set held = true")
    assert run("mail", "release").exit_code == 2
    assert value("mail", "release", "--yes")["released"] == 1


def test_dead_mail_that_was_seen_is_no_trouble_and_stays_dead(well: Bundle) -> None:
    well.owe()
    well.world.postgres.execute("update pickmyclass.outbox set status = 'dead', last_error = 'no such address'")
    assert value("status", code=1)["status"] == "degraded"
    assert value("mail", "ack")["acked"] == 1
    assert value("status")["status"] == "healthy"
    assert len(value("mail", "pending", "--status", "dead")["mail"]) == 1


def test_mail_is_dropped_by_its_id_only_when_that_is_certain(well: Bundle) -> None:
    well.owe()
    (row,) = value("mail", "pending")["mail"]
    assert run("mail", "drop", str(row["id"])).exit_code == 2
    assert value("mail", "drop", str(row["id"]), "--yes")["dropped"] == 1
    (dropped,) = value("mail", "pending", "--status", "dropped")["mail"]
    assert (dropped["id"], dropped["last_error"]) == (row["id"], "dropped by an operator")
    assert value("mail", "drop", str(row["id"]), "--yes", code=1)["dropped"] == 0


def test_mail_that_is_on_its_way_is_not_dropped(well: Bundle) -> None:
    well.owe()
    well.world.postgres.execute("update pickmyclass.outbox set status = 'sending'")
    (row,) = value("mail", "pending", "--status", "sending")["mail"]
    assert value("mail", "drop", str(row["id"]), "--yes", code=1)["dropped"] == 0


def test_dead_mail_is_owed_again(bundle: Bundle) -> None:
    _owe(bundle)
    bundle.world.postgres.execute("update pickmyclass.outbox set status = 'dead', last_error = 'refused'")
    assert "refused" in run("mail", "pending", "--status", "dead").output
    assert value("mail", "retry")["retried"] == 1
    assert value("mail", "pending")["counts"] == {"pending": 1}


def test_a_trial_reaches_the_inbox(stage: Stage) -> None:
    assert value("mail", "test", "me@example.edu")["message_id"]
    assert stage.inbox.addresses() == ["me@example.edu"]


def test_a_trial_that_resend_refuses_says_why(stage: Stage) -> None:
    stage.inbox.misbehave("quota")
    assert "quota" in value("mail", "test", "me@example.edu", code=1)["error"]
    assert "cannot be written" in value("mail", "test", "nobody", code=1)["error"]
    stage.rewire(RESEND_API_KEY=None)
    assert "RESEND_API_KEY" in value("mail", "test", "me@example.edu", code=1)["error"]


def test_every_command_says_what_it_does(bundle: Bundle) -> None:
    said = run("--help").output
    for word in ("status", "doctor", "tick", "check", "dead", "breaker", "lock", "workers", "mail", "ownership", "why"):
        assert word in said
        assert run(word, "--help").exit_code == 0


def _owe(bundle: Bundle) -> None:
    """One email that is owed."""
    bundle.world.add_watch(EVEN)
    see(bundle.parts.database, facts(0), bundle.clock(), section=EVEN)
    bundle.clock.forward(seconds=1)
    see(bundle.parts.database, facts(2), bundle.clock(), section=EVEN)
