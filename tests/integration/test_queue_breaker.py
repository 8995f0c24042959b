"""The breaker rides on the queue: parked jobs spend nothing, one probe goes at a time, and all wake when it closes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from huey.api import Task

from shared.queue.jobs import Delivery, Job, Park, RetryLater
from shared.source.breaker import BreakerStatus, NotNow, Permit
from tests.support.redis import NOW, QUICK, Workplace, wait_until

Places = Callable[..., Workplace]
PATIENT = replace(QUICK, breaker_open=0.4, probe_lease=5.0)


class Scraper:
    """What each job does: ask the breaker, then answer or fail as the test says; notes who ran beside whom."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.is_down = True
        self.calls: list[tuple[str, int, bool]] = []
        self.attempts: dict[str, list[int]] = {}
        self.most_probes_at_once = 0
        self._probes = 0
        self._lock = threading.Lock()
        place.huey.task(name="check", context=True)(self.check)

    def check(self, key: str, task: Task) -> None:
        delivery: Delivery = task.delivery
        permit = delivery.permit or self.place.huey.breaker.allow()
        if not isinstance(permit, Permit):
            raise Park
        with self._lock:
            self.calls.append((key, delivery.attempt, permit.probe is not None))
            self._probes += permit.probe is not None
            self.most_probes_at_once = max(self.most_probes_at_once, self._probes)
        try:
            threading.Event().wait(0.01)
            if self.is_down:
                self.place.huey.breaker.record_failure(permit)
                raise RetryLater(0.02, "scraper failed")
            self.place.huey.breaker.record_success(permit)
        finally:
            with self._lock:
                self._probes -= permit.probe is not None
        self.place.runs.append(key)


def checks(count: int) -> list[Job]:
    return [Job("check", f"k{number:03}", {"key": f"k{number:03}"}) for number in range(count)]


def state_of(place: Workplace) -> BreakerStatus:
    return place.huey.breaker.status()


def test_ten_failures_park_the_rest_without_spending_their_attempts(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url, durations=replace(PATIENT, breaker_open=600.0))
    scraper = Scraper(place)
    place.huey.push(checks(100), NOW)
    place.consume()
    wait_until(lambda: state_of(place).state == "OPEN")
    wait_until(lambda: (counts := place.huey.counts()).waiting == 100 and counts.leased + counts.delayed == 0)
    assert 10 <= len(scraper.calls) <= 13, "four threads at work when it opened"
    assert isinstance(place.huey.breaker.allow(), NotNow)
    assert place.huey.dead_letters.list() == []


def test_probes_go_one_by_one_and_three_good_ones_wake_everybody(any_redis_url: str, queue_on: Places) -> None:
    place, other = queue_on(any_redis_url, durations=PATIENT), queue_on(any_redis_url, durations=PATIENT)
    scraper, second = Scraper(place), Scraper(other)
    place.huey.push(checks(60), NOW)
    place.consume("one")
    wait_until(lambda: state_of(place).state == "OPEN")
    scraper.is_down = second.is_down = False
    other.consume("two")
    wait_until(lambda: len(place.runs) + len(other.runs) == 60, 20)
    place.wait_until_settled()
    probes = [call for call in scraper.calls + second.calls if call[2]]
    assert len(probes) == 3
    assert scraper.most_probes_at_once + second.most_probes_at_once <= 2, "one at a time in each"
    assert state_of(place).state == "CLOSED"
    assert sorted(place.runs + other.runs) == [f"k{number:03}" for number in range(60)]


def test_a_failed_probe_spends_one_attempt_and_goes_behind_the_others(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url, durations=PATIENT)
    scraper = Scraper(place)
    place.huey.push(checks(30), NOW)
    place.consume()
    wait_until(lambda: sum(call[2] for call in scraper.calls) >= 3, 20)
    scraper.is_down = False
    wait_until(lambda: len(place.runs) == 30, 20)
    failed_probes = [key for key, _, is_probe in scraper.calls if is_probe][:3]
    assert len(set(failed_probes)) == 3, "another one each time"
    place.wait_until_settled()


def test_a_probe_that_says_nothing_about_the_service_only_returns_its_lease(
    any_redis_url: str, queue_on: Places
) -> None:
    place = queue_on(any_redis_url, durations=replace(PATIENT, probe_lease=60.0))
    Scraper(place)
    neutral, leases = threading.Event(), []

    def note() -> None:
        leases.append(place.huey.storage.client.pttl(place.huey.breaker.probe_key))
        neutral.set()

    place.rules["neutral"] = note
    place.huey.push(checks(12), NOW)
    place.consume()
    wait_until(lambda: state_of(place).state == "OPEN")
    place.huey.push([Job("work", "neutral", {"key": "neutral"}, urgent=True)], NOW)
    assert neutral.wait(10), "it went as a probe"
    assert 10_000 < leases[0] <= 60_000
    place.wait_for_runs(1)
    wait_until(lambda: place.huey.storage.client.exists(place.huey.breaker.probe_key) == 0)


def test_a_killed_probe_blocks_no_longer_than_its_lease(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url, durations=replace(PATIENT, breaker_open=0.05, probe_lease=0.3))
    scraper = Scraper(place)
    scraper.is_down = False
    for _ in range(10):
        place.huey.breaker.record_failure(Permit())
    threading.Event().wait(0.06)
    dead = place.huey.breaker.allow()
    assert isinstance(dead, Permit)
    assert dead.probe
    place.huey.push(checks(5), NOW)
    place.consume()
    place.wait_for_runs(5, 20)


@pytest.mark.real_redis
def test_without_failures_the_breaker_costs_a_check_nothing(redis_url: str, queue_on: Places) -> None:
    place = queue_on(redis_url)
    scraper = Scraper(place)
    scraper.is_down = False
    place.huey.push(checks(50), NOW)
    client = place.huey.storage.client
    place.consume()
    place.wait_for_runs(50)
    place.wait_until_settled()
    assert client.exists(place.huey.breaker.key) == 0, "nothing was ever written"
    assert "cmdstat_incr" not in client.info("commandstats")


def test_a_success_after_a_failure_starts_the_count_again(any_redis_url: str, queue_on: Places) -> None:
    place = queue_on(any_redis_url)
    scraper = Scraper(place)
    place.huey.push(checks(4), NOW)
    place.consume()
    wait_until(lambda: len(scraper.calls) >= 4)
    scraper.is_down = False
    place.wait_for_runs(4)
    wait_until(lambda: state_of(place).failure_count == 0)
