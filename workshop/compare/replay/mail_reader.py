"""Reads an email of the new side as a student does, and says what is wrong in it.

Nothing of `shared.emails` may be imported here: a sentence that writer and reader took from one place could not be
wrong. What a mail must tell is in spec 4 (Mail) and the format of its link in spec 2 (/api/unsubscribe).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

from workshop.compare.replay.decisions import FACTS, Row

SUBJECTS = {"seat_available": "🎉 Seat Available", "instructor_assigned": "👨‍🏫 Instructor Assigned"}
_ZONE = ZoneInfo("America/Phoenix")
_NINETY_DAYS_MS = 90 * 24 * 3_600_000
_URL = re.compile(r"https://[^\s\"<>]+")
_OPEN = re.compile(r"(?<![\d.])(\d+) open seats?(?: of (\d+))?\b")
_OF = re.compile(r"(?<![\d.])(?<! of )(\d+)(?: of (\d+))? open\b(?! seats?)")


@dataclass(frozen=True, slots=True)
class Expected:
    """What an email must say. `facts` in the order of `FACTS`; `user_id` is the recipient's, `secret` signs links."""

    term: str
    class_nbr: str
    kind: str
    facts: Row
    seen_at: datetime
    user_id: str
    secret: str


def faults(email: Mapping[str, Any], expected: Expected) -> tuple[str, ...]:
    """What is wrong with an email as Resend was given it; nothing for a good one."""
    found = list(_envelope(email, expected))
    for name, body, urls in (
        ("text", " ".join(email["text"].split()), _URL.findall(email["text"])),
        ("html", _visible(email["html"]), [url.replace("&amp;", "&") for url in _URL.findall(email["html"])]),
    ):
        found += [f"{name}: {fault}" for fault in (*_said(body, expected), *_links(urls, expected))]
    return tuple(found)


def section_of(email: Mapping[str, Any]) -> tuple[str, str]:
    """(term, class_nbr) that an email links to. Raises `ValueError` when it links to none."""
    for url in _URL.findall(email["text"]):
        query = parse_qs(urlsplit(url).query)
        if "classNbr" in query:
            return query["term"][0], query["classNbr"][0]
    raise ValueError("an email without a link to its section")


def _envelope(email: Mapping[str, Any], expected: Expected) -> Iterator[str]:
    facts = dict(zip(FACTS, expected.facts, strict=True))
    wanted = f"{SUBJECTS[expected.kind]}: {facts['subject']} {facts['catalog_nbr']} ({expected.class_nbr})"
    if email["subject"] != wanted:
        yield "subject"
    if len(email["to"]) != 1:
        yield "not one recipient"
    headers = email.get("headers", {})
    if headers.get("List-Unsubscribe-Post") != "List-Unsubscribe=One-Click":
        yield "header List-Unsubscribe-Post"
    if not _unsubscribes(headers.get("List-Unsubscribe", "").strip("<>"), expected):
        yield "header List-Unsubscribe"


def _said(body: str, expected: Expected) -> Iterator[str]:
    """What the words of a body leave out or say otherwise."""
    facts = dict(zip(FACTS, expected.facts, strict=True))
    words = {name: facts[name] for name in ("title", "location", "meeting_times")}
    words |= {"course": f"{facts['subject']} {facts['catalog_nbr']}", "section": f"Section {expected.class_nbr}"}
    words["instructor"] = _instructor(facts["instructor_name"])
    words["season"], words["seen"] = _season(expected.term), _moment(expected.seen_at)
    for name, value in words.items():
        if value and " ".join(str(value).split()) not in body:
            yield name
    told = {(int(seats), int(of) if of else None) for pattern in (_OPEN, _OF) for seats, of in pattern.findall(body)}
    seats, capacity = facts["seats_available"], facts["seats_capacity"]
    if told != ({(seats, capacity)} if seats is not None else set()):
        yield "seats"
    if expected.kind == "seat_available" and _reserved(facts["non_reserved_seats"], seats) not in body:
        yield "reserved"


def _links(urls: list[str], expected: Expected) -> Iterator[str]:
    """One link to the section, and one that unsubscribes."""
    section = [url for url in urls if urlsplit(url).path == "/go/asu"]
    query = {"classNbr": [expected.class_nbr], "term": [expected.term]}
    if not section or any(parse_qs(urlsplit(url).query) != query for url in section):
        yield "link to the section"
    leaving = [url for url in urls if urlsplit(url).path == "/api/unsubscribe"]
    if not leaving or not all(_unsubscribes(url, expected) for url in leaving):
        yield "link to unsubscribe"


def _unsubscribes(url: str, expected: Expected) -> bool:
    """Whether a link is signed for the recipient until ninety days after the event."""
    token = parse_qs(urlsplit(url).query).get("token", [""])[0]
    claim = f"{expected.user_id}:{round(expected.seen_at.timestamp() * 1000) + _NINETY_DAYS_MS}"
    signature = hmac.new(expected.secret.encode(), claim.encode(), hashlib.sha256).hexdigest()
    return token == base64.urlsafe_b64encode(f"{claim}:{signature}".encode()).decode().rstrip("=")


_NOBODY = ("staff", "tba", "tbd", "to be announced", "to be determined", "faculty", "instructor")


def _instructor(name: str | int | None) -> str:
    words = "".join(letter if letter.isalnum() else " " for letter in str(name or "")).lower().split()
    nobody = not any(any(map(str.isalpha, word)) for word in words) or " ".join(words) in _NOBODY
    return "Not named yet" if nobody else str(name)


def _reserved(unreserved: Any, seats: Any) -> str:
    if unreserved is None:
        return "Some may be reserved"
    if unreserved == 0:
        return "All of them reserved"
    return "Unreserved" if seats is None or unreserved >= seats else f"{unreserved} unreserved, {seats - unreserved} "


def _season(term: str) -> str:
    return {"1": "Spring", "4": "Summer", "7": "Fall"}[term[3]] + f" 20{term[1:3]}"


def _moment(time: datetime) -> str:
    local = time.astimezone(_ZONE)
    return f"{local:%a, %b} {local.day}, {local.year} at {local:%I:%M %p}".replace(" at 0", " at ") + " MST"


def _visible(html: str) -> str:
    reader = _Reader()
    reader.feed(html)
    return " ".join(" ".join(reader.words).split())


class _Reader(HTMLParser):
    """The words of a page that people see."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002 - the library's
        self._hidden += tag in ("head", "style", "script")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("head", "style", "script")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)
