"""Operators' commands around the sources: what one really says of a section."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from typing import Any

import click

from shared.cli.console import Failed, Screen, command, section_of, table
from shared.sections.section import Facts
from shared.source.answers import Found
from shared.source.turns import NoTurnError
from shared.wiring import Wiring

_SECONDS = 60.0
_INFERRED = "non_reserved_seats"


@click.group()
def source() -> None:
    """Who is asked about seats."""


@source.command("try")
@click.argument("term")
@click.argument("class_nbr")
@click.option("--of", "name", type=click.Choice(["scraper", "asu"]), help="Which source; default: the first of SOURCE.")
@command
def try_out(parts: Wiring, screen: Screen, term: str, class_nbr: str, name: str | None) -> None:
    """Ask a source for one section now: what came, beside what we read from it. Writes nothing."""
    section, name = section_of(term, class_nbr), name or parts.settings.sources[0]
    client = parts.asu if name == "asu" else parts.scraper
    try:
        raw, answer = client.show(section, _SECONDS)
    except NoTurnError as error:
        raise Failed(f"{name} must not be asked for another {error.seconds:.0f} s: `ops breaker status`") from None
    facts = answer.facts if isinstance(answer, Found) else None
    said = {"source": name, "answer": type(answer).__name__, "reason": getattr(answer, "reason", None)}
    lines: list[Any] = [
        json.dumps(raw, ensure_ascii=False, indent=2) if raw is not None else "Nothing came that shows it."
    ]
    if facts:
        lines += [f"\nRead from it ({name}):", table("", "", rows=_rows(name, facts))]
    else:
        lines.append(f"{said['answer']}: {said['reason'] or 'the section is not there, or not active'}")
    screen.show(said | {"raw": raw, "facts": facts.as_json() if facts else None}, *lines)
    if facts is None:
        sys.exit(1)


def _rows(name: str, facts: Facts) -> list[tuple[str, object]]:
    """Each fact; what the catalog does not say itself is marked."""
    marks = {_INFERRED: f"{_INFERRED} (inferred: docs/sources.md)"} if name == "asu" else {}
    return [(marks.get(one.name, one.name), getattr(facts, one.name)) for one in fields(facts)]
