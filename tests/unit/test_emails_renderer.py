"""The emails: what they say, that everything from outside is escaped, and that no header can be broken."""

from __future__ import annotations

import html
import json
import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.mail.renderer import KINDS, CannotWriteError, OwedMail, Renderer
from shared.mail.tokens import UnsubscribeTokens
from shared.sections.section import Facts, Section

USER = "0b9c1f5e-6f0a-4c33-9d2e-1b0c5d7e8f90"
SEEN_AT = datetime(2026, 3, 3, 17, 2, 11, tzinfo=UTC)
FACTS = Facts(
    subject="CSE",
    catalog_nbr="110",
    title="Principles of Programming",
    instructor_name="Grace Hopper",
    seats_available=3,
    seats_capacity=25,
    non_reserved_seats=2,
    location="Tempe - PSH 150",
    meeting_times="Tu Th 10:30 AM - 11:45 AM",
)
MAIL = OwedMail(
    id=1,
    user_id=USER,
    address="student@example.edu",
    section=Section("2261", "12431"),
    kind="seat_available",
    facts=FACTS,
    seen_at=SEEN_AT,
    seen_before=SEEN_AT - timedelta(hours=1),
    event_at=SEEN_AT,
)
TOKENS = UnsubscribeTokens("secret")
RENDERER = Renderer(
    site_url="https://pickmyclass.example",
    sender="PickMyClass <hello@pickmyclass.example>",
    zone=ZoneInfo("America/Phoenix"),
    tokens=TOKENS,
)

kinds = st.sampled_from(sorted(KINDS))
# What an unkind catalog could send: markup, line breaks, directions, separators, templates, anything printable.
nasty = st.text(max_size=60) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        '"><img src=x onerror=alert(1)>',
        "a\r\nBcc: everyone@example.edu",
        "{{ 7 * 7 }} {% raw %}",
        "\u202egnp.exe",
        "\u2028\u2029\x00\x07",
        "&amp;&#x3c;b&#x3e;",
        "\ud800",
    ]
)
maybe = st.none() | nasty
seats = st.none() | st.integers(0, 500)
facts = st.builds(Facts, maybe, maybe, maybe, maybe, seats, seats, seats, maybe, maybe)


