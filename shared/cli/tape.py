"""`./run.sh tape FILE`: a term as this server saw it, written down for a simulated campus to play."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any

import click

from shared.cli.console import Failed, Screen, command
from shared.sections.recorded import COLUMNS, Recorded
from shared.sections.section import Facts
from shared.wiring import Wiring

_PAGE = 200  # sections a call
_HOUR_MS = 3_600_000
_LEAD_MS = 2 * _HOUR_MS  # before the first event: time to see everything once as it was


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--term", help="Which one; default: the one of the latest event.")
@command
def tape(parts: Wiring, screen: Screen, file: Path, term: str | None) -> None:
    """Write a term's recorded changes to FILE (.csv or .csv.gz), for demo, chaos and `compare replay --tape`."""
    if file.exists():
        raise Failed(f"{file} is already there; a tape is never overwritten")
    sections = list(_read(parts, term))
    changes = [time for section in sections for time, _ in section.events]
    if not changes:
        raise Failed("nothing has happened yet that could be recorded" + (f" in term {term}" if term else ""))
    start_ms = min(changes) // _HOUR_MS * _HOUR_MS - _LEAD_MS
    rows = sorted(row for section in sections for row in section.rows(start_ms))
    with _open(file) as out:
        csv.writer(out).writerows([COLUMNS, *rows])
    told = {row[1] for row in rows}
    screen.show(
        {"file": str(file), "sections": len(told), "rows": len(rows)},
        f"{file}: {len(told):,} sections, {len(rows):,} rows. Play it: ./run.sh compare replay --tape {file}",
    )


def _read(parts: Wiring, term: str | None) -> Iterator[Recorded]:
    """Every section of the term, a page a call."""
    after = ""
    while True:
        page = parts.database.call("pmc_read_season", p_term=term, p_after=after, p_limit=_PAGE)
        yield from map(_recorded, page["sections"])
        if len(page["sections"]) < _PAGE:
            return
        term, after = page["term"], page["sections"][-1]["class_nbr"]


def _recorded(row: dict[str, Any]) -> Recorded:
    """Two events of one look say the same; only one of them is kept."""
    after = {_ms(event["at"]): Facts.from_json(event["after"]) for event in row["events"]}
    before = row["events"][0]["before"] if row["events"] else row["facts"]
    return Recorded(row["class_nbr"], Facts.from_json(before), tuple(after.items()))


def _ms(moment: str) -> int:
    return round(datetime.fromisoformat(moment).timestamp() * 1000)


def _open(file: Path) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, "wt", encoding="utf-8", newline="")
    return file.open("w", encoding="utf-8", newline="")
