"""/metrics: who may ask, and that the figures are those of all processes."""

import re
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.checks.check import CheckOrder
from shared.checks.measures import BOUNDS, MeasuredChecker, Measures
from shared.durations import Durations
from shared.sections.section import Section
from shared.source.answers import Listing, NotFound
from shared.source.breaker import Permit
from shared.source.sources import Guarded, Sources
from tests.support.site import SECRET, SECTIONS, Site
from tests.support.term import TERM

LOCAL = {"environ_base": {"REMOTE_ADDR": "127.0.0.1"}}
FAR = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}


def figures(site: Site) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = site.ask("GET", "/metrics", bearer=SECRET)
    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"
    samples = [sample for family in text_string_to_metric_families(answer.text) for sample in family.samples]
    found = {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}
    assert len(found) == len(samples)  # no figure twice
    return found


def test_the_operator_and_this_machine_may_ask_nobody_else(site: Site) -> None:
    assert site.ask("GET", "/metrics", **LOCAL).status_code == 200
    assert site.ask("GET", "/metrics", **FAR).status_code == 401
    assert site.ask("GET", "/metrics", bearer=SECRET, **FAR).status_code == 200
    assert site.ask("GET", "/metrics", bearer="x", **FAR).status_code == 401


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_a_proxy_on_this_machine_speaks_for_somebody_else(site: Site, header: str) -> None:
    assert site.ask("GET", "/metrics", headers={header: "127.0.0.1"}, **LOCAL).status_code == 401


@pytest.mark.parametrize(("host", "status"), [
    ("localhost", 200), ("127.0.0.1:8080", 200), ("[::1]:8080", 200),
    ("classes.example.edu", 401), ("localhost.evil.test", 401), ("127.0.0.1.nip.io", 401),
])  # fmt: skip
def test_a_proxy_that_adds_no_header_passes_on_the_name_that_was_asked_for(site: Site, host: str, status: int) -> None:
    assert site.ask("GET", "/metrics", headers={"Host": host}, **LOCAL).status_code == status


def test_names_follow_the_conventions(site: Site) -> None:
    for name, _ in figures(site):
        assert re.fullmatch(r"pickmyclass_[a-z0-9_]+", name)
        assert not re.search(r"_(ms|milliseconds|minutes)$", name)


def test_figures_of_the_stores(site: Site) -> None:
    for number in range(3):
        site.watch(site.world.add_user(), SECTIONS[number])
    site.inbox.misbehave("quota", count=None)
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user(), SECTIONS[0])
    site.ask("GET", "/api/cron?group=all", bearer=SECRET)
    found = figures(site)
    assert found["pickmyclass_up", (("part", "database"),)] == 1
    assert found["pickmyclass_up", (("part", "redis"),)] == 1
    assert found["pickmyclass_watched_sections", ()] == 3
    assert found["pickmyclass_queue_jobs", (("state", "waiting"),)] == 3
    assert found["pickmyclass_outbox_emails", (("status", "pending"),)] == 1
    assert found["pickmyclass_breaker_state", (("state", "closed"),)] == 1
    assert found["pickmyclass_breaker_state", (("state", "open"),)] == 0
    assert found["pickmyclass_source_pause_seconds", (("source", "scraper"),)] == 0
    assert found["pickmyclass_database_calls_total", (("process", "functions"),)] > 3
    assert found["pickmyclass_redis_commands_total", ()] > 3


