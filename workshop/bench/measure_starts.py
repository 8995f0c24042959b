"""How long a fresh start takes, until the first answer."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import requests

from workshop.bench.report import Report
from workshop.bench.site import Site, site, wait_until
from workshop.parts.processes import free_port, start_child, stop_child

_ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5


def measure(report: Report) -> None:
    """Functions until they answer, consumer until it has beaten, one function alone, and a command that only helps."""
    with site(10) as place:
        stop_child(place.part("consumer").child)
        url = f"http://127.0.0.1:{{}}{'/api/monitoring/health?probe=live'}"
        framework = str(Path(sys.executable).with_name("functions-framework"))
        source = str(_ROOT / "functions" / "health" / "main.py")
        alone = [framework, "--source", source, "--target", "health", "--host", "127.0.0.1", "--port"]
        trials: dict[str, Callable[[], float]] = {
            "all functions, until they answer": lambda: _serve(
                place, lambda _: [sys.executable, "commands.py", "functions"], url
            ),
            "one function alone, until it answers": lambda: _serve(
                place, lambda port: [*alone, str(port)], "http://127.0.0.1:{}/?probe=live"
            ),
            "consumer, until its first beat": lambda: _consume(place),
            "./run.sh --help": lambda: _run([str(_ROOT / "run.sh"), "--help"]),
        }
        for name, trial in trials.items():
            report.add("fresh start", name, statistics.median(trial() for _ in range(ROUNDS)), "s")


def _serve(place: Site, command: Callable[[int], list[str]], url: str) -> float:
    port = free_port()
    environment = {**os.environ, **place.stack.environment, "PORT": str(port)}
    environment["WORKERS"] = "4" if "commands.py" in command(port) else "1"
    began = time.monotonic()
    child = start_child(command(port), cwd=_ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: _answers(url.format(port)), 60, step=0.005)
        return time.monotonic() - began
    finally:
        stop_child(child, timeout=32.0)


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=10).status_code == 200
    except requests.ConnectionError:
        return False


def _consume(place: Site) -> float:
    environment = {**os.environ, **place.stack.environment}
    known = len(place.parts.database.call("pmc_list_workers"))
    began = time.monotonic()
    words = [sys.executable, "commands.py", "consumer", "--replay"]
    child = start_child(words, cwd=_ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(place.parts.database.call("pmc_list_workers")) > known, 60, step=0.005)
        return time.monotonic() - began
    finally:
        stop_child(child, timeout=32.0)


def _run(command: list[str]) -> float:
    began = time.monotonic()
    child = start_child(command, cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    child.wait(60)
    return time.monotonic() - began
