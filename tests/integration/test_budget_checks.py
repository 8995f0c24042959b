"""What a check of the whole product costs: tick, lock, queue, breaker, scrape and commit (docs/performance.md)."""

from __future__ import annotations

from contextlib import closing

import pytest
import redis

from shared.checks.tick import TickOrder
from shared.database import connect_postgres
from shared.sections.section import Section
from tests.support.redis import command_counts, wait_until
from tests.support.stage import COURSE, Stage, consuming
from tests.support.term import TERM
from workshop.bench.turns import TurnCounter
from workshop.campus.campus import Campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Timeline, Values

pytestmark = pytest.mark.real_redis


def watch(stage: Stage, count: int) -> None:
    """A campus of `count` full sections of the even group, each watched by the same student."""
    sections = [Section(TERM, f"{20000 + 2 * number}") for number in range(count)]
    timelines = [Timeline(section.class_nbr, COURSE, [(0, Values("Staff", 0, 30))]) for section in sections]
    stage.campus.campus = Campus(TERM, timelines, VirtualClock(1))
    user = stage.world.add_user()
    stage.world.postgres.execute("alter table class_watches disable trigger user")  # one student may not watch so many
    stage.world.postgres.cursor().executemany(
        "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr) values (%s, %s, 'CSE', '110', %s)",
        [(user, section.term, section.class_nbr) for section in sections],
    )


def check_all(stage: Stage, client: redis.Redis) -> int:
    """A tick over everything, and all of its checks to the last acknowledgement; returns how many those were."""
    report = stage.parts.ticker.tick(TickOrder(stage.clock(), "even", "http"))
    wait_until(lambda: client.hlen(stage.parts.huey.storage.jobs) == 0, 60)
    return report.enqueued


@pytest.mark.parametrize(("sections", "budget"), [(200, 0.5), (1000, 0.15)])
def test_a_check_costs_few_commands_and_one_call_of_the_database(
    stage: Stage, redis_url: str, redis_client: redis.Redis, sections: int, budget: float
) -> None:
    watch(stage, sections)
    parts = stage.rewire(REDIS_URL=redis_url)
    with consuming(parts):
        assert check_all(stage, redis_client) == sections  # the first sight of a section is another path
        stage.clock.forward(hours=1)
        redis_client.config_resetstat()
        calls = parts.database.calls
        assert check_all(stage, redis_client) == sections
        counts, calls = command_counts(redis_client), parts.database.calls - calls
    looks = counts.pop("hlen")  # the test's own
    assert looks
    assert sum(counts.values()) <= budget * sections, counts
    assert calls <= 1.1 * sections
    assert set(stage.campus.campus.lookups.values()) == {2}


def test_a_call_of_the_database_is_one_round_trip(postgres_url: str) -> None:
    with TurnCounter(postgres_url) as counter, closing(connect_postgres(counter.url, pool_size=1)) as database:
        database.call("pmc_latest_ticks", p_now=None)
        before = counter.turns
        for _ in range(20):
            database.call("pmc_latest_ticks", p_now=None)
        assert counter.turns - before == 20