def test_what_a_consumer_counted_is_told_by_the_functions(site: Site) -> None:
    measures = Measures()
    sources = Sources(Guarded(site.parts.scraper, site.parts.breaker, looked=measures.looked))
    checker = MeasuredChecker(site.parts.database, sources, site.parts.clock, measures)
    checker.check(CheckOrder(SECTIONS[0], 60))
    checker.check(CheckOrder(Section(TERM, "99999"), 60))
    site.misbehave("error", count=1)
    with pytest.raises(Exception, match="scraper failed"):
        checker.check(CheckOrder(SECTIONS[1], 60))
    worker = {
        "worker_id": "one:1",
        "worker_name": "one",
        "host": "box",
        "max_concurrent_jobs": 4,
        "figures": {"queue": {"completed": 2, "failed": 1}, "measures": measures.as_json() | {"database_calls": 7}},
    }
    site.parts.database.call("pmc_beat", p_worker=worker)
    found = figures(site)
    one = ("process", "one")
    assert found["pickmyclass_database_calls_total", (one,)] == 7
    assert found["pickmyclass_checks_total", (("outcome", "committed"), one)] == 1
    assert found["pickmyclass_checks_total", (("outcome", "not_found"), one)] == 1
    assert found["pickmyclass_checks_total", (("outcome", "failed"), one)] == 1
    assert found["pickmyclass_scraper_lookups_total", (("answer", "found"), one)] == 1
    assert found["pickmyclass_check_duration_seconds_bucket", (("le", "+Inf"), one)] == 3
    assert found["pickmyclass_scrape_duration_seconds_count", (one,)] == 3
    assert found["pickmyclass_jobs_ended_total", (("outcome", "completed"), ("worker", "one"))] == 2
    workers = {labels[0][1]: count for (name, labels), count in found.items() if name == "pickmyclass_workers"}
    assert workers == {"active": 1, "paused": 0, "draining": 0, "offline": 0}


def test_checks_over_http_count_as_the_functions_own(site: Site) -> None:
    site.watch(site.world.add_user())
    functions = ("process", "functions")
    assert figures(site)["pickmyclass_checks_total", (("outcome", "committed"), functions)] == 1


def test_a_restarted_consumer_replaces_its_former_self(site: Site) -> None:
    for number, incarnation in enumerate(("one:1", "one:2")):
        worker = {"worker_id": incarnation, "worker_name": "one", "host": "box", "max_concurrent_jobs": 4}
        worker["figures"] = {"queue": {"completed": 10 - number}}
        site.parts.database.call("pmc_beat", p_worker=worker)
    found = figures(site)
    assert found["pickmyclass_jobs_ended_total", (("outcome", "completed"), ("worker", "one"))] == 9
    assert found["pickmyclass_jobs_found_lost_total", (("worker", "one"),)] == 0, "of which it tells nothing"


def test_stores_that_are_gone_are_a_figure_too(site: Site) -> None:
    site.environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    site.lose_database()
    found = figures(site)
    assert found["pickmyclass_up", (("part", "database"),)] == 0
    assert found["pickmyclass_up", (("part", "redis"),)] == 0
    assert found["pickmyclass_breaker_state", (("state", "unknown"),)] == 1


def test_a_look_takes_as_long_as_its_source(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    now, seconds = [1000.0], {"look_up": 3.0, "read": 4.0}

    class Slow:
        """A source whose looks move the clock on."""

        name = "asu"

        def __getattr__(self, look: str) -> Any:
            def answer(*_: object) -> NotFound:
                now[0] += seconds[look]
                return NotFound()

            return answer

    monkeypatch.setattr("shared.source.sources.time.monotonic", lambda: now[0])
    measures = Measures()
    source = Guarded(cast(Any, Slow()), site.parts.breaker, looked=measures.looked)
    source.ask(lambda it: it.look_up(SECTIONS[0], 60), Permit())
    source.ask(lambda it: it.read(Listing(TERM, "CSE"), 60), Permit())
    assert measures.seconds_of_a_look == 3.5


def test_durations_fall_into_the_bucket_that_holds_them() -> None:
    measures = Measures()
    for seconds in (0.0, 0.05, 0.06, 90.0, 500.0):
        measures.check_ended("committed", seconds)
    buckets = measures.as_json()["seconds"]["check"]["buckets"]
    assert buckets[:2] == [2, 1]
    assert buckets[-2:] == [1, 1]
    assert sum(buckets) == 5
    assert BOUNDS[-1] < Durations().probe_lease
