"""What others wrote into our keys: it is buried by itself, its neighbours run, and nothing spins because of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from shared.lock import Busy
from shared.queue.fetcher import Fetcher
from shared.queue.jobs import Job
from shared.source.breaker import BreakerStatus
from tests.support.redis import NOW, QUICK, Workplace, command_counts, wait_until

pytestmark = pytest.mark.real_redis

Places = Callable[..., Workplace]
GOOD = [f"good{number}" for number in range(15)]
HEAD = '{"id":"x","deaths":0,"attempts":0,"expires":0,"due":0,"now":null,"pushed":0,"urgent":false,"task":"work",'
BODIES: dict[str, bytes] = {
    "a number that is no number": HEAD.replace('"attempts":0', '"attempts":1e999').encode() + b'"payload":{}}',
    "infinity": HEAD.replace('"pushed":0', '"pushed":Infinity').encode() + b'"payload":{}}',
    "a time that no clock shows": HEAD.replace('"due":0', f'"due":{10**400}').encode() + b'"payload":{}}',
    "a hundred thousand brackets": HEAD.encode() + b'"payload":' + b"[" * 100_000 + b"}",
    "brackets alone": b"[" * 100_000,
    "a body that breaks off": HEAD.encode(),
    "no deaths": b'{"id":"x"}',
    "nothing": b"",
    "a list": b"[]",
    "bytes that are no text": b'{"id":"x","deaths":0,"\xff\xfe',
    "arguments of the wrong shape": HEAD.encode() + b'"payload":"abc"}',
}
ENTRIES: dict[str, bytes] = {
    "an empty entry": b"",
    "led by a space": b" x",
    "a key alone": b"bad",
    "ended by a space": b"bad ",
    "three words": b"bad B x",
    "lines": b"bad\nx",
    "no text": b"\xff\xfe \x00",
    "very long": b"x" * 100_000,
    "an id with a quotation mark": b'bad x"y',
    "an id with a backslash": b"bad x\\y",
}


def jobs(*keys: str) -> list[Job]:
    return [Job("work", key, {"key": key}) for key in keys]


def commands_while_idle(client: redis.Redis, seconds: float) -> int:
    """How many commands the server runs in a while in which the consumer waits for its doorbell."""
    wait_until(lambda: any(one["cmd"] == "brpoplpush" for one in client.client_list()))
    client.config_resetstat()
    assert not threading.Event().wait(seconds)
    return sum(command_counts(client).values())


def run_among(place: Workplace, client: redis.Redis, spoil: Callable[[], object]) -> None:
    """Spoil something between fifteen good jobs, and see that those run, once, and that then all is quiet."""
    place.huey.push(jobs(*GOOD[:8]), NOW)
    spoil()
    place.huey.push(jobs(*GOOD[8:]), NOW)
    consumer = place.consume()
    wait_until(lambda: set(place.runs) >= set(GOOD), 5.0)
    wait_until(lambda: not consumer.fetcher.holdings and client.llen(place.huey.storage.waiting) == 0, 5.0)
    assert sorted(key for key in place.runs if key in GOOD) == sorted(GOOD), "each once"
    assert consumer.snapshot().threads_alive
    wait_until(lambda: consumer.fetcher.intake.left == 0)
    assert commands_while_idle(client, 0.3) <= 6, "a doorbell, and what is left of a round trip"


@pytest.mark.parametrize("what", BODIES)
def test_a_body_that_cannot_be_read_is_buried_by_itself(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, what: str
) -> None:
    place = queue_on(redis_url)
    storage = place.huey.storage

    def spoil() -> None:
        redis_client.hset(storage.jobs, "bad", BODIES[what])  # type: ignore[arg-type]
        redis_client.lpush(storage.waiting, "bad x")

    run_among(place, redis_client, spoil)
    (letter,) = place.huey.dead_letters.list()
    assert letter.key == "bad"
    assert letter.reason == "unreadable"
    assert redis_client.hlen(storage.jobs) == 0


@pytest.mark.parametrize("what", ENTRIES)
def test_an_entry_that_is_none_of_ours_is_buried_by_itself(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, what: str
) -> None:
    place = queue_on(redis_url)
    run_among(place, redis_client, lambda: redis_client.lpush(place.huey.storage.waiting, ENTRIES[what]))
    (letter,) = place.huey.dead_letters.list()
    assert letter.key.startswith("damaged:")
    assert letter.key.isprintable()
    assert letter.reason == "damaged"
    assert place.huey.dead_letters.drop(letter.key)


@pytest.mark.parametrize(
    "name", ["waiting", "jobs", "doorbell", "consumers", "dead", "alone", "held", "lease", "pause"]
)
def test_a_key_of_another_type_is_put_aside_and_told_of(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, name: str
) -> None:
    place = queue_on(redis_url)
    storage = place.huey.storage
    names = {"held": storage.held_key("one"), "lease": storage.lease_key("one"), "pause": storage.pause_key}
    key = names.get(name) or getattr(storage, name)
    if name in ("waiting", "jobs", "doorbell", "consumers", "dead"):
        redis_client.set(key, "of another type")
    else:
        redis_client.rpush(key, "of another type")
    if name == "dead":
        redis_client.set(storage.dead_flag, "1")
    place.huey.push(jobs("early"), NOW)
    consumer = place.consume()
    place.huey.push(jobs(*GOOD), NOW)
    wait_until(lambda: set(place.runs) >= {*GOOD, "early"}, 5.0)
    wait_until(lambda: not consumer.fetcher.holdings and consumer.fetcher.intake.left == 0, 5.0)
    assert commands_while_idle(redis_client, 0.3) <= 6
    if name in ("waiting", "jobs", "consumers", "dead"):
        assert redis_client.get(f"{key}:damaged") == "of another type"
        assert [letter.reason for letter in place.huey.dead_letters.list()] == ["damaged"]


def test_a_doorbell_that_is_none_is_removed_while_somebody_waits_for_it(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    redis_client.set(place.huey.storage.doorbell, "of another type")
    consumer = place.consume()
    wait_until(lambda: redis_client.exists(place.huey.storage.doorbell) == 0)
    place.huey.push(jobs("a"), NOW)
    place.wait_for_runs(1)
    assert consumer.snapshot().redis_connected


@pytest.mark.parametrize("rest", [b"", b"\n"])
def test_what_must_run_alone_runs_also_when_its_line_has_lost_its_end(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, rest: bytes
) -> None:
    place = queue_on(redis_url)
    storage = place.huey.storage

    def spoil() -> None:
        place.huey.push(jobs("suspect"), NOW)
        redis_client.lrem(storage.waiting, 1, entry := str(redis_client.lindex(storage.waiting, 0)))
        redis_client.set(storage.alone, b"no entry\xff\n" + b"gone x\n" + entry.encode() + rest)

    run_among(place, redis_client, spoil)
    assert place.runs.count("suspect") == 1
    assert redis_client.get(storage.alone) == ""
    assert [letter.reason for letter in place.huey.dead_letters.list()] == ["damaged"]


def test_a_longer_pause_that_is_on_stays(redis_url: str, redis_client: redis.Redis, queue_on: Places) -> None:
    storage = queue_on(redis_url).huey.storage
    for seconds in (30.0, 60.0, 1.0, 60.0):
        storage.pause(seconds)
    assert 59_000 < redis_client.pttl(storage.pause_key) <= 60_000


def test_a_pause_without_an_end_ends(redis_url: str, redis_client: redis.Redis, queue_on: Places) -> None:
    place = queue_on(redis_url, durations=replace(QUICK, pause=1.0))
    redis_client.set(place.huey.storage.pause_key, "1")
    place.huey.push(jobs(*GOOD), NOW)
    began = time.monotonic()
    consumer = place.consume()
    wait_until(lambda: redis_client.pttl(place.huey.storage.pause_key) > 0)
    wait_until(lambda: not consumer.fetcher.intake.is_open)
    assert commands_while_idle(redis_client, 0.3) <= 6
    assert place.runs == []
    place.wait_for_runs(15)
    assert time.monotonic() - began >= 1.0


def test_a_lock_without_an_end_ends_and_one_of_another_type_is_nobodys(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    lock = queue_on(redis_url, durations=replace(QUICK, lock=60.0)).huey.lock
    redis_client.set(lock.key, "somebody")
    assert lock.acquire("tick") == Busy("somebody")
    assert 0 < redis_client.pttl(lock.key) <= 60_000
    redis_client.delete(lock.key)
    redis_client.rpush(lock.key, "nobody")
    lock.acquire("tick")
    assert lock.status().holder == "tick"


def test_a_breaker_written_by_hand_stops_nobody(redis_url: str, redis_client: redis.Redis, queue_on: Places) -> None:
    place = queue_on(redis_url)
    redis_client.set(place.huey.breaker.key, '{"state":"CLOSED"}')
    place.huey.push(jobs(*GOOD), NOW)
    place.consume()
    place.wait_for_runs(15)
    place.wait_until_settled()


def test_a_consumer_that_holds_jobs_and_starts_none_says_so_and_a_closed_gate_holds_none(
    redis_url: str, queue_on: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = queue_on(redis_url)
    place.huey.push(jobs(*GOOD), NOW)
    with monkeypatch.context() as stuck:
        stuck.setattr(Fetcher, "_can_start", lambda _: False)
        consumer = place.consume()
        wait_until(lambda: consumer.snapshot().buffered > 0)
        assert consumer.snapshot().stalled_for < 60
        consumer.fetcher.moved_at -= 60
        assert consumer.snapshot().stalled_for >= 60
        consumer.fetcher._observe(BreakerStatus(state="UNKNOWN"))
        wait_until(lambda: consumer.snapshot().stalled_for == 0 or consumer.fetcher.intake.is_open)
    place.wait_for_runs(15)
    assert consumer.snapshot().stalled_for == 0


def test_a_job_that_killed_its_consumer_is_taken_over_also_when_its_deaths_are_unreadable(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    storage = place.huey.storage
    redis_client.hset(storage.jobs, "bad", '{"id":"x"}')
    place.huey.push(jobs(*GOOD), NOW)
    entries = [str(entry) for entry in redis_client.lrange(storage.waiting, 0, -1)]
    redis_client.delete(storage.waiting)
    redis_client.sadd(storage.consumers, "dead")
    redis_client.set(storage.held_key("dead"), "R bad x\n" + "".join(f"B {entry}\n" for entry in entries))
    assert place.huey.take_over("dead") == (16, 0, 0)
    place.consume()
    place.wait_for_runs(15)
    wait_until(lambda: [letter.key for letter in place.huey.dead_letters.list()] == ["bad"])


@pytest.mark.parametrize("done", ["F {}\n", "R {}\nD {}\n"], ids=["told", "told behind"])
def test_a_job_that_its_consumer_had_finished_can_be_queued_again_after_a_take_over(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, done: str
) -> None:
    place = queue_on(redis_url)
    storage = place.huey.storage
    place.huey.push(jobs("done", "left"), NOW)
    entries = {str(entry).split()[0]: str(entry) for entry in redis_client.lrange(storage.waiting, 0, -1)}
    redis_client.delete(storage.waiting)
    redis_client.sadd(storage.consumers, "dead")
    redis_client.set(storage.held_key("dead"), done.format(*[entries["done"]] * 2) + f"B {entries['left']}\n")
    assert place.huey.push(jobs("done", "left"), NOW).enqueued == 0
    assert place.huey.take_over("dead") == (1, 0, 0)
    assert place.huey.push(jobs("done", "left"), NOW).keys == {"done"}


@pytest.mark.parametrize("what", ["no end", "an end far away", "another type"])
def test_a_lease_that_never_ends_keeps_a_dead_consumers_jobs_for_one_lease_only(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, what: str
) -> None:
    place = queue_on(redis_url, durations=replace(QUICK, lease=60.0))
    storage = place.huey.storage
    place.huey.push(jobs("a"), NOW)
    redis_client.sadd(storage.consumers, "dead")
    redis_client.set(storage.held_key("dead"), f"B {redis_client.rpop(storage.waiting)}\n")
    if what == "another type":
        redis_client.rpush(storage.lease_key("dead"), "1")
    else:
        redis_client.set(storage.lease_key("dead"), "1", ex=None if what == "no end" else 10**6)
    assert place.huey.take_over("dead") is None
    assert 0 < redis_client.pttl(storage.lease_key("dead")) <= 60_000
    redis_client.pexpire(storage.lease_key("dead"), 1)
    wait_until(lambda: place.huey.take_over("dead") == (1, 0, 0))
    place.consume()
    place.wait_for_runs(1)


LETTERS: dict[str, bytes] = {
    "no JSON": b'{"first_failure":1,"last_failure":1,"reason":"poison","error":"","job":{"id":"a"b"}}',
    "nothing": b"",
    "a list": b"[]",
    "fields missing": b'{"job":null}',
    "times that are none": b'{"first_failure":"x","last_failure":Infinity,"reason":"r","error":"","job":null}',
    "bytes that are no text": b"\xff\xfe",
    "a hundred thousand brackets": b"[" * 100_000,
}


@pytest.mark.parametrize("what", LETTERS)
def test_a_dead_letter_that_cannot_be_read_hides_no_other_and_can_be_dropped(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, what: str
) -> None:
    place = queue_on(redis_url)
    storage, letters = place.huey.storage, place.huey.dead_letters
    redis_client.hset(storage.jobs, "sound", "[]")
    redis_client.lpush(storage.waiting, "sound x")
    place.consume()
    wait_until(lambda: [letter.key for letter in letters.list()] == ["sound"])
    redis_client.hset(storage.dead, "bad", LETTERS[what])  # type: ignore[arg-type]
    assert {letter.key: letter.reason for letter in letters.list()} == {"sound": "unreadable", "bad": "damaged"}
    letter = letters.show("bad")
    assert letter
    assert letter.reason == "damaged"
    assert letters.requeue("bad", NOW) is None, "there is no job in it"
    assert letters.drop("bad")
    assert [letter.key for letter in letters.list()] == ["sound"]


def test_a_damaged_job_is_not_queued_again_and_its_letter_stays(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    storage, letters = place.huey.storage, place.huey.dead_letters
    redis_client.lpush(storage.waiting, "no_entry")
    place.consume()
    wait_until(lambda: [letter.key for letter in letters.list()] == ["damaged:no_entry"])
    before = letters.list()
    assert letters.requeue("damaged:no_entry", NOW) is None
    assert letters.list() == before
    assert redis_client.hlen(storage.jobs) == 0


def test_an_error_that_nobody_foresaw_does_not_end_the_fetcher(
    redis_url: str, queue_on: Places, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place = queue_on(redis_url)
    consumer = place.huey.create_consumer(workers=4, worker_id="one")
    accept, faults = consumer.fetcher.holdings.accept, iter([RuntimeError("nobody foresaw it")])

    def accept_badly(*arguments: object) -> None:
        for fault in faults:
            raise fault
        accept(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(consumer.fetcher.holdings, "accept", accept_badly)
    thread = threading.Thread(target=consumer.run, daemon=True)
    place.consumers.append((consumer, thread))
    thread.start()
    place.huey.push(jobs(*GOOD), NOW)
    place.wait_for_runs(15)
    place.wait_until_settled()
    assert sorted(place.runs) == sorted(GOOD)
    assert "nobody foresaw it" in caplog.text


def test_jobs_in_nobodys_hands_are_found_put_back_and_counted(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, caplog: pytest.LogCaptureFixture
) -> None:
    place = queue_on(redis_url)
    storage = place.huey.storage
    place.huey.push(jobs(*GOOD), NOW)
    redis_client.ltrim(storage.waiting, 4, -1)
    redis_client.hset(storage.jobs, "no key\xff", "no body")
    redis_client.sadd(storage.consumers, "one")
    assert place.huey.counts().limbo == 5
    assert place.huey.find_lost() == {"one"}
    assert place.huey.counts().limbo == 0
    assert place.huey.found_lost == 5
    assert "fault of ours" in caplog.text
    place.consume()
    place.wait_for_runs(15)
    place.wait_until_settled()
    assert [letter.reason for letter in place.huey.dead_letters.list()] == ["damaged"]
    redis_client.config_resetstat()
    place.huey.find_lost()
    assert sum(command_counts(redis_client).values()) == 4, "the script, who is known, and sizes first"


def test_what_a_consumer_holds_is_not_put_back_with_what_is_lost(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    storage = place.huey.storage
    place.huey.push(jobs("runs", "next", "again", "lost", "waits"), NOW)
    held = [redis_client.rpop(storage.waiting) for _ in range(3)]
    redis_client.rpop(storage.waiting)
    redis_client.sadd(storage.consumers, "one")
    redis_client.set(storage.held_key("one"), "".join(f"{tag} {one}\n" for tag, one in zip("RBZ", held, strict=True)))
    counts = place.huey.counts()
    assert (counts.waiting, counts.leased, counts.delayed, counts.limbo) == (1, 2, 1, 1)
    place.huey.find_lost()
    waiting = redis_client.lrange(storage.waiting, 0, -1)
    assert (place.huey.found_lost, len(waiting), set(held) & set(waiting)) == (1, 2, set())


@pytest.mark.parametrize("what", ["gone", "of another type"])
def test_jobs_that_run_are_not_called_lost_when_nobody_knows_who_runs_them(
    redis_url: str, redis_client: redis.Redis, queue_on: Places, what: str
) -> None:
    place = queue_on(redis_url, durations=replace(QUICK, lease_renewal=0.0))
    may_end, consumers = threading.Event(), place.huey.storage.consumers
    place.rules["slow"] = lambda: may_end.wait(10)
    place.huey.push(jobs("slow"), NOW)
    consumer = place.consume()
    place.wait_for_runs(1)
    with consumer.fetcher.lease.turn:
        redis_client.delete(consumers)
        if what == "of another type":
            redis_client.set(consumers, what)
        assert place.huey.find_lost() == set()
        assert place.huey.found_lost == 0
    place.huey.push(jobs("quick"), NOW)
    place.wait_for_runs(2)
    wait_until(lambda: redis_client.sismember(consumers, "one"))
    may_end.set()
    place.wait_until_settled()
    assert sorted(place.runs) == ["quick", "slow"]


def test_a_held_text_that_got_lost_is_written_again_by_the_one_who_lives(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    may_end = threading.Event()
    place.rules["good0"] = lambda: may_end.wait(10)
    place.huey.push(jobs(*GOOD), NOW)
    consumer = place.consume(workers=1)
    place.wait_for_runs(1)
    with consumer.fetcher.lease.turn:
        redis_client.delete(place.huey.storage.held_key("one"))
    may_end.set()
    place.wait_for_runs(15)
    place.wait_until_settled()
    assert sorted(place.runs) == sorted(GOOD), "each once"
    assert redis_client.hlen(place.huey.storage.jobs) == 0


def test_a_job_that_was_found_while_its_held_text_was_lost_runs_once_more_at_most_and_is_in_one_place(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    storage, may_end = place.huey.storage, threading.Event()
    place.rules["good0"] = lambda: may_end.wait(10)
    place.huey.push(jobs(*GOOD), NOW)
    consumer = place.consume(workers=1)
    place.wait_for_runs(1)
    with consumer.fetcher.lease.turn:
        redis_client.delete(storage.held_key("one"))
        place.huey.find_lost()
        found = place.huey.found_lost
    assert found > 0
    may_end.set()
    wait_until(lambda: set(place.runs) == set(GOOD))
    place.wait_until_settled()
    assert len(place.runs) <= len(GOOD) + 1, "only the one that ran may run twice"
    assert redis_client.hlen(storage.jobs) == 0


def test_dead_letters_of_another_type_are_put_aside_by_the_rescue(
    redis_url: str, redis_client: redis.Redis, queue_on: Places
) -> None:
    place = queue_on(redis_url)
    redis_client.set(place.huey.storage.dead, "of another type")
    place.huey.find_lost()
    assert place.huey.counts().dead == 1, "the letter that tells of it"
    assert redis_client.get(f"{place.huey.storage.dead}:damaged") == "of another type"
