"""The operator is told of each trouble once an hour at most, once more when it is over, and by one server only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from shared.database import Database
from shared.health.alerts import Unclaimed, raise_alerts, tell
from shared.health.beats import beat_figures
from shared.health.check import Trouble
from shared.queue import Snapshot
from shared.source.breaker import Permit
from tests.support.stage import EVEN, Stage
from tests.support.world import NOON, World

DEAD = Trouble("dead letters", "degraded", "2 sections could not be checked", "Look at `ops dead list`.")
SLOW = Trouble("breaker", "degraded", "The scraper fails", "Look at it.", alert_after=600)


UNCLAIMED = Unclaimed()
"""For looks at which nothing is told without a claim."""
READ_ONLY = Trouble("database takes no writes", "unhealthy", "It takes no writes", "Make room.")
AWAY = Trouble("database", "unhealthy", "The database does not answer: 7", "Look.", 120, "The database does not answer")


class Post:
    """What was sent, and whether sending works."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.keys: list[str] = []
        self.works = True

    def __call__(self, key: str, subject: str, text: str) -> bool:
        self.keys.append(key)
        if self.works:
            self.sent.append((subject, text))
        return self.works

    def subjects(self) -> list[str]:
        return [subject.removeprefix("[PickMyClass] ") for subject, _ in self.sent]


@pytest.fixture
def world(postgres: Any) -> World:
    return World(postgres)


def later(world: World, **words: float) -> None:
    """Let that much time pass for every alert."""
    world.postgres.execute(
        "update pickmyclass.alerts set since = since - %s, told_at = told_at - %s, leased_until = leased_until - %s",
        [timedelta(**words)] * 3,
    )


def test_a_trouble_is_told_with_what_to_do(database: Database) -> None:
    post = Post()
    assert tell(database, "one", [DEAD], post) == 1
    (subject, text) = post.sent[0]
    assert subject == "[PickMyClass] 2 sections could not be checked"
    assert "What to do: Look at ops dead list." in text


def test_it_is_told_once_an_hour_while_it_lasts(database: Database, world: World) -> None:
    post = Post()
    for _ in range(5):
        tell(database, "one", [DEAD], post)
    later(world, minutes=59)
    tell(database, "one", [DEAD], post)
    assert len(post.sent) == 1
    later(world, minutes=2)
    tell(database, "one", [DEAD], post)
    assert len(post.sent) == 2


def test_the_end_is_told_once(database: Database) -> None:
    post = Post()
    tell(database, "one", [DEAD], post)
    for _ in range(3):
        tell(database, "one", [], post)
    assert post.subjects() == ["2 sections could not be checked", "Over: 2 sections could not be checked"]


def test_what_comes_and_goes_is_still_told_once_an_hour_at_most(database: Database, world: World) -> None:
    post = Post()
    for _ in range(6):
        tell(database, "one", [DEAD], post)
        tell(database, "one", [], post)
        later(world, minutes=9)
    assert post.subjects() == ["2 sections could not be checked", "Over: 2 sections could not be checked"]
    later(world, minutes=20)
    tell(database, "one", [DEAD], post)
    assert len(post.sent) == 3


def test_what_is_over_before_it_was_worth_telling_is_never_told(database: Database, world: World) -> None:
    post = Post()
    tell(database, "one", [SLOW], post)
    later(world, minutes=9)
    tell(database, "one", [SLOW], post)
    tell(database, "one", [], post)
    assert (post.sent, world.one("select count(*) from pickmyclass.alerts")) == ([], 0)


def test_what_lasts_long_enough_is_told(database: Database, world: World) -> None:
    post = Post()
    tell(database, "one", [SLOW], post)
    later(world, minutes=11)
    tell(database, "one", [SLOW], post)
    assert post.subjects() == ["The scraper fails"]


def test_two_troubles_are_two_mails(database: Database) -> None:
    post = Post()
    tell(database, "one", [DEAD, Trouble("redis", "unhealthy", "Redis is gone", "")], post)
    assert sorted(post.subjects()) == ["2 sections could not be checked", "Redis is gone"]


