"""Operators' questions about the sources: what one says of a section, whether it answers, what stands before it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shared.cli.main import ops
from shared.health.doctor_services import asu
from shared.source.breaker import Permit
from tests.support.stage import EVEN, Stage
from tests.support.term import TERM
from workshop.campus.asu import BASE


def run(*words: str) -> Result:
    return CliRunner().invoke(ops, list(words))


def value(*words: str, code: int = 0) -> Any:
    """The JSON that a command prints, after its exit code was as expected."""
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.fixture
def both(stage: Stage) -> Stage:
    """Both sources, the catalog first."""
    url = stage.environment["SCRAPER_URL"] + BASE
    stage.rewire(SOURCE="asu,scraper", ASU_CATALOG_URL=url, SOURCE_CONTACT="ops@example.edu", LOOKS_PER_MINUTE="600")
    return stage


def fails(stage: Stage, kind: str, **options: Any) -> None:
    stage.campus.catalog.faults.add({"kind": kind, "count": None, **options})


def test_what_came_is_shown_beside_what_is_read_from_it(both: Stage) -> None:
    both.show(seats_available=3, non_reserved_seats=1)
    told = value("source", "try", TERM, EVEN.class_nbr)
    assert told["raw"]["seatInfo"] == {"ENRL_CAP": 30, "ENRL_TOT": 27}
    assert (told["facts"]["seats_available"], told["facts"]["non_reserved_seats"]) == (3, 1)
    said = run("source", "try", TERM, EVEN.class_nbr).output
    assert '"CLASSNBR": "12340"' in said
    assert "inferred" in said


def test_either_source_may_be_tried(both: Stage) -> None:
    told = value("source", "try", TERM, EVEN.class_nbr, "--of", "scraper")
    assert told["raw"]["data"]["subject"] == told["facts"]["subject"] == "CSE"


def test_that_a_section_is_not_there_or_the_source_refuses_is_said(both: Stage) -> None:
    assert value("source", "try", TERM, "99999", code=1)["answer"] == "NotFound"
    assert "NotFound: the section is not there, or not active" in run("source", "try", TERM, "99999").output
    fails(both, "refuse", status=401)
    told = value("source", "try", TERM, EVEN.class_nbr, code=1)
    assert (told["answer"], told["raw"]) == ("Refused", None)
    assert "401" in told["reason"]
    assert told["reason"] in run("source", "try", TERM, EVEN.class_nbr).output
    assert run("source", "try", "spring", EVEN.class_nbr).exit_code == 2


def test_a_pause_is_kept_and_shown_until_it_is_ended_by_hand(both: Stage) -> None:
    both.parts.pauses["asu"].extend(600)
    assert "left alone" in run("breaker", "status").output
    assert "must not be asked" in value("source", "try", TERM, EVEN.class_nbr, code=1)["error"]
    run("breaker", "reset")
    assert value("source", "try", TERM, EVEN.class_nbr)["answer"] == "Found"


def test_every_breaker_is_shown_and_reset(both: Stage) -> None:
    for _ in range(10):
        both.parts.breakers["scraper"].record_failure(Permit())
    told = value("breaker", "status", code=1)
    assert {name: one["state"] for name, one in told["sources"].items()} == {"asu": "CLOSED", "scraper": "OPEN"}
    assert told["state"] == "CLOSED"
    assert value("breaker", "reset")["sources"]["scraper"]["state"] == "CLOSED"


@pytest.mark.parametrize(
    ("fault", "level", "words"),
    [
        (None, "ok", "the catalog answers"),
        ({"kind": "refuse", "status": 401}, "problem", "takes no visitors"),
        ({"kind": "challenge"}, "problem", "wall"),
        ({"kind": "error"}, "problem", "500"),
    ],
)
def test_the_doctor_asks_the_catalog_for_nobody(
    both: Stage, fault: dict[str, Any] | None, level: str, words: str
) -> None:
    if fault:
        fails(both, **fault)
    (found,) = asu(both.parts)
    assert found.level == level
    assert words in found.what


def test_the_doctor_keeps_a_pause(both: Stage) -> None:
    both.parts.pauses["asu"].extend(600)
    (found,) = asu(both.parts)
    assert found.level == "note"


def test_without_the_catalog_as_a_source_the_doctor_leaves_it_alone(stage: Stage) -> None:
    assert list(asu(stage.parts)) == []
