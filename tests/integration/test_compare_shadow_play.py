"""The shadow beside the old side, slot by slot on one campus: it agrees, or it names what the rows show."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from shared.database import connect_postgres
from shared.migrations import MIGRATIONS, read_migrations
from shared.sections.section import Section
from shared.source.answers import Answer, Broken
from shared.source.scraper import classify
from workshop.campus.sections import HALF_HOUR_MS, Course, Timeline, Values
from workshop.compare.findings import Findings
from workshop.compare.origin.origin import EVERYTHING
from workshop.compare.origin.rules import NONE, Defects
from workshop.compare.replay.old_side import OldSide
from workshop.compare.replay.people import People
from workshop.compare.replay.scene import OUTAGE_MS, Clock, Scene
from workshop.compare.replay.script import LENGTH, lay_over
from workshop.compare.shadow.report import report_shadow
from workshop.compare.shadow.shadow import Shadow
from workshop.demo.students import Student, Watch
from workshop.parts.postgres import EmbeddedPostgres

START_MS = 1_775_001_600_000  # 2026-04-01, a full hour
TERM = "2261"
ORIGIN = "\n".join(file.text for file in read_migrations(MIGRATIONS)[:2])  # what makes the origin's objects
SHOWN_AS = {
    "70012": "O1",
    "70030": "O3",
    "70040": "O3",  # O4: the rows tell the same story
    "70050": "O5",
    "70060": "O6",
    "70070": "O7",
    "70080": "O8",
    "70090": "O28",
    "70100": "O29",
    "70110": "O30",
    "70120": "O34",
    "70130": "O35",
    "70150": "O16",
    "70160": "O16",
}


@dataclass
class Ours:
    """The shadow's time and scraper: two minutes into each slot, and without an answer while the scraper is down."""

    scene: Scene
    slot_ms: int = 0
    seconds: float = 0.0

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.slot_ms / 1000, UTC) + timedelta(seconds=120 + self.seconds)

    def begin(self, slot_ms: int) -> None:
        self.slot_ms, self.seconds = slot_ms, 0.0

    def wait(self, seconds: float) -> bool:
        self.seconds += seconds
        return False

    def look_up(self, section: Section, timeout: float) -> Answer:
        if self.slot_ms in self.scene.outages and section.class_nbr == "70010":
            return Broken("down")
        reply = self.scene.answer((section.term, section.class_nbr), Clock(self.slot_ms, OUTAGE_MS))
        return classify(reply.status, reply.body)


@contextmanager
def databases(server: EmbeddedPostgres, template: str) -> Iterator[tuple[str, str]]:
    """The old side's and the shadow's."""
    old = server.create_database("shadow_play_old")
    with psycopg.connect(old, autocommit=True) as session:
        session.execute(ORIGIN.encode())
    yield old, server.create_database("shadow_play_copy", template=template)
    server.drop_database("shadow_play_copy")
    server.drop_database("shadow_play_old")


def play(server: EmbeddedPostgres, template: str, defects: Defects) -> Findings:
    """The script of the replay without its tape, to an old side with these defects and to a shadow beside it."""
    slots = [START_MS + number * HALF_HOUR_MS for number in range(LENGTH)]
    odd = Timeline("83001", Course("CSE", "205", "Objects", None, None), [(START_MS, Values("Ada Byron", 0, 30))])
    student = Student("10000000-0000-4000-8000-000000000001", "odd@students.example.edu", None, has_profile=True)
    scene = lay_over(slots, TERM, [odd], [Watch(student, odd.class_nbr, START_MS)], crowd=False)
    ours = Ours(scene)
    with databases(server, template) as (old_url, copy_url):
        people, old = People(scene, old_url), OldSide(scene, old_url, defects)
        reading, copy = psycopg.connect(old_url, autocommit=True), psycopg.connect(copy_url, autocommit=True)
        database, shadow = connect_postgres(copy_url, pool_size=2), None
        for slot_ms in slots:
            people.begin(slot_ms)
            old.play(slot_ms)
            ours.begin(slot_ms)
            shadow = shadow or Shadow(
                lambda: reading, lambda: copy, database, ours, ours, ours.wait, 100, 600, replay=True
            )
            shadow.step()
            shadow.look_at_old()
            people.end(slot_ms)
        assert shadow is not None
        findings = report_shadow(shadow)
        for one in (database, copy, reading, old, people):
            one.close()
    return findings


@pytest.mark.slow
def test_beside_an_old_side_without_defects_it_agrees(
    postgres_server: EmbeddedPostgres, migrated_template: str
) -> None:
    findings = play(postgres_server, migrated_template, NONE)
    assert [(group.id, group.example) for group in findings.groups] == []
    figures = {what: (old, new) for what, old, new in findings.figures}
    assert figures["The same, in the same slot"][0] > "10"


@pytest.mark.slow
def test_beside_an_old_side_with_every_defect_each_is_named_where_it_shows(
    postgres_server: EmbeddedPostgres, migrated_template: str
) -> None:
    findings = play(postgres_server, migrated_template, EVERYTHING)
    shown: dict[str, set[str | None]] = defaultdict(set)
    for group in findings.groups:
        for one in group.members:
            shown[one.where.partition(" ")[2]].add(one.id)
    assert {nbr: names for nbr, names in shown.items() if nbr in SHOWN_AS} == {n: {i} for n, i in SHOWN_AS.items()}
    assert findings.unexplained == 0
