"""The shadow: our checks on a copy, beside what the old side wrote down; bounded in load, and nothing is mailed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner

from compare.command import compare
from compare.shadow import Shadow, in_share
from local.postgres import EmbeddedPostgres
from shared.clients.scraper import Answer, Found
from shared.core.sections import Section
from shared.stores.database import connect_postgres
from tests.support.world import World, facts, minutes

TERM = "2267"
AGREED, EXPIRED, EXTRA, MISSED, DISABLED = (Section(TERM, f"1243{digit}") for digit in (0, 2, 4, 6, 8))


class Stub:
    """A scraper and the time, in hand."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=4)
        self.open: set[Section] = set()
        self.asked: list[Section] = []

    def __call__(self) -> datetime:
        return self.now

    def look_up(self, section: Section, timeout: float) -> Answer:
        self.asked.append(section)
        return Found(facts(5 if section in self.open else 0))

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Town:
    """The old side's database, a copy of it, and a shadow between them."""

    def __init__(self, server: EmbeddedPostgres, template: str) -> None:
        self.server, self.stub = server, Stub()
        self.url = server.create_database("shadow_old", template=template)
        self.watches: dict[Section, str] = {}
        with psycopg.connect(self.url, autocommit=True) as session:
            world = World(session)
            for section in (AGREED, EXPIRED, EXTRA, MISSED):
                self.watches[section] = world.add_watch(section)
            self.watches[DISABLED] = world.add_watch(DISABLED, world.add_user(is_disabled=True))
        self.copy_url = server.create_database("shadow_copy", template="shadow_old")
        self.old = psycopg.connect(self.url, autocommit=True)
        self.copy = psycopg.connect(self.copy_url, autocommit=True)
        self.database = connect_postgres(self.copy_url, pool_size=2)

    def shadow(self, *, share: int = 100, per_minute: int = 60) -> Shadow:
        """A shadow that begins now."""
        stub = self.stub
        return Shadow(self.old, self.copy, self.database, stub, stub, stub.sleep, share, per_minute)

    def old_tells(self, section: Section, at: datetime) -> None:
        """The old side writes down that it told the watcher."""
        statement = (
            "insert into notifications_sent (class_watch_id, notification_type, sent_at) values (%s, %s, %s)"
            " on conflict (class_watch_id, notification_type) do update set sent_at = excluded.sent_at"
        )
        self.old.execute(statement, [self.watches[section], "seat_available", at])

    def close(self) -> None:
        """Everything away."""
        self.database.close()
        self.old.close()
        self.copy.close()
        self.server.drop_database("shadow_copy")
        self.server.drop_database("shadow_old")


@pytest.fixture
def town(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[Town]:
    one = Town(postgres_server, migrated_template)
    yield one
    one.close()


def play(town: Town) -> dict[str, Any]:
    """Two rounds: everything full, then three sections open; the old side tells some of it."""
    town.old_tells(EXPIRED, town.stub.now - timedelta(hours=30))
    shadow, start = town.shadow(), town.stub.now
    shadow.step()
    town.stub.now, town.stub.open = start + timedelta(hours=1), {AGREED, EXPIRED, EXTRA}
    shadow.step()
    for section in (AGREED, MISSED, DISABLED):
        town.old_tells(section, start + timedelta(hours=1) + minutes(5))
    shadow.step()
    return shadow.findings().as_json()


def test_what_agrees_is_counted_and_the_rest_is_explained_or_not(town: Town) -> None:
    found = play(town)
    by_id = {group["id"]: group["count"] for group in found["groups"]}
    assert by_id == {None: 2, "O1": 1, "O35": 1}
    assert found["figures"][1] == {"what": "Agreed, in the same slot", "old": "1", "new": "1"}


def test_nothing_is_mailed_and_the_old_database_is_only_read(town: Town) -> None:
    before = town.old.execute("select count(*) from pickmyclass.section_checks").fetchone()
    play(town)
    assert town.copy.execute("select distinct status from pickmyclass.outbox").fetchall() == [("pending",)]
    assert town.old.execute("select count(*) from pickmyclass.section_checks").fetchone() == before


def test_only_the_share_is_looked_up(town: Town) -> None:
    sections = [(TERM, f"{number:05}") for number in range(10_000, 12_000)]
    assert 0.15 < sum(in_share(section, 20) for section in sections) / len(sections) < 0.25
    assert all(in_share(section, 50) for section in sections if in_share(section, 20))
    town.shadow(share=50).step()
    wanted = {s for s in (AGREED, EXPIRED, EXTRA, MISSED) if in_share((s.term, s.class_nbr), 50)}
    assert set(town.stub.asked) == wanted


def test_look_ups_keep_their_distance_and_what_has_no_room_is_told(town: Town) -> None:
    town.stub.now += minutes(29)  # a minute is left of the slot
    shadow = town.shadow(per_minute=2)
    shadow.step()
    assert len(town.stub.asked) == 2
    assert any("had no room" in note for note in shadow.findings().notes)


def test_without_its_settings_or_on_the_old_database_itself_it_does_not_start(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMPARE_OLD_DATABASE", "DATABASE_URL", "SCRAPER_URL", "SCRAPER_SECRET_TOKEN"):
        monkeypatch.setenv(name, "")
    told = CliRunner().invoke(compare, ["shadow"])
    assert (told.exit_code, "COMPARE_OLD_DATABASE" in told.output) == (2, True)
    for name in ("COMPARE_OLD_DATABASE", "DATABASE_URL"):
        monkeypatch.setenv(name, town.url)
    monkeypatch.setenv("SCRAPER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SCRAPER_SECRET_TOKEN", "token")
    told = CliRunner().invoke(compare, ["shadow"])
    assert (told.exit_code, "must be a copy" in told.output) == (2, True)
