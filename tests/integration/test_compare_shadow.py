"""The shadow: our checks on a copy, beside what the old side wrote down; bounded in load, and nothing is mailed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner
from rich.console import Console

from shared.database import connect_postgres
from shared.sections.section import Section
from shared.source.answers import Answer, Found
from tests.support.world import World, facts, minutes
from workshop.compare.command import compare
from workshop.compare.findings import Difference
from workshop.compare.report import render, show
from workshop.compare.shadow.copy import CopyError
from workshop.compare.shadow.evidence import Told
from workshop.compare.shadow.report import pair, report_shadow
from workshop.compare.shadow.run import conclude
from workshop.compare.shadow.session import Session
from workshop.compare.shadow.shadow import Shadow, in_share
from workshop.parts.postgres import EmbeddedPostgres

TERM = "2267"
AGREED, EXPIRED, EXTRA, MISSED, DISABLED, BRIEF = (Section(TERM, f"124{digits}") for digits in (30, 32, 34, 36, 38, 40))


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
        return Found(facts(5 if section in self.open else 0), "scraper")

    def wait(self, seconds: float) -> bool:
        self.now += timedelta(seconds=seconds)
        return False


class Town:
    """The old side's database, a copy of it, and a shadow between them."""

    def __init__(self, server: EmbeddedPostgres, template: str) -> None:
        self.server, self.stub = server, Stub()
        self.url = server.create_database("shadow_old", template=template)
        self.watches: dict[Section, str] = {}
        self.broken = 0
        with psycopg.connect(self.url, autocommit=True) as session:
            world = World(session)
            for section in (AGREED, EXPIRED, EXTRA, MISSED, BRIEF):
                self.watches[section] = world.add_watch(section)
            self.watches[DISABLED] = world.add_watch(DISABLED, world.add_user(is_disabled=True))
        self.copy_url = server.create_database("shadow_copy", template="shadow_old")
        self.old = psycopg.connect(self.url, autocommit=True)
        self.copy = psycopg.connect(self.copy_url, autocommit=True)
        self.database = connect_postgres(self.copy_url, pool_size=2)

    def shadow(self, *, share: int = 100, per_minute: int = 60) -> Shadow:
        """A shadow that begins now."""
        stub = self.stub
        return Shadow(self.reading, lambda: self.copy, self.database, stub, stub, stub.wait, share, per_minute)

    def reading(self) -> psycopg.Connection[Any]:
        """The old side's session, or as many failures as wanted."""
        if self.broken:
            self.broken -= 1
            raise psycopg.OperationalError
        return self.old

    def old_tells(self, section: Section, at: datetime) -> None:
        """The old side writes down that it told the watcher."""
        statement = (
            "insert into notifications_sent (class_watch_id, notification_type, sent_at, expires_at)"
            " values (%s, 'seat_available', %s, %s)"
        )
        self.old.execute(statement, [self.watches[section], at, at + timedelta(hours=24)])

    def old_sees(self, section: Section, at: datetime, seats: int) -> None:
        """The old side writes down what it saw."""
        self.old.execute(
            "delete from class_states where class_nbr = %s",
            [section.class_nbr],
        )
        self.old.execute(
            "insert into class_states (term, subject, catalog_nbr, class_nbr, seats_available, seats_capacity,"
            " last_checked_at) values (%s, 'CSE', '110', %s, %s, 30, %s)",
            [section.term, section.class_nbr, seats, at],
        )

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
    """Three rounds: everything full, then three sections open, then again; the old side tells some of it."""
    town.old_tells(EXPIRED, town.stub.now - timedelta(hours=30))
    shadow, start = town.shadow(), town.stub.now
    for number in range(3):
        town.stub.now = start + timedelta(hours=number)
        town.stub.open = {AGREED, EXPIRED, EXTRA} if number else set()
        shadow.step()
        at = start + timedelta(hours=number, minutes=5)
        for section in town.watches:
            is_open = section in (AGREED, EXPIRED, EXTRA) or (section == BRIEF and number == 1)
            town.old_sees(section, at, 5 if number and is_open else 0)
        if number == 1:
            for section in (AGREED, MISSED, DISABLED, BRIEF):
                town.old_tells(section, at)
        town.stub.now = at + minutes(1)
        shadow.step()
    return report_shadow(shadow).as_json()


def test_what_agrees_is_counted_and_the_rest_is_explained_or_not(town: Town) -> None:
    found = play(town)
    places = {group["id"]: [one["where"] for one in group["differences"]] for group in found["groups"]}
    assert places == {
        None: [MISSED.key.replace(":", " ")],  # told although its own row says full
        "O1": [EXPIRED.key.replace(":", " ")],
        "O3": [EXTRA.key.replace(":", " ")],  # seen, and nobody told
        "O16": [DISABLED.key.replace(":", " ")],
        "O35": [DISABLED.key.replace(":", " ")],
    }
    figures = {figure["what"]: (figure["old"], figure["new"]) for figure in found["figures"]}
    assert figures["The same, in the same slot"] == ("1", "1")
    assert figures["Met by this side's look alone"] == ("1", "0")


def test_whoever_begins_to_watch_during_the_run_is_followed_and_whoever_ceases_is_forgotten(town: Town) -> None:
    shadow = town.shadow()
    shadow.step()
    newcomer = World(town.old).add_watch(AGREED)
    town.old.execute("delete from class_watches where id = %s", [town.watches[EXTRA]])
    town.old.execute("update user_profiles set notifications_enabled = false")
    town.stub.now += timedelta(hours=1)
    shadow.step()
    watches = {str(row[0]) for row in town.copy.execute("select id from class_watches")}
    assert newcomer in watches
    assert town.watches[EXTRA] not in watches
    assert town.copy.execute("select count(*) from user_profiles where notifications_enabled").fetchone() == (0,)


