"""`compare replay`: the season played to both sides, once per question, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from workshop.campus.tape import TapeError
from workshop.compare import report
from workshop.compare.findings import Difference, Findings
from workshop.compare.origin.rules import NONE, Defects
from workshop.compare.quantiles import p50_p95
from workshop.compare.register import BY_ID, IN_DECISIONS, Known
from workshop.compare.replay import decisions
from workshop.compare.replay.decisions import Slot, differences
from workshop.compare.replay.evidence import Explained, explain
from workshop.compare.replay.scene import Scene
from workshop.compare.replay.theatre import ReplaySeason, Theatre

_LINE_SECONDS = 10.0
_NO_RACE = "The old stand-in runs one transaction per slot without flushing, so how long a check took is not a race."
Bars = Callable[[str, int], Callable[[int], None]]


def run_replay(
    season: ReplaySeason, defects: Sequence[str], *, each: bool, page: Path | None, data: Path | None, console: Console
) -> int:
    """Play and tell; 0 when nothing is unexplained and nothing expected is absent, 1 otherwise, 2 for a bad tape.

    Files are written after each comparison; 2 as well when they cannot be. Ctrl-C ends it with what was found, and 130.
    """
    try:
        scene = season.scene()
    except (TapeError, ValueError) as error:
        console.print(f"The tape cannot be played: {error}", style="red", highlight=False)
        return 2
    names = [name for name in IN_DECISIONS if season.crowd or name != "O14"]  # which needs the crowd
    questions = [NONE, *(frozenset([name]) for name in names)] if each else [frozenset(defects)]
    crowd = "with the crowd" if season.crowd else "without the crowd"
    subject = f"Tape {season.tape.name}, seed {season.seed}, {len(scene.slots_ms)} ticks, {crowd}."
    found: list[Findings] = []
    try:
        with _progress(console) as progress, Theatre() as theatre:
            for one in replay_all(theatre, scene, questions, _bars(progress)):
                one.subject = subject
                found.append(one)
                problem = report.write(_reported(found, len(questions), subject), page=page, data=data)
                report.show(progress.console, one)
                if len(found) < len(questions):
                    report.complain(progress.console, problem)
    except KeyboardInterrupt:
        pass
    told = _reported(found, len(questions), subject)
    problem = report.write(told, page=page, data=data)
    if told[len(found) :]:
        console.print(told[-1].nothing, highlight=False)
    report.complain(console, problem)
    if problem:
        return 2
    return 130 if len(found) < len(questions) else 0 if all(one.good for one in found) else 1


def _reported(found: Sequence[Findings], wanted: int, subject: str) -> list[Findings]:
    """What a report holds; one that is not whole says so, for it may be the last."""
    if len(found) == wanted:
        return [*found]
    words = f"Stopped: {len(found)} of {wanted} comparisons came to their end."
    return [*found, Findings("Replay: stopped", nothing=words, subject=subject, stopped=True)]


def replay_all(theatre: Theatre, scene: Scene, questions: Sequence[Defects], bar: Bars) -> Iterator[Findings]:
    """The product once, the old version without defects once, and once per set of defects; what each comparison found.

    What the product decides otherwise than the old version without defects is explained by nothing. All else is
    explained by a defect that the question is about, where the world held what that defect needs.
    """
    new = theatre.play_new(scene, bar("new side", len(scene.slots_ms)))
    sound = theatre.play_old(scene, NONE, bar("old side, no defect", len(scene.slots_ms)))
    wrong = [found for _, _, some, _ in differences(sound, new) for found in some]
    for defects in questions:
        words = ", ".join(sorted(defects, key=lambda name: int(name[1:]))) or "no defect"
        bars = bar(f"old side, {words}", len(scene.slots_ms))
        old = theatre.play_old(scene, defects, bars) if defects else sound
        expected = [name for name in IN_DECISIONS if name in defects]
        findings = Findings(f"Replay: old side with {words}", expected)
        findings.figures = _figures(old, new)
        findings.notes.append(_NO_RACE)
        findings.add(_told(one) for one in judge(scene, old, new, wrong, defects))
        findings.notes += [
            f"{name} does not show in decisions; see {_elsewhere(BY_ID[name])}."
            for name in sorted(defects - set(IN_DECISIONS))
        ]
        yield findings


def judge(
    scene: Scene, old: Sequence[Slot], new: Sequence[Slot], wrong: Sequence[decisions.Disagreement], defects: Defects
) -> Iterator[Explained]:
    """Every difference with the one of these defects that explains it; `wrong` ones are explained by none."""
    yield from (Explained(one, None) for one in wrong)
    known = {(one.slot_ms, one.section) for one in wrong}
    for one in explain(scene, old, new, defects):
        if (one.difference.slot_ms, one.difference.section) not in known:
            yield one


def _elsewhere(known: Known) -> str:
    return known.proven or "compare http"


def _told(one: Explained) -> Difference:
    found = one.difference
    when = datetime.fromtimestamp(found.slot_ms / 1000, UTC)
    where = f"{found.section[0]} {found.section[1]}" + (f" to {found.recipient}" if found.recipient else "")
    what = f"{found.what} ({found.subject})"
    return Difference(where, f"{when:%Y-%m-%d %H:%M}", what, found.old, found.new, one.id)


def _figures(old: Sequence[Slot], new: Sequence[Slot]) -> list[tuple[str, str, str]]:
    def both(what: str, count: Callable[[Slot], int]) -> tuple[str, str, str]:
        return what, f"{sum(map(count, old)):,}", f"{sum(map(count, new)):,}"

    return [
        both("Slots", lambda _: 1),
        both("Sections checked", lambda slot: len(slot.checked)),
        both("Events seen", lambda slot: slot.events.total()),
        both("Emails", lambda slot: len(slot.mails)),
        both("Rows changed", lambda slot: len(slot.states)),
        ("A check took, p50 / p95", _lasted(old), _lasted(new)),
    ]


def _lasted(side: Sequence[Slot]) -> str:
    return p50_p95([seconds for slot in side for seconds in slot.seconds])


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _bars(progress: Progress) -> Bars:
    """A bar on a terminal; elsewhere a line every now and then."""
    told = time.monotonic()

    def begin(words: str, slots: int) -> Callable[[int], None]:
        task = progress.add_task(words, total=slots)

        def tell(number: int) -> None:
            nonlocal told
            progress.update(task, completed=number)
            if not progress.console.is_terminal and time.monotonic() - told > _LINE_SECONDS:
                told = time.monotonic()
                progress.console.print(f"{words}: {number:,} of {slots:,} slots", highlight=False)

        return tell

    return begin
