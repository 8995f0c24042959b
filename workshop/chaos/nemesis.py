"""The nemesis: a plan of faults from a seed, and the hand that carries it out.

The plan is decided before anything runs, so a seed always means the same faults in the same order at the same
seconds. What the product is doing at that moment is not decided by anybody.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import requests

from workshop.chaos.company import CONSUMERS, FUNCTIONS, Company

PAUSE = 1.7
"""Seconds between two faults, on average."""
_CALM = 1.5  # seconds before the first


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong: `kind` happens to `target` at `at` seconds, for `seconds` where it lasts."""

    at: float
    kind: str
    target: str
    seconds: float = 0.0
    order: dict[str, Any] = field(default_factory=dict)  # for campus and inbox: what they shall do meanwhile


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was carried out: when it began and when its cause was gone (monotonic seconds)."""

    fault: Fault
    began: float
    ended: float


def spans(done: Sequence[Done], epoch: float, is_meant: Callable[[Fault], bool]) -> list[tuple[float, float]]:
    """From when to when those faults lasted (epoch s); `epoch` is our clock's time at the zero of the monotonic one."""
    return [(one.began + epoch, one.ended + epoch) for one in done if is_meant(one.fault)]


def make_plan(
    seed: int, seconds: float, addresses: Sequence[str], *, pause: float = PAUSE, catalog: bool = False
) -> list[Fault]:
    """Faults over `seconds`, `pause` seconds apart on average; every kind once before chance takes over.

    `addresses` are those that Resend may be made to reject; `catalog` breaks the catalog too.
    """
    chance = random.Random(f"nemesis {seed}")
    all_kinds = _KINDS | (_OF_THE_CATALOG if catalog else {})
    kinds = [*all_kinds]
    chance.shuffle(kinds)
    plan, at = [], _CALM
    while at < seconds:
        kind = kinds.pop() if kinds else chance.choices(list(all_kinds), [much for much, _ in all_kinds.values()])[0]
        target, lasting, order = all_kinds[kind][1](chance)
        if order.get("kind") == "reject":
            order["match"] = chance.choice(list(addresses))
        plan.append(Fault(at, kind, target, lasting, order))
        at += chance.uniform(0.1 * pause, 1.9 * pause)
    return plan


_Draw = tuple[str, float, dict[str, Any]]


def _down(shortest: float, longest: float, *targets: str) -> Callable[[random.Random], _Draw]:
    return lambda chance: (chance.choice(targets), chance.uniform(shortest, longest), {})


def _spell(target: str, kind: str, shortest: float, longest: float, **options: Any) -> Callable[[random.Random], _Draw]:
    """For a while every call of campus or inbox goes wrong; an option that is a tuple is a choice."""

    def draw(chance: random.Random) -> _Draw:
        chosen = {name: chance.choice(value) if isinstance(value, tuple) else value for name, value in options.items()}
        return target, chance.uniform(shortest, longest), {"kind": kind, **chosen}

    return draw


_SHAPES = ("html", "broken", "empty", "list", "no_data", "bare", "types", "huge")
_HELD = 0.7  # seconds that an answer which gets lost is waited for, after the server has done its work
_LEASE = 6.0  # seconds: a consumer's lease and the age of a dead one's beat, divided

_KINDS: dict[str, tuple[int, Callable[[random.Random], _Draw]]] = {
    # what happens: (how often, against what and how)
    "consumer killed": (5, _down(0.1, 3.0, *CONSUMERS)),
    "consumer restarted": (2, _down(0.0, 0.5, *CONSUMERS)),
    "consumer paused past its lease": (3, _down(1.1 * _LEASE, 1.6 * _LEASE, *CONSUMERS)),
    "functions killed": (2, _down(0.1, 2.0, FUNCTIONS)),
    "functions restarted": (1, _down(0.0, 0.5, FUNCTIONS)),
    "functions paused": (1, _down(2.0, 8.0, FUNCTIONS)),
    "redis killed": (2, _down(0.1, 3.0, "redis")),
    "redis restarted": (1, _down(0.0, 3.0, "redis")),
    "redis emptied": (3, _down(0.0, 0.0, "redis")),
    "postgres killed": (2, _down(0.0, 2.0, "postgres")),
    "postgres restarted": (1, _down(0.0, 2.0, "postgres")),
    "redis answers lost": (3, _down(0.1, 1.5, "redis")),
    "postgres answers lost": (3, _down(0.1, 1.5, "postgres")),
    "scraper hangs": (2, _spell("campus", "hang", 0.2, 2.0, seconds=(3.0, 12.0))),
    "scraper fails": (3, _spell("campus", "error", 0.2, 5.0, status=(500, 502, 503))),
    "scraper cuts": (1, _spell("campus", "cut", 0.2, 2.0)),
    "scraper asks to wait": (2, _spell("campus", "rate_limit", 0.1, 1.0, retry_after=(1, 3))),
    "scraper talks nonsense": (2, _spell("campus", "nonsense", 0.2, 2.0, shape=_SHAPES)),
    "scraper forgets": (1, _spell("campus", "not_found", 0.1, 0.5)),
    "scraper refuses": (1, _spell("campus", "bad_request", 0.1, 0.3)),
    "resend cuts after accepting": (3, _spell("inbox", "cut", 0.2, 3.0, accepted=True)),
    "resend hangs after accepting": (2, _spell("inbox", "hang", 0.2, 2.0, seconds=4.0, accepted=True)),
    "resend fails after accepting": (2, _spell("inbox", "error", 0.2, 3.0, status=(500, 502, 503), accepted=True)),
    "resend fails": (1, _spell("inbox", "error", 0.2, 3.0, status=(500, 503))),
    "resend talks nonsense": (1, _spell("inbox", "nonsense", 0.2, 2.0, accepted=(True, False))),
    "resend asks to wait": (2, _spell("inbox", "rate_limit", 0.2, 2.0, retry_after=1)),
    "resend is busy with the key": (1, _spell("inbox", "concurrent", 0.1, 0.5)),
    "resend rejects an address": (1, _spell("inbox", "reject", 1.0, 5.0)),
}

