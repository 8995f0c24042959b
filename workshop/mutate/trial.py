"""A copy of the project in which faults are tried, one at a time, by the tests of the room that they are in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from types import TracebackType
from typing import Self

from workshop.mutate.faults import Fault

# The tests that speak for a room; the first pattern that fits counts. What no pattern names is tried by all unit tests.
TESTS: list[tuple[str, list[str]]] = [
    ("shared/sections/*", ["tests/unit", "tests/integration/test_queued_checks.py"]),
    (
        "shared/queue/*",
        ["tests/unit/test_queue_*", "tests/integration/test_queue_*", "tests/integration/test_budget_*"],
    ),
    ("shared/source/breaker*", ["tests/unit/test_breaker_*", "tests/integration/test_queue_breaker.py"]),
    ("shared/source/*", ["tests/unit/test_scraper_*", "tests/unit/test_source_*", "tests/unit/test_asu_*"]),
    (
        "shared/checks/*",
        [
            "tests/unit",
            "tests/integration/test_queued_checks.py",
            "tests/integration/test_catch_up.py",
            "tests/integration/test_look*",
            "tests/contract/test_cron_tick.py",
            "tests/contract/test_process_section.py",
        ],
    ),
    ("shared/mail/*", ["tests/unit/test_emails_*", "tests/unit/test_mail_*", "tests/integration/test_mail_*"]),
    ("shared/students/*", ["tests/contract", "tests/unit"]),
    (
        "shared/health/*",
        [
            "tests/unit/test_ops_*",
            "tests/unit/test_health*",
            "tests/contract/test_health*",
            "tests/contract/test_metrics.py",
            "tests/integration/test_ops_*",
            "tests/integration/test_alerts.py",
        ],
    ),
    ("shared/cli/*", ["tests/integration/test_ops_*", "tests/integration/test_ownership.py"]),
    ("shared/web/*", ["tests/contract", "tests/unit"]),
    ("functions/*", ["tests/contract"]),
    ("supabase/*", ["tests/integration/test_database_*", "tests/integration/test_mail_*", "tests/contract"]),
]


class Verdict(StrEnum):
    """What the tests made of a fault."""

    NOTICED = "noticed"
    SURVIVED = "survived"


class Laboratory:
    """The copy. Use it as a context manager; it is removed at the end."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folder = Path(tempfile.mkdtemp(prefix="pickmyclass-mutate-"))
        self._seconds: dict[tuple[str, ...], float] = {}

    def __enter__(self) -> Self:
        listed = subprocess.run(
            ["git", "ls-files", "-z"],
            cwd=self._root,
            capture_output=True,
            check=True,
        )
        for name in filter(None, listed.stdout.decode().split("\0")):
            target = self._folder / "project" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self._root / name, target)
        shared = self._root.parent / "shared"
        if shared.is_dir():  # recorded campuses lie beside the project
            (self._folder / "shared").symlink_to(shared)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def tests_for(self, path: Path) -> tuple[str, ...]:
        """The test files that speak for `path`, as far as they exist."""
        project = self._folder / "project"
        patterns = next((tests for room, tests in TESTS if fnmatch(str(path), room)), ["tests/unit"])
        found = [str(file.relative_to(project)) for pattern in patterns for file in sorted(project.glob(pattern))]
        return tuple(dict.fromkeys(found))

    def try_out(self, fault: Fault) -> Verdict:
        """Put the fault in, run the tests, take it out. Raises `RuntimeError` when they fail without it."""
        tests = self.tests_for(fault.path)
        if tests not in self._seconds:
            began = time.monotonic()
            if not self._passes(tests, 1800):
                raise RuntimeError(f"the tests fail without any fault: {' '.join(tests)}")
            self._seconds[tests] = time.monotonic() - began
        file = self._folder / "project" / fault.path
        whole = file.read_text(encoding="utf-8")
        file.write_text(fault.text, encoding="utf-8")
        try:
            # What makes the tests hang is noticed too.
            return Verdict.SURVIVED if self._passes(tests, 3 * self._seconds[tests] + 30) else Verdict.NOTICED
        finally:
            file.write_text(whole, encoding="utf-8")

    def _passes(self, tests: tuple[str, ...], seconds: float) -> bool:
        words = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": str(self._folder / "project"), "PYTHONDONTWRITEBYTECODE": "1"}
        with subprocess.Popen(
            words,
            cwd=self._folder / "project",
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            try:
                return process.wait(seconds) == 0
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                return False
