"""Operators' command around the looks between the ticks."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import click

from shared.checks.planner import LEAST_MINUTES, MOST_ROUNDS, Candidate, plan, round_minutes
from shared.cli.console import Screen, command, table
from shared.wiring import Wiring


@click.command()
@click.option("--limit", default=20, show_default=True, help="How many to show.")
@command
def looks(parts: Wiring, screen: Screen, limit: int) -> None:
    """What will be looked at next between the ticks, and why."""
    now = parts.clock()
    parts.looks.read()
    candidates, rate = parts.looks.candidates(), parts.looks.rate(now)
    if not candidates or not rate:
        screen.show({"calls_a_minute": rate, "round_minutes": None, "looks": []}, "There are no extra looks.")
        return
    once = round_minutes(candidates, rate)
    picks = plan(candidates, now.timestamp(), rate, math.inf)[:limit]
    rows = [_row(one, now, MOST_ROUNDS * once) for one in picks]
    screen.show(
        {"calls_a_minute": rate, "round_minutes": once, "looks": rows},
        f"{rate:.1f} calls a minute; once around everything takes {once:.1f} minutes.",
        table("look", "calls", "watched", "minutes old", "why", rows=[one.values() for one in rows]),
    )


def _row(one: Candidate, now: datetime, oldest: float) -> dict[str, Any]:
    age = one.age(now.timestamp())
    return {
        "look": one.what.key,
        "calls": one.calls,
        "watched": len(one.sections),
        "minutes": None if math.isinf(age) else round(age),
        "why": _why(one, age, now, oldest),
    }


def _why(one: Candidate, age: float, now: datetime, oldest: float) -> str:
    if math.isinf(age):
        return "never seen"
    if age >= oldest > LEAST_MINUTES:
        return "older than two rounds"
    full = sum(not section.open_seats for section in one.sections)
    people = sum(section.watchers for section in one.sections)
    moved = [section.moved_at for section in one.sections if section.moved_at is not None]
    last = f", last moved {(now.timestamp() - max(moved)) / 3600:.0f} h ago" if moved else ""
    return f"{full} full, {people} watching{last}"
