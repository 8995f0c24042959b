"""More sections than a row set may have: every one is queued and checked over the supabase transport (O14)."""

from __future__ import annotations

import pytest

from shared.checks.tick import TickOrder
from shared.sections.section import Section
from tests.support.redis import wait_until
from tests.support.stage import COURSE, Stage, consuming
from tests.support.term import TERM
from workshop.campus.campus import Campus
from workshop.campus.clock import VirtualClock
from workshop.campus.sections import Timeline, Values
from workshop.parts.postgrest import EmbeddedPostgrest

COUNT = 1500


@pytest.mark.postgrest
@pytest.mark.slow
def test_fifteen_hundred_due_sections_are_all_queued_and_checked(stage: Stage, postgrest: EmbeddedPostgrest) -> None:
    sections = [Section(TERM, f"{20000 + 2 * number}") for number in range(COUNT)]
    timelines = [Timeline(section.class_nbr, COURSE, [(0, Values("Staff", 0, 30))]) for section in sections]
    stage.campus.campus = Campus(TERM, timelines, VirtualClock(1))
    user = stage.world.add_user()
    stage.world.postgres.execute("alter table class_watches disable trigger user")  # one student may not watch so many
    stage.world.postgres.cursor().executemany(
        "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr) values (%s, %s, 'CSE', '110', %s)",
        [(user, section.term, section.class_nbr) for section in sections],
    )
    parts = stage.rewire(SUPABASE_URL=postgrest.url, SUPABASE_SERVICE_ROLE_KEY=postgrest.service_role_key)
    assert parts.settings.transport == "supabase"

    report = parts.ticker.tick(TickOrder(stage.clock(), "even", "http"))
    assert (report.enqueued, report.already_queued) == (COUNT, 0)
    calls = parts.database.calls

    with consuming(parts):
        wait_until(lambda: parts.huey.counts().waiting + parts.huey.counts().leased == 0, timeout=90)
        spent = parts.database.calls - calls

    assert stage.world.one("select count(*) from pickmyclass.section_checks where checked_at is not null") == COUNT
    assert set(stage.campus.campus.lookups.values()) == {1}
    # The baseline rides along with the job, so that an unchanged section costs one call; beats come on top.
    assert spent <= 1.1 * COUNT
