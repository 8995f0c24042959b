"""Readings that no campus gives: names lost by many sections at once, and many numbers that mean another course."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from shared.database import Database
from shared.sections.section import Section
from tests.support.world import NOON, World, facts, minutes, see

HOUR = minutes(60)
SECTIONS = [Section("2267", f"{number}") for number in range(10000, 10050, 2)]


@pytest.fixture
def taught(database: Database, postgres: psycopg.Connection[Any]) -> World:
    """Twenty-five watched sections, each taught by somebody."""
    world = World(postgres)
    for number, section in enumerate(SECTIONS):
        world.add_watch(section)
        see(database, facts(0, f"Ada Nr. {number}"), NOON, section=section)
    return world


def names(world: World, table: str = "pickmyclass.section_checks") -> list[str]:
    rows = world.rows(f"select instructor_name from {table} order by class_nbr")
    return [row[0] for row in rows]


def events(world: World) -> list[str]:
    return [row[0] for row in world.rows("select kind from pickmyclass.section_events order by id")]


@pytest.mark.parametrize("lost", ["Staff", None, "TBA"])
def test_many_names_lost_at_once_are_not_believed(database: Database, taught: World, lost: str | None) -> None:
    before = names(taught)
    answers = [see(database, facts(0, lost), NOON + HOUR, section=section) for section in SECTIONS]
    assert [answer["name_kept"] for answer in answers] == [False] * 20 + [True] * 5
    assert names(taught) == before
    assert names(taught, "class_states") == before
    assert events(taught) == []
    for number, section in enumerate(SECTIONS):
        see(database, facts(0, f"Ada Nr. {number}"), NOON + 2 * HOUR, section=section)
    assert events(taught) == []
    assert taught.rows("select * from pickmyclass.outbox") == []


def test_their_seats_are_believed_all_the_same(database: Database, taught: World) -> None:
    for section in SECTIONS[:-1]:
        see(database, facts(0, "Staff"), NOON + HOUR, section=section)
    answer = see(database, facts(4, "Staff"), NOON + HOUR, section=SECTIONS[-1])
    assert (answer["name_kept"], answer["emails_queued"]) == (True, 1)
    assert events(taught) == ["seat_available"]


def test_somebody_else_after_such_a_reading_is_another_name_and_no_news(database: Database, taught: World) -> None:
    for section in SECTIONS:
        see(database, facts(0, "Staff"), NOON + HOUR, section=section)
    see(database, facts(0, "Grace Hopper"), NOON + 2 * HOUR, section=SECTIONS[0])
    assert events(taught) == ["instructor_changed"]


def test_a_few_that_lose_their_names_have_lost_them(database: Database, taught: World) -> None:
    for number, section in enumerate(SECTIONS):
        see(database, facts(0, "Staff" if number % 4 == 0 else f"Ada Nr. {number}"), NOON + HOUR, section=section)
    assert events(taught) == ["instructor_unassigned"] * 7
    see(database, facts(0, "Grace Hopper"), NOON + 2 * HOUR, section=SECTIONS[0])
    see(database, facts(0, "Ada Nr. 4"), NOON + 2 * HOUR, section=SECTIONS[4])
    assert events(taught)[7:] == ["instructor_assigned"]


def test_a_name_lost_before_the_slot_is_not_given_back(database: Database, taught: World) -> None:
    see(database, facts(0, "Staff"), NOON + minutes(1), section=SECTIONS[0])
    for section in SECTIONS:
        see(database, facts(0, "Staff"), NOON + HOUR, section=section)
    assert names(taught) == ["Staff", *(f"Ada Nr. {number}" for number in range(1, 25))]


def test_many_numbers_that_mean_another_course_at_once_are_doubted(database: Database, taught: World) -> None:
    art = replace(facts(4), subject="ART", catalog_nbr="201")
    answers = [see(database, art, NOON + HOUR, section=section)["result"] for section in SECTIONS]
    assert answers == ["committed"] * 5 + ["doubted"] * 20
    assert taught.one("select count(*) from class_watches") == 20
    assert {kind for kind, _, _ in taught.outbox(SECTIONS[0])} == {"section_removed"}
    assert taught.outbox(SECTIONS[5]) == []
    assert taught.baseline(SECTIONS[5])["subject"] == "CSE"
    assert taught.baseline(SECTIONS[5])["checked_at"].startswith("2026-11-22T12:00")


def test_a_number_that_means_another_course_ends_the_section_and_is_seen_first(
    database: Database, taught: World
) -> None:
    art = replace(facts(4, "Grace Hopper"), subject="ART", catalog_nbr="201")
    answer = see(database, art, NOON + HOUR, section=SECTIONS[0])
    assert (answer["first_observation"], answer["emails_queued"]) == (True, 1)
    assert events(taught) == ["retired"]
    payload = taught.one("select payload from pickmyclass.outbox")
    assert (payload["facts"]["subject"], payload["after"]["subject"]) == ("CSE", "ART")
    assert taught.baseline(SECTIONS[0])["instructor_name"] == "Grace Hopper"
