"""A section's term as a page tells it: in a sentence, as a picture, as a table, and what one student was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

from shared.students.cards import Card, card_of
from shared.students.openings import LEAST_OPENINGS, WINDOW, Opening, habit_of, openings_of
from shared.students.terms import name_of
from shared.students.told import Moment, count, hour, long, moment

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 720, 220, 34, 12, 26
MOST_DRAWN = 200
ABOUT = {
    "seat_available": "A seat opened",
    "instructor_assigned": "The instructor was named",
    "section_removed": "Removed from the catalog",
}
BECAME = {"pending": "Waits to be sent", "sending": "Is being sent", "dropped": "Not sent", "dead": "Could not be sent"}


@dataclass(frozen=True, slots=True)
class Row:
    """An opening in words."""

    start: Moment
    end: Moment | None
    lasted: str
    seats: int | None


@dataclass(frozen=True, slots=True)
class Chart:
    """The picture's paths and words, in its own units."""

    area: str
    edge: str
    lines: list[tuple[float, str]]
    marks: list[tuple[float, float, str]]
    days: list[tuple[float, str, str]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail to this student."""

    about: str
    seen: Moment
    became: str


def story_of(told: dict[str, Any], now: datetime, zone: tzinfo) -> dict[str, Any]:
    """The words of the page `history.html`, of what `pmc_read_class` tells."""
    row = {**told["section"], "edges": told["edges"], "since": (told["watch"] or {}).get("since")}
    openings = openings_of(told["edges"])
    card = card_of(row, now, zone)
    return {
        "card": card,
        "term_name": name_of(card.term),
        "habit": habit_words(openings, card, now, zone),
        "chart": chart_of(openings, now, zone) if len(openings) >= 2 else None,
        "openings": [_row(one, now, zone) for one in reversed(openings)][:MOST_DRAWN],
        "mails": [letter_of(one, now, zone) for one in told["mails"]],
    }


def habit_words(openings: Sequence[Opening], card: Card, now: datetime, zone: tzinfo) -> str:
    """What can be said of how it opens, and no more than that."""
    habit = habit_of(openings, now, zone)
    if habit is not None:
        when = f"mostly between {hour(habit.hours[0])} and {hour(habit.hours[1])}" if habit.hours else "at all hours"
        often = f"Opened {count(habit.times, 'time')} in {WINDOW.days} days"
        return f"{often}, for {long(habit.median)} on the median, {when}."
    if not openings:
        always = card.state == "open"
        return "Open for as long as we have looked at it." if always else "No opening seen so far."
    recent = sum(one.start > now - WINDOW for one in openings)
    return (
        f"Opened {count(recent, 'time')} in {WINDOW.days} days. "
        f"Fewer than {LEAST_OPENINGS} openings say nothing about when the next one comes."
    )


def chart_of(openings: Sequence[Opening], now: datetime, zone: tzinfo) -> Chart:
    """Open seats over time as steps. Between two looks nothing is known, so a step lies where it was seen."""
    drawn = openings[-MOST_DRAWN:]
    begin = drawn[0].start - max(timedelta(hours=6), (now - drawn[0].start) / 20)
    most = max([one.seats or 1 for one in drawn])
    span, floor = (now - begin).total_seconds(), HEIGHT - BOTTOM

    def x(at: datetime) -> float:
        return round(LEFT + (at - begin).total_seconds() / span * (WIDTH - LEFT - 8), 1)

    def y(seats: int) -> float:
        return round(floor - seats / most * (floor - TOP), 1)

    steps, marks = [f"M{LEFT} {floor}"], []
    for one in drawn:
        end, seats = one.end or now, one.seats or 1
        steps.append(f"H{x(one.start)}V{y(seats)}H{x(end)}V{floor}")
        marks.append((x(one.start), y(seats), f"{moment(one.start, now, zone).exact}: {_seats(one.seats)}"))
    edge = "".join(steps) + f"H{WIDTH - 8}"
    lines = [(float(floor), "0"), (y(most), str(most))]
    middle = begin + (now - begin) / 2
    days = [
        (float(LEFT), "start", _day(begin, zone)),
        (x(middle), "middle", _day(middle, zone)),
        (float(WIDTH - 8), "end", "now"),
    ]
    return Chart(area=f"{edge}Z", edge=edge, lines=lines, marks=marks, days=days)


def _seats(seats: int | None) -> str:
    return "opened" if seats is None else f"opened with {count(seats, 'seat')}"


def _day(at: datetime, zone: tzinfo) -> str:
    local = at.astimezone(zone)
    return f"{local:%b} {local.day}"


def _row(one: Opening, now: datetime, zone: tzinfo) -> Row:
    end = moment(one.end, now, zone) if one.end else None
    return Row(moment(one.start, now, zone), end, long(one.lasted(now)), one.seats)


def letter_of(mail: dict[str, Any], now: datetime, zone: tzinfo) -> Letter:
    """A row of the outbox in words."""
    became = BECAME.get(mail["status"], "Sent")
    if mail["sent_at"]:
        accepted = moment(datetime.fromisoformat(mail["sent_at"]), now, zone).exact
        became = f"Delivered, accepted {accepted}" if mail["status"] == "delivered" else f"Accepted {accepted}"
    elif mail["reason"]:
        became = f"{became}: {mail['reason']}"
    seen = moment(datetime.fromisoformat(mail["event_at"]), now, zone)
    return Letter(ABOUT.get(mail["kind"], mail["kind"]), seen, became)
