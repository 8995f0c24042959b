"""CONTRIBUTING's recipe for a new function, tried literally on a copy of the project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from commands import commands
from shared.settings import ROOT
from workshop.new import make

RECIPE = re.search(r"^## Add a function\n(.*?)^## ", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of everything that is under version control, as it is now."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def python(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *words]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, timeout=110)


@pytest.mark.slow
def test_what_the_recipe_makes_is_clean_described_routed_and_answers(project: Path) -> None:
    assert RECIPE
    (name,) = re.findall(r"`\./run\.sh new ([a-z_]+)`", RECIPE[1])
    made = make(name, project)
    for file in made:
        assert re.search(rf"`{re.escape(file.replace(name, '<name>'))}`", RECIPE[1].replace(name, "<name>")), file
    assert python(project, "-m", "ruff", "format", "--check", ".").returncode == 0
    assert python(project, "-m", "ruff", "check", ".").returncode == 0
    proofs = [
        f"tests/contract/test_{name}.py",
        "tests/unit/test_docs.py::test_the_readme_lists_every_route_and_its_folder",
        "tests/contract/test_openapi.py::test_every_route_is_described_and_nothing_else",
        "tests/integration/test_caddy_front.py::" + _routes_test(),
    ]
    told = python(project, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *proofs)
    assert told.returncode == 0, told.stdout[-3000:]
    assert re.search(r"\d\d* passed", told.stdout) or "[100%]" in told.stdout


def _routes_test() -> str:
    """The test that compares the Caddyfile with the table of routes."""
    text = (ROOT / "tests/integration/test_caddy_front.py").read_text()
    before = text[: text.index("route.path for route in ROUTES} - closed")]
    return re.findall(r"^def (test_\w+)", before, re.MULTILINE)[-1]


@pytest.mark.parametrize("name", ["Hello", "hello-world", "2nd", "health", "../evil", ""])
def test_a_name_that_cannot_be_one_changes_nothing(name: str) -> None:
    before = subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True).stdout
    assert CliRunner().invoke(commands, ["new", name]).exit_code == 2
    assert subprocess.run(["git", "status", "--short"], cwd=ROOT, capture_output=True).stdout == before
