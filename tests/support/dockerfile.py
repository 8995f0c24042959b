"""Reads the Dockerfile and does its steps in a scratch folder, as a user without rights: the proof without an engine.

What an engine would do with /app is done with a folder of ours; packages of the base image, users and layers are
not imitated. Only the instructions that our Dockerfile uses are known, so that a new one is noticed.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

KNOWN = {
    "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD",
}  # fmt: skip
_NETWORK = ("pip_", "http_proxy", "https_proxy", "no_proxy", "all_proxy", "ssl_cert")


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction and its words."""

    name: str
    words: str


@dataclass(slots=True)
class Image:
    """What the last stage says of itself, and its /app in the scratch folder."""

    app: Path
    environ: dict[str, str] = field(default_factory=dict)
    user: str = "root"
    stop_signal: str = ""
    healthcheck: list[str] = field(default_factory=list)
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)


def read(file: Path) -> list[Step]:
    """The instructions in order, continued lines joined."""
    text = re.sub(r"\\\n", " ", "\n".join(line for line in file.read_text().splitlines() if line[:1] != "#"))
    steps = [Step(*line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]
    unknown = {step.name for step in steps} - KNOWN
    assert not unknown, f"teach this reader about {unknown}"
    return steps


def context(root: Path, folder: Path) -> Path:
    """A copy of what .dockerignore lets through, as an engine would be sent it."""
    rules = [line.strip() for line in (root / ".dockerignore").read_text().splitlines()]
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if name.parts[0] in {".git", ".venv"} or not path.is_file() or not _sent(PurePosixPath(name), rules):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / name)
    return folder


def _sent(name: PurePosixPath, rules: list[str]) -> bool:
    sent = True
    for rule in rules:
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!")
        heads = [str(PurePosixPath(*name.parts[: n + 1])) for n in range(len(name.parts))]
        if pattern.startswith("**/"):
            hit = any(fnmatch.fnmatch(part, pattern[3:]) for part in name.parts)
        else:
            hit = any(fnmatch.fnmatch(head, pattern) for head in heads)
        if hit:
            sent = rule.startswith("!")
    return sent


class Builder:
    """Does the steps. `become` are the words that take a command's rights away; `python` stands for the image's."""

    def __init__(self, sent: Path, folder: Path, python: str, become: list[str]) -> None:
        self._sent, self._app, self._stages = sent, folder / "app", folder / "stages"
        self._bin = folder / "bin"
        self._bin.mkdir()
        (self._bin / "python").symlink_to(python)
        self._become = become
        self.skipped: list[str] = []

    def build(self, steps: list[Step]) -> Image:
        """All stages; each has its /app at the same path, as it is in an image."""
        image = Image(self._app)
        name = ""
        for step in steps:
            if step.name == "FROM":
                if name:
                    self._stages.mkdir(exist_ok=True)
                    self._app.rename(self._stages / name)
                name = step.words.split(" AS ")[-1]
                self._app.mkdir()
                self._app.chmod(0o777)
                image = Image(self._app)
            else:
                self._do(step, image)
        return image

    def run(self, words: list[str], environ: dict[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        """A command in /app, without rights and with nothing of our environment."""
        return subprocess.run(
            [*self._become, *words],
            cwd=self._app,
            env=self.environ(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def environ(self, given: dict[str, str]) -> dict[str, str]:
        """The environment of a process in the image, and how pip reaches its index here; compiling is left out."""
        network = {name: value for name, value in os.environ.items() if name.lower().startswith(_NETWORK)}
        path = given.get("PATH", "$PATH").replace("$PATH", f"{self._bin}:/usr/local/bin:/usr/bin:/bin")
        return {"HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "PIP_NO_COMPILE": "1", **network, **given, "PATH": path}

    def command(self, words: list[str]) -> list[str]:
        """The words to start it without rights."""
        return [*self._become, *words]

    def _do(self, step: Step, image: Image) -> None:
        if step.name == "COPY":
            self._copy(step.words.split())
        elif step.name == "RUN" and step.words.startswith("useradd "):
            self.skipped.append(step.words)
        elif step.name == "RUN":
            result = self.run(["sh", "-ec", self._here(step.words)], image.environ, timeout=240)
            assert result.returncode == 0, result.stdout + result.stderr
        elif step.name == "ENV":
            image.environ |= dict(word.split("=", 1) for word in self._here(step.words).split())
        elif step.name == "USER":
            image.user = step.words
        elif step.name == "STOPSIGNAL":
            image.stop_signal = step.words
        elif step.name == "HEALTHCHECK":
            image.healthcheck = json.loads(step.words.split(" CMD ", 1)[1])
        elif step.name in {"ENTRYPOINT", "CMD"}:
            setattr(image, {"ENTRYPOINT": "entrypoint", "CMD": "command"}[step.name], json.loads(step.words))

    def _copy(self, words: list[str]) -> None:
        base = self._sent
        if words[0].startswith("--from="):
            base = self._stages / words.pop(0).removeprefix("--from=")
            words = [word.removeprefix("/app/") for word in words]
        *sources, target = words
        for source in sources:
            place = self._app / target
            if (base / source).is_dir():
                shutil.copytree(base / source, place, symlinks=True)
            else:
                shutil.copy(base / source, place / source if target.endswith("/") else place)

    def _here(self, words: str) -> str:
        return re.sub(r"/app\b", str(self._app), words)
