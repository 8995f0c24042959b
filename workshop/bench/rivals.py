"""The leased queue beside its peers: the same jobs on the same server in the same minutes, by turns.

On a machine that others use too, jobs per second move threefold from one run to the next. So every queue has its
turn in each round, the median of the rounds counts, and what is quoted is the ratio to plain Huey.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis

from workshop.bench.peers.trial import WARM_UP
from workshop.bench.report import Report
from workshop.parts.processes import start_child
from workshop.parts.redis import EmbeddedRedis

_ROOT = Path(__file__).resolve().parents[2]
_PEERS = Path(__file__).with_name("peers")
_INSTALL_SECONDS = 180.0
_TRIAL_SECONDS = 320.0
ROUNDS = 3
JOBS = 5000
NAPS = 400
NAP = 0.05
BULK = (10_000, 20_000)

OURS, HUEY, BULLMQ = "this queue", "plain Huey", "BullMQ"
Figures = dict[str, float]


class SkippedError(Exception):
    """A peer is not to be had here; the message says why."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue under trial and the command that begins each of its trials."""

    name: str
    command: Sequence[str]

    def trial(self, server: EmbeddedRedis, verb: str, count: int, *rest: float) -> Figures:
        """One trial in a process of its own. Raises `RuntimeError` with what it said when it fails."""
        words = [*self.command, verb, server.url, str(count), *map(str, rest)]
        child = start_child(words, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            output, errors = child.communicate(timeout=_TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            raise RuntimeError(f"{self.name}: {verb} took more than {_TRIAL_SECONDS:g} s") from None
        if child.returncode != 0:
            said = errors.decode(errors="replace").strip()[-500:]
            raise RuntimeError(f"{self.name}: {verb} failed: {said}")
        figures: Figures = json.loads(output.splitlines()[-1])
        return figures


@contextmanager
def peers(report: Report) -> Iterator[list[Peer]]:
    """All queues that can be tried here; what cannot is noted in `report`."""
    found = [
        Peer(OURS, [sys.executable, "-m", "workshop.bench.peers.leased"]),
        Peer(HUEY, [sys.executable, "-m", "workshop.bench.peers.plain_huey"]),
    ]
    with tempfile.TemporaryDirectory(prefix="pickmyclass-bench-") as scratch:
        try:
            found.append(Peer(BULLMQ, _install_bullmq(Path(scratch))))
        except SkippedError as error:
            report.skipped[BULLMQ] = str(error)
        yield found


def _install_bullmq(scratch: Path) -> list[str]:
    """Install the pinned versions into the scratch folder; returns the command."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise SkippedError("Node and npm are not on the path")
    for name in ("package.json", "bullmq.mjs"):
        shutil.copy(_PEERS / name, scratch / name)
    words = [npm, "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    child = start_child(words, cwd=scratch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, errors = child.communicate(timeout=_INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        raise SkippedError(f"npm did not finish within {_INSTALL_SECONDS:g} s") from None
    if child.returncode != 0:
        raise SkippedError(f"npm could not install it: {errors.decode(errors='replace').strip()[-200:]}")
    return [node, str(scratch / "bullmq.mjs")]


def measure(report: Report) -> None:
    """Drain, efficiency, enqueueing, pick-up and retry of each queue."""
    with peers(report) as found, EmbeddedRedis() as server:
        _drain(report, found, server)
        _efficiency(report, found, server)
        _bulk(report, found, server)
        _delays(report, found, server)


def _by_turns(
    found: list[Peer], server: EmbeddedRedis, trial: Callable[[Peer], Figures], rounds: int = ROUNDS
) -> dict[str, Figures]:
    """The median of each figure of each peer."""
    taken: dict[str, dict[str, list[float]]] = {peer.name: defaultdict(list) for peer in found}
    for number in range(rounds):
        for peer in found if number % 2 == 0 else found[::-1]:
            server.flush()
            for name, value in trial(peer).items():
                taken[peer.name][name].append(value)
    return {peer: {name: statistics.median(values) for name, values in one.items()} for peer, one in taken.items()}


def _drain(report: Report, found: list[Peer], server: EmbeddedRedis) -> None:
    def trial(peer: Peer) -> Figures:
        peer.trial(server, "enqueue", JOBS + WARM_UP)
        with server.connect() as client:
            before = _server_cpu(client)
            drained = peer.trial(server, "drain", JOBS + WARM_UP)
            drained["server"] = _server_cpu(client) - before
        return drained

    for name, figures in _by_turns(found, server, trial).items():
        group = f"drain {JOBS:,} jobs: {name}"
        report.add(group, "jobs a second", figures["jobs"] / figures["seconds"])
        report.add(group, "CPU per job, worker", 1e6 * figures["cpu"] / figures["jobs"], "µs")
        report.add(group, "CPU per job, Redis", 1e6 * figures["server"] / figures["jobs"], "µs")
    ours, huey = f"drain {JOBS:,} jobs: {OURS}", f"drain {JOBS:,} jobs: {HUEY}"
    for figure, bound in (("CPU per job, worker", 2.0), ("jobs a second", None)):
        ratio = (report.value(ours, figure) or 0) / (report.value(huey, figure) or 1)
        report.add("ratio to plain Huey", figure, ratio, "×", bound=bound)
    both = [
        sum(report.value(group, figure) or 0 for figure in ("CPU per job, worker", "CPU per job, Redis"))
        for group in (ours, huey)
    ]
    report.add("ratio to plain Huey", "CPU per job with Redis's", both[0] / both[1], "×", bound=2.0)


def _server_cpu(client: redis.Redis) -> float:
    info = client.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])


def _efficiency(report: Report, found: list[Peer], server: EmbeddedRedis) -> None:
    def trial(peer: Peer) -> Figures:
        peer.trial(server, "enqueue", NAPS + WARM_UP, NAP)
        figures = peer.trial(server, "drain", NAPS + WARM_UP)
        return {"efficiency": NAPS * NAP / 4 / figures["seconds"]}

    for name, figures in _by_turns(found, server, trial).items():
        bound = 0.97 if name == OURS else None
        group = f"{NAPS} jobs of 50 ms on 4 threads, share of the ideal speed"
        report.add(group, name, figures["efficiency"], bound=bound, at_least=True)


def _enqueue(server: EmbeddedRedis, count: int, peer: Peer) -> Figures:
    return peer.trial(server, "enqueue", count)


def _bulk(report: Report, found: list[Peer], server: EmbeddedRedis) -> None:
    for count in BULK:
        for name, figures in _by_turns(found, server, partial(_enqueue, server, count)).items():
            report.add(f"enqueue {count:,} jobs", name, figures["seconds"], "s")


def _delays(report: Report, found: list[Peer], server: EmbeddedRedis) -> None:
    for name, figures in _by_turns(found, server, lambda peer: peer.trial(server, "pickup", 30), rounds=1).items():
        bound = 100.0 if name == OURS else None
        report.add("an idle worker takes a new job", f"{name}, median", 1000 * figures["median"], "ms")
        report.add("an idle worker takes a new job", f"{name}, worst of 30", 1000 * figures["worst"], "ms", bound=bound)
    for name, figures in _by_turns(found, server, lambda peer: peer.trial(server, "retry", 5), rounds=1).items():
        bound = 2.0 if name == OURS else None
        report.add("a retry due in 1 s runs after", f"{name}, worst of 5", figures["worst"], "s", bound=bound)
