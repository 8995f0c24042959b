"""`./run.sh mutate [PATH …] [--sample N]`: how many of the faults do the tests notice?"""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from workshop.mutate.faults import ROOMS, Fault, Place, fault_at
from workshop.mutate.python import places_in_python
from workshop.mutate.text import places_in_text
from workshop.mutate.trial import Laboratory, Verdict

_SUFFIXES = {".py", ".sql", ".lua"}


def run_mutate(root: Path, paths: Sequence[Path], sample: int, seed: int, keep: Path, seconds: float) -> int:
    """Try `sample` faults, chosen evenly over all places in `paths` (default: the product). 0: all were noticed.

    What is known is kept in the folder `keep`: a run that was cut goes on where it was. What was tried in a file that
    has changed since, or by tests that were witnessed anew, is tried again when `keep` is removed.
    """
    console = Console()
    places = [place for path in _files(root, paths) for place in _places(root, path)]
    random.Random(seed).shuffle(places)  # noqa: S311 - which faults, not a secret
    console.print(f"{len(places)} places for a fault; {min(sample, len(places))} are tried (seed {seed}).")
    keep.mkdir(parents=True, exist_ok=True)
    tried = keep / "tried.jsonl"
    known = _known(tried)
    tally: Counter[tuple[str, Verdict]] = Counter()
    with Laboratory(root, keep / "reached.jsonl", seconds) as laboratory, tried.open("a", encoding="utf-8") as book:
        for number, fault in enumerate(_faults(root, places, sample), start=1):
            verdict = known.get(_name(fault))
            if verdict is None:
                verdict = laboratory.try_out(fault)
                book.write(json.dumps([*_name(fault), verdict]) + "\n")
                book.flush()
            tally[_room(fault.path), verdict] += 1
            console.print(f"{number:4} {verdict}  {fault.path}:{fault.line}", highlight=False, markup=False)
            if verdict is not Verdict.NOTICED:
                console.print(f"       - {fault.before}\n       + {fault.after}", highlight=False, markup=False)
    console.print(_table(tally))
    return 0 if all(verdict is Verdict.NOTICED for _, verdict in tally) else 1


def _name(fault: Fault) -> tuple[str, str]:
    """The file and what it would be: the same fault in the same text has the same name."""
    return str(fault.path), hashlib.sha256(fault.text.encode()).hexdigest()[:20]


def _known(tried: Path) -> dict[tuple[str, str], Verdict]:
    if not tried.exists():
        return {}
    rows = [json.loads(line) for line in tried.read_text(encoding="utf-8").splitlines()]
    return {(path, digest): Verdict(verdict) for path, digest, verdict in rows}


def _files(root: Path, paths: Sequence[Path]) -> list[Path]:
    wanted = [str(path) for path in paths] or list(ROOMS)
    listed = subprocess.run(["git", "ls-files", *wanted], cwd=root, capture_output=True, text=True, check=True)
    return [Path(name) for name in listed.stdout.splitlines() if Path(name).suffix in _SUFFIXES]


def _places(root: Path, path: Path) -> list[Place]:
    source = (root / path).read_text(encoding="utf-8")
    return list(places_in_python(path, source) if path.suffix == ".py" else places_in_text(path, source))


def _faults(root: Path, places: Sequence[Place], sample: int) -> list[Fault]:
    found: list[Fault] = []
    for place in places:
        if len(found) == sample:
            break
        fault = fault_at(root, place)
        if fault is not None:
            found.append(fault)
    return found


def _room(path: Path) -> str:
    return "/".join(path.parts[:2]) if len(path.parts) > 2 else path.parts[0]


def _table(tally: Counter[tuple[str, Verdict]]) -> Table:
    table = Table(title="Faults by room")
    for name in ("room", "tried", "noticed", "share"):
        table.add_column(name, justify="left" if name == "room" else "right")
    for room in [*sorted({room for room, _ in tally}), "all"]:
        noticed = sum(
            n for (where, verdict), n in tally.items() if verdict is Verdict.NOTICED and room in (where, "all")
        )
        tried = sum(n for (where, _), n in tally.items() if room in (where, "all"))
        table.add_row(room, str(tried), str(noticed), f"{100 * noticed / tried:.0f} %" if tried else "-")
    return table
