"""Every part at once, on free loopback ports: Postgres, Redis, campus, inbox, sign-in, the functions, the consumer.

The processes of the product are the real ones, started by the real commands; only their settings are ours.
"""

from __future__ import annotations

import base64
import os
import re
import secrets
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import requests

from shared import settings
from shared.database import connect_postgres
from shared.migrations import migrate
from workshop.parts.cache import RunFolder
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.processes import Child, free_port, start_child, stop_child
from workshop.parts.redis import EmbeddedRedis

_ROOT = Path(__file__).resolve().parents[2]
_READY_SECONDS = 60.0
_LISTENING = re.compile(r"listening on (http://\S+)")
_OLD_NAMES = ("NEXT_PUBLIC_SUPABASE_URL", "NEXT_PUBLIC_SUPABASE_ANON_KEY", "NEXT_PUBLIC_SITE_URL")
_UNLIMITED = 1_000_000  # requests a second: the inbox is not what is tried here


class PartError(Exception):
    """A part did not start, or ended before its time; the message ends with what it said."""


class Part:
    """One process of the stack, with its output in a file."""

    def __init__(
        self, name: str, command: Sequence[str], folder: Path, environment: dict[str, str], *, aloud: bool
    ) -> None:
        """Start it at once. `aloud`: its output goes to our own."""
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            output = None if aloud else log
            # What the parent's environment holds beside our settings (PATH, language) is the child's too.
            self.child: Child = start_child(
                [sys.executable, *command], cwd=_ROOT, env={**os.environ, **environment}, stdout=output, stderr=output
            )

    def wait_for(self, ready: Callable[[], str | None]) -> str:
        """What `ready` answers, as soon as it is something; raises `PartError` when the part ends or time is up."""
        deadline = time.monotonic() + _READY_SECONDS
        while not (answer := ready()):
            self.check()
            if time.monotonic() > deadline:
                raise PartError(f"{self.name} was not ready within {_READY_SECONDS:g} s; it said:\n{self.last_words()}")
            time.sleep(0.02)
        return answer

    def address(self) -> str:
        """Where it listens, by its own words."""
        return self.wait_for(lambda: found[1] if (found := _LISTENING.search(self._said())) else None)

    def last_words(self) -> str:
        """The end of what it printed."""
        return "\n".join(self._said().strip().splitlines()[-25:]) or "(nothing)"

    def check(self) -> None:
        """Raise `PartError` when it is no longer running."""
        if self.child.poll() is not None:
            raise PartError(f"{self.name} ended with code {self.child.returncode}; it said:\n{self.last_words()}")

    def _said(self) -> str:
        return self._log.read_text(errors="replace")