class Page(HTMLParser):
    """Every tag, link and word of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: list[str] = []
        self.words = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.words += data


OURS = Page(RENDERER.write(MAIL)["html"])


@given(kinds, facts)
def test_nothing_from_outside_becomes_markup(kind: str, facts: Facts) -> None:
    page = Page(RENDERER.write(replace(MAIL, kind=kind, facts=facts))["html"])
    assert page.tags <= OURS.tags
    assert page.attributes <= OURS.attributes
    assert all(link.startswith("https://pickmyclass.example") for link in page.links)


@given(kinds, facts)
def test_no_header_has_a_line_break_or_an_invisible_character(kind: str, facts: Facts) -> None:
    email = RENDERER.write(replace(MAIL, kind=kind, facts=facts))
    for value in (email["from"], email["subject"], *email["to"], *email["headers"].values()):
        # Format characters are ours alone: the joiner inside the teacher's emoji.
        assert not [c for c in value.replace("\u200d", "") if unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")]
        assert not set(value) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@given(kinds, facts)
def test_every_email_survives_the_way_to_resend(kind: str, facts: Facts) -> None:
    email = RENDERER.write(replace(MAIL, kind=kind, facts=facts))
    assert json.loads(json.dumps(email, ensure_ascii=False).encode()) == email
    assert "\x00" not in json.dumps(email, ensure_ascii=False)
    assert len(email["subject"]) <= 150
    assert len(email["html"]) < 20_000


@given(kinds, facts)
def test_the_same_mail_is_written_the_same(kind: str, facts: Facts) -> None:
    mail = replace(MAIL, kind=kind, facts=facts)
    assert RENDERER.write(mail) == RENDERER.write(mail)


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("seat_available", "🎉 Seat Available: CSE 110 (12431)"),
        ("instructor_assigned", "👨‍🏫 Instructor Assigned: CSE 110 (12431)"),
        ("section_removed", "📭 Section Removed: CSE 110 (12431)"),
    ],
)
def test_subjects_are_as_they_always_were(kind: str, subject: str) -> None:
    assert RENDERER.write(replace(MAIL, kind=kind))["subject"] == subject


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("seat_available", "3 of 25 open. 2 unreserved, 1 reserved for certain students."),
        ("instructor_assigned", "Now taught by Grace Hopper."),
        (
            "section_removed",
            "The catalog has not listed this section for more than a day, so it was taken off",
        ),
    ],
)
def test_the_line_that_a_mailbox_shows_beside_the_subject_says_what_happened(kind: str, line: str) -> None:
    hidden = re.search(r'<div style="display:none[^>]*>(.*?)&#8199;', RENDERER.write(replace(MAIL, kind=kind))["html"])
    assert hidden
    assert html.unescape(hidden[1]).startswith(line)


def test_a_subject_without_a_course_still_names_the_section() -> None:
    assert RENDERER.write(replace(MAIL, facts=Facts()))["subject"] == "🎉 Seat Available: Class (12431)"


@pytest.mark.parametrize("form", ["html", "text"])
@pytest.mark.parametrize(
    "said",
    [
        "CSE 110",
        "Principles of Programming",
        "12431",
        "Spring 2026",
        "Grace Hopper",
        "Tempe - PSH 150",
        "Tu Th 10:30 AM - 11:45 AM",
        "open seats of 25",
        "2 unreserved, 1 reserved for certain students",
        "Tue, Mar 3, 2026 at 10:02 AM MST",
        "because you watch section 12431 of CSE 110",
        "Seats like this go quickly.",
        "Unsubscribe",
    ],
)
def test_a_seat_email_says_what_a_student_needs(form: str, said: str) -> None:
    text = RENDERER.write(MAIL)[form]
    assert said in (Page(text).words if form == "html" else text)


@pytest.mark.parametrize(
    ("available", "unreserved", "said"),
    [
        (3, 3, "Unreserved: open to everybody"),
        (3, 0, "All of them reserved for certain students"),
        (3, None, "Some may be reserved"),
        (None, 2, "Unreserved: open to everybody"),
    ],
)
def test_it_says_whether_the_seats_are_unreserved(available: int | None, unreserved: int | None, said: str) -> None:
    changed = replace(FACTS, seats_available=available, non_reserved_seats=unreserved)
    email = RENDERER.write(replace(MAIL, facts=changed))
    assert said in email["text"]
    assert said in email["html"]


def test_an_email_names_the_new_instructor() -> None:
    email = RENDERER.write(replace(MAIL, kind="instructor_assigned"))
    assert "Now taught by Grace Hopper." in email["text"]
    assert "3 of 25 open" in email["text"]


def test_a_section_that_is_gone_says_when_it_was_last_seen() -> None:
    email = RENDERER.write(replace(MAIL, kind="section_removed"))
    assert "taken off your list" in email["text"]
    assert "go quickly" not in email["text"]
    assert "Last seen:   Tue, Mar 3, 2026 at 9:02 AM MST" in email["text"]
    never_seen = RENDERER.write(replace(MAIL, kind="section_removed", seen_before=None, facts=Facts()))
    assert "Last seen" not in never_seen["text"]


@pytest.mark.parametrize(("hours", "said"), [(25, True), (24, False), (1, False), (None, False)])
def test_it_says_so_when_the_section_had_not_been_seen_for_a_day(hours: int | None, said: bool) -> None:
    before = None if hours is None else SEEN_AT - timedelta(hours=hours)
    for form in ("html", "text"):
        assert ("last seen this section on Mon, Mar 2, 2026 at 9:02 AM" in RENDERER.write(
            replace(MAIL, seen_before=before))[form]) == said  # fmt: skip


def test_there_is_one_button_and_it_leads_over_our_own_domain() -> None:
    links = Page(RENDERER.write(MAIL)["html"]).links
    assert [link for link in links if "/go/asu" in link] == [
        "https://pickmyclass.example/go/asu?classNbr=12431&term=2261"
    ]
    assert len(links) == 3  # our name, the button, unsubscribe


def test_unsubscribing_is_one_click_and_speaks_for_this_person() -> None:
    email = RENDERER.write(MAIL)
    header = email["headers"]["List-Unsubscribe"]
    assert email["headers"]["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert (header[0], header[-1]) == ("<", ">")
    address = urlsplit(header[1:-1])
    assert address.path == "/api/unsubscribe"
    token = parse_qs(address.query)["token"][0]
    assert TOKENS.verify(token, SEEN_AT) == USER
    assert header[1:-1] in email["text"]
    assert header[1:-1] in Page(email["html"]).links


def test_it_is_made_for_phones_and_for_the_dark() -> None:
    html = RENDERER.write(MAIL)["html"]
    for needed in ("prefers-color-scheme:dark", "max-width:600px", 'name="viewport"', 'name="color-scheme"', "lang="):
        assert needed in html


def test_nothing_is_loaded_from_anywhere() -> None:
    for kind in KINDS:
        html = RENDERER.write(replace(MAIL, kind=kind))["html"].lower()
        assert not any(word in html for word in ("<img", "src=", "url(", "@import", "<link", "<script"))


@pytest.mark.parametrize(
    "address", [None, "", "nobody", "a@b", "a b@example.edu", "a@example.edu\r\nBcc: b@example.edu", "<a@example.edu>"]
)
def test_an_address_that_is_none_is_not_written_to(address: str | None) -> None:
    with pytest.raises(CannotWriteError) as error:
        RENDERER.write(replace(MAIL, address=address))
    assert not address or address not in str(error.value)


def test_an_unknown_kind_of_mail_is_not_written() -> None:
    with pytest.raises(CannotWriteError, match="birthday"):
        RENDERER.write(replace(MAIL, kind="birthday"))


@pytest.mark.parametrize("sender", ["a@b.example\r\nBcc: c@d.example", "a@b.example\n"])
def test_a_sender_with_a_line_break_is_refused_at_once(sender: str) -> None:
    with pytest.raises(ValueError, match="one line"):
        Renderer(site_url="https://x.example", sender=sender, zone=ZoneInfo("UTC"), tokens=TOKENS)


@pytest.mark.parametrize(
    ("term", "name"), [("2257", "Fall 2025"), ("2264", "Summer 2026"), ("2263", "term 2263"), ("1991", "term 1991")]
)
def test_terms_are_named(term: str, name: str) -> None:
    assert name in RENDERER.write(replace(MAIL, section=Section(term, "12431")))["text"]


def row(**changes: Any) -> dict[str, Any]:
    """A row as the database hands it out."""
    return {
        "id": 7, "event_id": 3, "user_id": USER, "email": "student@example.edu", "term": "2261",
        "class_nbr": "12431", "notification_type": "seat_available", "event_at": "2026-03-03T17:02:11+00:00",
        "tick_id": "tick-1",
        "payload": {"facts": {"subject": "CSE", "from_the_future": 1}, "observed_at": "2026-03-03T17:02:11+00:00",
                    "previous_observed_at": None},
    } | changes  # fmt: skip


def test_a_row_of_the_database_is_read() -> None:
    mail = OwedMail.from_json(row())
    assert (mail.id, mail.facts.subject, mail.seen_at, mail.seen_before) == (7, "CSE", SEEN_AT, None)


def test_a_payload_of_an_older_release_is_read() -> None:
    mail = OwedMail.from_json(row(payload={}))
    assert mail.seen_at == SEEN_AT
    assert RENDERER.write(mail)["subject"] == "🎉 Seat Available: Class (12431)"
