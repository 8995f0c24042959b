"""The cast of a chaos run: the embedded parts, two consumers and the functions, each of which may be killed.

The product reaches Redis and Postgres through wires that can lose answers; the run itself goes straight to them.
A process that we kill comes back as under systemd, after a moment. One that ends by itself is noted as a crash,
and comes back too.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from types import MappingProxyType

from shared.database import connect_postgres
from workshop.chaos.clock import ShiftedClock
from workshop.parts.processes import stop_child
from workshop.parts.redis import EmbeddedRedis
from workshop.parts.stack import Part, Stack
from workshop.parts.wire import Wire

SPEED = 10.0
CONSUMERS = ("consumer-a", "consumer-b")
FUNCTIONS = "functions"
STOP_SECONDS = 30.0


class Company(Stack):
    """All parts. `product` holds the processes that are down only while the nemesis wants it."""

    def __init__(self, campus: Sequence[str], settings: Mapping[str, str] = MappingProxyType({})) -> None:
        """`campus` are the arguments of `python -m workshop.campus`, `settings` the product's beside those here."""
        super().__init__(campus, replay=False, settings=settings, loopback=True)
        self.redis = EmbeddedRedis(appendonly=True)
        self.wires: dict[str, Wire] = {}
        self._open_wires = ExitStack()
        self.clock = ShiftedClock(self._folder.path / "clock", create=True)
        self.product: dict[str, Part] = {}
        self.crashes: list[str] = []
        self._starts = 0
        self._wanted_down: set[str] = set()
        self._lock = threading.Lock()

    def start(
        self, tell: Callable[[str], None] = lambda _: None, *, before_product: Callable[[], None] = lambda: None
    ) -> None:
        """Start everything and wait until it is ready; `before_product` runs when the database is migrated."""
        with ThreadPoolExecutor(2) as pool:
            tell("Postgres, Redis, campus and inbox")
            postgres, redis = pool.submit(self._start_postgres), pool.submit(self.redis.start)
            words = ["-m", "workshop.campus", *self._campus_arguments, f"--token={self.scraper_token}"]
            campus = self._part("campus", words)
            inbox = self._part("inbox", ["-m", "workshop.inbox", "--rate", "1000000", f"--key={self.resend_key}"])
            postgres.result()
            redis.result()
            self.campus_url, self.inbox_url = campus.address(), inbox.address()
        self.environment = self._settings() | {"LOG_LEVEL": "INFO", "CRON_TIMEZONE": "UTC"}
        places = {
            "redis": ("REDIS_URL", self.redis.url, self.redis.port),
            "postgres": ("DATABASE_URL", self.postgres.url(loopback=True), self.postgres.port or 0),
        }
        for name, (setting, url, port) in places.items():
            self.wires[name] = wire = self._open_wires.enter_context(Wire(port))
            self.environment[setting] = url.replace(f"127.0.0.1:{port}", f"127.0.0.1:{wire.port}")
        before_product()
        tell("functions and two consumers")
        for name in (FUNCTIONS, *CONSUMERS):
            self.enter(name)
        self.product[FUNCTIONS].wait_for(self._functions_answer)
        with closing(connect_postgres(self.postgres.url(), pool_size=1)) as database:
            for name in CONSUMERS:
                self.product[name].wait_for(
                    lambda name=name: next(  # type: ignore[misc]  # a default is how a lambda keeps its value
                        (name for row in database.call("pmc_list_workers") if row["worker_name"] == name), None
                    )
                )

    def enter(self, name: str) -> None:
        """Start a process of the product, as systemd would."""
        with self._lock:
            self._starts += 1
            words = ["commands.py", FUNCTIONS if name == FUNCTIONS else "consumer"]
            words += ["--speed", str(SPEED), "--clock", str(self._folder.path / "clock")]
            environment = self.environment | {"WORKER_NAME": name}
            log = f"{name}-{self._starts:03d}"
            self.product[name] = Part(log, words, self._folder.path, environment, aloud=False)
            self._wanted_down.discard(name)

    def kill(self, name: str) -> None:
        """`kill -9` a process of the product with all its children; `enter` brings it back."""
        part = self._take_down(name)
        os.killpg(part.child.pid, signal.SIGKILL)  # it has a session, and so a group, of its own
        part.child.wait(10)

    def terminate(self, name: str) -> int:
        """SIGTERM, as a deployment does; the exit code. One that does not leave in time is a crash."""
        part = self._take_down(name)
        code = stop_child(part.child, timeout=STOP_SECONDS)
        unready = code == -signal.SIGTERM and part.last_words() == "(nothing)"  # still importing: nothing to hand back
        if code != 0 and not unready:
            self.crashes.append(f"{part.name} left with code {code} after SIGTERM; it said:\n{part.last_words()}")
        return code

    def freeze(self, name: str) -> None:
        """SIGSTOP: it does not run, and does not know it."""
        os.killpg(self.product[name].child.pid, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT."""
        os.killpg(self.product[name].child.pid, signal.SIGCONT)

    def revive(self) -> None:
        """Note which processes ended by themselves, and start them again. Raises `PartError` for an embedded part."""
        self.check()
        for name, part in list(self.product.items()):
            with self._lock:
                ended = name not in self._wanted_down and part.child.poll() is not None
            if ended and self.product[name] is part:
                self.crashes.append(
                    f"{part.name} ended by itself with code {part.child.returncode}; it said:\n{part.last_words()}"
                )
                self.enter(name)

    def keep_logs(self, folder: Path) -> None:
        """Copy what the processes logged to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        for log in self._folder.path.glob("*.log"):
            shutil.copy(log, folder)

    def leave(self) -> None:
        """Let the product leave in an orderly way; whoever does not is noted as a crash."""
        for name, part in self.product.items():
            if part.child.poll() is None:
                self.terminate(name)

    def stop(self) -> None:
        """Stop everything, the product first. Idempotent."""
        for name, part in self.product.items():
            if part.child.poll() is None:
                self.kill(name)
        self._open_wires.close()
        super().stop()

    def _take_down(self, name: str) -> Part:
        with self._lock:
            self._wanted_down.add(name)
        return self.product[name]
