"""Turns owed mail into the emails that Resend is given: subject, HTML, text, headers.

The same owed mail always gives the same email, to the byte: nothing here asks a clock or the dice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from shared.mail import words
from shared.mail.resend import ascii_address
from shared.mail.tokens import UnsubscribeTokens
from shared.sections.section import Facts, Section
from shared.sections.text import one_line


@dataclass(frozen=True, slots=True)
class OwedMail:
    """One row of the outbox with its address. Times are aware.

    `kind` is `seat_available`, `instructor_assigned` or `section_removed`. `seen_before`: when the section had
    been seen before `seen_at`, `last_full`: when it was last seen full; `None` when that is not known.
    `replaced_by`: the course that a removed section's number means now, where it means another.
    """

    id: int
    user_id: str
    address: str | None
    section: Section
    kind: str
    facts: Facts
    seen_at: datetime
    seen_before: datetime | None
    event_at: datetime
    tick_id: str | None = None
    last_full: datetime | None = None
    replaced_by: Facts | None = None

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> OwedMail:
        """A row of `pmc_gather_mail`; its payload was written by the commit of the check."""
        payload = row["payload"]
        seen_before, last_full = payload.get("previous_observed_at"), payload.get("last_full_at")
        event_at = datetime.fromisoformat(row["event_at"])
        return cls(
            id=row["id"],
            user_id=row["user_id"],
            address=row["email"],
            section=Section(row["term"], row["class_nbr"]),
            kind=row["notification_type"],
            facts=Facts.from_json(payload.get("facts") or {}),
            seen_at=datetime.fromisoformat(payload["observed_at"]) if payload.get("observed_at") else event_at,
            seen_before=datetime.fromisoformat(seen_before) if seen_before else None,
            event_at=event_at,
            tick_id=row["tick_id"],
            last_full=datetime.fromisoformat(last_full) if last_full else None,
            replaced_by=Facts.from_json(payload["after"]) if payload.get("after") else None,
        )


_TEMPLATES = Path(__file__).with_name("templates")
MAX_SUBJECT = 150


class CannotWriteError(ValueError):
    """This one email cannot be written; the reason names no address."""


@dataclass(frozen=True, slots=True)
class Look:
    """The colours of one kind of email, each with its counterpart in the dark."""

    accent: str
    accent_dark: str
    tint: str
    tint_dark: str


@dataclass(frozen=True, slots=True)
class Kind:
    """What is fixed about one kind of email. `subject` is completed by course and section number."""

    subject: str
    label: str
    button: str
    look: Look


# The colours are those of `shared/web/pages/colours.css`: mail programs read no variables, so they stand here again.
_GREEN = Look("#146b41", "#3ecf8a", "#e2f4ea", "#12362a")
_MAROON = Look("#8c1d40", "#ffc627", "#eceff3", "#262d36")
_GREY = Look("#5a6572", "#9daab8", "#eceff3", "#262d36")

KINDS = {
    "seat_available": Kind("🎉 Seat Available", "Seat available", "Open it in the catalog", _GREEN),
    "instructor_assigned": Kind("👨‍🏫 Instructor Assigned", "Instructor assigned", "Open it in the catalog", _MAROON),
    "section_removed": Kind("📭 Section Removed", "Section removed", "Search the catalog", _GREY),
}


class Renderer:
    """Writes emails. `site_url` begins every link, `sender` is the From, `zone` the clock on the campus."""

    def __init__(self, *, site_url: str, sender: str, zone: ZoneInfo, tokens: UnsubscribeTokens) -> None:
        if sender != one_line(sender):
            raise ValueError("the sender must be one line")
        self._site_url = site_url.rstrip("/")
        self._sender = sender
        self._zone = zone
        self._tokens = tokens
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=select_autoescape(("html",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            auto_reload=False,
        )

    def write(self, mail: OwedMail) -> dict[str, Any]:
        """The email as Resend takes it. Raises `CannotWriteError` for a row that cannot become one."""
        address = ascii_address(mail.address)
        if address is None:
            raise CannotWriteError("the account has no usable address")
        kind = KINDS.get(mail.kind)
        if kind is None:
            raise CannotWriteError(f"there is no email of the kind {one_line(mail.kind, 40)}")
        unsubscribe_url = self._unsubscribe_url(mail)
        subject = f"{kind.subject}: {words.course(mail.facts)} ({mail.section.class_nbr})"[:MAX_SUBJECT]
        context = self._context(mail, kind) | {"subject": subject, "unsubscribe_url": unsubscribe_url}
        return {
            "from": self._sender,
            "to": [address],
            "subject": subject,
            "html": self._templates.get_template(f"{mail.kind}.html").render(context),
            "text": self._templates.get_template(f"{mail.kind}.txt").render(context),
            "headers": {
                "List-Unsubscribe": f"<{unsubscribe_url}>",
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",  # RFC 8058
            },
        }

    def _context(self, mail: OwedMail, kind: Kind) -> dict[str, Any]:
        """Everything that the templates of all kinds may name."""
        facts, course = mail.facts, words.course(mail.facts)
        query = urlencode({"classNbr": mail.section.class_nbr, "term": mail.section.term})
        return {
            "label": kind.label,
            "button": kind.button,
            "look": kind.look,
            "site_url": self._site_url,
            "go_url": f"{self._site_url}/go/asu?{query}",
            "course": course,
            "title": one_line(facts.title),
            "section": mail.section,
            "season": words.season(mail.section),
            "instructor": words.instructor(facts),
            "open_seats": facts.seats_available,
            "open_words": words.open_words(facts),
            "reserved": words.reserved(facts),
            "rows": self._rows(mail),
            "lead": words.removed(mail.replaced_by),
            "preview": words.preview(mail.kind, facts, mail.replaced_by),
            "note": self._note(mail),
            "why": words.why(mail.kind, course, mail.section),
        }

    def _rows(self, mail: OwedMail) -> list[tuple[str, str]]:
        """The table of facts, without what is not known or said elsewhere in this kind of email."""
        facts = mail.facts
        rows = [
            ("Instructor", words.instructor(facts) if mail.kind != "instructor_assigned" else ""),
            ("When", one_line(facts.meeting_times)),
            ("Where", one_line(facts.location)),
            ("Seats", words.seats(facts) if mail.kind == "instructor_assigned" else ""),
            self._seen(mail),
            ("Opened", self._opened(mail)),
        ]
        return [(name, value) for name, value in rows if value]

    def _seen(self, mail: OwedMail) -> tuple[str, str]:
        """When it was seen; of a section that is gone, when it was last there (nothing when it never was)."""
        if mail.kind != "section_removed":
            return "Seen", words.moment(mail.seen_at, self._zone)
        return "Last seen", words.moment(mail.seen_before, self._zone) if mail.seen_before else ""

    def _opened(self, mail: OwedMail) -> str:
        """Within what time it opened: after it was last seen full, and before it was seen open."""
        if mail.kind != "seat_available" or mail.last_full is None or words.is_stale(mail.seen_at, mail.last_full):
            return ""
        return words.between(mail.last_full, mail.seen_at, self._zone)

    def _note(self, mail: OwedMail) -> str:
        """What a student should know before acting on this email."""
        if mail.kind == "section_removed":
            return ""
        if mail.seen_before is not None and words.is_stale(mail.seen_at, mail.seen_before):
            return words.STALE_NOTE.format(before=words.moment(mail.seen_before, self._zone))
        return words.HURRY if mail.kind == "seat_available" else ""

    def _unsubscribe_url(self, mail: OwedMail) -> str:
        token = self._tokens.issue(mail.user_id, mail.event_at)
        return f"{self._site_url}/api/unsubscribe?{urlencode({'token': token})}"
