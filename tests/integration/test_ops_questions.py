"""`ops why` and `ops doctor`: the answers to an operator's two questions."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from shared import wiring
from shared.cli.main import ops
from shared.health import doctor_machine
from shared.health.doctor_services import resend
from shared.health.findings import Finding
from shared.mail.send import send_due_mail
from shared.settings import names
from tests.support.mail import KEY
from tests.support.stage import EVEN, Stage
from tests.support.world import facts, see
from workshop.parts.web import Answer, Request, Server

WORDS = (EVEN.term, EVEN.class_nbr)


def run(*words: str) -> Result:
    return CliRunner().invoke(ops, list(words))


def why(stage: Stage, address: str, code: int = 0) -> tuple[list[str], str]:
    """The verdicts, the latest first, and the background in one text."""
    result = run("why", address, *WORDS, "--json")
    assert result.exit_code == code, result.output
    answer = json.loads(result.stdout)
    return [one["words"] for one in answer["verdicts"]], " ".join(answer["background"])


@pytest.fixture
def student(stage: Stage) -> str:
    """The address of a student who watches a section that was full when it was last seen."""
    stage.clock.at -= timedelta(minutes=10)
    user = stage.world.add_user()
    stage.world.add_watch(EVEN, user, since=stage.clock() - timedelta(days=1))
    _see(stage, 0)
    return str(stage.world.one("select email from auth.users where id = %s", user))


def _see(stage: Stage, seats: int, instructor: str = "Staff") -> None:
    stage.clock.forward(seconds=1)
    see(stage.parts.database, facts(seats, instructor), stage.clock(), section=EVEN)


def _profile(stage: Stage, assignment: str) -> None:
    stage.world.postgres.execute(f"update user_profiles set {assignment}".encode())


def test_of_an_address_that_nobody_has_only_that_is_said(stage: Stage) -> None:
    result = run("why", "nobody@example.edu", *WORDS)
    assert result.exit_code == 1
    assert "Nobody has this address." in result.output
    for other in ("Nothing has been seen", "Does not watch", "Has watched", "told"):
        assert other not in result.output


def test_a_student_who_was_told_was_told(stage: Stage, student: str) -> None:
    _see(stage, 2)
    send_due_mail(stage.parts.mail, "test")
    (words,), background = why(stage, student)
    assert words.startswith("told: accepted by Resend, sent ")
    assert "2 seats open" in background
    assert "A seat opened" in run("why", student, *WORDS).output
    seen = json.loads(run("why", student, *WORDS, "--json").stdout)["verdicts"][0]["seen_at"]
    assert datetime.fromisoformat(seen).tzinfo is not None  # for programs: no wall clock of somebody's


def test_the_mail_of_others_is_counted_without_the_askers_own(stage: Stage, student: str) -> None:
    for _ in range(2):
        stage.world.add_watch(EVEN, since=stage.clock())
    _see(stage, 2)
    late = stage.world.add_user()
    stage.world.add_watch(EVEN, late, since=stage.clock() + timedelta(hours=1))
    address = str(stage.world.one("select email from auth.users where id = %s", late))
    for asked, mine, others in ((student, 1, 2), (address, None, 3)):
        event = json.loads(run("why", asked, *WORDS, "--json").stdout)["records"]["events"][0]
        assert (event["mail"] and len(event["mail"]), event["owed_to_others"]) == (mine, others)


def test_the_address_may_be_typed_in_any_case(stage: Stage, student: str) -> None:
    _see(stage, 2)
    assert len(why(stage, f" {student.upper()} ")[0]) == 1


def test_mail_that_waits_says_what_it_waits_for(stage: Stage, student: str) -> None:
    _see(stage, 2)
    assert why(stage, student)[0][0].startswith("owed, not sent yet")
    stage.parts.database.call("pmc_hold_mail", p_reason="a new template")
    assert "all mail is held (a new template)" in why(stage, student)[0][0]


def test_seats_that_were_gone_again_are_the_reason(stage: Stage, student: str) -> None:
    _see(stage, 2)
    _see(stage, 0)
    assert why(stage, student)[0] == ["not told: the seats were gone again"]


def test_a_second_opening_within_a_day_names_the_first(stage: Stage, student: str) -> None:
    _see(stage, 2)
    send_due_mail(stage.parts.mail, "test")
    stage.world.postgres.execute("update pickmyclass.section_checks set seats_available = 0, version = version + 1")
    _see(stage, 3)
    latest, first = why(stage, student)[0]
    assert latest.startswith("not told again: had been told of the same")
    assert first.startswith("told:")


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("notifications_enabled = false", "notifications are switched off"),
        ("email_bounced = true", "the address bounced"),
        ("spam_complained = true", "complained of spam"),
        ("is_disabled = true", "the account is disabled"),
    ],
)
def test_someone_who_must_not_be_told_is_the_reason(stage: Stage, student: str, assignment: str, reason: str) -> None:
    _profile(stage, assignment)
    _see(stage, 2)
    (words,), background = why(stage, student)
    assert words == f"not told: {reason}"
    assert reason in background


def test_someone_who_began_to_watch_later_is_told_so(stage: Stage, student: str) -> None:
    _see(stage, 2)
    late = stage.world.add_user()
    stage.world.add_watch(EVEN, late, since=stage.clock() + timedelta(hours=1))
    address = str(stage.world.one("select email from auth.users where id = %s", late))
    assert why(stage, address)[0][0].startswith("not told: began to watch later")


def test_someone_who_does_not_watch_it_is_told_so(stage: Stage, student: str) -> None:
    _see(stage, 2)
    stage.world.postgres.execute("delete from class_watches")
    # The debt outlives the watch, so this student is still told of what was seen before.
    assert why(stage, student)[0][0].startswith("owed")
    other = stage.world.add_user()
    address = str(stage.world.one("select email from auth.users where id = %s", other))
    assert why(stage, address)[0] == ["not told: does not watch this section (now)"]


def test_a_section_of_the_old_workers_is_named_as_such(stage: Stage, student: str) -> None:
    stage.parts.database.call("pmc_switch_ownership", p_owner="workers")
    assert "The old Workers check and mail this section" in why(stage, student)[1]


def test_a_section_that_fails_says_how(stage: Stage, student: str) -> None:
    stage.parts.database.call(
        "pmc_end_attempt", p_term=EVEN.term, p_class_nbr=EVEN.class_nbr,
        p_slot=stage.clock() + timedelta(hours=1), p_error="scraper cannot be reached",
    )  # fmt: skip
    verdicts, background = why(stage, student)
    assert verdicts == []
    assert "scraper cannot be reached" in background
    assert "Nothing has been seen here" in run("why", student, *WORDS).output


def test_what_a_terminal_would_obey_reaches_none(stage: Stage, student: str) -> None:
    _see(stage, 2)
    odd = "Ada \x9b31m\x1b[2J\x07 Lovelace"
    for assignment in ("section_checks set instructor_name", "section_checks set last_error", "outbox set last_error"):
        stage.world.postgres.execute(f"update pickmyclass.{assignment} = %s".encode(), [odd])
    stage.world.postgres.execute("update pickmyclass.outbox set status = 'dropped'")
    output = run("why", student, *WORDS).output
    assert output.count("Lovelace") == 3
    assert not set(output) & {"\x9b", "\x1b", "\x07"}


def test_an_address_that_nobody_has_is_exit_code_1(stage: Stage) -> None:
    assert why(stage, "nobody@example.edu", code=1)[1] == "Nobody has this address."


# ---- doctor


def findings(code: int) -> list[dict[str, str]]:
    result = run("doctor", "--json")
    assert result.exit_code == code, result.output
    found: list[dict[str, str]] = json.loads(result.stdout)
    return found


def problems(code: int = 1) -> dict[str, list[str]]:
    """What is wrong, by subject."""
    told: dict[str, list[str]] = {}
    for one in findings(code):
        if one["level"] == "problem":
            assert one["remedy"], one
            told.setdefault(one["subject"], []).append(one["what"])
    return told


@pytest.fixture
def good(stage: Stage, monkeypatch: Any) -> Stage:
    """A server on which all is well."""
    worker = {"worker_id": "one:1:a", "worker_name": "one", "host": "box", "max_concurrent_jobs": 4}
    stage.parts.database.call("pmc_beat", p_worker=worker)
    monkeypatch.setattr(doctor_machine, "LEAST_FREE", 0)
    monkeypatch.setattr(doctor_machine, "units", lambda systemctl: iter(()))
    return stage


def test_on_a_good_server_the_doctor_is_content(good: Stage) -> None:
    assert problems(code=0) == {}
    said = run("doctor").output
    assert "Everything is set up right." in said
    assert "answers and takes our token" in said
    assert good.campus.campus.lookups.total() == 0


SYSTEMCTL = """#!/bin/sh
for word; do unit=$word; done
case "$1 $unit" in
is-active*) echo active ;;
*pickmyclass-*) echo pickmyclass.target ;;
*pickmyclass.target) echo "%s" ;;
esac
"""


@pytest.mark.parametrize(
    ("wanted_by", "level"), [("multi-user.target", "ok"), ("", "problem")], ids=["enabled", "not enabled"]
)
def test_units_that_an_enabled_target_pulls_in_start_with_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted_by: str, level: str
) -> None:
    program = tmp_path / "systemctl"
    program.write_text(SYSTEMCTL % wanted_by)
    program.chmod(0o755)
    monkeypatch.setattr(doctor_machine, "SYSTEMD", tmp_path)
    assert [one.level for one in doctor_machine.units(str(program))] == [level, level]


def test_an_empty_environment_lists_every_problem_with_its_remedy(monkeypatch: Any, tmp_path: Path) -> None:
    for name in names():
        monkeypatch.setenv(name, "")
    wiring.use(None)
    told = problems()
    wiring.use(None)
    for name in ("REDIS_URL", "SCRAPER_URL", "SCRAPER_SECRET_TOKEN", "CRON_SECRET", "SITE_URL", "DATABASE_URL"):
        assert f"{name} is not set" in told["settings"]


def test_settings_that_cannot_be_read_are_listed(monkeypatch: Any) -> None:
    monkeypatch.setenv("REDIS_URL", "http://nonsense")
    monkeypatch.setenv("PORT", "many")
    wiring.use(None)
    assert set(problems()["settings"]) == {"REDIS_URL", "PORT"}
    assert "nonsense" not in run("doctor").output


def test_each_thing_that_is_away_is_named(good: Stage) -> None:
    good.redis.kill()
    nowhere = "http://127.0.0.1:9"
    good.rewire(
        SCRAPER_URL=nowhere, RESEND_API_URL=nowhere, DATABASE_URL="postgresql://127.0.0.1:9/x?connect_timeout=1"
    )
    told = problems()
    assert {"redis", "scraper", "resend", "database"} <= set(told)
    assert "127.0.0.1" not in json.dumps(told)


def test_a_wrong_token_and_a_wrong_key_are_named(good: Stage) -> None:
    good.rewire(SCRAPER_SECRET_TOKEN="wrong")
    assert problems()["scraper"] == ["it refuses our token (401)"]


def test_a_database_without_migrations_is_sent_to_migrate(good: Stage, empty_postgres_url: str) -> None:
    good.rewire(DATABASE_URL=empty_postgres_url)
    assert problems()["database"] == ["it has not been migrated"]


def test_a_missing_migration_is_noticed(good: Stage) -> None:
    good.world.postgres.execute("delete from pickmyclass.schema_migrations where version = '20261122001420'")
    assert problems()["database"] == ["1 migrations are missing"]


def test_functions_of_another_release_are_noticed(good: Stage) -> None:
    good.world.postgres.execute("update pickmyclass.schema_routines set checksum = 'x' where name in ('ticks', 'mail')")
    assert problems()["database"] == ["SQL functions of another release: mail, ticks"]


def test_a_redis_that_forgets_is_noticed(good: Stage) -> None:
    with good.redis.connect() as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            assert problems()["redis"] == ["eviction policy allkeys-lru"]
        finally:
            client.config_set("maxmemory-policy", "noeviction")


def test_no_consumer_is_a_problem(good: Stage) -> None:
    good.world.postgres.execute("delete from pickmyclass.workers")
    assert problems()["consumers"] == ["none is alive: nothing is checked"]


@pytest.mark.parametrize(
    ("status", "body", "level", "words"),
    [
        (200, {"data": [{"name": "example.edu", "status": "verified"}]}, "ok", "verified"),
        (200, {"data": [{"name": "example.edu", "status": "pending"}]}, "problem", "is pending"),
        (200, {"data": []}, "problem", "does not know the sender's domain"),
        (401, {"name": "restricted_api_key"}, "note", "may only send"),
        (401, {"name": "missing_api_key"}, "problem", "refuses our key"),
        (403, {"name": "invalid_api_key"}, "problem", "refuses our key"),
        (500, {}, "problem", "answers with 500"),
    ],
)
def test_what_resend_says_of_our_key_and_domain(
    stage: Stage, status: int, body: dict[str, Any], level: str, words: str
) -> None:
    asked: list[str | None] = []

    def answer(request: Request) -> Answer:
        asked.append(request.bearer)
        return Answer(status, json.dumps(body).encode(), "application/json")

    with Server(answer) as server:
        found: list[Finding] = list(resend(stage.rewire(RESEND_API_URL=server.url)))
    assert asked == [KEY]
    assert (found[-1].level, words in found[-1].what) == (level, True)
