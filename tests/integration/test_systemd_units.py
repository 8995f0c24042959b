"""The units: accepted by systemd's own checker, sandboxed to an exposure of 2.0 or better, and as promised."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.settings import ROOT

UNITS = ROOT / "deploy" / "systemd"
SERVICES = ["pickmyclass-functions.service", "pickmyclass-consumer.service"]
SYSTEM_UNITS = Path("/usr/lib/systemd/system")

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian package systemd)"
)


def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, timeout=30, env={**os.environ, "LC_ALL": "C"}
    )


def read(unit: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parser.read(UNITS / unit)
    return parser


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with systemd's units and ours, and something executable where the release's Python will be."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(UNITS, root / "etc/systemd/system")
    shutil.copytree(SYSTEM_UNITS, root / "usr/lib/systemd/system", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    for program in ("opt/pickmyclass/current/.venv/bin/python", "usr/bin/systemctl"):
        (root / program).parent.mkdir(parents=True)
        (root / program).write_text("#!/bin/sh\n")
        (root / program).chmod(0o755)
    script = root / "opt/pickmyclass/repo/deploy/deploy.sh"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "deploy/deploy.sh", script)
    return root


@needs_systemd
@pytest.mark.parametrize(
    "unit", [*SERVICES, "pickmyclass.target", "pickmyclass-up.service", "pickmyclass-recover.service"]
)
def test_systemd_accepts_the_unit_without_a_word(installed: Path, unit: str) -> None:
    result = run("systemd-analyze", "verify", "--man=no", f"--root={installed}", unit)
    ours = [line for line in (result.stdout + result.stderr).splitlines() if "pickmyclass" in line]
    assert (result.returncode, ours) == (0, [])


@needs_systemd
def test_the_checker_would_have_noticed_a_mistake(installed: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(installed, root, symlinks=True)
    unit = root / "etc/systemd/system" / SERVICES[0]
    unit.write_text(unit.read_text().replace("ProtectClock=yes", "ProtectKlock=yes"))
    result = run("systemd-analyze", "verify", "--man=no", f"--root={root}", SERVICES[0])
    assert "ProtectKlock" in result.stderr


@needs_systemd
@pytest.mark.parametrize("service", SERVICES)
def test_the_exposure_is_two_or_better(service: str) -> None:
    result = run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", UNITS / service)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", result.stdout)
    assert found, result.stdout + result.stderr
    assert float(found[1]) <= 2.0
    assert result.returncode == 0


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_drains_is_watched_and_comes_back(service: str) -> None:
    unit = read(service)["Service"]
    assert unit["Type"] == "notify"
    assert unit["User"] == "pickmyclass"
    assert unit["Restart"] == "on-failure"
    assert int(unit["WatchdogSec"]) > 0
    assert int(unit["TimeoutStopSec"]) > 30, "a stop may take 30 s"
    assert int(read(service)["Unit"]["StartLimitIntervalSec"]) == 0, "it never gives up"


def test_both_services_together_leave_half_of_a_gigabyte_to_the_rest_when_they_are_held_back() -> None:
    held_back = [int(read(service)["Service"]["MemoryHigh"].removesuffix("M")) for service in SERVICES]
    assert sum(held_back) <= 512


def test_no_secret_passes_through_a_units_environment() -> None:
    for service in SERVICES:
        unit = read(service)["Service"]
        assert "EnvironmentFile" not in unit
        assert not re.search(r"SECRET|KEY|TOKEN|PASSWORD", unit["Environment"])


def test_the_target_starts_and_stops_both() -> None:
    assert set(read("pickmyclass.target")["Unit"]["Wants"].split()) == set(SERVICES)
    for service in SERVICES:
        assert read(service)["Unit"]["PartOf"] == "pickmyclass.target"
        assert read(service)["Install"]["WantedBy"] == "pickmyclass.target"
