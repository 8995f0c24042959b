"""The breaker, driven through its life on the stand-in and on a real server."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.durations import Durations
from shared.redis import connect_redis
from shared.source.breaker import Breaker, BreakerStatus, NotNow, Permit, Unknown
from tests.support.redis import ROOT, command_counts
from workshop.parts.redis import EmbeddedRedis

FOREVER = replace(Durations(), breaker_open=3600.0, probe_lease=3600.0)


@pytest.fixture
def breaker_with(any_redis_url: str) -> Iterator[Callable[[Durations], Breaker]]:
    client = connect_redis(any_redis_url)
    yield lambda durations: Breaker(client, "test:", "test:doorbell", durations)
    client.close()


def permit_of(breaker: Breaker) -> Permit:
    permit = breaker.allow()
    assert isinstance(permit, Permit)
    return permit


def open_it(breaker: Breaker) -> None:
    for _ in range(10):
        breaker.record_failure(permit_of(breaker))
    assert breaker.status().state == "OPEN"


def test_it_opens_at_the_tenth_failure_in_a_row(breaker_with: Callable[[Durations], Breaker]) -> None:
    breaker = breaker_with(FOREVER)
    for _ in range(9):
        breaker.record_failure(permit_of(breaker))
    assert breaker.status().state == "CLOSED"
    breaker.record_failure(permit_of(breaker))
    assert breaker.status().state == "OPEN"
    refused = breaker.allow()
    assert isinstance(refused, NotNow)
    assert 3590 < refused.retry_after <= 3600


def test_a_success_between_failures_starts_the_count_again(breaker_with: Callable[[Durations], Breaker]) -> None:
    breaker = breaker_with(FOREVER)
    for _ in range(9):
        breaker.record_failure(permit_of(breaker))
    breaker.record_success(permit_of(breaker))
    for _ in range(9):
        breaker.record_failure(permit_of(breaker))
    assert breaker.status().state == "CLOSED"
    assert breaker.status().failure_count == 9


def test_half_open_lets_one_probe_through_at_a_time(breaker_with: Callable[[Durations], Breaker]) -> None:
    breaker, other = breaker_with(replace(FOREVER, breaker_open=0.001)), breaker_with(FOREVER)
    open_it(breaker)
    time.sleep(0.01)
    probe = permit_of(breaker)
    assert probe.probe
    assert breaker.status().state == "HALF_OPEN"
    assert isinstance(other.allow(), NotNow)
    breaker.return_permit(probe)
    assert breaker.status().success_count == 0
    assert permit_of(other).probe


def test_three_good_probes_close_it(breaker_with: Callable[[Durations], Breaker]) -> None:
    breaker = breaker_with(replace(FOREVER, breaker_open=0.001))
    open_it(breaker)
    time.sleep(0.01)
    for successes in (1, 2):
        breaker.record_success(permit_of(breaker))
        assert (breaker.status().state, breaker.status().success_count) == ("HALF_OPEN", successes)
    breaker.record_success(permit_of(breaker))
    status = breaker.status()
    assert (status.state, status.failure_count, status.success_count) == ("CLOSED", 0, 0)


def test_a_failed_probe_opens_it_for_the_full_time_again(breaker_with: Callable[[Durations], Breaker]) -> None:
    breaker = breaker_with(replace(FOREVER, breaker_open=0.001))
    open_it(breaker)
    time.sleep(0.01)
    breaker.record_success(permit_of(breaker))
    opened = breaker.status().last_state_change
    breaker.record_failure(permit_of(breaker))
    assert breaker.status().state == "OPEN"
    assert (breaker.status().last_state_change or 0) >= (opened or 0)
    patient = breaker_with(FOREVER)
    assert isinstance(patient.allow(), NotNow)


def test_a_probe_that_never_reports_blocks_no_longer_than_its_lease(
    breaker_with: Callable[[Durations], Breaker],
) -> None:
    breaker = breaker_with(replace(FOREVER, breaker_open=0.001))
    open_it(breaker)
    time.sleep(0.01)
    dead = permit_of(breaker_with(replace(FOREVER, breaker_open=0.001, probe_lease=0.05)))
    time.sleep(0.06)
    alive = permit_of(breaker)  # its own lease is not over, however slow the machine is
    breaker.record_success(dead)
    assert breaker.status().success_count == 0, "a probe whose lease is over says nothing any more"
    breaker.record_success(alive)
    assert breaker.status().success_count == 1


def test_failures_of_calls_from_before_it_opened_do_not_prolong_it(
    breaker_with: Callable[[Durations], Breaker],
) -> None:
    breaker = breaker_with(replace(FOREVER, breaker_open=0.001))
    early = permit_of(breaker)
    open_it(breaker)
    opened = breaker.status().last_state_change
    breaker.record_failure(early)
    assert breaker.status().last_state_change == opened
    time.sleep(0.01)
    probe = permit_of(breaker)
    breaker.record_failure(early)
    assert breaker.status().state == "HALF_OPEN", "only the probe decides"
    breaker.record_success(probe)
    breaker.record_success(permit_of(breaker))
    breaker.record_success(permit_of(breaker))
    breaker.record_failure(early)
    assert breaker.status().failure_count == 0, "nor do they count against the closed one"


def test_an_open_breaker_without_its_time_recovers(
    breaker_with: Callable[[Durations], Breaker], any_redis_url: str
) -> None:
    breaker = breaker_with(replace(FOREVER, breaker_open=0.01))
    with connect_redis(any_redis_url) as client:
        client.set(
            breaker.key,
            '{"state":"OPEN","failureCount":10,"successCount":0,"lastFailureTime":null,"lastStateChange":null}',
        )
    assert isinstance(breaker.allow(), NotNow)
    time.sleep(0.02)
    assert permit_of(breaker).probe


def test_the_stored_value_is_the_documented_json(
    breaker_with: Callable[[Durations], Breaker], any_redis_url: str
) -> None:
    breaker = breaker_with(FOREVER)
    before = time.time() * 1000 - 1
    open_it(breaker)
    with connect_redis(any_redis_url) as client:
        value = json.loads(client.get(breaker.key) or "")
    assert list(value) == ["state", "failureCount", "successCount", "lastFailureTime", "lastStateChange"]
    assert value["lastFailureTime"] == value["lastStateChange"]
    assert before <= value["lastStateChange"] <= time.time() * 1000 + 1
    assert (value["state"], value["failureCount"], value["successCount"]) == ("OPEN", 10, 0)


def test_reset_closes_it_and_wakes_those_who_wait(
    breaker_with: Callable[[Durations], Breaker], any_redis_url: str
) -> None:
    breaker = breaker_with(FOREVER)
    open_it(breaker)
    breaker.reset()
    assert breaker.status().state == "CLOSED"
    with connect_redis(any_redis_url) as client:
        assert client.llen("test:doorbell") == 1


def test_an_unreachable_redis_means_unknown_and_nobody_calls() -> None:
    client = connect_redis("redis://127.0.0.1:1/0", timeout=0.5)
    breaker = Breaker(client, "test:", "test:doorbell", Durations())
    assert isinstance(breaker.allow(), Unknown)
    assert breaker.status().state == "UNKNOWN"
    breaker.record_failure(Permit())
    breaker.record_success(Permit(probe="token"))


@pytest.mark.parametrize(
    "value", ["no json", '{"state":"CLOSED"}', '{"state":"AJAR","failureCount":-3}', "[" * 100_000]
)
def test_a_value_written_by_hand_means_the_same_to_readers_and_to_the_rules(
    breaker_with: Callable[[Durations], Breaker], any_redis_url: str, value: str
) -> None:
    breaker = breaker_with(FOREVER)
    with connect_redis(any_redis_url) as client:
        client.set(breaker.key, value)
    assert breaker.status() == BreakerStatus()
    breaker.record_failure(permit_of(breaker))
    assert breaker.status().failure_count == 1


# The stand-in hangs up after an error, at times before the next command has been answered.
@pytest.mark.parametrize("any_redis_url", [pytest.param("redis_server", marks=pytest.mark.real_redis)], indirect=True)
def test_a_key_of_another_type_in_its_place_is_nothing_stored(
    breaker_with: Callable[[Durations], Breaker], any_redis_url: str
) -> None:
    breaker = breaker_with(FOREVER)
    with connect_redis(any_redis_url) as client:
        client.rpush(breaker.key, "no text")
    assert permit_of(breaker) == Permit()
    breaker.record_failure(Permit())
    assert breaker.status().failure_count == 1


_FIELD = st.sampled_from(["state", "failureCount", "successCount", "lastFailureTime", "lastStateChange"])
_VALUE = st.sampled_from(
    [
        '"CLOSED"',
        '"OPEN"',
        '"HALF_OPEN"',
        '"half"',
        "null",
        "0",
        "7",
        "-1",
        "1e9",
        '"3"',
        "9" * 14,
        "9" * 15,
        " 5",
        "\v6",
        "",
    ]
)
_MADE = st.lists(st.tuples(_FIELD, _VALUE), max_size=6).map(
    lambda pairs: "{" + ",".join(f'"{name}" : {value}' for name, value in pairs) + "}"
)


@pytest.mark.real_redis
@given(value=st.one_of(_MADE, st.text(st.characters(codec="utf-8"), max_size=30)))
def test_python_and_lua_read_every_value_alike(redis_server: EmbeddedRedis, value: str) -> None:
    rules = (ROOT / "shared/source/breaker_rules.lua").read_text()
    show = """
      local b = read_breaker(ARGV[1])
      local function shown(number) return number and string.format('%.0f', number) or 'None' end
      return {b.state, shown(b.failures), shown(b.successes), shown(b.last_failure), shown(b.changed)}
    """
    with connect_redis(redis_server.url) as client:
        lua = client.eval(rules + show, 0, value)
    status = BreakerStatus.from_value(value)
    fields = (status.failure_count, status.success_count, status.last_failure, status.last_state_change)
    assert lua == [status.state, *map(str, fields)]


@pytest.mark.real_redis
def test_a_closed_breaker_without_failures_costs_one_read_and_no_write(redis_url: str) -> None:
    with connect_redis(redis_url) as client:
        breaker = Breaker(client, "test:", "test:doorbell", FOREVER)
        client.config_resetstat()
        breaker.record_success(permit_of(breaker))
        assert command_counts(client) == {"get": 1}


def test_each_change_leaves_one_line_in_the_log(
    breaker_with: Callable[[Durations], Breaker], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    breaker = breaker_with(replace(FOREVER, breaker_open=0.0))
    open_it(breaker)
    breaker.status()
    for _ in range(3):
        breaker.record_success(permit_of(breaker))
    said = [record.message for record in caplog.records if record.message.startswith("breaker: ")]
    assert [words.split()[1] for words in said] == ["open;", "half", "closed"]


def test_a_breaker_that_cannot_be_read_for_a_moment_has_not_changed(
    breaker_with: Callable[[Durations], Breaker], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    breaker = breaker_with(FOREVER)
    breaker.saw("nonsense", 0.0)
    breaker.saw("", 0.0)
    assert [record.message for record in caplog.records if record.message.startswith("breaker: ")] == []


CLOSED_BEFORE, OPENED = '{"state":"CLOSED","failureCount":9}', '{"state":"OPEN","lastStateChange":2000}'


def test_an_answer_that_was_overtaken_by_that_of_another_thread_is_not_believed(
    breaker_with: Callable[[Durations], Breaker], monkeypatch: pytest.MonkeyPatch
) -> None:
    breaker = breaker_with(FOREVER)
    breaker.saw(OPENED, 0.0)
    breaker.saw(CLOSED_BEFORE, 0.0)
    assert breaker.last_seen.state == "OPEN"
    later = time.monotonic() + 5.1
    monkeypatch.setattr("shared.source.breaker.time.monotonic", lambda: later)
    breaker.saw(CLOSED_BEFORE, 0.0)
    assert breaker.last_seen.state == "CLOSED", "after so long it is another server's clock, or written by hand"


def test_an_emptied_redis_is_believed_at_once(breaker_with: Callable[[Durations], Breaker]) -> None:
    breaker = breaker_with(FOREVER)
    breaker.saw(OPENED, 0.0)
    breaker.saw("", 0.0)
    assert breaker.last_seen.state == "CLOSED"
