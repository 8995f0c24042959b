"""Which tests can notice a fault: those that reach the function it is in, the quickest and most particular first."""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

_ROUTINE = re.compile(r"create or replace (?:function|view) (?:public|pickmyclass)\.(\w+)")
_MIGRATIONS = "tests/integration/test_database_migrations"


@dataclass(frozen=True, slots=True)
class Witness:
    """A test, its seconds, the functions ("path:first line") and the SQL functions that it reaches."""

    test: str
    seconds: float
    reached: frozenset[str]
    asked: frozenset[str]


class Atlas:
    """What the tests of a project reach, read from the lines that `workshop.mutate.witness` wrote."""

    def __init__(self, project: Path, lines: Path) -> None:
        self._project = project
        told = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
        witnesses = [Witness(t["test"], t["seconds"], frozenset(t["reached"]), frozenset(t["asked"])) for t in told]
        self._witnesses = sorted(witnesses, key=lambda w: w.seconds * (len(w.reached) + 10 * len(w.asked) + 1))
        self._callers = _callers(project)

    def tests_for(self, path: Path, line: int, seconds: float) -> list[str]:
        """Tests that reach the function around `line` of `path`, until they take `seconds`; at least one, if any does.

        Where no function is around it (a constant, a field), those whose file names the module go first, then all that
        reach it. What the database calls by itself (a trigger) is asked for by no name: it is the migrations' tests'.
        """
        source = (self._project / path).read_text(encoding="utf-8")
        if path.suffix == ".py":
            wanted = _around(path, source, line)
            found = [w for w in self._witnesses if wanted in w.reached]
            found = found or self._of_module(path)
        elif path.suffix == ".sql":
            names = self._askers(_routine_around(source, line))
            found = [w for w in self._witnesses if names & w.asked]
            found = found or [w for w in self._witnesses if w.test.startswith(_MIGRATIONS)]
        else:
            found = self._of_script(path)
        return _within(found, seconds)

    def _of_module(self, path: Path) -> list[Witness]:
        name = f"from {'.'.join(path.with_suffix('').parts)} import"
        files = {w.test.partition("::")[0] for w in self._witnesses}
        naming = {file for file in files if name in (self._project / file).read_text(encoding="utf-8")}
        first = [w for w in self._witnesses if w.test.partition("::")[0] in naming]
        reaching = [w for w in self._witnesses if any(r.startswith(f"{path}:") for r in w.reached)]
        return [*first, *(w for w in reaching if w not in first)]

    def _askers(self, routine: str) -> set[str]:
        """The routine and all that come to it, however deep."""
        names, new = {routine}, [routine]
        while new:
            more = self._callers[new.pop()] - names
            names |= more
            new += more
        return names

    def _of_script(self, path: Path) -> list[Witness]:
        """A script of Redis is reached where the modules beside it are that name it; rules, where any of them is."""
        beside = sorted((self._project / path).parent.glob("*.py"))
        naming = [m for m in beside if f'"{path.stem}' in m.read_text(encoding="utf-8")] or beside
        starts = tuple(f"{module.relative_to(self._project)}:" for module in naming)
        return [w for w in self._witnesses if any(r.startswith(starts) for r in w.reached)]


def _within(found: list[Witness], seconds: float) -> list[str]:
    tests: list[str] = []
    for witness in found:
        if tests and seconds < witness.seconds:
            continue
        tests.append(witness.test)
        seconds -= witness.seconds
    return tests


def _around(path: Path, source: str, line: int) -> str:
    """The innermost function around a line, as `Witness.reached` names it."""
    first = 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            begin = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if node.body[0].lineno <= line <= (node.end_lineno or line):
                first = max(first, begin)
    return f"{path}:{first}"


def _routine_around(source: str, line: int) -> str:
    text = "\n".join(source.splitlines()[:line])
    return next(reversed(_ROUTINE.findall(text)), "")


def _callers(project: Path) -> defaultdict[str, set[str]]:
    """Of each routine, the routines whose text names it."""
    callers: defaultdict[str, set[str]] = defaultdict(set)
    for file in (project / "supabase" / "routines").rglob("*.sql"):
        pieces = _ROUTINE.split(file.read_text(encoding="utf-8"))
        for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
            for called in re.findall(r"(?:public|pickmyclass)\.(\w+)", body):
                callers[called].add(name)
    return callers
