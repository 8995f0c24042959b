"""One student's account in words, each thing that stands in the way with its remedy."""

from __future__ import annotations

from collections.abc import Iterator

from shared.students.why import Record, SayTime

ACTS = {
    "forgive": "The address is believed to take mail again; mail is on.",
    "mail-on": "Mail is on.",
    "reopen": "The account is open again.",
    "resend": "The latest mail is owed once more; a consumer sends it within half a minute.",
}
"""What an operator can do for one person, with what is said when it is done (`pmc_help_student`)."""

NOT_SO = {
    "forgive": "the address has not bounced",
    "mail-on": "mail was not switched off, or something else stands in the way",
    "reopen": "the account is not closed",
    "resend": "no mail has left for this person yet",
}
"""Why one changes nothing."""


def lines(answer: Record, say: SayTime, address: str) -> Iterator[str]:
    """What is to be said of the answer of `pmc_find_student`, the most weighty first. `say` words a time."""
    person = answer["person"]
    if person is None:
        yield "Nobody has this address. Ask for the one that they signed up with."
        return
    yield f"Signed up {say(person['since'])}, last signed in {say(person['last_sign_in_at']) or 'never'}."
    yield from hindrances(person, say, address)
    if not answer["watches"]:
        yield "Watches nothing. They add a watch on the site; nobody can do it for them."
    elif person["eligible"]:
        yield f"Is told of {len(answer['watches'])} watched sections."
    yield from (f"{say(act['at'])}: {act['by'] or 'somebody who left'} did {act['act']}." for act in answer["acts"])


def hindrances(person: Record, say: SayTime, address: str) -> Iterator[str]:
    """What keeps the person from being told anything, each with what to do about it."""
    help_by = f"`ops student {address}"
    if person["disabled"]:
        yield f"The account is closed since {say(person['disabled_at'])}. {help_by} reopen` opens it."
    if person["bounced"]:
        yield f"The address bounced {say(person['bounced_at'])}. When it takes mail again: {help_by} forgive`."
    if person["complained"]:
        yield f"Called our mail spam {say(person['complained_at'])}. Only if they ask for mail: {help_by} mail-on`."
    elif not person["mail"] and not person["disabled"] and not person["bounced"]:
        since = say(person["unsubscribed_at"])
        yield f"Wants no mail{f' since {since}' if since else ''}. Only if they ask for mail: {help_by} mail-on`."


def last_mail_words(mail: Record, address: str) -> str:
    """What became of one mail, and what can be done."""
    match mail["status"]:
        case "dead":
            return f"given up: {mail['last_error']}. `ops student {address} resend` owes it once more."
        case "dropped":
            return f"no longer owed: {mail['last_error']}"
        case "sent":
            return "accepted by Resend; whether it was delivered is not known"
        case "delivered":
            return "delivered; if it is not to be found, look in their spam folder"
    return str(mail["last_error"] or "waits")
