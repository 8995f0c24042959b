"""Operators' commands for mail: what is owed, holding it, and a trial."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from shared.cli.console import Failed, Screen, command, local_time, table
from shared.mail.renderer import CannotWriteError
from shared.mail.resend import Accepted
from shared.mail.send import send_test_mail
from shared.wiring import Wiring

STATUSES = ("pending", "sending", "sent", "delivered", "dropped", "dead")


@click.group()
def mail() -> None:
    """Email that is owed, sent or given up."""


@mail.command()
@click.option("--status", type=click.Choice(STATUSES), default="pending", show_default=True, help="Which to list.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many, newest first.")
@command
def pending(parts: Wiring, screen: Screen, status: str, limit: int) -> None:
    """What waits and why; addresses are masked."""
    answer = parts.database.call("pmc_list_mail", p_status=status, p_limit=limit)
    rows = [
        (
            one["id"],
            one["recipient"],
            f"{one['term']} {one['class_nbr']}",
            one["notification_type"],
            local_time(one["event_at"], parts),
            one["attempts"],
            "held" if one["held"] else one["last_error"],
        )
        for one in answer["mail"]
    ]
    counts = ", ".join(f"{answer['counts'].get(name, 0)} {name}" for name in STATUSES)
    drawn = table("id", "to", "section", "what", "seen", "attempts", "why", rows=rows)
    screen.show(answer, counts, *_tap(answer["tap"], parts), *([drawn] if rows else []))


def _tap(tap: dict[str, Any], parts: Wiring) -> list[str]:
    """What keeps all mail from leaving."""
    said = []
    if tap["held"]:
        said.append(f"Held since {local_time(tap['held_at'], parts)}: {tap['held_reason']}")
    if tap["parked_until"] and datetime.fromisoformat(tap["parked_until"]) > datetime.now(UTC):
        said.append(f"Parked until {local_time(tap['parked_until'], parts)}: {tap['park_reason']}")
    return said


@mail.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@command
def retry(parts: Wiring, screen: Screen, ids: tuple[int, ...]) -> None:
    """Owe dead mail again: all that certainly never left, or the IDs, which may then arrive twice."""
    answer = parts.database.call("pmc_retry_mail", p_ids=list(ids) or None)
    screen.show(answer, f"Owed again: {answer['retried']}. A consumer sends within half a minute.")


@mail.command()
@click.argument("ids", nargs=-1, type=int, metavar="[ID]...")
@command
def ack(parts: Wiring, screen: Screen, ids: tuple[int, ...]) -> None:
    """You have seen the dead mail (all of it, or the IDs): health counts it no more. It stays dead."""
    answer = parts.database.call("pmc_ack_mail", p_ids=list(ids) or None)
    screen.show(answer, f"Seen: {answer['acked']}.")


@mail.command()
@click.argument("ids", nargs=-1, type=int, metavar="ID...", required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def drop(parts: Wiring, screen: Screen, ids: tuple[int, ...], yes: bool) -> None:
    """Owe the IDs no more: mail that waits or was given up. What is on its way stays."""
    screen.confirm(f"{len(ids)} emails will never be sent. Drop them?", yes)
    answer = parts.database.call("pmc_drop_mail", p_ids=list(ids))
    screen.show(answer, f"Dropped: {answer['dropped']}.")
    if answer["dropped"] < len(set(ids)):
        sys.exit(1)


@mail.command()
@click.argument("reason", nargs=-1)
@command
def hold(parts: Wiring, screen: Screen, reason: tuple[str, ...]) -> None:
    """Hold all mail that is not frozen yet; REASON is shown in health."""
    answer = parts.database.call("pmc_hold_mail", p_reason=" ".join(reason))
    screen.show(answer, f"Held. {answer['pending']} emails wait; `ops mail release` lets them go.")


@mail.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def release(parts: Wiring, screen: Screen, yes: bool) -> None:
    """Let all mail go: what was held by hand or by the mass-event guard, and what Resend's refusal parked."""
    guarded = parts.database.call("pmc_list_mail", p_limit=1)["held_by_guard"]
    if guarded:
        screen.confirm(f"{guarded} emails are held because unusually many sections opened at once. Send them?", yes)
    answer = parts.database.call("pmc_release_mail")
    screen.show(answer, f"Released. {answer['pending']} emails are due now.")


@mail.command()
@click.argument("address")
@command
def test(parts: Wiring, screen: Screen, address: str) -> None:
    """Send one email about a class that does not exist to ADDRESS."""
    if parts.mail.resend is None:
        raise Failed("RESEND_API_KEY is not set: nothing can be sent")
    try:
        outcome = send_test_mail(parts.mail.resend, parts.mail.renderer, address, parts.clock())
    except CannotWriteError as error:
        raise Failed(f"it cannot be written: {error}") from None
    if not isinstance(outcome, Accepted):
        raise Failed(outcome.error)
    if outcome.errors:
        raise Failed(outcome.errors[0].message)
    screen.show({"success": True, "message_id": outcome.message_ids[0]}, f"Accepted as {outcome.message_ids[0]}.")
