"""The sources in their order, each behind its own gate: who is asked, and what its answer tells the gate.

The second source stands in while the first one may not be asked, and when it refuses us or asks us to wait.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, TypeVar

from shared.redis import RedisError
from shared.sections.section import Section
from shared.source.answers import (
    Answer,
    Broken,
    Found,
    Listing,
    ListingAnswer,
    NotFound,
    Reading,
    Refused,
    Source,
    Throttled,
)
from shared.source.breaker import Breaker, NotNow, Permit, Unknown
from shared.source.turns import NoTurnError, Pause, Turns

_log = logging.getLogger(__name__)
A = TypeVar("A", Answer, ListingAnswer)


class Gate(Protocol):
    """What stands before a source. None of these raises."""

    def allow(self) -> Permit | NotNow | Unknown: ...

    def record_success(self, permit: Permit) -> None: ...

    def record_failure(self, permit: Permit) -> None: ...

    def return_permit(self, permit: Permit) -> None: ...


@dataclass(frozen=True, slots=True)
class Paced:
    """A breaker, and the pause and the turns beside it."""

    breaker: Breaker
    pause: Pause
    turns: Turns | None = None

    def allow(self) -> Permit | NotNow | Unknown:
        """Ask before a call; Redis only when it was not asked a moment ago, and for turns along with the breaker."""
        if left := self.pause.left:
            return NotNow(left)
        if self.turns and self.breaker.last_seen.state == "CLOSED":
            if self.turns.are_given:
                return self.breaker.permit_now()
            try:
                told = self.turns.take_ahead()
            except NoTurnError as error:
                return NotNow(error.seconds)
            except RedisError:
                return self.breaker.lost()
            if told is not None:
                self.breaker.saw(told, 0.0)
                if self.breaker.last_seen.state == "CLOSED":
                    return self.breaker.permit_now()
        return self.breaker.allow()

    def record_success(self, permit: Permit) -> None:
        """The service answered."""
        self.breaker.record_success(permit)

    def record_failure(self, permit: Permit) -> None:
        """The service failed."""
        self.breaker.record_failure(permit)

    def return_permit(self, permit: Permit) -> None:
        """Nothing was learned."""
        self.breaker.return_permit(permit)


@dataclass(frozen=True, slots=True)
class Guarded:
    """A source and its gate. Without a pause it is asked again however often it says no (a replay).

    `looked` is told of each look: the source's name, its answer, how many seconds it took.
    """

    source: Source
    gate: Gate
    pause: Pause | None = None
    looked: Callable[[str, Answer | ListingAnswer, float], object] = lambda *_: None

    def ask(self, question: Callable[[Source], A], permit: Permit) -> A | Throttled:
        """Put `question` to the source, and tell its gate what the answer means for it."""
        answer: A | Throttled | None = None
        try:
            began = time.monotonic()
            said = question(self.source)
            self.looked(self.source.name, said, time.monotonic() - began)
            answer = self._heed(said)
        except NoTurnError as error:
            answer = Throttled(error.seconds)  # our own word: the source has said nothing
        finally:
            if isinstance(answer, Found | NotFound | Reading):
                self.gate.record_success(permit)
            elif isinstance(answer, Broken):
                self.gate.record_failure(permit)
                if not answer.is_reached and isinstance(self.gate, Paced) and self.gate.turns:
                    self.gate.turns.leave()  # another server may have more luck with them
            else:
                self.gate.return_permit(permit)
        return answer

    def _heed(self, answer: A) -> A | Throttled:
        """Leave a source alone that asks for it or refuses us, the longer the more often it does."""
        if self.pause is None or not isinstance(answer, Throttled | Refused):
            return answer
        asked = answer.seconds if isinstance(answer, Throttled) else 0.0
        said = answer.reason if isinstance(answer, Refused) else f"it asks us to wait {asked:g} s"
        seconds = self.pause.extend(asked)
        _log.warning("source is left alone", extra={"source": self.source.name, "seconds": seconds, "reason": said})
        return Throttled(seconds) if isinstance(answer, Throttled) else answer


class Leave:
    """Leave to put one question to a source; used as a context, after which leave that was not used is given back."""

    def __init__(self, first: Guarded, permit: Permit, others: Sequence[Guarded]) -> None:
        """`others` stand in, in their order, when `first` refuses or asks us to wait."""
        self._first, self._others = first, others
        self._permit: Permit | None = permit

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._permit:
            self._first.gate.return_permit(self._permit)

    def look_up(self, section: Section, timeout: float) -> Answer:
        """What a source says of one section, in `timeout` seconds at most for each that is asked."""
        answer = self._ask(lambda source: source.look_up(section, timeout))
        for stand_in in self._others:
            if not isinstance(answer, Throttled | Refused):
                break
            permit = stand_in.gate.allow()
            if isinstance(permit, Permit):
                answer = stand_in.ask(lambda source: source.look_up(section, timeout), permit)
        return answer

    def read(self, listing: Listing, timeout: float) -> ListingAnswer:
        """What the source says of a listing, in `timeout` seconds at most. Nobody stands in: look its sections up."""
        return self._ask(lambda source: source.read(listing, timeout))

    def _ask(self, question: Callable[[Source], A]) -> A | Throttled:
        permit, self._permit = self._permit, None
        if permit is None:
            raise RuntimeError("leave is for one question")
        return self._first.ask(question, permit)


class Sources:
    """All of them. Safe to share between threads."""

    def __init__(self, *guarded: Guarded) -> None:
        """In the order of choice, one at least."""
        self._all = guarded

    @property
    def is_one(self) -> bool:
        """Whether its breaker is the queue's own gate, so that a job comes with a permit."""
        return len(self._all) == 1

    def leave(self, permit: Permit | None = None) -> Leave | NotNow | Unknown:
        """Leave to look a section up, from the first source that may be asked. `permit`: the one that a job brought."""
        if permit and self.is_one:
            return Leave(self._all[0], permit, ())
        waits = []
        for place, guarded in enumerate(self._all):
            answer = guarded.gate.allow()
            if isinstance(answer, Permit):
                return Leave(guarded, answer, self._all[place + 1 :])
            if isinstance(answer, Unknown):
                return answer
            waits.append(answer.retry_after)
        return NotNow(min(waits))

    def leave_to_read(self, permit: Permit | None = None) -> Leave | NotNow | Unknown:
        """Leave to read a listing (`listing_of`), which only the first source tells."""
        first = self._all[0]
        answer = permit if permit and self.is_one else first.gate.allow()
        return Leave(first, answer, ()) if isinstance(answer, Permit) else answer

    def listing_of(self, section: Section, subject: str | None) -> Listing | None:
        """Which listing tells of the section, as far as the first source knows; none: look it up alone."""
        return self._all[0].source.listing_of(section, subject)
