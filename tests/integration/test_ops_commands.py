"""Operators' commands: what they say to people, to programs, and by their exit code."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shared.cli.main import ops
from shared.queue import Counts
from tests.support.ops import Bundle
from tests.support.stage import EVEN, Stage
from tests.support.world import SECTION, facts, read, see

WORDS = (EVEN.term, EVEN.class_nbr)


def run(*words: str) -> Result:
    return CliRunner().invoke(ops, list(words))


def value(*words: str, code: int = 0) -> Any:
    """The JSON that a command prints, after its exit code was as expected."""
    result = run(*words, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def test_status_is_the_health_answer_and_exits_with_0_when_all_is_well(well: Bundle) -> None:
    assert value("status")["status"] == "healthy"
    said = run("status").output
    assert "PickMyClass is healthy" in said
    assert "1 watched" in said


def test_status_says_what_is_wrong_and_what_to_do_and_exits_with_1(well: Bundle) -> None:
    well.beat(age=200)
    result = run("status")
    assert result.exit_code == 1
    assert "No consumer is alive" in result.output
    assert "systemctl status pickmyclass-consumer" in result.output
    assert value("status", code=1)["status"] == "unhealthy"


def test_missing_settings_are_an_error_with_exit_code_2(bundle: Bundle) -> None:
    parts = bundle.without("DATABASE_URL", "REDIS_URL")
    assert "DATABASE_URL" in value("ownership", "show", code=2)["error"]
    parts.close()


def test_an_argument_that_is_no_text_is_refused_before_it_reaches_the_database(bundle: Bundle) -> None:
    assert "no text" in value("mail", "hold", "because\udc80", code=1)["error"]
    assert bundle.world.one("select held from pickmyclass.mail_hold") is False


def test_a_failing_database_is_one_line_and_exit_code_1(bundle: Bundle, monkeypatch: Any) -> None:
    monkeypatch.setitem(bundle.environment, "DATABASE_URL", "postgresql://127.0.0.1:9/nowhere?connect_timeout=1")
    parts = bundle.without()
    result = run("ownership", "show")
    assert result.exit_code == 1
    assert result.output.startswith("Error: database:")
    assert "127.0.0.1" not in result.output
    parts.close()


def test_tick_queues_what_is_due(well: Bundle) -> None:
    answer = value("tick", "--group", "all")
    assert (answer["success"], answer["stagger_group"], answer["sections_enqueued"]) == (True, "all", 1)
    assert value("tick", "--group", "all")["already_queued"] == 1
    assert "were queued already" in run("tick", "--group", "all").output


def test_tick_names_the_holder_of_the_lock(well: Bundle) -> None:
    well.parts.lock.acquire("scheduler:box:1")
    assert "scheduler:box:1" in value("tick", code=1)["error"]


def test_tick_fails_when_redis_is_down(well: Bundle) -> None:
    well.redis.kill()
    assert "nothing was queued" in value("tick", code=1)["error"]


def test_waiting_for_a_tick_without_a_consumer_is_refused(well: Bundle) -> None:
    well.beat(age=200)
    assert "no consumer is alive" in value("tick", "--group", "all", "--wait", code=1)["error"]


def test_waiting_for_a_tick_ends_when_the_queue_is_empty(well: Bundle, monkeypatch: Any) -> None:
    looks: list[int] = []

    def empty_at_the_second_look() -> Counts:
        looks.append(1)
        return Counts(2 - len(looks), 0, 0, 0, None, 0.0)

    monkeypatch.setattr(well.parts.huey, "counts", empty_at_the_second_look)
    answer = value("tick", "--group", "all", "--wait")
    assert (answer["sections_enqueued"], answer["left"], len(looks)) == (1, 0, 2)


def test_check_looks_a_section_up_says_what_it_saw_and_mails_who_is_owed(stage: Stage) -> None:
    stage.world.add_watch(EVEN)
    first = value("check", *WORDS)
    assert (first["success"], first["first_observation"]) == (True, True)
    stage.show(EVEN, seats_available=2)
    stage.clock.forward(seconds=1)
    answer = value("check", *WORDS)
    assert (answer["outcome"], answer["events"], answer["emails_sent"]) == ("committed", ["seat_available"], 1)
    assert answer["facts"]["seats_available"] == 2
    said = run("check", *WORDS).output
    assert "2 of 30 open" in said
    assert "Principles of Programming" in said


def test_check_says_that_the_scraper_cannot_be_reached(well: Bundle) -> None:
    assert "scraper" in value("check", SECTION.term, SECTION.class_nbr, code=1)["error"]


def test_check_can_be_left_to_a_consumer(well: Bundle) -> None:
    assert value("check", SECTION.term, SECTION.class_nbr, "--queue")["enqueued"] == 1
    assert value("check", SECTION.term, SECTION.class_nbr, "--queue")["enqueued"] == 0


@pytest.mark.parametrize("words", [("26", "12431"), ("2267", "1243"), ("2267", "１２４３１")])
def test_a_section_that_cannot_be_one_is_a_usage_error(bundle: Bundle, words: tuple[str, str]) -> None:
    assert run("check", *words).exit_code == 2


def test_ownership_is_shown_and_switched(well: Bundle) -> None:
    assert value("ownership", "show")["default"] == "server"
    assert value("ownership", "workers", SECTION.term, SECTION.class_nbr)["sections"] == 1
    (exception,) = value("ownership", "show")["exceptions"]
    assert (exception["class_nbr"], exception["owner"]) == (SECTION.class_nbr, "workers")
    assert SECTION.class_nbr in run("ownership", "show").output
    assert value("ownership", "server", "--yes")["owner"] == "server"
    assert value("ownership", "show")["exceptions"] == []


def test_a_switch_goes_by_the_clock_of_the_server_not_of_this_machine(well: Bundle) -> None:
    database, world = well.parts.database, well.world
    world.add_watch()
    see(database, facts(3), world.one("select clock_timestamp()"))
    value("ownership", "workers", "--yes")
    world.old_upsert(SECTION, facts(0))
    well.clock.at = world.one("select clock_timestamp() - interval '1 hour'")
    assert value("ownership", "server", "--yes")["carried"] == 1
    assert read(database).facts == facts(0)


def test_a_section_that_nobody_watches_is_named_when_it_is_switched(well: Bundle) -> None:
    assert "Nobody watches 1" in run("ownership", "workers", "9999", "00000").output


def test_switching_everything_is_asked_for_first(well: Bundle) -> None:
    result = run("ownership", "workers")
    assert result.exit_code == 2
    assert "--yes" in result.output
    assert value("ownership", "show")["default"] == "server"


def test_half_a_section_is_a_usage_error(well: Bundle) -> None:
    assert run("ownership", "workers", "2267").exit_code == 2