_OF_THE_CATALOG: dict[str, tuple[int, Callable[[random.Random], _Draw]]] = {
    "catalog hangs": (2, _spell("catalog", "hang", 0.2, 1.5, seconds=(1.0, 6.0))),
    "catalog fails": (3, _spell("catalog", "error", 0.2, 5.0, status=(500, 502, 503))),
    "catalog cuts": (1, _spell("catalog", "cut", 0.2, 2.0)),
    "catalog asks to wait": (2, _spell("catalog", "rate_limit", 0.1, 1.0, retry_after=(0, 1, 3))),
    "catalog refuses": (2, _spell("catalog", "refuse", 0.1, 1.0, status=(401, 403))),
    "catalog sends nothing": (1, _spell("catalog", "empty", 0.1, 1.0)),
    "catalog wants a browser": (1, _spell("catalog", "challenge", 0.1, 1.0)),
    "catalog breaks off": (1, _spell("catalog", "broken", 0.2, 2.0)),
    "catalog loses a page": (2, _spell("catalog", "page_lost", 0.2, 3.0)),
    "catalog repeats itself": (1, _spell("catalog", "same_scroll", 0.2, 3.0)),
    "catalog counts wrong": (2, _spell("catalog", "total", 0.2, 3.0, shape=("more", "fewer"))),
    "catalog leaves out": (2, _spell("catalog", "unlisted", 0.1, 1.0)),
    "catalog forgets numbers": (1, _spell("catalog", "no_number", 0.2, 2.0)),
    "catalog forgets seats": (2, _spell("catalog", "no_seats", 0.2, 2.0)),
}


class Nemesis:
    """Carries out a plan. Two faults never have the same process as their target at once; the second is left out."""

    def __init__(self, company: Company, plan: Sequence[Fault]) -> None:
        self.done: list[Done] = []
        self.rejected: set[str] = set()
        self.failures: list[str] = []
        self._company, self._plan = company, plan
        self._busy: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._hands = ThreadPoolExecutor(12, thread_name_prefix="nemesis")
        self._thread = threading.Thread(target=self._follow_plan, name="nemesis", daemon=True)

    def start(self) -> None:
        """Begin now."""
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait until everything is up again and all orders are taken back."""
        self._stopped.set()
        self._thread.join()
        self._hands.shutdown()

    def _follow_plan(self) -> None:
        began = time.monotonic()
        for fault in self._plan:
            if self._stopped.wait(max(0.0, began + fault.at - time.monotonic())):
                return
            with self._lock:
                if self._busy[fault.target]:
                    continue
                self._busy[fault.target] += 1
            self._hands.submit(self._strike, fault).add_done_callback(self._note)

    def _strike(self, fault: Fault) -> None:
        began = time.monotonic()
        try:
            self._harm(fault)
        finally:
            with self._lock:
                self._busy[fault.target] -= 1
        self.done.append(Done(fault, began, time.monotonic()))

    def _note(self, hand: Future[None]) -> None:
        if error := hand.exception():
            self.failures.append(f"the nemesis failed: {type(error).__name__}: {error}")

    def _harm(self, fault: Fault) -> None:
        company = self._company
        begin: Callable[[], object]
        end: Callable[[], object]
        verb = fault.kind.split()[1]
        if fault.order:
            begin, end = lambda: self._order(fault), lambda: self._take_back(fault)
        elif verb == "answers":
            wire = company.wires[fault.target]
            begin, end = lambda: wire.lose(held=_HELD), wire.heal
        elif fault.target == "redis":
            server: Any = company.redis
            begin = {"killed": server.kill, "restarted": server.stop, "emptied": server.flush}[verb]
            end = (lambda: None) if verb == "emptied" else server.start
        elif fault.target == "postgres":
            server = company.postgres
            begin, end = {"killed": server.kill, "restarted": server.pause}[verb], server.start
        else:
            name = fault.target
            leave = {"killed": company.kill, "restarted": company.terminate, "paused": company.freeze}[verb]
            back = company.thaw if verb == "paused" else company.enter
            begin, end = lambda: leave(name), lambda: back(name)
        try:
            begin()
            self._stopped.wait(fault.seconds)
        finally:
            end()

    def _order(self, fault: Fault) -> None:
        if fault.order["kind"] == "reject":
            self.rejected.add(fault.order["match"])
        requests.post(self._faults_of(fault.target), json=fault.order, timeout=10).raise_for_status()

    def _take_back(self, fault: Fault) -> None:
        requests.delete(self._faults_of(fault.target), timeout=10).raise_for_status()

    def _faults_of(self, target: str) -> str:
        if target == "catalog":
            return f"{self._company.campus_url}/control/catalog/faults"
        url = self._company.campus_url if target == "campus" else self._company.inbox_url
        return f"{url}/control/faults"
