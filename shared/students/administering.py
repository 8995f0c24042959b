"""Accounts and classes as administrators see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from shared.students.cards import Card, card_of
from shared.students.story import letter_of
from shared.students.told import Moment, count, moment

ACTIONS = {
    "disable": ("Disable", "No mail and no signing in from now on. Nothing is removed, and it can be taken back."),
    "enable": ("Enable", "The account works again."),
    "forgive": ("Forgive the bounce", "Bounces and complaints are forgotten, and emails are on again."),
    "restore": ("Open it again", "Its owner closed it; it works again as before."),
}
"""What a button says, and what it does."""

_DID = {
    "disable": "disabled",
    "enable": "enabled",
    "forgive": "forgave the bounce of",
    "restore": "reopened",
    "reopen": "reopened",
    "mail-on": "switched emails on for",
    "resend": "sent the latest email again to",
}
"""The acts of administrators, and of operators (`ops student`)."""


@dataclass(frozen=True, slots=True)
class Person:
    """An account in a list. `flags`: a mark's kind and its words."""

    id: str
    email: str
    joined: Moment
    watches: int
    mails: int
    flags: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Deed:
    """What was done by hand."""

    when: Moment
    words: str


def listed(account: dict[str, Any], now: datetime, zone: tzinfo) -> Person:
    """An account of the database's lists."""
    return Person(
        id=account["id"],
        email=account["email"] or "no address",
        joined=moment(datetime.fromisoformat(account["created_at"]), now, zone),
        watches=account["watches"],
        mails=account["mails"],
        flags=_flags(account),
    )


def actions_for(account: dict[str, Any], *, is_self: bool) -> list[str]:
    """What may be done to an account."""
    standing = account["standing"]
    first = {"active": "disable", "closed": "restore", "disabled": "enable"}.get(standing)
    found = [first] if first and not (is_self and first == "disable") else []
    return found + (["forgive"] if account["bounced"] or account["complained"] else [])


def deeds(acts: Sequence[dict[str, Any]], now: datetime, zone: tzinfo) -> list[Deed]:
    """The record, in sentences."""
    return [
        Deed(
            moment(datetime.fromisoformat(one["at"]), now, zone),
            f"{one['by'] or 'somebody who left'} {_DID[one['act']]} {one['user'] or 'an account that is gone'}",
        )
        for one in acts
    ]


def story_of_user(told: dict[str, Any], now: datetime, zone: tzinfo) -> dict[str, Any]:
    """The words of the page about one account."""
    letters = [(one["term"], one["class_nbr"], letter_of(one, now, zone)) for one in told["letters"]]
    watched = [card_of({**one, "edges": []}, now, zone) for one in told["watched"]]
    return {
        "person": listed(told["user"], now, zone),
        "watched": watched,
        "letters": letters,
        "deeds": deeds(told["acts"], now, zone),
    }


def story_of_class(told: dict[str, Any], now: datetime, zone: tzinfo) -> dict[str, Any]:
    """The words of the page about one section."""
    card: Card = card_of(told["section"], now, zone)
    mails = ", ".join(f"{count(number, 'mail')} {status}" for status, number in sorted(told["mails"].items()))
    return {
        "card": card,
        "people": [listed(one, now, zone) for one in told["users"]],
        "mails": mails or "No mail yet",
    }


def _flags(account: dict[str, Any]) -> list[tuple[str, str]]:
    flags = [("", "administrator")] if account["is_admin"] else []
    if account["standing"] != "active":
        flags.append(("bad", account["standing"]))
    if account["bounced"]:
        flags.append(("fair", "bounced"))
    if account["complained"]:
        flags.append(("fair", "complained"))
    if account["standing"] == "active" and not account["mail"]:
        flags.append(("fair", "emails off"))
    return flags
