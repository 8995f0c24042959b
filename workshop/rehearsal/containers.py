"""A server with Docker, as its operator sees it: compose in the folder of the clone, functions on the loopback."""

from __future__ import annotations

import json
import secrets
import shlex
import subprocess
from dataclasses import dataclass
from typing import Any

from workshop.rehearsal.box import Box
from workshop.rehearsal.debian import base_image
from workshop.rehearsal.operator import REPO, Server
from workshop.rehearsal.town import Town, wait_until

COMPOSE = f"cd {REPO} && docker compose --progress plain"
PYTHON, REDIS = "python:3.12-slim-bookworm", "redis:7-alpine"
"""The images that the project builds on; no registry is asked for them here."""
_ENGINE = ("docker.io", "docker-cli", "docker-compose", "curl", "git", "ca-certificates")
_REDIS_IMAGE = f"FROM {PYTHON}\nRUN mkdir /data && chown redis:redis /data\nUSER redis\nWORKDIR /data\n"


@dataclass(frozen=True, slots=True)
class End:
    """How a container ended: its service, its exit code, and when (RFC 3339 without the Z: sorts as text)."""

    service: str
    code: int
    when: str


def ends(inspected: str) -> list[End]:
    """What `docker inspect` says of stopped containers, in the order in which they ended."""
    found = [
        End(
            one["Config"]["Labels"]["com.docker.compose.service"],
            one["State"]["ExitCode"],
            one["State"]["FinishedAt"].rstrip("Z"),
        )
        for one in json.loads(inspected)
    ]
    return sorted(found, key=lambda end: end.when)


class Containers(Server):
    """The compose stack of one box."""

    def __init__(self, box: Box, town: Town) -> None:
        super().__init__(box, town, "localhost", settings=f"{REPO}/.env")

    def install_engine(self) -> str:
        """Engine and compose from Debian, base images from a folder of ours; the versions."""
        packages = " ".join(_ENGINE)
        self.box.run("apt-get update -q", timeout=300)
        self.box.run(f"apt-get install -q -y --no-install-recommends {packages}", timeout=400)
        self._import(PYTHON)
        self.box.run(f"printf %s {shlex.quote(_REDIS_IMAGE)} | DOCKER_BUILDKIT=0 docker build -q -t {REDIS} -")
        return self.box.run("docker version -f '{{.Server.Version}}'; docker compose version --short").replace(
            "\n", " "
        )

    def fill_in_all(self) -> None:
        """`.env` from the example, with secrets of its own."""
        self.box.run(f"cp {REPO}/.env.example {self.settings}")
        names = ("CRON_SECRET", "UNSUBSCRIBE_SIGNING_SECRET")
        ours = {name: secrets.token_urlsafe(32) for name in names}
        self.fill_in(SITE_URL="https://classes.example.edu", **ours)

    def compose(self, words: str, *, timeout: float = 400) -> str:
        """Output of `docker compose …`. Raises `BoxError`."""
        return self.box.run(f"{COMPOSE} {words}", timeout=timeout)

    def state(self, service: str) -> dict[str, Any]:
        """What the engine says of the one container of `service`."""
        return dict(json.loads(self.box.run(f"docker inspect $({COMPOSE} ps -aq {service})"))[0])

    def health_of(self, service: str) -> str:
        """The word of its health check."""
        return str(self.state(service)["State"]["Health"]["Status"])

    def signal(self, service: str, name: str) -> None:
        """Send a signal to the program itself, behind the engine's back; to the child of an init."""
        init = self.state(service)["State"]["Pid"]
        self.box.run(f"program=$(cat /proc/{init}/task/{init}/children); kill -{name} ${{program:-{init}}}")

    def ask(self, path: str, *words: str, seconds: float = 20) -> tuple[int, str]:
        """Status and body of a request from the server itself; 0 for no answer."""
        asking = ["curl", "-s", "-m", str(seconds), "-w", "\n%{http_code}", *words, f"http://127.0.0.1:8080{path}"]
        body, _, status = self.box.status(shlex.join(asking), timeout=seconds + 10)[1].rpartition("\n")
        return int(status or 0), body

    def serves(self) -> bool:
        """Whether the functions say that they are ready and a consumer beats."""
        try:
            return self.ask("/api/monitoring/health?probe=ready")[0] == 200
        except (RuntimeError, subprocess.SubprocessError):
            return False

    def wait_until_healthy(self, seconds: float = 90) -> float:
        """Until the engine's own check of the functions says so too: seconds it took."""
        return wait_until(lambda: self.health_of("functions") == "healthy", "the functions are healthy", seconds)

    def _import(self, image: str) -> None:
        with subprocess.Popen(["tar", "-C", str(base_image()), "-c", "."], stdout=subprocess.PIPE) as tar:
            words = self.box.words(f"docker import - {image}")
            done = subprocess.run(words, stdin=tar.stdout, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"docker import {image}: {done.stderr.strip()[-500:]}")
