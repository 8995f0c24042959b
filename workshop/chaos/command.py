"""`./run.sh chaos`: one or more runs, each from a seed that is printed; the exit code says whether all went well."""

from __future__ import annotations

import logging
import secrets
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import requests
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from workshop.campus.tape import TapeError
from workshop.chaos.budget import LOOKS, find_excesses
from workshop.chaos.company import SPEED, Company
from workshop.chaos.nemesis import PAUSE, Nemesis, make_plan, spans
from workshop.chaos.play import Play, Played
from workshop.chaos.records import Records
from workshop.chaos.report import Result, one_line, show
from workshop.chaos.season import Season, by_chance, from_tape
from workshop.chaos.verdict import judge
from workshop.parts.registry import Registry
from workshop.parts.stack import PartError

_CONTEXTS = ("psycopg.pool", "shared", "huey_app")


def run_chaos(
    *, seed: int | None, minutes: float, tape: Path | None, seeds: int, keep: Path | None, source: str
) -> int:
    """Run `seeds` times, from `seed` on, with the product asking `source`.

    The exit code: 0 all promises were kept, 1 one was broken, 2 it cannot be played.
    """
    console = Console()
    for name in _CONTEXTS:
        logging.getLogger(name).addHandler(logging.NullHandler())  # the verdict tells; the parts keep logs of their own
        logging.getLogger(name).propagate = False
    first = secrets.randbelow(1_000_000) if seed is None else seed
    console.print(f"Seed {first}" + (f" to {first + seeds - 1}" if seeds > 1 else ""), highlight=False)
    results: list[Result] = []
    try:
        for number in range(first, first + seeds):
            results.append(_run_once(console, number, minutes, tape, keep, source))
            console.print(one_line(results[-1]), highlight=False, soft_wrap=True)
    except TapeError as problem:
        console.print(f"[red]{problem}[/]", highlight=False, soft_wrap=True)
        return 2
    except (PartError, RuntimeError) as problem:
        console.print(f"[bold red]Chaos broke off at seed {number}:[/] {problem}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    show(console, results)
    return 0 if all(result.good for result in results) else 1


def _run_once(console: Console, seed: int, minutes: float, tape: Path | None, keep: Path | None, source: str) -> Result:
    with tempfile.TemporaryDirectory(prefix="pickmyclass-chaos-") as folder:
        restless = source != "scraper"
        season = from_tape(seed, tape, minutes) if tape else by_chance(seed, Path(folder), restless=restless)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as progress:
            task = progress.add_task(f"seed {seed}: starting", total=minutes * 60)
            began = time.monotonic()

            def tell(played: Played, faults: int) -> None:
                words = f"seed {seed}: {len(played.slots)} slots, {faults} faults"
                progress.update(task, completed=time.monotonic() - began, description=words)

            return run(season, seed, minutes * 60, tell, keep, source=source)


def run(
    season: Season,
    seed: int,
    seconds: float,
    tell: Callable[[Played, int], None] = lambda _played, _faults: None,
    keep: Path | None = None,
    pause: float = PAUSE,
    source: str = "scraper",
) -> Result:
    """Play `season` for `seconds` under the faults of `seed`, heal, drain, judge. Stops whatever it started.

    `pause` is the mean time between two faults; `keep` a folder for the logs of a run that failed; `source` whom the
    product asks.
    """
    began = time.monotonic()
    words = ["--tape", str(season.tape), "--term", season.term, "--start-ms", str(season.slots_ms[0])]
    company = Company(words, {"SOURCE": source, "LOOKS_PER_MINUTE": str(LOOKS)})
    with company:
        records = Records(company.postgres.url())
        company.start(before_product=lambda: _prepare(company, season, records))
        addresses = sorted({watch.student.email for watch in season.watches})
        nemesis = Nemesis(company, make_plan(seed, seconds, addresses, pause=pause, catalog="asu" in source))
        play = Play(company, season, records, seed)
        try:
            played = play.play(seconds, nemesis, lambda so_far: tell(so_far, len(nemesis.done)))
            mails = requests.get(f"{company.inbox_url}/control/emails", timeout=30).json()["emails"]
            known = records.baselines(datetime.fromtimestamp(played.slots[-1].slot_ms / 1000, UTC))
            epoch = time.time() - time.monotonic()
            bare = spans(nemesis.done, epoch, lambda fault: fault.order.get("kind") == "no_seats")
            verdict = judge(season, played, records.commits(), records.outbox(), mails, nemesis.rejected, known, bare)
            calls = requests.get(f"{company.campus_url}/control/calls", timeout=30).json()["calls"]
            looks = [call["at"] for call in calls if call["source"] == "asu"]
            losses = spans(nemesis.done, epoch, lambda fault: fault.target == "redis")
            verdict.excesses = find_excesses(looks, 60 / SPEED, losses)
        finally:
            play.close()
            records.close()
        company.leave()
        crashes = [*company.crashes, *nemesis.failures]
        result = Result(seed, nemesis.done, played, verdict, crashes, time.monotonic() - began)
        if keep and not result.good:
            company.keep_logs(keep / f"seed-{seed}")
    return result


def _prepare(company: Company, season: Season, records: Records) -> None:
    """Students and watches, the clock at the season's start, and the records, before the product runs."""
    records.begin()
    company.clock.set(datetime.fromtimestamp(season.slots_ms[0] / 1000, UTC))
    courses = {timeline.class_nbr: timeline.course for timeline in season.timelines}
    with Registry(company.postgres.url()) as registry:
        registry.sign_up(list({watch.student.user_id: watch.student for watch in season.watches}.values()))
        registry.add_watches(season.term, courses, season.watches)
