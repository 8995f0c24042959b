"""deploy.sh for real in a scratch folder: a real clone, real releases, a health that each release brings along."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shared.settings import ROOT
from tests.support.server import ScratchServer

HEALTHY = {"ready": True, "status": "healthy", "checks": {"database": "healthy", "redis": "healthy"}}
SICK = {"ready": True, "status": "degraded", "checks": {"database": "healthy", "redis": "degraded"}}

RUN_SH = f"""#!/bin/sh
root=$(cd "$(dirname "$0")" && pwd)
echo "run.sh $*" >> "$root/../../../../../state/calls"
case $1 in
--help)
    mkdir -p "$root/.venv/bin"
    printf '#!/bin/sh\\nPYTHONPATH=%s exec {sys.executable} -S "$@"\\n' "$root" > "$root/.venv/bin/python"
    chmod +x "$root/.venv/bin/python"
    [ ! -e "$root/does-not-build" ] || exit 2 ;;
migrate) [ ! -e "$root/does-not-migrate" ] ;;
esac
"""
DUMP_PY = """
import pathlib, sys
if pathlib.Path(sys.argv[1]).with_name("no-dump").exists():
    sys.exit("dump.py: refused")
pathlib.Path(sys.argv[1]).write_text("dump")
"""
SETTINGS_PY = """
import pathlib, types
Settings, SettingsError = types.SimpleNamespace, KeyError
ROOT = pathlib.Path(__file__).parent.parent

def load():
    lines = (pathlib.Path(__file__).parent.parent / ".env").read_text().splitlines()
    values = {name.lower(): value for name, value in (line.split("=", 1) for line in lines)}
    return Settings(host="127.0.0.1", site_upstream=None, **{"upstreams": None, **values, "port": int(values["port"])})
