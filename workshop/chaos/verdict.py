"""What came of a run, against what the campus did: an oracle that shares no rule with the product.

It walks through the committed checks in their order, asks the campus's tape what was to be seen, and notes every
email owed. Then the inbox decides: each owed email is there once, or its row says why it could not be: dropped with
a later `seats_filled` on record, or refused by Resend for its address.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from workshop.campus.sections import HALF_HOUR_MS, Values
from workshop.chaos.play import Played, PlayedSlot
from workshop.chaos.records import Commit
from workshop.chaos.season import Season
from workshop.demo.oracle import NAME, SEAT
from workshop.demo.students import who_is_told

_SUBJECT = re.compile(r"(Seat Available|Instructor Assigned): .* \((\d{5})\)")
_KINDS = {"Seat Available": SEAT, "Instructor Assigned": NAME}
_APART_MS = 500  # how far the clocks of campus and product may be apart
_CHANGES_BEFORE_MS = 1000  # a calm campus changes so long before the slot that shall see it
Debt = tuple[str, str, datetime, str]
"""Section, kind, when it was seen, address: one email that is owed."""


PROMISES = ("lost", "extra", "twice", "wrong", "unchecked", "stale", "excesses", "stuck")


@dataclass(slots=True)
class Verdict:
    """The comparison. Everything in the lists of words breaks a promise."""

    commits: int = 0
    owed: int = 0
    sent: int = 0
    dropped: int = 0
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)  # a committed check that saw what was never there
    unchecked: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)  # known in the end as it was before its latest slot
    excesses: list[str] = field(default_factory=list)  # minutes with more looks than were allowed
    stuck: list[str] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)  # seconds from an opening's commit to Resend's acceptance

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not any(getattr(self, name) for name in PROMISES)


def judge(
    season: Season,
    played: Played,
    commits: Sequence[Commit],
    outbox: Sequence[Mapping[str, Any]],
    mails: Sequence[Mapping[str, Any]],
    rejected: set[str],
    baselines: Sequence[Mapping[str, Any]] = (),
    without_seats: Sequence[tuple[float, float]] = (),
) -> Verdict:
    """Compare. `mails` are the inbox's, `rejected` the addresses that the inbox was told to refuse.

    `baselines` is what the product knows of the sections in the end; `without_seats` tells when (from, to, epoch s) the
    catalog was told to leave the seats out of its rows.
    """
    verdict = Verdict(commits=len(commits))
    verdict.stale = _find_stale(season, played, baselines)
    owed = _owed(_Truth(season, played, without_seats), season, commits, verdict)
    verdict.owed = len(owed)
    _compare(owed, outbox, {mail["id"]: mail for mail in mails}, rejected, verdict)
    for slot in played.slots:
        verdict.unchecked += [f"{class_nbr} in the slot ticked by {slot.ticked_by}" for class_nbr in slot.unchecked]
    verdict.stuck = [f"{what}: {value}" for what, value in played.stuck.items()]
    return verdict


def _owed(truth: _Truth, season: Season, commits: Sequence[Commit], verdict: Verdict) -> Counter[Debt]:
    told = who_is_told(season.watches)
    owed: Counter[Debt] = Counter()
    memories: dict[str, _Memory] = defaultdict(_Memory)
    for commit in commits:
        memory = memories[commit.class_nbr]
        seen = truth.values_seen_by(commit, memory.seats)
        if seen is None:
            verdict.wrong.append(f"{commit.class_nbr} was never {commit.seats} seats with {commit.instructor}")
            continue
        for kind in memory.look(*seen):
            owed.update((commit.class_nbr, kind, commit.observed_at, one.recipient) for one in told[commit.class_nbr])
    return owed


def _find_stale(season: Season, played: Played, baselines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The sections that are not known as the campus showed them since the latest slot of their half began."""
    timelines = {timeline.class_nbr: timeline for timeline in season.timelines}
    until = max((one.slot_ms for one in played.slots), default=0) + HALF_HOUR_MS - _CHANGES_BEFORE_MS
    stale = []
    for row in baselines:
        class_nbr, timeline = row["class_nbr"], timelines[row["class_nbr"]]
        half = int(class_nbr) % 2
        since = max((one.slot_ms for one in played.slots if one.slot_ms // HALF_HOUR_MS % 2 == half), default=0)
        changes = timeline.values[bisect_right(timeline.times, since) : bisect_right(timeline.times, until - 1)]
        shown = [(one.seats_available, _words(one.instructor)) for one in (timeline.at(since), *changes)]
        if (row["seats"], _words(row["instructor"])) not in shown:
            words = ", ".join(f"{seats} with {instructor}" for seats, instructor in dict.fromkeys(shown))
            stale.append(f"{class_nbr} is known with {row['seats']} seats and {row['instructor']}, and was {words}")
    return stale


class _Memory:
    """What was last known of one section: seats, who is named, and who was before nobody is."""

    def __init__(self) -> None:
        self.seats: int | None = None
        self._seen, self._name, self._last = False, "", ""

    def look(self, seats: int | None, instructor: str | None) -> list[str]:
        """Remember; say what good thing happened since the look before."""
        name = (instructor or "").strip().lower().removeprefix("staff")
        now = self.seats if seats is None else seats
        kinds = [SEAT] if self._seen and self.seats == 0 and now else []
        kinds += [NAME] if self._seen and name and not self._name and name != self._last else []
        self.seats = now
        self._seen, self._name, self._last = True, name, name or self._last
        return kinds


class _Truth:
    """What the campus showed, and when."""

    def __init__(self, season: Season, played: Played, without_seats: Sequence[tuple[float, float]]) -> None:
        self._slots, self._rate, self._without_seats = played.slots, season.rate, without_seats
        self._timelines = {timeline.class_nbr: timeline for timeline in season.timelines}

    def values_seen_by(self, commit: Commit, seats_before: int | None) -> tuple[int | None, str | None] | None:
        """Seats and instructor as the campus showed them between the look's start and the commit.

        Nearly always that is one slot. A process that slept between the two may have asked in one slot and have been
        answered in a later one: then either is true. Where the catalog left its seats out meanwhile, they may stand as
        `seats_before`. `None`: it was none of them.
        """
        began_ms = commit.observed_at.timestamp() * 1000
        first = max((n for n, slot in enumerate(self._slots) if slot.slot_ms <= began_ms), default=0)
        kept = commit.seats == seats_before and self._were_left_out(self._slots[first].began, commit)
        for number, slot in enumerate(self._slots[first:], first):
            if number and slot.began > commit.committed_at.timestamp():
                break
            after = self._slots[number + 1].began if number + 1 < len(self._slots) else math.inf
            until = min(after, commit.committed_at.timestamp())
            for values in self._shown(commit.class_nbr, slot, began_ms, until):
                seats, instructor = values.seats_available, values.instructor
                believable = seats is not None and 0 <= seats <= 2 * (values.seats_capacity or 0)
                if _words(instructor) != _words(commit.instructor):
                    continue
                if seats == commit.seats or not believable or kept:
                    return seats if believable and seats == commit.seats else None, instructor
        return None

    def _were_left_out(self, began: float, commit: Commit) -> bool:
        return any(one < commit.committed_at.timestamp() and began < end for one, end in self._without_seats)

    def _shown(self, class_nbr: str, slot: PlayedSlot, from_ms: float, until: float) -> list[Values]:
        """The values of a section in a slot from a moment of the campus on until one of ours (epoch s)."""
        timeline = self._timelines[class_nbr]
        if not self._rate:
            return [timeline.at(slot.slot_ms)]
        first = max(slot.slot_ms, int(from_ms) - _APART_MS)
        last = slot.slot_ms + max(0, int((until - slot.began) * 1000)) + _APART_MS
        changes = timeline.times[bisect_right(timeline.times, first) : bisect_right(timeline.times, last)]
        return [timeline.at(moment) for moment in (first, *changes)]


def _compare(
    owed: Counter[Debt],
    outbox: Sequence[Mapping[str, Any]],
    mails: Mapping[str, Mapping[str, Any]],
    rejected: set[str],
    verdict: Verdict,
) -> None:
    rows: dict[Debt, list[Mapping[str, Any]]] = defaultdict(list)
    for row in outbox:
        rows[(row["class_nbr"], row["kind"], row["observed_at"], row["email"])].append(row)
    verdict.extra += [f"a debt that nobody owed: {_tell(debt)}" for debt in rows if debt not in owed]
    verdict.twice += [f"two debts for {_tell(debt)}" for debt, found in rows.items() if len(found) > 1]
    for debt in owed:
        settled = [_settle(row, mails, rejected, verdict) for row in rows.get(debt, [])]
        if None not in settled and settled:
            continue
        why = [f"{row['status']} ({row['last_error']})" for row in rows.get(debt, [])] or ["never written down"]
        verdict.lost.append(f"{_tell(debt)}: {', '.join(why)}")
    known = Counter(row["message_id"] for row in outbox if row["message_id"])
    verdict.twice += [f"one mail for two debts: {name}" for name, count in known.items() if count > 1]
    for name, mail in mails.items():
        if name not in known:
            verdict.twice.append(f"a mail without a debt of its own: {mail['subject']} to {mail['to'][0]}")


def _settle(
    row: Mapping[str, Any], mails: Mapping[str, Mapping[str, Any]], rejected: set[str], verdict: Verdict
) -> str | None:
    """How a debt was settled; `None`: it was not."""
    if row["status"] == "sent":
        mail = mails.get(row["message_id"])
        found = _SUBJECT.search(mail["subject"]) if mail else None
        if mail is None or found is None or mail["to"] != [row["email"]]:
            return None
        if (found[2], _KINDS[found[1]]) != (row["class_nbr"], row["kind"]):
            return None
        verdict.sent += 1
        verdict.delays.append(row["delay"])
        return "sent"
    if row["status"] == "dropped" and row["kind"] == SEAT and row["filled_later"]:
        verdict.dropped += 1
        return "dropped"
    if row["status"] == "dead" and row["email"] in rejected and "does not exist" in (row["last_error"] or ""):
        verdict.refused += 1
        return "refused"
    return None


def _words(instructor: str | None) -> str:
    return " ".join((instructor or "").split())


def _tell(debt: Debt) -> str:
    class_nbr, kind, seen, address = debt
    return f"{kind} of {class_nbr}, seen {seen:%d %b %H:%M:%S}, to {address}"