class Stack:
    """All parts. Use it as a context manager, or `start` and `stop`."""

    def __init__(
        self,
        campus: Sequence[str],
        *,
        replay: bool,
        port: int | None = None,
        aloud: bool = False,
        settings: Mapping[str, str] = MappingProxyType({}),
        loopback: bool = False,
    ) -> None:
        """`campus` are the arguments of `python -m workshop.campus`. `replay`: the consumer leaves tick and mail to us.

        The functions listen on `port` (`None`: a free one). `aloud`: functions and consumer log to our output.
        `settings` of the product that shall not be as they are here: SOURCE, LOOKS_PER_MINUTE. `loopback`: Postgres
        listens there too.
        """
        self._campus_arguments, self._replay, self._aloud = list(campus), replay, aloud
        self._other_settings = dict(settings)
        self.port = port or free_port()
        self.postgres = EmbeddedPostgres(loopback=loopback)
        self.redis = EmbeddedRedis()
        self.scraper_token, self.resend_key = secrets.token_urlsafe(16), "re_" + secrets.token_urlsafe(16)
        self.webhook_secret = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.cron_secret = secrets.token_urlsafe(16)
        self.parts: list[Part] = []
        self.anon_key = secrets.token_urlsafe(24)
        self.campus_url = self.inbox_url = self.supabase_url = ""
        self.functions_url = f"http://127.0.0.1:{self.port}"
        self.environment: dict[str, str] = {}
        self._folder = RunFolder()

    def start(
        self, tell: Callable[[str], None] = lambda _: None, *, before_product: Callable[[], None] = lambda: None
    ) -> None:
        """Start everything and wait until it is ready; `tell` hears what is being waited for.

        `before_product` is called when the database is migrated and neither functions nor consumer run yet. Raises
        `PartError` or `RuntimeError` with what a part said that did not start.
        """
        with ThreadPoolExecutor(3) as pool:
            tell("Postgres, Redis, campus, inbox and sign-in")
            postgres, redis = pool.submit(self._start_postgres), pool.submit(self.redis.start)
            campus = self._part(
                "campus", ["-m", "workshop.campus", *self._campus_arguments, f"--token={self.scraper_token}"]
            )
            inbox = self._part("inbox", ["-m", "workshop.inbox", *self._inbox_arguments()])
            postgres.result()
            redis.result()
            self.campus_url, self.inbox_url = campus.address(), inbox.address()
            project = ["--database", self.postgres.url(), "--inbox", self.inbox_url, "--key", self.resend_key]
            project += [f"--site={self.functions_url}", f"--anon-key={self.anon_key}"]  # a key may begin with a dash
            self.supabase_url = self._part("supabase", ["-m", "workshop.supabase", *project]).address()
        self.environment = self._settings()
        before_product()
        tell("functions and consumer")
        functions = self._part("functions", ["commands.py", "functions"], aloud=self._aloud)
        words = ["commands.py", "consumer", *(["--replay"] if self._replay else [])]
        consumer = self._part("consumer", words, aloud=self._aloud)
        functions.wait_for(self._functions_answer)
        with closing(connect_postgres(self.postgres.url(), pool_size=1)) as database:
            consumer.wait_for(lambda: "beating" if database.call("pmc_list_workers") else None)

    def stop(self) -> None:
        """Stop everything, the product first, and remove what it left on disk. Idempotent."""
        for part in reversed(self.parts):
            stop_child(part.child, timeout=32.0)
        self.redis.close()
        self.postgres.stop()
        self._folder.remove()

    def write_settings(self) -> Path:
        """A file of our settings for a shell to read, for ours alone to see; removed with everything else."""
        path = self._folder.path / "settings.env"
        lines = (f"{name}={shlex.quote(value)}\n" for name, value in self.environment.items())
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.writelines(lines)
        return path

    def check(self) -> None:
        """Raise `PartError` when a part has ended."""
        for part in self.parts:
            part.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _part(self, name: str, command: list[str], *, aloud: bool = False) -> Part:
        part = Part(name, command, self._folder.path, self.environment, aloud=aloud)
        self.parts.append(part)
        return part

    def _start_postgres(self) -> None:
        self.postgres.start()
        migrate(self.postgres.url(), max_watches=10)

    def _settings(self) -> dict[str, str]:
        """Our value of every setting; the others are emptied, so that nobody's .env has a say in here."""
        ours = {
            "DATABASE_URL": self.postgres.url(),
            "DATABASE_TRANSPORT": "postgres",
            "SUPABASE_URL": self.supabase_url,
            "SUPABASE_ANON_KEY": self.anon_key,
            "REDIS_URL": self.redis.url,
            "SCRAPER_URL": self.campus_url,
            "SCRAPER_SECRET_TOKEN": self.scraper_token,
            "ASU_CATALOG_URL": f"{self.campus_url}/catalog-microservices/api/v1",
            "SOURCE_CONTACT": "operator@pickmyclass.example",
            "RESEND_API_URL": self.inbox_url,
            "RESEND_API_KEY": self.resend_key,
            "RESEND_WEBHOOK_SECRET": self.webhook_secret,
            "NOTIFICATION_FROM_EMAIL": "PickMyClass <notify@pickmyclass.example>",
            "CRON_SECRET": self.cron_secret,
            "UNSUBSCRIBE_SIGNING_SECRET": secrets.token_urlsafe(32),
            "SUPABASE_JWT_SECRET": secrets.token_urlsafe(32),
            "SITE_URL": self.functions_url,
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "WORKERS": "4",
            "WORKER_NAME": "local",
            "LOG_FORMAT": "text",
        }
        if self._replay:
            ours |= {"CRON_SCHEDULE": "off", "LOG_LEVEL": "WARNING"}
        return dict.fromkeys([*settings.names(), *_OLD_NAMES], "") | ours | self._other_settings

    def _inbox_arguments(self) -> list[str]:
        webhook = f"{self.functions_url}/api/webhooks/resend"
        words = {"rate": str(_UNLIMITED), "key": self.resend_key, "webhook": webhook}
        return [f"--{name}={value}" for name, value in {**words, "webhook-secret": self.webhook_secret}.items()]

    def _functions_answer(self) -> str | None:
        try:
            answer = requests.get(f"{self.functions_url}/api/monitoring/health?probe=ready", timeout=5)
        except requests.ConnectionError:
            return None
        return "ready" if answer.status_code == 200 else None