"""
"""The settings in thirty lines less: the real ones take a third of a second of each start."""


class Site:
    """The scratch server with the project's clone, and the functions that its systemctl starts."""

    def __init__(self, server: ScratchServer, folder: Path) -> None:
        self.server = server
        self.base = server.root / "opt/pickmyclass"
        self.origin = folder / "origin"
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                running = server.state / "running"
                if not running.exists():
                    return  # nothing was ever started: the connection is cut
                health: Any = json.loads((Path(running.read_text().strip()) / "health.json").read_text())
                checks = {name: {"status": status} for name, status in health["checks"].items()}
                body = json.dumps({"status": health["status"], "checks": checks}).encode()
                ill = not health["ready"] if "probe=ready" in self.path else health["status"] != "healthy"
                site.seen.append((self.path, self.headers["Authorization"]))
                self.send_response(503 if ill else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.seen: list[tuple[str, str]] = []
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        (self.base / "releases").mkdir(parents=True)
        (server.root / "var/backups/pickmyclass").mkdir(parents=True)
        env = server.root / "etc/pickmyclass/pickmyclass.env"
        env.parent.mkdir()
        env.write_text(f"SITE_URL=https://x.example.edu\nCRON_SECRET=new,old\nPORT={self._http.server_port}\n")
        # systemctl restart makes "running" what the link points at, unless that release does not start.
        server.stub(
            "systemctl",
            f"""
ulimit -S -f unlimited
case $* in
*pickmyclass-functions.service*)
    release=$(readlink -f {self.base}/current)
    [ ! -e "$release/does-not-start" ] && echo "$release" > "$STATE/running" ;;
esac""",
        )
        self._make_origin()

    def _make_origin(self) -> None:
        self.origin.mkdir()
        shutil.copytree(ROOT / "deploy", self.origin / "deploy", ignore=shutil.ignore_patterns("__pycache__"))
        (self.origin / "shared").mkdir()
        (self.origin / "shared/settings.py").write_text(SETTINGS_PY)
        shutil.copy(ROOT / "Caddyfile", self.origin)
        (self.origin / "functions").mkdir()
        (self.origin / "functions/keep.py").write_text("")
        (self.origin / "run.sh").write_text(RUN_SH)
        (self.origin / "run.sh").chmod(0o755)
        (self.origin / "deploy/dump.py").write_text(DUMP_PY)
        self.git("init", "-q", "-b", "main")
        self.commit(HEALTHY)
        subprocess.run(["git", "clone", "-q", self.origin, self.base / "repo"], check=True, timeout=30)

    def git(self, *words: str) -> str:
        person = ["-c", "user.name=t", "-c", "user.email=t@example.edu", "-c", "commit.gpgsign=false"]
        command = ["git", "-C", str(self.origin), *person, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()

    def commit(self, health: dict[str, Any], *files: str) -> str:
        """A new commit whose release is in that health, with `files` in it; returns its short id."""
        (self.origin / "health.json").write_text(json.dumps(health))
        for name in ("does-not-start", "does-not-build", "does-not-migrate"):
            (self.origin / name).unlink(missing_ok=True)
        for name in files:
            (self.origin / name).write_text("x")
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "next")
        return self.git("rev-parse", "HEAD")[:12]

    def deploy(self, *words: str, settle: int = 1) -> subprocess.CompletedProcess[str]:
        """Run it as the clone has it."""
        self.server.forget_calls()
        script = self.base / "repo/deploy/deploy.sh"
        return self.server.run(script, "--settle", str(settle), "--hold", "0", *words)

    def start_services(self) -> None:
        """As the boot does."""
        (self.server.state / "running").write_text(os.readlink(self.base / "current"))

    @property
    def in_service(self) -> str:
        """The commit that the link points at, and that runs."""
        current = os.readlink(self.base / "current")
        assert (self.server.state / "running").read_text().strip() == current
        return current.rsplit("-", 1)[1]

    @property
    def proven(self) -> list[str]:
        """The commits that served in good health, oldest first."""
        return [
            name.rsplit("-", 1)[1] for name in self.releases if (self.base / "releases" / name / ".proven").exists()
        ]

    @property
    def releases(self) -> list[str]:
        return sorted(path.name for path in (self.base / "releases").iterdir())

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(ScratchServer(tmp_path), tmp_path)
    yield made
    made.close()


def test_the_first_release_comes_into_service(site: Site) -> None:
    first = site.git("rev-parse", "HEAD")[:12]
    result = site.deploy()
    assert result.returncode == 0, result.stdout + result.stderr
    assert site.in_service == first
    release = site.base / "current"
    assert (release / ".env").resolve() == site.server.root / "etc/pickmyclass/pickmyclass.env"
    steps = [call for call in site.server.calls if "migrate" in call or "restart pickmyclass" in call]
    assert [step.split()[-1] for step in steps] == ["migrate", "migrate", "pickmyclass-consumer.service"]
    unit = site.server.root / "etc/systemd/system/pickmyclass-consumer.service"
    assert unit.read_bytes() == (ROOT / "deploy/systemd/pickmyclass-consumer.service").read_bytes()
    assert (site.server.root / "etc/caddy/Caddyfile").read_bytes() == (ROOT / "Caddyfile").read_bytes()
    assert 'DOMAIN="x.example.edu"' in (site.server.root / "etc/pickmyclass/caddy.env").read_text()
    assert len(list((site.server.root / "var/backups/pickmyclass").glob("before-*.dump"))) == 1


def test_the_health_is_asked_as_an_operator_with_the_newer_of_two_secrets(site: Site) -> None:
    site.deploy()
    site.commit(HEALTHY)
    site.deploy()
    assert {bearer for _, bearer in site.seen} == {"Bearer new"}


def test_what_is_in_service_is_not_deployed_again(site: Site) -> None:
    site.deploy()
    before = site.releases
    again = site.deploy()
    assert again.returncode == 0
    assert "Nothing to do" in again.stdout
    assert site.releases == before
    assert not [call for call in site.server.calls if "restart" in call]


def test_caddy_and_units_are_only_touched_when_they_changed(site: Site) -> None:
    site.deploy()
    assert "systemctl restart caddy" in site.server.calls
    site.commit(HEALTHY)
    site.deploy()
    assert not [call for call in site.server.calls if "daemon-reload" in call or "restart caddy" in call]
    with (site.origin / "Caddyfile").open("a") as file:
        file.write("# changed\n")
    site.commit(HEALTHY)
    site.deploy()
    assert "systemctl restart caddy" in site.server.calls


@pytest.mark.skipif(shutil.which("haproxy") is None, reason="haproxy is not installed (Debian package)")
def test_haproxy_balances_while_the_settings_name_other_servers(site: Site) -> None:
    place, settings = site.server.root / "etc/haproxy/haproxy.cfg", site.server.root / "etc/pickmyclass/pickmyclass.env"
    before = settings.read_text()
    site.deploy()
    assert not [call for call in site.server.calls if call.endswith(" haproxy")]
    settings.write_text(f"{before}UPSTREAMS=10.0.0.2:8080\n")
    for restarts in (1, 0):
        site.deploy("--force")
        assert site.server.calls.count("systemctl restart haproxy") == restarts
        assert "server 10.0.0.2-8080 10.0.0.2:8080" in place.read_text()
    settings.write_text(f"{before}UPSTREAMS=nonsense\n")
    assert "HAProxy" in site.deploy("--force").stdout
    assert "10.0.0.2" in place.read_text(), "what is not valid stops it before the switch"
    settings.write_text(before)
    site.deploy("--force")
    assert "systemctl disable --quiet --now haproxy" in site.server.calls


def test_a_release_in_worse_health_is_taken_back(site: Site) -> None:
    site.deploy()
    good = site.in_service
    bad = site.commit(SICK)
    result = site.deploy()
    assert result.returncode == 3, result.stdout + result.stderr
    assert "worse than before: whole, redis" in result.stdout
    assert "serves again" in result.stdout
    assert site.in_service == good
    assert any(name.endswith(bad) for name in site.releases), "it stays on disk to be looked at"


def test_a_release_that_is_never_ready_is_taken_back(site: Site) -> None:
    site.deploy()
    good = site.in_service
    site.commit({**HEALTHY, "ready": False})
    assert site.deploy().returncode == 3
    assert site.in_service == good


def test_a_release_that_does_not_start_is_taken_back(site: Site) -> None:
    site.deploy()
    good = site.in_service
    site.commit(HEALTHY, "does-not-start")
    assert site.deploy().returncode == 3
    assert site.in_service == good


def test_the_units_of_the_release_before_come_back_with_it(site: Site) -> None:
    site.deploy()
    unit = site.origin / "deploy/systemd/pickmyclass-consumer.service"
    unit.write_text(unit.read_text() + "# of the bad release\n")
    site.commit(SICK)
    assert site.deploy().returncode == 3
    assert "bad release" not in (site.server.root / "etc/systemd/system/pickmyclass-consumer.service").read_text()


def test_what_was_broken_before_does_not_undo_a_deployment(site: Site) -> None:
    site.commit(SICK)
    site.deploy()
    second = site.commit(SICK)
    assert site.deploy().returncode == 0
    assert site.in_service == second


def test_a_first_release_that_fails_stays_for_there_is_nothing_to_go_back_to(site: Site) -> None:
    site.commit({**HEALTHY, "ready": False})
    result = site.deploy()
    assert result.returncode == 4
    assert "no release before it" in result.stdout


@pytest.mark.parametrize("file", ["does-not-build", "does-not-migrate", "no-dump"])
def test_what_fails_before_the_switch_leaves_the_old_release_running_untouched(site: Site, file: str) -> None:
    site.deploy()
    good = site.in_service
    site.commit(HEALTHY, file)
    if file == "no-dump":
        (site.server.root / "var/backups/pickmyclass/no-dump").touch()
    result = site.deploy()
    assert result.returncode == 1
    assert site.in_service == good
    assert not [call for call in site.server.calls if "restart" in call]
    if file == "does-not-build":
        assert len(site.releases) == 1, "half a release is removed"
    if file == "no-dump":
        assert not [call for call in site.server.calls if call.endswith("run.sh migrate")], "no dump, no migration"


def test_a_caddyfile_that_is_not_valid_stops_it_before_the_switch(site: Site) -> None:
    site.deploy()
    good = site.in_service
    (site.origin / "Caddyfile").write_text("broken {")
    site.commit(HEALTHY)
    result = site.deploy()
    assert result.returncode == 1
    assert "not valid" in result.stdout
    assert site.in_service == good
    assert (site.server.root / "etc/caddy/Caddyfile").read_bytes() == (ROOT / "Caddyfile").read_bytes()


def test_rollback_goes_to_the_release_before_and_leaves_the_database_alone(site: Site) -> None:
    site.deploy()
    first = site.in_service
    site.commit(HEALTHY)
    site.deploy("--force")
    assert site.in_service != first
    result = site.deploy("--rollback")
    assert result.returncode == 0, result.stdout + result.stderr
    assert site.in_service == first
    assert not [call for call in site.server.calls if call.endswith("migrate")]


def test_rollback_without_a_release_before_says_so(site: Site) -> None:
    site.deploy()
    result = site.deploy("--rollback")
    assert result.returncode == 1
    assert "no proven release before" in result.stdout


def test_a_branch_a_tag_and_a_commit_can_be_named_and_nonsense_cannot(site: Site) -> None:
    first = site.git("rev-parse", "HEAD")
    site.git("tag", "v1")
    site.git("checkout", "-q", "-b", "other")
    other = site.commit(HEALTHY)
    for ref, expected in (("other", other), ("v1", first[:12]), (other, other), (first, first[:12])):
        assert site.deploy("--ref", ref).returncode == 0
        assert site.in_service == expected
    nonsense = site.deploy("--ref", "nonsense")
    assert nonsense.returncode == 1
    assert "no branch, tag or commit" in nonsense.stdout


def test_a_dry_run_does_nothing(site: Site) -> None:
    site.deploy()
    site.commit(HEALTHY)
    before = site.server.files()
    result = site.deploy("--dry-run")
    assert result.returncode == 0
    assert "would" in result.stdout
    assert site.server.files() == before
    assert site.server.changes() == []


def test_going_back_passes_over_what_never_served(site: Site) -> None:
    site.deploy()
    first = site.in_service
    for files in (("does-not-migrate",), ("does-not-start",)):
        site.commit(HEALTHY, *files)
        assert site.deploy().returncode in {1, 3}
    second = site.commit(HEALTHY)
    assert site.deploy().returncode == 0
    assert site.proven == [first, second]
    assert site.deploy("--rollback").returncode == 0
    assert site.in_service == first


def test_what_the_operator_went_back_from_is_not_gone_back_to(site: Site) -> None:
    site.deploy()
    first = site.in_service
    bad = site.commit(HEALTHY)
    site.deploy()
    site.deploy("--rollback")
    third = site.commit(HEALTHY)
    site.deploy()
    assert site.proven == [first, third]
    assert site.deploy("--rollback").returncode == 0
    assert site.in_service == first != bad


def test_releases_that_fail_push_no_proven_one_out_and_are_cleared_away_by_the_next(site: Site) -> None:
    site.deploy()
    first = site.in_service
    site.commit(HEALTHY)
    site.deploy()
    for _ in range(5):
        site.commit(HEALTHY, "does-not-migrate")
        assert site.deploy().returncode == 1
    assert len(site.releases) == 3, "the last failed one stays to be looked at"
    assert first in site.proven


def test_the_scripts_of_a_release_that_was_taken_back_deploy_nothing(site: Site) -> None:
    site.deploy()
    script = site.origin / "deploy/lib.sh"
    good = script.read_text()
    script.write_text(good.replace("say() {", "say() { echo the bad one speaks; "))
    site.commit(SICK)
    assert site.deploy().returncode == 3
    script.write_text(good)
    mended = site.commit(HEALTHY)
    result = site.deploy()
    assert result.returncode == 0, result.stdout
    assert "the bad one speaks" not in result.stdout
    assert site.in_service == mended


@pytest.mark.parametrize("broken", ["exit 0\n", "exit 1\n", "if then\n", "rm -rf nothing; sleep 0\n"])
def test_a_release_that_could_not_be_replaced_is_not_switched_to(site: Site, broken: str) -> None:
    site.deploy()
    good = site.in_service
    script = site.origin / "deploy/deploy.sh"
    whole = script.read_text()
    script.write_text("#!/bin/bash\n" + broken)
    site.commit(HEALTHY)
    result = site.deploy()
    assert result.returncode == 1
    assert "deploy.sh does not work" in result.stdout
    assert site.in_service == good
    script.write_text(whole)
    site.commit(HEALTHY)
    assert site.deploy().returncode == 0


def test_old_releases_are_removed_but_never_the_one_before(site: Site) -> None:
    for _ in range(6):
        site.deploy("--no-dump", "--no-migrate")
        last = site.in_service
        site.commit(HEALTHY)
    assert len(site.releases) == 4
    assert any(name.endswith(last) for name in site.releases)
    assert site.deploy("--rollback").returncode == 0


def test_only_one_deployment_runs_at_a_time(site: Site) -> None:
    with (site.base / ".deploy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = site.deploy()
    assert result.returncode == 1
    assert "another deployment" in result.stdout


def test_without_settings_it_names_the_way(site: Site) -> None:
    (site.server.root / "etc/pickmyclass/pickmyclass.env").unlink()
    result = site.deploy()
    assert result.returncode == 1
    assert "setup-vps.sh" in result.stderr
