"""Operators' commands that ask: is everything set up right, and was this student told?"""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

import click
from rich.text import Text

from shared.cli.console import STYLES, Screen, command, local_time, open_parts, section_of, table
from shared.health.doctor import examine, unreadable_settings
from shared.health.findings import PROBLEM, Finding
from shared.sections.text import visible
from shared.settings import SettingsError
from shared.students.why import background, remedy, verdicts
from shared.wiring import Wiring


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON value for programs.")
def doctor(as_json: bool) -> None:
    """Try every dependency for real and say what to do about each that is not well."""
    screen = Screen(as_json)
    try:
        found = examine(open_parts())
    except SettingsError as error:
        found = unreadable_settings(error)
    problems = sum(one.level == PROBLEM for one in found)
    said = f"{problems} problem{'s' if problems > 1 else ''}." if problems else "Everything is set up right."
    screen.show([asdict(one) for one in found], *(line_of(one) for one in found), "", said)
    if problems:
        sys.exit(1)


def line_of(found: Finding) -> Text:
    """A finding on a line, with its remedy below."""
    mark = {"ok": "ok      ", "note": "note    ", "problem": "problem "}[found.level]
    line = Text.assemble((mark, STYLES[found.level]), (f"{found.subject}: ", "bold"), visible(found.what))
    return line.append(f"\n        -> {visible(found.remedy)}") if found.remedy else line


@click.command()
@click.argument("address")
@click.argument("term")
@click.argument("class_nbr")
@command
def why(parts: Wiring, screen: Screen, address: str, term: str, class_nbr: str) -> None:
    """Was ADDRESS told about this section, when, and if not, why not. Exit code 1 when nobody has the address."""
    section = section_of(term, class_nbr)
    words = {"p_term": section.term, "p_class_nbr": section.class_nbr, "p_now": parts.clock()}
    answer: dict[str, Any] = parts.database.call("pmc_explain", p_address=address, **words)

    def say(value: str | None) -> str | None:
        return local_time(value, parts)

    told, lines = verdicts(answer, say), list(background(answer, say))
    drawn = table("seen", "what", "", rows=((say(one.seen_at), one.event, one.words) for one in told))
    nothing = "Nothing has been seen here that anyone would be told of."
    to_do = remedy(answer, address)
    value = {"verdicts": [asdict(one) for one in told], "background": lines, "remedy": to_do, "records": answer}
    if answer["person"] is None:
        screen.show(value, *lines, to_do)
        sys.exit(1)
    screen.show(value, *lines, "", drawn if told else nothing, "", to_do)
