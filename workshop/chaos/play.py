"""Plays the slots of a season through the product while the nemesis is at work.

The driver owns the slots: it moves the campus and the shared clock to the next one when the attempts of this one
have ended, and it stands for what starts a tick in production: the scheduler's minute, an operator's HTTP call,
or nobody at all (a server that was down over :00). Everything else (rescue, catch-up, take-over, mail, beats) is
the consumers' own, on real clocks divided by ten.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import requests

from shared.checks.duties import Duties, Worker
from shared.durations import Durations
from shared.redis import RedisError
from shared.sections.slots import group_at
from shared.settings import load
from shared.wiring import Wiring
from workshop.chaos.company import SPEED, Company
from workshop.chaos.nemesis import Nemesis
from workshop.chaos.records import Records
from workshop.chaos.season import Season

SLOT_LIMIT = 150.0  # seconds until a section without an ended attempt counts as unchecked: 25 minutes of real life
DRAIN_LIMIT = 90.0
_LOOK_AGAIN = 0.05
_LATENCIES = (0, 50, 100, 200, 400)  # ms that the scraper takes in a slot: so that something is always under way


@dataclass(frozen=True, slots=True)
class PlayedSlot:
    """A slot that was played: its start (epoch ms), who ticked, when it began and ended (epoch s, our clock)."""

    slot_ms: int
    ticked_by: str
    began: float
    ended: float
    began_monotonic: float
    ended_monotonic: float
    unchecked: tuple[str, ...] = ()


@dataclass(slots=True)
class Played:
    """What was played, and what was still on its way at the end."""

    slots: list[PlayedSlot] = field(default_factory=list)
    http_calls: int = 0
    stuck: dict[str, Any] = field(default_factory=dict)


class Play:
    """One run, on a started company."""

    def __init__(self, company: Company, season: Season, records: Records, seed: int) -> None:
        self.played = Played()
        self._company, self._season, self._records = company, season, records
        self._chance = random.Random(f"play {seed}")
        self._traffic_chance = random.Random(f"traffic {seed}")
        self._settings = load(company.environment | {"WORKER_NAME": "driver"}, None)
        self._parts = Wiring(self._settings, clock=company.clock, durations=Durations().divided_by(SPEED))
        worker = Worker("driver", "driver", "local", 0, {})
        parts = self._parts
        self._duties = Duties(parts.database, parts.huey, parts.ticker, worker, parts.durations, parts.clock)
        self._traffic_stopped = threading.Event()
        self._rest = iter(season.slots_ms)

    def play(self, seconds: float, nemesis: Nemesis, tell: Callable[[Played], None]) -> Played:
        """Play slots for `seconds` under the nemesis, then two calm ones, and let everything drain."""
        self._play_slot("scheduler", tell)  # the first look at everything: nobody is told of anything
        self._play_slot("scheduler", tell)
        traffic = threading.Thread(target=self._make_traffic, name="traffic", daemon=True)
        traffic.start()
        nemesis.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self._play_slot(self._chance.choices(("scheduler", "http", "nobody"), (6, 3, 1))[0], tell):
                break
        self._traffic_stopped.set()
        nemesis.stop()
        traffic.join()
        self._company.revive()
        self._play_slot("scheduler", tell)
        self._play_slot("scheduler", tell)
        self._drain(tell)
        return self.played

    def close(self) -> None:
        """Close the driver's own connections."""
        self._parts.close()

    # ---- slots

    def _play_slot(self, ticked_by: str, tell: Callable[[Played], None]) -> bool:
        """Move to the next slot, see that it is ticked, wait for its attempts. False when one never ended."""
        slot_ms = next(self._rest)
        slot = datetime.fromtimestamp(slot_ms / 1000, UTC)
        began, began_monotonic = time.time(), time.monotonic()
        self._control(self._company.campus_url, "clock", {"now_ms": slot_ms, "rate": self._season.rate})
        self._control(self._company.campus_url, "latency", {"ms": self._chance.choice(_LATENCIES)})
        self._company.clock.set(slot)
        if ticked_by == "scheduler":
            self._duties.tick(slot, threading.Event().wait)
        elif ticked_by == "http":
            self._call("GET", "/api/cron", headers={"X-Cron-Scheduled-Time": str(slot_ms)})
        unchecked = self._wait_for_attempts(slot, tell)
        ended, ended_monotonic = time.time(), time.monotonic()
        self.played.slots.append(
            PlayedSlot(slot_ms, ticked_by, began, ended, began_monotonic, ended_monotonic, tuple(unchecked))
        )
        return not unchecked

    def _wait_for_attempts(self, slot: datetime, tell: Callable[[Played], None]) -> Sequence[str]:
        """Until every due section's attempt has ended; those without an end when the patience is over."""
        deadline = time.monotonic() + SLOT_LIMIT
        while left := self._records.unattempted(slot):
            if time.monotonic() > deadline:
                return left
            self._company.revive()
            tell(self.played)
            time.sleep(_LOOK_AGAIN)
        return []

    def _drain(self, tell: Callable[[Played], None]) -> None:
        """Everything is healed: wait until nothing is on its way."""
        began = time.monotonic()
        while (left := self._on_the_way()) and time.monotonic() - began < DRAIN_LIMIT:
            self._company.revive()
            tell(self.played)
            time.sleep(_LOOK_AGAIN)
        self.played.stuck = left

    def _on_the_way(self) -> dict[str, Any]:
        """What has not come to its end, by name."""
        left: dict[str, Any] = dict(self._records.unsettled())
        try:
            counts = self._parts.huey.counts()
        except RedisError as error:
            return left | {"redis": type(error).__name__}
        kinds = {"waiting": counts.waiting, "leased": counts.leased, "delayed": counts.delayed, "dead": counts.dead}
        kinds["in limbo"] = counts.limbo
        left |= {f"jobs {name}": count for name, count in kinds.items() if count}
        workers = self._records.living_workers()
        if len(workers) != 2:
            left["workers"] = workers
        return left

    # ---- what goes on beside

    def _make_traffic(self) -> None:
        """Checks over HTTP, an operator's tick now and then, health: whatever the functions are asked in a day."""
        chance = self._traffic_chance
        sections = [timeline.class_nbr for timeline in self._season.timelines]
        while not self._traffic_stopped.wait(chance.uniform(0.1, 1.2)):
            what = chance.random()
            if what < 0.75:
                body = {"class_nbr": chance.choice(sections), "term": self._season.term}
                self._call("POST", "/api/queue/process-section", json=body)
            elif what < 0.8:
                self._call("GET", "/api/cron", params={"group": group_at(self._company.clock())})
            else:
                self._call("GET", "/api/monitoring/health")

    def _call(self, method: str, path: str, **options: Any) -> None:
        """Ask the functions; what they answer, if they do, is theirs to keep."""
        headers = {"Authorization": f"Bearer {self._company.cron_secret}", **options.pop("headers", {})}
        self.played.http_calls += 1
        try:
            requests.request(method, self._company.functions_url + path, headers=headers, timeout=15, **options)
        except requests.RequestException:
            return

    def _control(self, url: str, what: str, body: dict[str, Any]) -> None:
        requests.post(f"{url}/control/{what}", json=body, timeout=10).raise_for_status()
