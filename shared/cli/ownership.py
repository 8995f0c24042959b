"""Operators' commands for the move: who checks and mails a section, the old Workers or this server."""

from __future__ import annotations

from typing import Any

import click

from shared.cli.console import Screen, command, local_time, section_of, table
from shared.wiring import Wiring


@click.group()
def ownership() -> None:
    """Who checks and mails: the old Workers, or this server."""


@ownership.command()
@command
def show(parts: Wiring, screen: Screen) -> None:
    """The default, and the sections that differ from it."""
    answer = parts.database.call("pmc_show_ownership")
    since = local_time(answer["switched_at"], parts)
    lines: list[Any] = [f"Sections belong to {answer['default']} (since {since or 'the beginning'})."]
    if answer["exceptions"]:
        rows = [
            (one["term"], one["class_nbr"], one["owner"], local_time(one["switched_at"], parts))
            for one in answer["exceptions"]
        ]
        lines.append(table("term", "section", "owner", "since", rows=rows, title="Except"))
    screen.show(answer, *lines)


@ownership.command()
@click.argument("sections", nargs=-1, metavar="[TERM CLASS_NBR]...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def server(parts: Wiring, screen: Screen, sections: tuple[str, ...], yes: bool) -> None:
    """Give sections, or everything, to this server."""
    _switch(parts, screen, "server", sections, yes)


@ownership.command()
@click.argument("sections", nargs=-1, metavar="[TERM CLASS_NBR]...")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def workers(parts: Wiring, screen: Screen, sections: tuple[str, ...], yes: bool) -> None:
    """Give sections, or everything, back to the old Workers."""
    _switch(parts, screen, "workers", sections, yes)


def _switch(parts: Wiring, screen: Screen, owner: str, words: tuple[str, ...], yes: bool) -> None:
    if len(words) % 2:
        raise click.UsageError("sections are given as pairs: TERM CLASS_NBR TERM CLASS_NBR ...")
    named = [section_of(*words[i : i + 2]) for i in range(0, len(words), 2)]
    if not named:
        screen.confirm(f"All sections, exceptions included, will belong to {owner}. Switch?", yes)
    wanted = [{"term": section.term, "class_nbr": section.class_nbr} for section in named] or None
    now = parts.clock() if parts.replay else None  # the server's clock decides what is newer, not this machine's
    answer = parts.database.call("pmc_switch_ownership", p_owner=owner, p_sections=wanted, p_now=now)
    lines = [
        f"{answer['sections']} sections went to {owner}. What was last seen was written anew for {answer['carried']};"
        " for the others both sides agree already."
    ]
    if answer["unwatched"]:
        lines.append(f"Nobody watches {answer['unwatched']} of the sections you named: check term and number.")
    if owner == "workers" and answer["owed"]:
        lines.append(f"{answer['owed']} emails are still owed by us: leave the consumer running until they have left.")
    screen.show(answer, *lines)
