"""`./run.sh demo`: a simulated day, or a recorded season, through the whole product on real parts.

Real Postgres, a Redis, a campus, an inbox, the functions and the consumer with four threads; at the end every
email is compared with what the campus did. The exit code says whether all agree.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from shared.checks.looks import Pace
from shared.health.words import span
from workshop.campus.chance import make_campus
from workshop.campus.sections import HALF_HOUR_MS, Timeline
from workshop.campus.tape import TapeError, read_tape, term_of
from workshop.demo.comparison import show, show_delays
from workshop.demo.delay import measure, openings_between
from workshop.demo.oracle import Verdict, judge, judge_looks, looks_of_ticks
from workshop.demo.replay import Played, Replay, ReplayError
from workshop.demo.students import Watch, make_students, who_is_told
from workshop.parts.registry import Registry
from workshop.parts.stack import PartError, Stack

DAY = 48
SECTIONS = 120
_LOOKS_OF_A_LISTING = 48 + 288  # a day: those of the ticks, and between them a round of five minutes
_LOOKS_OF_A_SECTION = 24  # a day: the ticks alone, as a scraper that needs ten seconds a section allows little more
_MOST_A_MINUTE = 30
_STARTS = {"1": (2, 2), "4": (6, 8), "7": (9, 14)}  # month and day within spring, summer and fall
_HOUR = 2 * HALF_HOUR_MS


class DemoError(Exception):
    """What was asked for cannot be played; the message says why."""


@dataclass(frozen=True, slots=True)
class Season:
    """What is played: a campus, its slots (starts in epoch ms), who watches it."""

    name: str
    term: str
    timelines: Sequence[Timeline]
    slots_ms: Sequence[int]
    watches: Sequence[Watch]
    campus_arguments: Sequence[str]


def run_demo(
    *,
    tape: Path | None,
    ticks: int | None,
    sections: int | None,
    seed: int,
    term: str | None,
    source: str = "scraper",
    looks: int | None = None,
) -> int:
    """Play and compare. The exit code: 0 all agree, 1 something differs or broke, 2 it cannot be played.

    `ticks`: how many half hours (default: a day, or the whole tape). `looks`: how often a section is looked at in a
    day, by the ticks and between them (default: as the source allows).
    """
    console = Console()
    try:
        season = _from_tape(tape, ticks, sections, seed, term) if tape else _by_chance(ticks, sections, seed, term)
    except (TapeError, DemoError) as problem:
        console.print(f"[red]{problem}[/]", highlight=False, soft_wrap=True)
        return 2
    _greet(console, season)
    logging.getLogger("shared").addHandler(logging.NullHandler())  # the table tells; the parts keep logs of their own
    try:
        with Stack(season.campus_arguments, replay=True, settings={"SOURCE": source}) as stack:
            with console.status("Starting …") as status:
                stack.start(lambda what: status.update(f"Starting {what} …"))
            if not stack.redis.real:
                console.print("There is no redis-server on the path: a stand-in serves.", style="dim")
            return 0 if _play(console, season, stack, _pace(season, source, looks)) else 1
    except (PartError, ReplayError, RuntimeError, OSError) as problem:
        console.print(f"[bold red]The demo broke off:[/] {problem}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130


def _by_chance(ticks: int | None, sections: int | None, seed: int, term: str | None) -> Season:
    length = (ticks or DAY) * HALF_HOUR_MS
    start = _start_within(_checked(term)) if term else _start_before_now(length)
    slots = list(range(start, start + length, HALF_HOUR_MS))
    timelines = make_campus(seed, sections or SECTIONS, start, length)
    arguments = ["--seed", str(seed), "--sections", str(len(timelines)), "--start-ms", str(start)]
    name = f"a simulated campus (seed {seed})"
    return _season(name, term or term_of(timelines), timelines, slots, seed, [*arguments, "--length-ms", str(length)])


def _start_before_now(length_ms: int) -> int:
    """A full hour, so that the season ends in this slot or the last: then health speaks of the same time as it."""
    return (int(time.time() * 1000) + HALF_HOUR_MS - length_ms) // _HOUR * _HOUR


def _start_within(term: str) -> int:
    """A day well within `term`, so that it is not over before the season is."""
    month, day = _STARTS.get(term[3], _STARTS["7"])
    return int(datetime(2000 + int(term[1:3]), month, day, tzinfo=UTC).timestamp() * 1000)


def _from_tape(path: Path, ticks: int | None, sections: int | None, seed: int, term: str | None) -> Season:
    timelines = read_tape(path, sections)
    first = min(timeline.times[0] for timeline in timelines) // HALF_HOUR_MS
    last = max(timeline.times[-1] for timeline in timelines) // HALF_HOUR_MS
    # Two slots more than the tape's last change, so that both halves see it.
    slots = [slot * HALF_HOUR_MS for slot in range(first, last + 3)]
    arguments = ["--tape", str(path.resolve()), *(["--sections", str(sections)] if sections else [])]
    return _season(path.name, _checked(term) if term else term_of(timelines), timelines, slots[:ticks], seed, arguments)


def _season(
    name: str, term: str, timelines: list[Timeline], slots: list[int], seed: int, arguments: list[str]
) -> Season:
    watches = make_students(seed, [timeline.class_nbr for timeline in timelines], slots)
    return Season(name, term, timelines, slots, watches, [*arguments, "--term", term])


def _checked(term: str) -> str:
    if not re.fullmatch(r"[0-9]{4}", term):
        raise DemoError("a term is four digits, like 2267")
    return term


def _greet(console: Console, season: Season) -> None:
    students = {watch.student.user_id: watch.student for watch in season.watches}
    refusing = sum(student.refuses is not None for student in students.values())
    words = (
        f"[bold]{season.name}[/], term {season.term}: {len(season.timelines):,} sections, {len(season.slots_ms):,} "
        f"ticks of half an hour from {_date(season.slots_ms[0])}.\n{len(students):,} students hold "
        f"{len(season.watches):,} watches; {refusing:,} of them must not be mailed."
    )
    console.print(Panel(words, title="PickMyClass", border_style="magenta", expand=False), highlight=False)


def _pace(season: Season, source: str, looks: int | None) -> Pace | None:
    """The extra looks that make `looks` a day of each section, those of the ticks counted; none are left: `None`.

    A listing is looked at by every tick, as it holds sections of both halves; a section alone by every other one.
    """
    if source == "asu":
        many = len({timeline.course.subject for timeline in season.timelines})
        extra = (_LOOKS_OF_A_LISTING if looks is None else looks) - DAY
    else:
        many = len(season.timelines)
        extra = (_LOOKS_OF_A_SECTION if looks is None else looks) - DAY // 2
    return Pace(many * extra, _MOST_A_MINUTE) if extra > 0 else None


def _play(console: Console, season: Season, stack: Stack, pace: Pace | None) -> bool:
    """Play the season, then show how it compares; whether all agree."""
    courses = {timeline.class_nbr: timeline.course for timeline in season.timelines}
    with Registry(stack.postgres.url()) as registry:
        students = {watch.student.user_id: watch.student for watch in season.watches}
        registry.sign_up(list(students.values()))
        replay = Replay(stack, registry, season.term, courses, pace)
        try:
            played = _with_progress(console, season, replay)
            told = who_is_told(season.watches)
            floor = judge(season.timelines, told, season.slots_ms)
            verdict = judge_looks(season.timelines, told, played.looks)
            verdict.checks = floor.checks
            agree = show(console, played, registry.count_events(), verdict, replay.health())
            _tell_delays(console, season, played, floor)
        finally:
            replay.close()
    _last_words(console, season, stack, played)
    return agree


def _tell_delays(console: Console, season: Season, played: Played, floor: Verdict) -> None:
    """How soon people heard, beside what looking once an hour would have given on this campus."""
    end = season.slots_ms[-1] + HALF_HOUR_MS
    watchers = who_is_told(season.watches)
    openings = openings_between(season.timelines, watchers, played.looks[0].door, season.slots_ms[0], end)
    hourly = [(class_nbr, seen, seen) for class_nbr, seen in floor.seen]
    ticks = looks_of_ticks(season.timelines, season.slots_ms)
    show_delays(console, measure(openings, played.told, played.looks), measure(openings, hourly, ticks))


def _with_progress(console: Console, season: Season, replay: Replay) -> Played:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.fields[when]}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[what]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("ticks", total=len(season.slots_ms), when=_date(season.slots_ms[0]), what="")

        def tell(played: Played, slot: int) -> None:
            rate = played.checks / played.seconds if played.seconds else 0
            what = f"{played.checks:,} checks, {len(played.emails):,} emails, {rate:,.0f} checks/s"
            progress.update(task, completed=played.ticks, when=_date(slot), what=what)
            if not console.is_terminal and played.ticks % max(250, len(season.slots_ms) // 10) == 0:
                console.print(f"{played.ticks:,} of {len(season.slots_ms):,} ticks: {what}", highlight=False)

        return replay.play(season.slots_ms, season.watches, tell)


def _last_words(console: Console, season: Season, stack: Stack, played: Played) -> None:
    if played.last_subject:
        console.print(f"The last email: [italic]{played.last_subject}[/]", highlight=False)
    health = _health(stack)
    console.print(f"The health function says [bold]{health['status']}[/]: {_tell_checks(health)}", highlight=False)
    ended = time.time() - (season.slots_ms[-1] + HALF_HOUR_MS) / 1000
    if health["status"] != "healthy" and ended > 0:
        words = f"  (in our time the season ended {span(ended)} ago, and nobody has looked since)"
        console.print(words, style="dim", highlight=False)
    console.print(
        "Next: [bold]./run.sh up --local[/] serves all of this with pages to click through; "
        "[bold]./run.sh test[/] proves it; docs/architecture.md explains it.",
        highlight=False,
    )


def _tell_checks(health: dict[str, Any]) -> str:
    """What is not healthy, or that all is."""
    checks = {name: check for name, check in health["checks"].items() if isinstance(check, dict)}
    wrong = [f"{name} {check['status']}" for name, check in checks.items() if check["status"] != "healthy"]
    return ", ".join(wrong) or f"all of {', '.join(checks)}"


def _health(stack: Stack) -> dict[str, Any]:
    """The answer of the health function, asked over HTTP like an operator does."""
    headers = {"Authorization": f"Bearer {stack.cron_secret}"}
    answer = requests.get(f"{stack.functions_url}/api/monitoring/health", headers=headers, timeout=30)
    body: dict[str, Any] = answer.json()
    return body


def _date(slot_ms: int) -> str:
    return f"{datetime.fromtimestamp(slot_ms / 1000, UTC):%a %d %b %Y %H:%M}"
