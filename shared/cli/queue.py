"""Operators' commands around Redis: what was given up, the breaker, the cron lock."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from shared.cli.console import Failed, Screen, command, epoch_time, table
from shared.health.checks_stores import BreakerCheck, LockCheck
from shared.health.words import span
from shared.queue.dead_letters import DeadLetter
from shared.sections.section import Section
from shared.sections.slots import group_of, next_slot
from shared.source.breaker import BreakerStatus
from shared.wiring import Wiring


@click.group()
def dead() -> None:
    """Checks that were given up. Each is resolved by its section's next success."""


@dead.command("list")
@command
def list_dead(parts: Wiring, screen: Screen) -> None:
    """All of them, the latest first."""
    letters = parts.huey.dead_letters.list()
    rows = [
        (one.key, one.reason, one.attempts, one.deaths, epoch_time(one.last_failure, parts), one.error)
        for one in letters
    ]
    drawn = table("key", "reason", "attempts", "deaths", "last failure", "error", rows=rows)
    screen.show([asdict(one) for one in letters], drawn if letters else "There are none.")


@dead.command()
@click.argument("key")
@command
def show(parts: Wiring, screen: Screen, key: str) -> None:
    """One of them, with its payload. KEY is as listed: TERM:CLASS_NBR."""
    letter = parts.huey.dead_letters.show(key)
    if letter is None:
        raise Failed(f"there is no dead letter {key}: `ops dead list`")
    times = {"first failure": letter.first_failure, "last failure": letter.last_failure}
    rows = [
        *((name, value) for name, value in asdict(letter).items() if not name.endswith("_failure")),
        *((name, epoch_time(value, parts)) for name, value in times.items()),
    ]
    screen.show(asdict(letter), table("", "", rows=rows))


@dead.command()
@click.argument("keys", nargs=-1, metavar="KEY...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@command
def requeue(parts: Wiring, screen: Screen, keys: tuple[str, ...], everything: bool) -> None:
    """Queue them again, with all their attempts."""
    letters, now = parts.huey.dead_letters, parts.clock()
    now_ms, done = round(now.timestamp() * 1000), []
    for key in _chosen(letters.list(), keys, everything):
        if letters.requeue(key, now_ms, _expiry(key, now)) is not None:
            done.append(key)
    _told(screen, "requeued", "Queued again", done, keys)


@dead.command()
@click.argument("keys", nargs=-1, metavar="KEY...")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def drop(parts: Wiring, screen: Screen, keys: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Forget them. The sections are checked in their next slot all the same."""
    letters = parts.huey.dead_letters
    chosen = _chosen(letters.list(), keys, everything)
    if chosen:
        screen.confirm(f"{len(chosen)} dead letters will be forgotten with their reasons. Drop them?", yes)
    _told(screen, "dropped", "Forgotten", [key for key in chosen if letters.drop(key)], keys)


def _chosen(letters: list[DeadLetter], keys: tuple[str, ...], everything: bool) -> list[str]:
    if bool(keys) == everything:
        raise click.UsageError("name the keys (`ops dead list`), or say --all")
    return [letter.key for letter in letters] if everything else list(keys)


def _told(screen: Screen, verb: str, said: str, done: list[str], keys: tuple[str, ...]) -> None:
    """What was done; exit code 1 when a key that was named was not there."""
    missing = sorted(set(keys) - set(done))
    words = [f"{said}: {len(done)}."] + ([f"Not there: {', '.join(missing)}."] if missing else [])
    screen.show({verb: done, "missing": missing}, *words)
    if missing:
        sys.exit(1)


def _expiry(key: str, now: datetime) -> int | None:
    """When the section's next tick queues it anyway, in epoch milliseconds; None for what is no section's job."""
    try:
        section = Section.from_key(key)
    except ValueError:
        return None
    return round(next_slot(group_of(section.class_nbr), now).timestamp() * 1000)


@click.group()
def breaker() -> None:
    """What stands between us and a failing source."""


@breaker.command("status")
@command
def breaker_status(parts: Wiring, screen: Screen) -> None:
    """Each source's; exit code 1 unless all are closed."""
    seen = {name: one.status() for name, one in parts.breakers.items()}
    rows = [
        (
            name,
            one.state,
            one.failure_count,
            one.success_count,
            epoch_time(one.last_failure, parts),
            epoch_time(one.last_state_change, parts),
            span(left) if (left := parts.pauses[name].look()) else None,
        )
        for name, one in seen.items()
    ]
    columns = (
        "source",
        "state",
        "failures",
        "successes since",
        "last failure",
        "in this state since",
        "left alone for",
    )
    screen.show(_breakers_json(seen), table(*columns, rows=rows))
    if any(one.state != "CLOSED" for one in seen.values()):
        sys.exit(1)


@breaker.command()
@command
def reset(parts: Wiring, screen: Screen) -> None:
    """Close them now, and end their pauses. Ten more failures in a row open one again."""
    for one in parts.breakers.values():
        one.reset()
    for pause in parts.pauses.values():
        pause.end()
    seen = {name: one.status() for name, one in parts.breakers.items()}
    screen.show(_breakers_json(seen), "The breaker is closed; parked checks go on.")


def _breakers_json(seen: dict[str, BreakerStatus]) -> dict[str, Any]:
    """The first source's, as ever; all of them beside it."""
    told = {name: BreakerCheck.of(one).as_json() for name, one in seen.items()}
    return {**next(iter(told.values())), "sources": told}


@click.group()
def lock() -> None:
    """The lock that lets one tick run at a time."""


@lock.command("status")
@command
def lock_status(parts: Wiring, screen: Screen) -> None:
    """Who holds it."""
    seen = parts.lock.status()
    if not seen.known:
        raise Failed("Redis does not answer")
    said = "It is free."
    if seen.locked:
        held = datetime.now(UTC).timestamp() - seen.acquired_at / 1000 if seen.acquired_at else None
        left = span(seen.expires_in_ms / 1000) if seen.expires_in_ms else "a moment"
        said = f"{seen.holder} has held it for {span(held) or 'some time'}; it ends by itself in {left}."
    screen.show(LockCheck.of(seen, parts.clock()).as_json(), said)


@lock.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def release(parts: Wiring, screen: Screen, yes: bool) -> None:
    """Take it away from whoever holds it."""
    holder = parts.lock.status().holder
    if holder:
        screen.confirm(f"{holder} holds it; if that tick still runs, two will run at once. Release it?", yes)
    released = parts.lock.force_release()
    screen.show({"released": released, "holder": holder}, "Released." if released else "Nobody held it.")
