"""What an operator does to a server, by the words of docs/operate.md."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from workshop.rehearsal import network
from workshop.rehearsal.box import Box
from workshop.rehearsal.town import Town, wait_until

REPO = "/opt/pickmyclass/repo"
SETTINGS = "/etc/pickmyclass/pickmyclass.env"
SERVICES = ("pickmyclass-functions", "pickmyclass-consumer", "caddy")
_ROOT_CERTIFICATE = "/var/lib/caddy/.local/share/caddy/pki/authorities/local/root.crt"


@dataclass(slots=True)
class Server:
    """A box, as its operator sees it. `secret` is its CRON_SECRET once it is set up; `settings` is the file."""

    box: Box
    town: Town
    domain: str
    secret: str = ""
    settings: str = SETTINGS

    def set_up(self, words: str = "") -> None:
        """Steps 3 of the installation: code and parts."""
        self.fetch()
        self.box.run(f"{REPO}/deploy/setup-vps.sh --domain {self.domain} {words} --dry-run")
        self.box.run(f"{REPO}/deploy/setup-vps.sh --domain {self.domain} {words}", timeout=600)

    def fetch(self) -> None:
        """The code."""
        self.box.run("apt-get update -q && apt-get install -q -y git", timeout=300)
        self.box.run(f"git clone -q git://{network.GATEWAY}/pickmyclass.git {REPO}")

    def fill_in(self, **more: str) -> None:
        """Step 4: settings. What is set already (the name, Redis, two secrets) stays."""
        wanted = {**self.town.settings(), **more}
        lines = self.box.run(f"cat {self.settings}").splitlines()
        names = (*wanted, "SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY")
        kept = [line for line in lines if not re.match(rf"(# )?({'|'.join(names)})=", line)]
        text = "\n".join([*kept, *(f"{name}={value}" for name, value in wanted.items())]) + "\n"
        self.box.write(self.settings, text, mode=0o640)
        found = re.search(r"^CRON_SECRET=(.+)$", text, re.M)
        assert found, "setup-vps.sh wrote no CRON_SECRET"
        self.secret = found[1]

    def deploy(self, words: str = "", *, timeout: float = 400) -> tuple[int, str]:
        """Status and words of a deployment."""
        return self.box.status(f"{REPO}/deploy/deploy.sh {words}", timeout=timeout)

    def in_service(self) -> str:
        """The commit (12 digits) that the link leads to, and that both services really run. Raises `AssertionError`."""
        current = self.box.run("readlink -f /opt/pickmyclass/current").strip()
        for service in SERVICES[:2]:
            told = self.box.run(f"readlink /proc/$(systemctl show -p MainPID --value {service})/cwd", check=False)
            assert told.strip() == current, f"{service} runs {told.strip() or 'nothing'}, the link leads to {current}"
        assert self.box.status(f"test -e {current}/.proven")[0] == 0, f"{current} is not proven"
        return current.rsplit("-", 1)[1]

    def serves(self) -> bool:
        """Whether all services are active and health says ready."""
        try:
            states = self.box.run(f"systemctl is-active {' '.join(SERVICES)}", check=False, timeout=20).split()
            return states == ["active"] * len(SERVICES) and self.ask("/api/monitoring/health?probe=ready")[0] == 200
        except (RuntimeError, subprocess.SubprocessError):
            return False

    def wait_until_it_serves(self, seconds: float = 60) -> float:
        """Seconds until it serves."""
        return wait_until(self.serves, f"{self.box.name} serves", seconds)

    def trust(self) -> str:
        """Where Caddy's own certificate of authority is kept, for curl."""
        return str(self.box.root) + _ROOT_CERTIFICATE

    def ask(self, path: str, *words: str, seconds: float = 20) -> tuple[int, str]:
        """Status and body of a request from outside, over HTTPS, through Caddy; 0 for no answer."""
        there = ["-w", "\n%{http_code}", "--resolve", f"{self.domain}:443:{self.box.address}"]
        done = subprocess.run(
            [
                "curl",
                "-sS",
                "-m",
                str(seconds),
                "--cacert",
                self.trust(),
                *there,
                *words,
                f"https://{self.domain}{path}",
            ],
            capture_output=True,
            text=True,
            timeout=seconds + 10,
        )
        body, _, status = done.stdout.rpartition("\n")
        return int(status or 0), body

    def health(self) -> dict[str, Any]:
        """The health as an operator sees it."""
        found = json.loads(self.ask("/api/monitoring/health", "-H", f"Authorization: Bearer {self.secret}")[1])
        return dict(found)

    def tick(self) -> None:
        """Have everything checked, through Caddy; another tick that has just begun is waited for."""
        bearer = ("-H", f"Authorization: Bearer {self.secret}")
        deadline = time.monotonic() + 60
        while True:
            status, body = self.ask("/api/cron?group=all", *bearer, seconds=90)
            if status != 409 or time.monotonic() > deadline:
                assert status == 200, f"/api/cron answers {status}: {body[:200]}"
                return
            time.sleep(0.5)

    def tells_of_new_seats(self, count: int = 1, seconds: float = 60) -> float:
        """Open seats, tick, and wait for each email; seconds from the tick to the last one."""
        self.town.open_seats(count)
        began = time.monotonic()
        self.tick()
        wait_until(lambda: not self.town.owed(), "every opening is told", seconds)
        return time.monotonic() - began


@dataclass(slots=True)
class Traffic:
    """Requests one after the other, until it is stopped: every half of a second one, and what they answered."""

    server: Server
    answers: list[int] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Traffic:
        self._thread = threading.Thread(target=self._go, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(40)

    @property
    def failed(self) -> list[int]:
        """The answers that were none."""
        return [status for status in self.answers if status != 200]

    def _go(self) -> None:
        while not self._stop.wait(0.2):
            self.answers.append(self.server.ask("/api/monitoring/health?probe=ready")[0])