def test_no_address_is_brought_over(town: Town) -> None:
    town.copy.execute("truncate auth.users cascade")
    town.shadow()
    assert town.copy.execute("select count(*), count(email) from auth.users").fetchone() == (len(town.watches), 0)


def test_a_database_that_serves_something_else_is_refused_and_left_alone(town: Town) -> None:
    town.copy.execute(
        "insert into pickmyclass.workers (worker_id, worker_name, host, max_concurrent_jobs) values ('a', 'a', 'a', 4)"
    )
    with pytest.raises(CopyError, match="in use by something else"):
        town.shadow()
    town.copy.execute("delete from pickmyclass.workers")
    town.shadow()
    town.shadow()  # its own earlier run


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
    wanted = {s for s in town.watches if s != DISABLED and in_share((s.term, s.class_nbr), 50)}
    assert set(town.stub.asked) == wanted


def test_look_ups_keep_their_distance_and_what_has_no_room_is_told(town: Town) -> None:
    town.stub.now += minutes(29)  # a minute is left of the slot
    shadow = town.shadow(per_minute=2)
    shadow.step()
    assert len(town.stub.asked) == 2
    assert any("had no room" in note for note in report_shadow(shadow).notes)


def test_a_row_that_goes_on_to_differ_is_told_and_one_that_differs_once_is_counted(town: Town) -> None:
    shadow, start = town.shadow(), town.stub.now
    for number in range(4):
        town.stub.now = start + timedelta(hours=number)
        shadow.step()
        at = start + timedelta(hours=number, minutes=5)
        town.old_sees(AGREED, at, 3)  # again and again, while we see a full section
        town.old_sees(EXTRA, at, 3 if number == 1 else 0)
        town.stub.now = at + minutes(1)
        shadow.step()
    found = report_shadow(shadow).as_json()
    told = {(one["where"], one["what"]) for group in found["groups"] for one in group["differences"]}
    assert told == {(AGREED.key.replace(":", " "), "state differs (seats_available)")}
    figures = {figure["what"]: figure["old"] for figure in found["figures"]}
    assert (figures["Rows held against ours: alike"], figures["Rows that changed between two looks"]) == ("2", "1")


def test_a_run_that_checked_nothing_is_not_good_and_says_so(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    findings = report_shadow(town.shadow())
    assert not findings.good
    show(Console(), findings)
    assert "Nothing was compared." in capsys.readouterr().out
    assert "Nothing was compared" in render([findings])


def test_what_nothing_explains_is_said_on_the_terminal(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    findings = report_shadow(town.shadow())
    findings.add([Difference("here", "2026-04-01 10:00", "what", "one", "other", None)])
    show(Console(), findings)
    assert "Not explained: 1." in capsys.readouterr().out


def test_a_database_that_does_not_answer_for_a_while_costs_that_while(town: Town) -> None:
    shadow = town.shadow()
    town.broken = 2
    for _ in range(3):
        town.stub.now += minutes(1)
        shadow.step()
    assert (shadow.stumbles, shadow.checks) == (2, len(town.watches) - 1)
    assert any("did not answer 2 times" in note for note in report_shadow(shadow).notes)


def test_the_session_of_the_old_side_cannot_write_and_is_opened_again(town: Town) -> None:
    session = Session(town.url, read_only=True)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        session().execute("delete from class_watches")
    town.old.execute("select pg_terminate_backend(%s)", [session().info.backend_pid])
    assert session().execute("select 1").fetchone() == (1,)
    session.close()


def test_a_database_that_is_gone_at_the_end_costs_the_end_and_not_the_report(town: Town) -> None:
    shadow = town.shadow()
    shadow.step()
    town.stub.now += timedelta(hours=1)
    town.stub.open = {AGREED}
    shadow.step()
    town.broken = 1
    assert not conclude(shadow).notes
    town.broken = 2
    findings = conclude(shadow)
    assert ("Emails", "0", "1") in findings.figures
    assert any("did not answer at the end" in note for note in findings.notes)


def test_the_same_email_is_paired_with_the_nearest_at_most_a_round_apart() -> None:
    start = datetime(2026, 4, 1, 10, tzinfo=UTC)
    ours, near, far, late = (
        Told("watch", "seat_available", start + minutes(number), ("2267", "12430")) for number in (70, 65, 15, 200)
    )
    assert pair([ours], [near, far]) == ([(ours, near)], [], [far])
    assert pair([ours], [late]) == ([], [ours], [late])


def test_without_its_settings_or_on_the_old_database_itself_it_does_not_start(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("COMPARE_OLD_DATABASE", "DATABASE_URL", "SCRAPER_URL", "SCRAPER_SECRET_TOKEN"):
        monkeypatch.setenv(name, "")
    told = CliRunner().invoke(compare, ["shadow"])
    assert (told.exit_code, "COMPARE_OLD_DATABASE" in told.output) == (2, True)
    for name in ("COMPARE_OLD_DATABASE", "DATABASE_URL"):
        monkeypatch.setenv(name, town.url + "&application_name=another")
    monkeypatch.setenv("SCRAPER_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("SCRAPER_SECRET_TOKEN", "token")
    told = CliRunner().invoke(compare, ["shadow"])
    assert (told.exit_code, "must be a copy" in told.output) == (2, True)
