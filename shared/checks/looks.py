"""Looks between the ticks: every minute the calls of that minute go where a look has the most to gain.

They come on top of the floor and promise nothing: one that is lost is made up for minutes later, so nothing here is
queued or retried. One consumer at a time decides, over all servers, by a lease in the database.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from shared.checks.check import (
    BreakerOpenError,
    BreakerUnknownError,
    CheckError,
    CheckOrder,
    CheckReport,
    ThrottledError,
    UnreachedError,
)
from shared.checks.look import Look, Looker
from shared.checks.planner import Candidate, Watched, calls_by_hour, plan
from shared.clock import Clock
from shared.database import DatabaseCalls
from shared.durations import Durations
from shared.sections.changes import EventKind
from shared.sections.section import Section
from shared.settings import Settings
from shared.source.answers import Listing

log = logging.getLogger(__name__)

LEASE_MINUTES = 3
"""So long after a killed scheduler another one decides."""
ALL_MINUTES = 30
"""How often everything that is watched is read anew: a hundred kilobytes at 2,000 sections."""
OVERLAP_MINUTES = 5
"""A look is told by its start and known after its commit: those that were on their way are asked for again."""
TOGETHER = 5
"""So many looks that saw nothing new are committed in one call; one that did is committed at once."""
AGAIN_MINUTES = 5
"""What failed is left alone for so long: the others are not to wait for it every minute."""
AT_ONCE = 2
"""Single sections that are looked up at the same time: half of the scraper's four threads."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How many calls all extra looks of a day may take, and the most in a minute."""

    a_day: float
    most_a_minute: float

    @classmethod
    def of(cls, settings: Settings, seconds_of_a_look: float, minute: float) -> Pace:
        """As many calls as the settings allow; without a word there what keeps half of the scraper's threads busy."""
        if settings.sources[0] == "asu":
            most: float = 0 if settings.looks_per_minute == 0 else settings.calls_a_minute or 0
        else:
            most = min(AT_ONCE * minute / seconds_of_a_look, settings.looks_per_minute or math.inf)
        return cls(most * 24 * 60, most)


class ChecksOne(Protocol):
    """Checks a single section."""

    def check(self, order: CheckOrder) -> CheckReport: ...


class _StopError(Exception):
    """The source wants to be left alone: no further look in this minute."""


