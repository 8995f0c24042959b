"""Was this student told, when, and if not, why not: the records of `pmc_explain` put into words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MAIL_FOR = {
    "seat_available": ("A seat opened", "seat_available"),
    "instructor_assigned": ("An instructor was named", "instructor_assigned"),
    "retired": ("The section left the catalog", "section_removed"),
}

SayTime = Callable[[str | None], str | None]
Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """About one event: whether its mail was accepted (None: not decided yet), and the words for it."""

    event: str
    seen_at: str
    told: bool | None
    words: str


def verdicts(answer: Record, say: SayTime) -> list[Verdict]:
    """One for each event of the section that students are told of, the latest first. `say` words a time."""
    found = []
    for event in answer["events"]:
        if event["kind"] in MAIL_FOR:
            told, words = _verdict(answer, event, say)
            found.append(Verdict(MAIL_FOR[event["kind"]][0], event["observed_at"], told, words))
    return found


def background(answer: Record, say: SayTime) -> Iterator[str]:
    """What else explains a silence, most weighty first."""
    person, watch, section = answer["person"], answer["watch"], answer["section"]
    if person is None:
        yield "Nobody has this address."
        return
    if not person["eligible"]:
        yield f"Is not told anything now: {', '.join(person['reasons'])}."
    yield f"Has watched this section since {say(watch['since'])}." if watch else "Does not watch this section now."
    if section["owner"] == "workers":
        yield "The old Workers check and mail this section, not this server."
    if section["term_is_over"]:
        yield "The term is over: its sections are no longer checked."
    yield from _checks(section, say)


def remedy(answer: Record, address: str) -> str:
    """What to do, if anything: by what stands in the way of the latest event's mail."""
    person, watch, section = answer["person"], answer["watch"], answer["section"]
    if person is None:
        return "Ask for the address that they signed up with."
    if not person["eligible"]:
        return f"`ops student {address}` tells what stands in the way and how to end it."
    if section["owner"] == "workers":
        return "Ask the old Workers' log, or take the section over: docs/move.md."
    if watch is None:
        return "They add the watch on the site; what is seen after that they are told of."
    if answer["tap"]["held"] or answer["tap"]["parked_until"]:
        return "`ops mail release` lets mail go, when its reason is over (`ops mail pending`)."
    if section["last_error"]:
        return f"`ops check {section['term']} {section['class_nbr']}` looks now."
    mail = next((event["mail"][-1] for event in answer["events"] if event["mail"]), None)
    if mail and mail["status"] == "dead":
        return f"`ops student {address} resend` owes the mail once more."
    if mail and mail["status"] in ("sent", "delivered"):
        return "Nothing to mend here: it left. Let them look in the spam folder; `ops student` can resend it."
    return "Nothing to mend."


def _checks(section: Record, say: SayTime) -> Iterator[str]:
    if section["checked_at"] is None:
        yield "The section has never been checked."
    else:
        facts = section["facts"] or {}
        seats, instructor = facts.get("seats_available"), facts.get("instructor_name") or "Staff"
        known = "an unknown number of seats" if seats is None else f"{seats} {'seat' if seats == 1 else 'seats'}"
        yield f"Last checked {say(section['checked_at'])}: {known} open, taught by {instructor}."
    if section["last_error"]:
        yield f"The last attempt ({say(section['last_attempt_at'])}) failed: {section['last_error']}."
    if section["strikes"]:
        times = "time" if section["strikes"] == 1 else f"{section['strikes']} times"
        yield f"The source did not know it the last {times}."


def _verdict(answer: Record, event: Record, say: SayTime) -> tuple[bool | None, str]:
    mail = (event["mail"] or [None])[0]
    if mail is None:
        return False, _why_not_owed(answer, event, say)
    match mail["status"]:
        case "sent" | "delivered" as status:
            word = "delivered" if status == "delivered" else "accepted by Resend"
            return True, f"told: {word}, sent {say(mail['sent_at'])} (message {mail['message_id']})"
        case "dropped":
            return False, f"not told: {mail['last_error']}"
        case "dead":
            return False, f"not told: given up after {mail['attempts']} attempts: {mail['last_error']}"
        case "sending":
            return None, f"on its way: {mail['attempts']} attempts so far; {mail['last_error'] or 'no answer yet'}"
    return None, f"owed, not sent yet: {_why_waiting(answer['tap'], mail, say)}"


def _why_waiting(tap: Record, mail: Record, say: SayTime) -> str:
    if mail["held"]:
        return "held until a second look, because unusually many sections opened at once"
    if tap["held"]:
        return f"all mail is held ({tap['held_reason']})"
    if tap["parked_until"]:
        return f"parked until {say(tap['parked_until'])} ({tap['park_reason']})"
    return str(mail["last_error"] or "it is its turn next")


def _why_not_owed(answer: Record, event: Record, say: SayTime) -> str:
    """No mail was ever owed for this event: what the records of today say about why."""
    person, watch = answer["person"], answer["watch"]
    if person is None:
        return "not told: nobody has this address"
    if watch is None:
        return "not told: does not watch this section (now)"
    if _time(watch["since"]) > _time(event["committed_at"]):
        return f"not told: began to watch later ({say(watch['since'])})"
    kind = MAIL_FOR[event["kind"]][1]
    for claim in answer["claims"]:
        if claim["notification_type"] == kind and _stood(claim, event):
            return f"not told again: had been told of the same {say(claim['sent_at'])}, within a day"
    if not person["eligible"]:
        return f"not told: {', '.join(person['reasons'])}"
    return "not told: could not be told at that time (what stood in the way has been changed since)"


def _stood(claim: Record, event: Record) -> bool:
    return _time(claim["sent_at"]) <= _time(event["observed_at"]) < _time(claim["expires_at"])


def _time(value: str) -> datetime:
    return datetime.fromisoformat(value)
