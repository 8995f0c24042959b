"""A copy of the project in which faults are tried, one at a time, by the tests that reach them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from workshop.mutate.atlas import Atlas
from workshop.mutate.faults import Fault

WITNESSED = ["tests/unit", "tests/contract", *(f"tests/integration/test_{name}*" for name in (
    "alerts", "asu", "budget_checks", "catch_up", "consumer", "database", "heartbeat", "listings", "logs", "looks",
    "mail", "many", "ops", "ownership", "queue", "redis_writes", "setup_command", "site_looks", "source", "supervised",
    "systemd_notify", "tape",
))]  # fmt: skip
"""The tests that judge faults: not those of deployments, images, comparisons, browsers and whole servers."""


_WITNESS = ["--numprocesses=2", "--dist=loadfile", "-p", "workshop.mutate.witness", "--witness"]


class Verdict(StrEnum):
    """What the tests made of a fault."""

    NOTICED = "noticed"
    SURVIVED = "survived"
    UNREACHED = "unreached"
    """No test reaches it in its own process: it counts as survived."""


class Laboratory:
    """The copy. Use it as a context manager; it is removed at the end."""

    def __init__(self, root: Path, atlas: Path, seconds: float) -> None:
        """`atlas`: the file that tells what the tests reach; made when it is missing. `seconds`: for each fault."""
        self._root, self._lines, self._seconds = root, atlas, seconds
        self._folder = Path(tempfile.mkdtemp(prefix="pickmyclass-mutate-"))
        self._project = self._folder / "project"
        self._trials = 0
        self._sound: set[str] = set()
        self._lame: set[str] = set()

    def __enter__(self) -> Self:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=self._root, capture_output=True, check=True)
        for name in filter(None, listed.stdout.decode().split("\0")):
            target = self._project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self._root / name, target)
        shared = self._root.parent / "shared"
        if shared.is_dir():  # recorded campuses lie beside the project
            (self._folder / "shared").symlink_to(shared)
        if not self._lines.exists():
            new = self._lines.with_suffix(".new")
            new.unlink(missing_ok=True)
            self._pytest([*_WITNESS, str(new), *self._witnessed()], 7200)
            new.rename(self._lines)
        self._atlas = Atlas(self._project, self._lines)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _witnessed(self) -> list[str]:
        found = [file for pattern in WITNESSED for file in sorted(self._project.glob(pattern))]
        return [str(file.relative_to(self._project)) for file in found]

    def try_out(self, fault: Fault) -> Verdict:
        """Put the fault in, run the tests that reach it, take it out. What makes them hang is noticed too.

        A test that fails without the fault as well says nothing and is left out from then on; it is asked once.
        """
        while tests := [t for t in self._atlas.tests_for(fault.path, fault.line, self._seconds) if t not in self._lame]:
            file = self._project / fault.path
            whole = file.read_text(encoding="utf-8")
            self._write(file, fault.text)
            try:
                passed, failed = self._pytest(["-x", *tests], 3 * self._seconds + 60)
            finally:
                self._write(file, whole)
            if passed:
                return Verdict.SURVIVED
            if failed is None or self._passes_without_fault(failed):
                return Verdict.NOTICED
            self._lame.add(failed)
        return Verdict.UNREACHED

    def _passes_without_fault(self, test: str) -> bool:
        if test not in self._sound and self._pytest([test], 3 * self._seconds + 60)[0]:
            self._sound.add(test)
        return test in self._sound

    def _write(self, file: Path, text: str) -> None:
        """Each time of another moment, so that no compiled copy passes for it."""
        self._trials += 1
        file.write_text(text, encoding="utf-8")
        os.utime(file, (self._trials * 10, self._trials * 10))

    def _pytest(self, words: list[str], seconds: float) -> tuple[bool, str | None]:
        """Whether all passed within `seconds`; and, where one failed that can be named, which."""
        command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *words]
        environment = {**os.environ, "PYTHONPATH": str(self._project)}
        with subprocess.Popen(
            command,
            cwd=self._project,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                said, _ = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                return False, None
        failed = re.search(r"^FAILED (\S+?)(?: - |$)", said, re.MULTILINE)
        return process.returncode == 0, failed[1] if failed else None
