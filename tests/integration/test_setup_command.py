"""`./run.sh setup`: what only a person knows is asked and tried, the rest is made, and README's lines work after it."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from shared.cli.setup import run_setup
from shared.migrations import migrate
from shared.settings import ROOT, load
from tests.support.stage import Stage

KEEP, SKIP = "", ""


def answers(stage: Stage, database: str, **changed: str) -> list[str]:
    """What a person types, in the order in which it is asked."""
    typed = {
        "SITE_URL": "https://classes.example.edu",
        "REDIS_URL": stage.environment["REDIS_URL"],
        "SUPABASE_URL": SKIP,
        "SUPABASE_SERVICE_ROLE_KEY": SKIP,
        "DATABASE_URL": database,
        "SOURCE": KEEP,
        "SCRAPER_URL": stage.environment["SCRAPER_URL"],
        "SCRAPER_SECRET_TOKEN": stage.environment["SCRAPER_SECRET_TOKEN"],
        "RESEND_API_KEY": SKIP,
        "NOTIFICATION_FROM_EMAIL": SKIP,
        "ALERT_EMAIL": "me@example.edu",
    }
    return list({**typed, **changed}.values())


def run(file: Path, typed: list[str]) -> Result:
    return CliRunner().invoke(click.command()(lambda: run_setup(file)), input="\n".join([*typed, ""]))


def test_readmes_production_lines_work_to_the_letter(stage: Stage, empty_postgres_url: str, tmp_path: Path) -> None:
    lines = re.search(r"^## Settings\n.*?```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.M | re.S)
    assert lines
    commands = [line.split("#")[0].split() for line in lines[1].splitlines()]
    assert commands == [["./run.sh", word] for word in ("setup", "migrate", "functions", "consumer")]
    file = tmp_path / ".env"
    told = run(file, answers(stage, empty_postgres_url))
    assert told.exit_code == 0, told.output
    settings = load({}, file, complete=True)
    assert migrate(settings.database_url or "", max_watches=settings.max_watches_per_user).applied


def test_the_file_is_for_its_owner_alone_and_the_secrets_are_made(
    stage: Stage, empty_postgres_url: str, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    told = run(file, answers(stage, empty_postgres_url))
    settings = load({}, file, complete=True)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert settings.cron_secret != settings.unsubscribe_signing_secret
    for secret in (settings.cron_secret, settings.unsubscribe_signing_secret, settings.scraper_secret_token):
        assert secret
        assert secret not in told.output
    assert "Whom to tell when something is wrong" in file.read_text()


def test_a_second_run_keeps_what_is_set_by_enter_and_a_value_that_was_written_by_hand(
    stage: Stage, empty_postgres_url: str, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    run(file, answers(stage, empty_postgres_url))
    with file.open("a") as out:
        out.write("WORKERS=7\nNOTIFICATION_FROM_EMAIL='PickMyClass <hello@example.edu>'\n")
    before = load({}, file, complete=True)
    told = run(file, [KEEP] * 11)
    assert told.exit_code == 0
    assert "SCRAPER_SECRET_TOKEN [as it is]:" in told.output
    assert "SITE_URL [https://classes.example.edu]:" in told.output
    after = load({}, file, complete=True)
    assert (after.workers, after.cron_secret, after.database_url) == (7, before.cron_secret, before.database_url)
    assert after.site_url == "https://classes.example.edu"


def test_an_answer_that_does_not_work_is_asked_again(stage: Stage, empty_postgres_url: str, tmp_path: Path) -> None:
    typed = answers(stage, empty_postgres_url)
    wrong_site = ["http://classes.example.edu", "n"]
    wrong_redis = ["redis://127.0.0.1:9/0", "n"]
    wrong_token = [stage.environment["SCRAPER_URL"], "not-the-token", "n"]
    told = run(tmp_path / ".env", [*wrong_site, typed[0], *wrong_redis, *typed[1:6], *wrong_token, *typed[6:]])
    assert told.exit_code == 0, told.output
    assert "must begin with https://" in told.output
    assert "it does not answer" in told.output
    assert "it refuses our token" in told.output
    assert load({}, tmp_path / ".env", complete=True).redis_url == stage.environment["REDIS_URL"]


def test_who_stops_in_the_middle_has_changed_nothing(stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("WORKERS=7\n")
    assert run(file, ["https://classes.example.edu"]).exit_code == 1
    assert file.read_text() == "WORKERS=7\n"
    assert [one.name for one in tmp_path.iterdir()] == [".env"]


def test_the_example_copied_by_hand_is_a_start(stage: Stage, empty_postgres_url: str, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text((ROOT / ".env.example").read_text())
    typed = answers(stage, empty_postgres_url)
    assert run(file, typed).exit_code == 0
    assert load({}, file, complete=True).supabase_url is None


@pytest.mark.parametrize("mode", [0o640, 0o644])
def test_a_servers_file_keeps_its_group_and_loses_the_world(
    stage: Stage, empty_postgres_url: str, tmp_path: Path, mode: int
) -> None:
    real, link = tmp_path / "pickmyclass.env", tmp_path / ".env"
    real.write_text("WORKERS=2\n")
    real.chmod(mode)
    link.symlink_to(real)
    assert run(link, answers(stage, empty_postgres_url)).exit_code == 0
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert load({}, link, complete=True).workers == 2
