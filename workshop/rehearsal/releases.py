"""Releases that are broken on purpose, made from the commit that is rehearsed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from workshop.rehearsal.network import do

_HEALTH = "functions/health/main.py"
_NEVER = '\n\ndef _ready(parts: Wiring) -> Response:\n    return reply({"status": "not_ready"}, 503)\n'
_AFTER_A_MINUTE = """

import time

_began, _good = time.monotonic(), _ready


def _ready(parts):
    return _good(parts) if time.monotonic() - _began < 60 else reply({"status": "not_ready"}, 503)
"""


@dataclass(frozen=True, slots=True)
class Broken:
    """What is wrong with it, the file that is changed, and the text: appended, or instead of the whole file."""

    what: str
    file: str
    text: str
    whole: bool = False
    status: int = 3
    """What the deployment is to answer: 3 it went back, 1 it never switched."""


KINDS = (
    Broken("does not import", "shared/wiring.py", "\nraise ImportError('broken on purpose')\n"),
    Broken("is never ready", _HEALTH, _NEVER),
    Broken("has a bad migration", "supabase/migrations/20991231000000_bad.sql", "select 1 / 0;\n", True, 1),
    Broken("is ill after a minute", _HEALTH, _AFTER_A_MINUTE),
    Broken("breaks the deploy script", "deploy/deploy.sh", "#!/bin/bash\nexit 1\n", True, 1),
)


class Origin:
    """The repository that the servers clone."""

    def __init__(self, bare: Path, folder: Path) -> None:
        """`bare` is its folder; the working copy is kept in `folder`."""
        self._work = folder / "work"
        do("git", "clone", "-q", bare, self._work)

    def push_good(self, number: int) -> str:
        """A commit more on the main branch that changes nothing but itself; its first twelve digits."""
        self._git("checkout", "-q", "main")
        return self._push("main", f"good {number}")

    def push_broken(self, kind: Broken) -> str:
        """A branch with a broken release on top of the main branch; its name."""
        branch = "broken-" + kind.what.replace(" ", "-")
        self._git("checkout", "-q", "-B", branch, "main")
        file = self._work / kind.file
        file.write_text(kind.text if kind.whole else file.read_text() + kind.text)
        self._push(branch, kind.what)
        return branch

    def _push(self, branch: str, what: str) -> str:
        self._git("add", "-A")
        person = ["-c", "user.name=rehearsal", "-c", "user.email=rehearsal@example.edu", "-c", "commit.gpgsign=false"]
        self._git(*person, "commit", "-q", "--allow-empty", "-m", what)
        self._git("push", "-q", "-f", "origin", f"HEAD:{branch}")
        return self._git("rev-parse", "HEAD").strip()[:12]

    def _git(self, *words: str) -> str:
        return do("git", "-C", self._work, *words)