def test_several_servers_at_once_tell_once(database: Database) -> None:
    post, start = Post(), threading.Barrier(6)

    def server(name: str) -> None:
        start.wait()
        tell(database, name, [DEAD], post)

    threads = [threading.Thread(target=server, args=(f"server{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(post.sent) == 1


def test_what_could_not_be_sent_is_sent_at_the_next_look_under_the_same_key(database: Database) -> None:
    post = Post()
    post.works = False
    assert tell(database, "one", [DEAD], post) == 0
    post.works = True
    assert tell(database, "two", [DEAD], post) == 1
    assert post.keys[0] == post.keys[1]


def test_a_server_that_dies_while_it_tells_leaves_it_to_another_once_its_lease_is_over(
    database: Database, world: World
) -> None:
    post = Post()

    def dies(key: str, subject: str, text: str) -> bool:
        raise SystemExit

    with pytest.raises(SystemExit):
        tell(database, "one", [DEAD], dies)
    tell(database, "two", [DEAD], post)
    assert post.sent == []
    later(world, minutes=3)
    tell(database, "two", [DEAD], post)
    assert len(post.sent) == 1


def test_a_trouble_that_ends_while_it_is_being_told_is_told_to_be_over(database: Database) -> None:
    post = Post()

    def slow(key: str, subject: str, text: str) -> bool:
        tell(database, "two", [], post)  # another server looks, and all is well
        return post(key, subject, text)

    tell(database, "one", [DEAD], slow)
    tell(database, "one", [], post)
    assert post.subjects() == ["2 sections could not be checked", "Over: 2 sections could not be checked"]


# ---- without a claim: the database cannot keep one


def test_a_database_that_takes_no_writes_is_told_at_once_once_an_hour_and_when_it_is_over() -> None:
    post, unclaimed, at = Post(), Unclaimed(), NOON
    for minute in (0, 1, 30, 59, 60, 61):
        unclaimed.tell([READ_ONLY], post, at + timedelta(minutes=minute))
    assert post.subjects() == ["It takes no writes"] * 2
    for minute in (62, 63):
        unclaimed.tell([], post, at + timedelta(minutes=minute))
    assert post.subjects()[2:] == ["Over: It takes no writes"]


def test_a_database_that_is_away_for_a_moment_is_nobodys_mail() -> None:
    post, unclaimed = Post(), Unclaimed()
    unclaimed.tell([AWAY], post, NOON)
    unclaimed.tell([AWAY], post, NOON + timedelta(seconds=60))
    unclaimed.tell([], post, NOON + timedelta(seconds=119))
    unclaimed.tell([AWAY], post, NOON + timedelta(seconds=180))
    assert post.sent == []
    assert unclaimed.tell([AWAY], post, NOON + timedelta(seconds=300)) == 1


def test_several_servers_without_a_claim_send_the_same_bytes_under_the_same_key() -> None:
    post = Post()
    for seconds in (3, 40):
        other = replace(AWAY, what=f"The database does not answer: {seconds}", alert_after=0)
        Unclaimed().tell([other], post, NOON + timedelta(seconds=seconds))
    assert post.keys[0] == post.keys[1]
    assert post.sent[0] == post.sent[1]


def test_what_could_not_be_sent_without_a_claim_is_sent_at_the_next_look() -> None:
    post, unclaimed = Post(), Unclaimed()
    post.works = False
    assert unclaimed.tell([READ_ONLY], post, NOON) == 0
    post.works = True
    assert unclaimed.tell([READ_ONLY], post, NOON + timedelta(minutes=1)) == 1


# ---- the whole way, through Resend's API


@pytest.fixture
def live(stage: Stage) -> Iterator[Stage]:
    """A server whose operator wants to be told, and on which all is well."""
    stage.rewire(ALERT_EMAIL="operator@example.edu")
    _beat(stage)
    now = stage.clock()
    slot = now.replace(minute=now.minute // 30 * 30, second=0, microsecond=0)
    call = stage.parts.database.call
    call("pmc_begin_tick", p_tick_id="t", p_slot=slot, p_group="even", p_source="scheduler", p_worker="one")
    call("pmc_finish_tick", p_tick_id="t", p_enqueued=1, p_already_queued=0)
    return stage


def look(stage: Stage) -> int:
    """One look, with nothing kept of the last one."""
    stage.parts.health._kept = None
    return raise_alerts(stage.parts, stage.parts.health, UNCLAIMED)


def test_nobody_is_told_when_all_is_well(live: Stage) -> None:
    assert look(live) == 0
    assert live.inbox.addresses() == []


def test_a_section_given_up_reaches_the_operator_and_so_does_its_success(live: Stage) -> None:
    _give_up(live)
    assert look(live) == 1
    (mail,) = live.inbox.app.mailbox.mails()
    assert mail.body["to"] == ["operator@example.edu"]
    assert mail.body["subject"] == "[PickMyClass] 1 section could not be checked"
    assert "ops dead list" in mail.body["text"]
    _give_up(live, error=None)
    assert look(live) == 1
    assert live.inbox.app.mailbox.mails()[1].body["subject"] == "[PickMyClass] Over: 1 section could not be checked"


def test_a_quota_that_is_used_up_is_told_at_once(live: Stage) -> None:
    live.world.postgres.execute(
        "update pickmyclass.mail_hold set parked_until = now() + interval '1 hour', park_reason = 'our quota'"
    )
    assert look(live) == 1
    assert "our quota" in live.inbox.app.mailbox.mails()[0].body["subject"]


def test_a_late_tick_is_told_when_nobody_catches_up_with_it(live: Stage) -> None:
    live.world.postgres.execute("update pickmyclass.ticks set slot = slot - interval '2 hours'")
    assert look(live) == 0
    later(live.world, minutes=6)
    assert look(live) == 1
    assert "The last tick is older than two slots" in live.inbox.app.mailbox.mails()[0].body["subject"]


def test_an_open_breaker_is_told_after_ten_minutes(live: Stage) -> None:
    for _ in range(10):
        live.parts.breaker.record_failure(Permit(live.parts.breaker.last_seen.last_state_change or 0))
    _beat(live)
    assert look(live) == 0
    later(live.world, minutes=11)
    assert look(live) == 1
    assert "calls are held back" in live.inbox.app.mailbox.mails()[0].body["subject"]


def test_a_look_costs_no_redis_command(live: Stage) -> None:
    def commands() -> int:
        with live.redis.connect() as client:
            return int(client.info("stats")["total_commands_processed"])

    look(live)
    first = commands()
    own = commands() - first
    look(live)
    assert commands() - first - own == own


def test_without_an_address_it_is_logged(live: Stage, caplog: pytest.LogCaptureFixture) -> None:
    live.rewire(ALERT_EMAIL=None)
    _give_up(live)
    assert look(live) == 1
    assert live.inbox.addresses() == []
    assert [record.cause for record in caplog.records if record.message == "alert"] == ["dead letters"]


def test_without_a_database_nothing_is_raised(live: Stage) -> None:
    live.rewire(DATABASE_URL="postgresql://127.0.0.1:9/nowhere?connect_timeout=1")
    assert look(live) == 0


def test_a_database_that_takes_no_writes_reaches_the_operator(live: Stage) -> None:
    url = live.environment["DATABASE_URL"]
    live.rewire(
        ALERT_EMAIL="operator@example.edu",
        DATABASE_URL=url + ("&" if "?" in url else "?") + "options=-c%20default_transaction_read_only%3Don",
    )
    unclaimed = Unclaimed()
    for _ in range(3):
        live.parts.health._kept = None
        raise_alerts(live.parts, live.parts.health, unclaimed)
    (mail,) = live.inbox.app.mailbox.mails()
    assert mail.body["subject"].startswith("[PickMyClass] The database answers and takes no writes")


def test_a_resend_that_refuses_is_tried_again_at_the_next_look(live: Stage) -> None:
    _give_up(live)
    live.inbox.misbehave("error", count=1)
    assert look(live) == 0
    assert look(live) == 1
    assert len(live.inbox.app.mailbox.mails()) == 1


def _give_up(stage: Stage, error: str | None = "scraper cannot be reached") -> None:
    """The check of a watched section was given up (or, without an error, succeeded after all)."""
    if error:
        stage.world.add_watch(EVEN)
    stage.parts.database.call(
        "pmc_end_attempt", p_term=EVEN.term, p_class_nbr=EVEN.class_nbr, p_slot=stage.clock(), p_error=error,
        p_now=stage.clock(),
    )  # fmt: skip


def _beat(stage: Stage) -> None:
    seen = Snapshot({}, 0, 0, 0, 0, 0, None, True, True, False)
    worker = {"worker_id": "one:1:a", "worker_name": "one", "host": "box", "max_concurrent_jobs": 4}
    figures = beat_figures(stage.parts, seen)
    stage.parts.database.call("pmc_beat", p_worker=worker | {"figures": figures})
