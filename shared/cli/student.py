"""Operators' command for one person: everything known, in words, and the few things that can be done."""

from __future__ import annotations

import os
import pwd
import sys
from typing import Any

import click

from shared.cli.console import Failed, Screen, command, local_time, table
from shared.students.hindrances import ACTS, NOT_SO, last_mail_words, lines
from shared.wiring import Wiring


@click.command()
@click.argument("address")
@click.argument("act", required=False, type=click.Choice(list(ACTS)))
@click.option("--yes", is_flag=True, help="Do not ask.")
@command
def student(parts: Wiring, screen: Screen, address: str, act: str | None, yes: bool) -> None:
    """Everything known of ADDRESS, with remedies. ACT does one of them, and is written down:

    \b
    forgive   the address takes mail again: forget its bounce
    mail-on   they ask for mail: forget that they unsubscribed or called it spam
    reopen    open a closed account
    resend    owe the latest mail once more
    """
    if act:
        _act(parts, screen, address, act, yes)
        return
    answer: dict[str, Any] = parts.database.call("pmc_find_student", p_address=address)

    def say(value: str | None) -> str | None:
        return local_time(value, parts)

    said = list(lines(answer, say, address))
    if answer["person"] is None:
        screen.show({**answer, "lines": said}, *said)
        sys.exit(1)
    watches = [
        (f"{one['term']} {one['class_nbr']}", f"{one['subject']} {one['catalog_nbr']}", say(one["since"]),
         say(one["checked_at"]) or "never", _watch_words(one))
        for one in answer["watches"]
    ]  # fmt: skip
    mails = [
        (one["id"], f"{one['term']} {one['class_nbr']}", one["notification_type"], say(one["event_at"]),
         last_mail_words(one, address))
        for one in answer["mail"]
    ]  # fmt: skip
    screen.show(
        {**answer, "lines": said},
        *said,
        *(["", table("section", "course", "since", "checked", "", rows=watches)] if watches else []),
        *(["", table("mail", "section", "what", "seen", "", rows=mails)] if mails else []),
    )


def _watch_words(watch: dict[str, Any]) -> str:
    if watch["owner"] == "workers":
        return "the old Workers check it"
    if watch["strikes"]:
        return f"the catalog did not know it {watch['strikes']} times"
    return str(watch["last_error"] or "")


def _act(parts: Wiring, screen: Screen, address: str, act: str, yes: bool) -> None:
    if act == "resend":
        screen.confirm("The mail may arrive twice. Owe it once more?", yes)
    by = pwd.getpwuid(os.getuid()).pw_name
    answer = parts.database.call("pmc_help_student", p_address=address, p_act=act, p_by=by)
    if not answer["done"]:
        raise Failed(f"nothing was changed: {NOT_SO[act]} (`ops student {address}`)")
    screen.show(answer, ACTS[act])
