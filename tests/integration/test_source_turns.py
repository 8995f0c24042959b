"""When a source may be called: turns that are evenly spaced over all servers, and a pause that everybody keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.durations import Durations
from shared.redis import connect_redis, wall_clock
from shared.source import turns
from shared.source.breaker import MAX_FAILURES, Breaker, NotNow, Permit, Unknown
from shared.source.sources import Paced
from shared.source.turns import Lane, NoTurnError, Pause, Turns
from tests.support.redis import command_counts
from workshop.parts.redis import EmbeddedRedis

RULES = Path(turns.__file__).parent
HANDED = "local function now_ms() return tonumber(ARGV[#ARGV]) end\n"
DURATIONS = Durations()


class Server:
    """A real server whose scripts take their time from our hand, in seconds."""

    def __init__(self, server: EmbeddedRedis) -> None:
        self.client = connect_redis(server.url)
        self.now = 1_764_000_000.0
        texts = {name: (RULES / f"{name}.lua").read_text() for name in ("pause_rules", "pause_source", "turns")}
        self._texts = {name: HANDED + texts["pause_rules"] + texts[name] for name in ("pause_source", "turns")}
        self.takes = 0

    def script(self, name: str) -> Callable[[Any, list[str], list[Any]], Any]:
        def run(_client: Any, keys: list[str], arguments: list[Any]) -> Any:
            self.takes += 1
            now = round(self.now * 1000)
            return self.client.eval(self._texts[name], len(keys), *keys, *arguments, now)

        return run

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def pause(self) -> Pause:
        return Pause(self.client, "test:circuit:asu", DURATIONS)

    def turns(self, lane: Lane, holder: str = "one", calls: int = 30) -> Turns:
        return Turns(
            self.client,
            self.pause(),
            lane=lane,
            holder=holder,
            calls_a_minute=calls,
            durations=DURATIONS,
            clock=lambda: self.now,
            sleep=self.sleep,
        )


@pytest.fixture
def server(redis_server: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    redis_server.flush()
    server = Server(redis_server)
    monkeypatch.setattr(turns, "_TURNS", server.script("turns"))
    monkeypatch.setattr(turns, "_PAUSE", server.script("pause_source"))
    yield server
    server.client.close()


def most_in_a_minute(begun: list[float]) -> int:
    """How many of these moments lie within any 60 seconds."""
    ordered = sorted(begun)
    return max(sum(first <= at < first + 60 for at in ordered) for first in ordered)


def begin(server: Server, taker: Turns, count: int, seconds: float = 0.3) -> list[float]:
    """When so many calls began, each of which took so long."""
    begun = []
    for _ in range(count):
        with taker.turn(200):
            begun.append(server.now)
            server.sleep(seconds)
    return begun


@pytest.mark.real_redis
class TestTurns:
    @pytest.mark.parametrize("calls", [1, 2, 9, 10, 30, 60])
    def test_calls_of_the_queue_are_evenly_spaced_and_never_too_many(self, server: Server, calls: int) -> None:
        begun = begin(server, server.turns("queue", calls=calls), 3 * calls + 2, seconds=0.1)
        waits = [later - earlier for earlier, later in pairwise(begun)]
        assert most_in_a_minute(begun) <= calls
        assert max(waits) - min(waits) < 0.01
        assert max(waits) < 60 / (calls - calls // 10 - 0.2)

    def test_redis_is_asked_for_many_turns_at_once(self, server: Server) -> None:
        begin(server, server.turns("queue"), 27 * 60)
        assert server.takes < 70, "an hour"

    def test_a_call_that_takes_long_costs_turns_and_is_not_made_up_for(self, server: Server) -> None:
        begun = begin(server, server.turns("queue"), 20, seconds=7.0)
        assert all(later - earlier >= 6.99 for earlier, later in pairwise(begun))
        assert most_in_a_minute(begun) <= 9

    def test_people_need_not_wait_for_the_queue_while_they_are_few(self, server: Server) -> None:
        begin(server, server.turns("queue"), 10)
        people = server.turns("people", "web")
        asked = server.now
        begun = begin(server, people, 4, seconds=0.0)
        assert begun[:3] == [asked] * 3
        assert begun[3] > asked + 2

    def test_no_more_is_called_when_the_time_that_one_has_does_not_suffice(self, server: Server) -> None:
        taker = server.turns("queue")
        begin(server, taker, 1)
        with pytest.raises(NoTurnError), taker.turn(0.5):
            raise AssertionError("no turn was free")

    def test_whoever_waits_for_the_lane_gets_it_next(self, server: Server) -> None:
        one, two = server.turns("queue", "one"), server.turns("queue", "two")
        begin(server, one, 4)
        with pytest.raises(NoTurnError), two.turn(0.1):
            raise AssertionError("the lane is another's")
        begin(server, one, 4)  # its turns were given before the other asked
        with pytest.raises(NoTurnError), one.turn(0.4):
            raise AssertionError("the other's wish comes first")
        assert begin(server, two, 1)

    @pytest.mark.parametrize("dead", [False, True])
    def test_turns_that_are_left_over_are_there_for_others_at_once(self, server: Server, dead: bool) -> None:
        one, two = server.turns("queue", "one"), server.turns("queue", "two")
        begin(server, one, 4)
        with pytest.raises(NoTurnError), two.turn(20):
            raise AssertionError("the lane is another's")
        if dead:
            two.leave("one")
        else:
            one.leave()
            assert not one.are_given
        asked = server.now
        assert begin(server, two, 1)[0] <= asked + 60 / 26

    def test_turns_behind_those_that_are_left_over_stay_where_they_are(self, server: Server) -> None:
        queue, people = server.turns("queue"), server.turns("people", "web")
        begin(server, queue, 4)
        first = begin(server, people, 4, seconds=0.0)[-1]  # the fourth within a minute waits for a mark
        queue.leave()
        assert begin(server, server.turns("queue", "two"), 1)[0] > first

    def test_a_killed_holders_lane_is_free_when_its_last_call_would_have_ended(self, server: Server) -> None:
        begin(server, server.turns("people", "killed"), 1)
        server.client.set(
            server.pause().key.replace("pause", "turns"), f"people {round(server.now * 1000) + 21_000} killed\n"
        )
        began = server.now
        assert begin(server, server.turns("people", "web"), 1)[0] == pytest.approx(began + 21, abs=3)

    def test_a_lost_redis_gives_no_turns(self, server: Server) -> None:
        nowhere = connect_redis("redis://127.0.0.1:9")
        pause = Pause(nowhere, "test:circuit:asu", DURATIONS)
        taker = Turns(nowhere, pause, lane="queue", holder="one", calls_a_minute=30, durations=DURATIONS)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(turns, "_TURNS", turns.Script("source/breaker_rules", "source/pause_rules", "source/turns"))
            with pytest.raises(NoTurnError), taker.turn(5):
                raise AssertionError("nobody gave it")
        nowhere.close()

    @pytest.mark.parametrize(
        "stored", ["", "nonsense", "next 99999999999999999999\nqueue 99999999999999999 gone\n", "\n\n next"]
    )
    def test_what_is_no_word_of_ours_holds_nobody_up(self, server: Server, stored: str) -> None:
        server.client.set("test:circuit:asu:turns", stored)
        began = server.now
        assert begin(server, server.turns("queue"), 1) == [began]
        server.client.delete("test:circuit:asu:turns")
        server.client.lpush("test:circuit:asu:turns", "a list")
        assert begin(server, server.turns("queue", "two"), 1)

    def test_the_real_scripts_tell_the_time_by_redis(self, redis_url: str) -> None:
        client = connect_redis(redis_url)
        pause = Pause(client, "test:circuit:asu", DURATIONS)
        taker = Turns(client, pause, lane="people", holder="web", calls_a_minute=60, durations=DURATIONS)
        client.config_resetstat()
        with taker.turn(5):
            assert client.get("test:circuit:asu:turns")
        assert sum(command_counts(client).values()) <= 10
        assert pause.extend(60) == pytest.approx(60, abs=0.01)
        with pytest.raises(NoTurnError), taker.turn(5):
            raise AssertionError("the pause is on")
        client.close()


@dataclass
class Grant:
    lane: str
    holder: str
    first: float
    count: int
    spacing: float
    given_back: float | None = None

    @property
    def marks(self) -> list[float]:
        return [self.first + number * self.spacing for number in range(self.count)]

    @property
    def ends(self) -> float:
        last = self.marks[-1] + 20
        return last if self.given_back is None else min(last, self.given_back)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["queue", "people"]),
        st.sampled_from(["one", "two", "three"]),
        st.integers(0, 50),
        st.floats(0, 30),
    ),
    max_size=60,
)


@pytest.mark.real_redis
@settings(max_examples=60, deadline=None)
@given(calls=st.sampled_from([1, 5, 10, 30, 120]), steps=STEPS)
def test_whoever_asks_when_there_are_never_too_many_calls_nor_more_than_two_at_once(
    redis_server: EmbeddedRedis, calls: int, steps: list[tuple[Lane, str, int, float]]
) -> None:
    redis_server.flush()
    server = Server(redis_server)
    run, grants, latest = server.script("turns"), [], {}
    limits = server.turns("queue", calls=calls)._limits
    for lane, holder, want, later in steps:
        server.now += later
        before = latest.get((lane, holder))
        if before and want and before.marks[-1] > server.now:
            continue  # a process asks again when it has used what it has
        if before:
            before.given_back = server.now  # none of its calls is on its way, and marks to come are not used
        count, wait, *_ = run(None, ["test:pause", "test:turns", "test:breaker"], [lane, holder, want, *limits])
        if count:
            grant = Grant(lane, holder, server.now + wait / 1000, count, limits[0] / 1000)
            grants.append(grant)
            latest[lane, holder] = grant
    server.client.close()
    used = [mark for grant in grants for mark in grant.marks]
    assert not used or most_in_a_minute(used) <= calls
    for lane in ("queue", "people"):
        mine = sorted((grant for grant in grants if grant.lane == lane), key=lambda grant: grant.first)
        for earlier, following in pairwise(mine):
            assert earlier.holder == following.holder or earlier.ends <= following.first + 0.001


@pytest.mark.real_redis
class TestPauses:
    def test_nothing_and_the_past_have_a_floor_and_each_pause_is_twice_as_long(self, server: Server) -> None:
        pause, waits = server.pause(), []
        for _ in range(12):
            waits.append(pause.extend(0))
            server.sleep(waits[-1])
        assert waits == [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]

    def test_more_is_granted_than_the_floor_when_more_is_asked_for(self, server: Server) -> None:
        assert server.pause().extend(90) == 90

    def test_answers_to_calls_that_began_before_a_pause_make_it_no_longer_than_they_ask(self, server: Server) -> None:
        one, other = server.pause(), server.pause()
        assert [one.extend(0), other.extend(0), one.extend(7), other.extend(2)] == [5, 5, 7, 7]
        server.sleep(7)
        assert one.extend(0) == 10

    def test_after_a_quiet_time_the_next_is_the_first(self, server: Server) -> None:
        pause = server.pause()
        assert pause.extend(0) == 5
        server.sleep(5)
        assert pause.extend(0) == 10
        server.client.delete(pause.key)  # what its time to live does
        assert pause.extend(0) == 5

    def test_it_is_kept_by_everybody_and_an_operator_ends_it(self, server: Server) -> None:
        server.pause().extend(60)
        other = server.turns("queue", "another server")
        with pytest.raises(NoTurnError) as refused, other.turn(200):
            raise AssertionError("the pause is on")
        assert refused.value.seconds == 60
        server.pause().end()
        assert begin(server, server.turns("queue", "a third"), 1)

    @pytest.mark.parametrize("stored", ["for ever", "99999999999999999999 3", "-1 -1", "", "7"])
    def test_what_is_no_pause_of_ours_is_none(self, server: Server, stored: str) -> None:
        server.client.set(server.pause().key, stored)
        assert begin(server, server.turns("queue"), 1)
        assert server.pause().extend(0) == 5

    @pytest.mark.parametrize("ends", ["{}", "{} x", "{} 999999999999999", "0{} 1", "{} 1 ", "list"])
    def test_whoever_looks_and_whoever_calls_read_the_same_pause(self, redis_url: str, ends: str) -> None:
        client = connect_redis(redis_url)
        pause = Pause(client, "test:circuit:asu", DURATIONS)
        if ends == "list":
            client.rpush(pause.key, "1")
        else:
            client.set(pause.key, ends.format(wall_clock() + 60_000))
        for_people = Turns(client, pause, lane="people", holder="one", calls_a_minute=30, durations=DURATIONS)
        looked = pause.look()
        try:
            with for_people.turn(1):
                called = True
        except NoTurnError:
            called = False
        assert called is (looked == 0)
        client.close()

    def test_without_redis_there_is_one_all_the_same(self) -> None:
        nowhere = connect_redis("redis://127.0.0.1:9")
        pause = Pause(nowhere, "test:circuit:asu", DURATIONS)
        assert pause.extend(0) == 5
        assert 4 < pause.left <= 5
        nowhere.close()


@pytest.mark.real_redis
def test_calls_that_are_told_of_before_are_given_their_marks_together(server: Server) -> None:
    mine = server.turns("queue")
    for _ in range(3):
        asked = server.takes
        mine.expect(10)
        for _ in range(10):
            with mine.turn(60):
                pass
        assert server.takes == asked + 1
        server.sleep(40)  # the rest of the minute nobody calls


class TestTheGateBeforeAPacedSource:
    """Turns and the breaker are asked for together."""

    def gate(self, server: Server) -> Paced:
        pause = server.pause()
        return Paced(Breaker(server.client, "test:", "bell", DURATIONS, "asu"), pause, server.turns("queue"))

    def test_one_round_trip_tells_both(self, server: Server) -> None:
        gate = self.gate(server)
        server.client.config_resetstat()
        assert isinstance(gate.allow(), Permit)
        counts = command_counts(server.client)
        assert (server.takes, counts.get("get", 0), counts["mget"]) == (1, 0, 1)
        assert isinstance(gate.allow(), Permit)
        assert server.takes == 1, "the turn is in hand"

    def test_a_breaker_that_others_opened_is_noticed(self, server: Server) -> None:
        gate, others = self.gate(server), self.gate(server).breaker
        for _ in range(MAX_FAILURES):
            others.record_failure(others.permit_now())
        answer = gate.allow()
        assert isinstance(answer, NotNow)
        assert answer.retry_after == pytest.approx(DURATIONS.breaker_open, abs=1)

    def test_a_pause_of_others_holds_back_before_anything_is_asked(self, server: Server) -> None:
        gate = self.gate(server)
        server.pause().extend(60)
        answer = gate.allow()
        assert isinstance(answer, NotNow)
        assert answer.retry_after == pytest.approx(60, abs=1)

    def test_whether_a_call_may_be_made_is_unknown_without_redis(self) -> None:
        nowhere = connect_redis("redis://127.0.0.1:9")
        pause = Pause(nowhere, "test:circuit:asu", DURATIONS)
        taker = Turns(nowhere, pause, lane="queue", holder="one", calls_a_minute=30, durations=DURATIONS)
        gate = Paced(Breaker(nowhere, "test:", "bell", DURATIONS, "asu"), pause, taker)
        assert isinstance(gate.allow(), Unknown)
        nowhere.close()

    def test_while_another_thread_waits_for_its_turn_the_breaker_is_asked_alone(self, server: Server) -> None:
        gate = self.gate(server)
        begin(server, server.turns("queue", "another server"), 1)  # the lane is theirs for a while
        assert isinstance(gate.allow(), Permit)
        assert gate.turns
        asked = []
        gate.turns._sleep = lambda seconds: (asked.append(gate.allow()), server.sleep(seconds))
        with gate.turns.turn(60):
            assert asked
            assert all(isinstance(answer, Permit) for answer in asked)
