"""Operators' commands for consumers: who lives, and who should rest."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from shared.cli.console import Failed, Screen, command, table
from shared.health.checks_workers import ALIVE_SECONDS
from shared.health.words import span
from shared.wiring import Wiring


@click.group()
def workers() -> None:
    """The consumers that check and mail."""


@workers.command("list")
@command
def list_workers(parts: Wiring, screen: Screen) -> None:
    """Those that live, and those that left during the last day."""
    found = parts.database.call("pmc_list_workers")
    rows = [
        (
            one["worker_name"],
            one["worker_id"],
            _state(one),
            f"{span(one['heartbeat_age_seconds'])} ago",
            f"{one['current_jobs']} of {one['max_concurrent_jobs']}",
            _rate(one),
            str(one["capabilities"].get("release", "")).rsplit("-", 1)[-1],
            _last_error(one),
        )
        for one in found
    ]
    drawn = table("name", "incarnation", "state", "last beat", "jobs", "checks", "release", "last error", rows=rows)
    screen.show(found, drawn if found else "There are none.")


@workers.command()
@click.argument("names", nargs=-1, metavar="WORKER...")
@click.option("--all", "everyone", is_flag=True, help="All that live.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def pause(parts: Wiring, screen: Screen, names: tuple[str, ...], everyone: bool, yes: bool) -> None:
    """Take no more jobs; what runs goes on. They are told with their next beat. The last one is asked about."""
    chosen, others = _choose(parts, names, everyone)
    if not [one for one in others if _state(one) == "active"]:
        screen.confirm("No other consumer takes jobs: nothing would be checked. Pause?", yes)
    _set(parts, screen, "paused", chosen)


@workers.command()
@click.argument("names", nargs=-1, metavar="WORKER...")
@click.option("--all", "everyone", is_flag=True, help="All that live.")
@command
def resume(parts: Wiring, screen: Screen, names: tuple[str, ...], everyone: bool) -> None:
    """Take jobs again."""
    _set(parts, screen, "active", _choose(parts, names, everyone)[0])


@workers.command()
@click.argument("names", nargs=-1, metavar="WORKER...")
@click.option("--all", "everyone", is_flag=True, help="All that live.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def drain(parts: Wiring, screen: Screen, names: tuple[str, ...], everyone: bool, yes: bool) -> None:
    """Finish what runs, hand the rest to the others, and end."""
    screen.confirm("They will end; systemd starts them again only when asked to. Drain?", yes)
    _set(parts, screen, "draining", _choose(parts, names, everyone)[0])


_Rows = list[dict[str, Any]]


def _choose(parts: Wiring, names: tuple[str, ...], everyone: bool) -> tuple[_Rows, _Rows]:
    """The consumers that are meant, and the others that have not said goodbye; names are of servers or incarnations."""
    if bool(names) == everyone:
        raise click.UsageError("name the workers (`ops workers list`), or say --all")
    living = [one for one in parts.database.call("pmc_list_workers") if one["status"] != "offline"]
    chosen = [one for one in living if everyone or one["worker_id"] in names or one["worker_name"] in names]
    unknown = set(names) - {one[name] for one in chosen for name in ("worker_id", "worker_name")}
    if unknown or not chosen:
        raise Failed(f"no living consumer is called {', '.join(sorted(unknown))}" if unknown else "no consumer lives")
    return chosen, [one for one in living if one not in chosen]


def _set(parts: Wiring, screen: Screen, status: str, chosen: _Rows) -> None:
    for one in chosen:
        parts.database.call("pmc_set_worker_status", p_worker_id=one["worker_id"], p_status=status)
    ids = [one["worker_id"] for one in chosen]
    screen.show({"status": status, "workers": ids}, f"Within a quarter of a minute {status}: {', '.join(ids)}.")


def _state(worker: dict[str, Any]) -> str:
    lost = worker["status"] != "offline" and worker["heartbeat_age_seconds"] > ALIVE_SECONDS
    return "lost" if lost else str(worker["status"])


def _rate(worker: dict[str, Any]) -> str:
    """Checks a minute since it started, as of its last beat."""
    started, beat = (datetime.fromisoformat(worker[name]) for name in ("started_at", "last_heartbeat"))
    completed = (worker["figures"].get("queue") or {}).get("completed")
    minutes = (beat - started).total_seconds() / 60
    return f"{completed / minutes:.1f}/min" if completed and minutes > 0 else "none yet"


def _last_error(worker: dict[str, Any]) -> str:
    last = worker["figures"].get("last_error")
    return f"{last['words']} ({last['at'][:16]})" if last else ""