class Looks:
    """The scheduler of one consumer. Not to be shared between threads."""

    def __init__(
        self,
        database: DatabaseCalls,
        looker: Looker,
        checker: ChecksOne,
        *,
        listing_of: Callable[[Section, str | None], Listing | None],
        pace: Callable[[], Pace],
        expect: Callable[[int], object] = lambda _calls: None,
        worker: str,
        timezone: str,
        clock: Clock,
        durations: Durations,
        replay: bool = False,
    ) -> None:
        """`pace` is asked every minute; `expect` is told before how many calls follow one another; `worker` names this
        consumer among all; `replay`: the clock is a replay's.
        """
        self._database, self._looker, self._checker = database, looker, checker
        self._listing_of, self._pace, self._worker = listing_of, pace, worker
        self._expect = expect
        self._zone, self._clock, self._durations = ZoneInfo(timezone), clock, durations
        self._watched: dict[Section, Watched] = {}
        self._listings: dict[Section, Listing | None] = {}
        self._calls: dict[Listing, int] = {}
        self._openings: list[int] = [0] * 24
        self._all_read_at: datetime | None = None
        self._asked_at: datetime | None = None
        self._rests = False  # the source was not reached: for a minute another consumer may have the lease
        self._failed_at: dict[Listing | Section, datetime] = {}
        self._allowed = 0.0
        self._allowed_at: datetime | None = None
        self._is_replay = replay

    def minute(self, must_yield: Callable[[], bool], on_mail: Callable[[], object]) -> int:
        """One minute's looks; returns how many. Raises `DatabaseError` when the plan cannot be read.

        `must_yield`: whether to end early, for the floor's own checks or because the consumer stops. `on_mail` is
        called when a commit owes mail.
        """
        rests, self._rests = self._rests, False
        if rests or must_yield() or not self._take():
            return 0
        picks = self.picks()
        done = 0
        try:
            for looks, calls in self._look_at(picks, must_yield, on_mail):
                self._allowed -= calls
                done += looks
        except _StopError as error:
            log.info("extra looks wait", extra={"reason": str(error)})
        except CheckError as error:
            log.warning("extra looks not committed; they are made up for", extra={"error": str(error)})
        if self._rests:
            self.leave()
        return done

    def leave(self) -> None:
        """Let another consumer decide at once. Raises `DatabaseError`."""
        if self._all_read_at:
            self._database.call("pmc_leave_looks", p_worker=self._worker)

    def read(self) -> None:
        """Learn what is watched without taking the lease, to show it. Raises `DatabaseError`."""
        now = self._clock()
        self._note(self._database.call("pmc_read_looks", **self._question(now, everything=True)), now)

    def candidates(self) -> list[Candidate]:
        """Everything that a look can be at, as far as is known here."""
        grouped: dict[Listing | Section, list[Watched]] = {}
        for section, one in self._watched.items():
            grouped.setdefault(self._listings[section] or section, []).append(one)
        return [
            Candidate(what, tuple(sections), self._calls.get(what, 1) if isinstance(what, Listing) else 1)
            for what, sections in grouped.items()
        ]

    def picks(self) -> list[Candidate]:
        """What to look at now, in order."""
        now = self._clock()
        rate = self.rate(now)
        since = (now - self._allowed_at).total_seconds() / self._durations.minute if self._allowed_at else 1.0
        self._allowed, self._allowed_at = min(self._allowed + rate * since, rate), now
        again = now - timedelta(minutes=AGAIN_MINUTES)
        candidates = [one for one in self.candidates() if self._failed_at.get(one.what, again) <= again]
        return plan(candidates, now.timestamp(), max(rate, 0.01), self._allowed)

    def rate(self, now: datetime) -> float:
        """Calls a minute in the hour of `now`."""
        pace = self._pace()
        hours = calls_by_hour(self._openings, pace.a_day, pace.most_a_minute)
        return hours[now.astimezone(self._zone).hour]

    @property
    def _now(self) -> datetime | None:
        """The replay's time, which stands for every clock."""
        return self._clock() if self._is_replay else None

    def _take(self) -> bool:
        """Take or keep the lease, and learn what was looked at meanwhile; whether it is ours."""
        now = self._clock()
        oldest = now - timedelta(minutes=ALL_MINUTES)
        answer = self._database.call(
            "pmc_take_looks",
            p_worker=self._worker,
            p_lease_seconds=LEASE_MINUTES * self._durations.minute,
            **self._question(now, everything=self._all_read_at is None or self._all_read_at <= oldest),
        )
        if not answer["leased"]:
            self._all_read_at = None  # what this consumer knows is old when it decides again
            return False
        self._note(answer, now)
        return True

    def _question(self, now: datetime, *, everything: bool) -> dict[str, Any]:
        since = (self._asked_at or now) - timedelta(minutes=OVERLAP_MINUTES)
        return {"p_since": since, "p_all": everything, "p_timezone": self._zone.key, "p_now": now}

    def _note(self, answer: dict[str, Any], now: datetime) -> None:
        self._asked_at = now
        if "openings" in answer:
            self._all_read_at, self._openings = now, answer["openings"]
            self._watched, self._listings = {}, {}
        for term, class_nbr, subject, watchers, seats, moved_at, since, looked_at in answer.get("sections", ()):
            section = Section(term, class_nbr)
            self._listings[section] = self._listing_of(section, subject)
            self._watched[section] = Watched(section, watchers, seats, moved_at, since, looked_at)
        looked = {Listing(term, subject): at for term, subject, _, at in answer["looked"] if subject is not None}
        alone = {Section(term, number): at for term, _, number, at in answer["looked"] if number is not None}
        for section, one in self._watched.items():
            listing = self._listings[section]
            times = [one.looked_at, alone.get(section), looked.get(listing) if listing else None]
            latest = max((at for at in times if at is not None), default=None)
            if latest != one.looked_at:
                self._watched[section] = replace(one, looked_at=latest)

    def _look_at(
        self, picks: Sequence[Candidate], must_yield: Callable[[], bool], on_mail: Callable[[], object]
    ) -> Iterable[tuple[int, int]]:
        """Look at each in turn; gives for each how many looks (0: it failed) of how many calls."""
        listings = [one.what for one in picks if isinstance(one.what, Listing)]
        sections = [one.what for one in picks if isinstance(one.what, Section)]
        if listings:
            self._looker.refresh(listings, self._now)
            self._expect(sum(self._calls.get(one, 1) for one in listings))
        pending: list[Look] = []
        try:
            for listing in listings:
                if must_yield():
                    break
                look = self._look(listing)
                if look is None:
                    yield 0, 1
                    continue
                pending.append(look)
                yield 1, look.reading.calls
                if len(pending) >= TOGETHER or self._looker.has_news(look):
                    committing, pending = pending, []
                    self._commit(committing, on_mail)
        finally:
            if pending:
                self._commit(pending, on_mail)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(lambda section: self._check(section, must_yield, on_mail), sections)

    def _look(self, listing: Listing) -> Look | None:
        try:
            look = self._looker.look(listing, self._durations.scrape, now=self._now)
        except (BreakerOpenError, BreakerUnknownError, ThrottledError, UnreachedError) as error:
            self._rests = isinstance(error, UnreachedError)
            raise _StopError(str(error)) from error
        except CheckError as error:
            log.warning("look failed", extra={"listing": listing.key, "error": str(error)})
            self._failed_at[listing] = self._clock()
            return None
        self._calls[listing] = look.reading.calls
        return look

    def _commit(self, looks: list[Look], on_mail: Callable[[], object]) -> None:
        for report in self._looker.commit(looks, now=self._now):
            if report.emails_queued:
                on_mail()
            moved = {nbr for nbr, kind in report.events if kind in (EventKind.SEAT_AVAILABLE, EventKind.SEATS_FILLED)}
            at = report.look.observed_at.timestamp()
            for class_nbr, known in self._looker.known(report.look.listing).items():
                section = Section(report.look.listing.term, class_nbr)
                if class_nbr in report.covered and section in self._watched:
                    self._watched[section] = replace(
                        self._watched[section],
                        looked_at=at,
                        open_seats=known.facts.open_seats if known.facts else None,
                        moved_at=at if class_nbr in moved else self._watched[section].moved_at,
                    )

    def _check(
        self, section: Section, must_yield: Callable[[], bool], on_mail: Callable[[], object]
    ) -> tuple[int, int]:
        if self._rests or must_yield():
            return 0, 0
        began = self._clock()
        try:
            report = self._checker.check(
                CheckOrder(section, now=self._now, timeout=self._durations.scrape, touch=False)
            )
        except CheckError as error:
            self._rests = self._rests or isinstance(error, UnreachedError)
            self._failed_at[section] = began
            log.info("extra look-up failed", extra={"section": section.key, "error": str(error)})
            return 0, 1
        if report.emails_queued:
            on_mail()
        seats = report.facts.open_seats if report.facts else self._watched[section].open_seats
        self._watched[section] = replace(self._watched[section], looked_at=began.timestamp(), open_seats=seats)
        return 1, 1
