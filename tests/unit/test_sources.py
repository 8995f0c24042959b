"""Who is asked: the first source that may be, and who stands in; what each answer tells the gates."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from shared.sections.section import Facts, Section
from shared.source.answers import Answer, Broken, Found, Listing, ListingAnswer, NotFound, Reading, Refused, Throttled
from shared.source.breaker import NotNow, Permit, Unknown
from shared.source.sources import Guarded, Leave, Sources
from shared.source.turns import NoTurnError

HERE, CSE = Section("2267", "12431"), Listing("2267", "CSE")


@dataclass
class Stub:
    """A source and its gate, in hand."""

    name: str
    answer: Answer | Exception = field(default_factory=NotFound)
    word: Permit | NotNow | Unknown = field(default_factory=Permit)
    told: list[str] = field(default_factory=list)

    def look_up(self, section: Section, timeout: float) -> Answer:
        self.told.append("asked")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def listing_of(self, section: Section, subject: str | None) -> Listing | None:
        return Listing(section.term, subject) if self.name == "asu" and subject else None

    def read(self, listing: Listing, timeout: float) -> ListingAnswer:
        self.told.append("read")
        return Reading({}, True, 1, self.name)

    def page_of(self, section: Section) -> str:
        return section.key

    def allow(self) -> Permit | NotNow | Unknown:
        self.told.append("may?")
        return self.word

    def record_success(self, permit: Permit) -> None:
        self.told.append("success")

    def record_failure(self, permit: Permit) -> None:
        self.told.append("failure")

    def return_permit(self, permit: Permit) -> None:
        self.told.append("returned")

    def extend(self, asked: float) -> float:
        self.told.append(f"pause {asked:g}")
        return asked + 5


def sources(*stubs: Stub) -> Sources:
    return Sources(*(Guarded(stub, stub, stub) for stub in stubs))  # type: ignore[arg-type]  # a pause in hand


def ask(*stubs: Stub, permit: Permit | None = None) -> Answer:
    leave = sources(*stubs).leave(permit)
    assert isinstance(leave, Leave)
    with leave:
        return leave.look_up(HERE, 5)


FOUND = Found(Facts(seats_available=1), "asu")


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (FOUND, ["success"]),
        (NotFound(), ["success"]),
        (Broken("down"), ["failure"]),
        (Throttled(7), ["pause 7", "returned"]),
        (Refused("no", token=True), ["pause 0", "returned"]),
    ],
)
def test_the_gate_is_told_what_an_answer_means_for_it(answer: Answer, told: list[str]) -> None:
    asu = Stub("asu", answer)
    given = ask(asu)
    assert given == (Throttled(12) if isinstance(answer, Throttled) else answer)
    assert asu.told == ["may?", "asked", *told]


def test_a_turn_that_nobody_gives_is_no_word_of_the_source() -> None:
    asu = Stub("asu", NoTurnError(3))
    assert ask(asu) == Throttled(3)
    assert asu.told == ["may?", "asked", "returned"]


def test_what_nobody_foresaw_gives_the_permit_back() -> None:
    asu = Stub("asu", RuntimeError("ours"))
    with pytest.raises(RuntimeError):
        ask(asu)
    assert asu.told[-1] == "returned"


def test_leave_that_is_not_used_is_given_back() -> None:
    asu = Stub("asu")
    leave = sources(asu).leave()
    assert isinstance(leave, Leave)
    with leave:
        pass
    assert asu.told == ["may?", "returned"]


def test_the_first_that_may_be_asked_is_asked() -> None:
    asu, scraper = Stub("asu", word=NotNow(60)), Stub("scraper", FOUND)
    assert ask(asu, scraper) == FOUND
    assert (asu.told, scraper.told) == (["may?"], ["may?", "asked", "success"])
    asu.word = Permit()
    assert ask(asu, scraper) == NotFound()
    assert scraper.told == ["may?", "asked", "success"]


def test_when_none_may_be_asked_the_shortest_wait_counts() -> None:
    assert sources(Stub("asu", word=NotNow(60)), Stub("scraper", word=NotNow(9))).leave() == NotNow(9)


def test_nobody_is_asked_while_nobody_knows_whether_they_may_be() -> None:
    assert isinstance(sources(Stub("asu", word=Unknown()), Stub("scraper")).leave(), Unknown)


@pytest.mark.parametrize("answer", [Throttled(7), Refused("no", token=True), NoTurnError(3)])
def test_another_stands_in_for_one_that_refuses_or_asks_us_to_wait(answer: Answer | Exception) -> None:
    asu, scraper = Stub("asu", answer), Stub("scraper", FOUND)
    assert ask(asu, scraper) == FOUND
    scraper.word = NotNow(9)
    assert isinstance(ask(asu, scraper), Throttled | Refused)


@pytest.mark.parametrize("answer", [Broken("down"), NotFound(), FOUND])
def test_nobody_stands_in_for_one_that_fails_or_knows(answer: Answer) -> None:
    # A failure is tried again, and opens the breaker; then the other one is asked.
    asu, scraper = Stub("asu", answer), Stub("scraper")
    assert ask(asu, scraper) == answer
    assert scraper.told == []


def test_a_jobs_permit_is_the_only_sources() -> None:
    asu, scraper = Stub("asu"), Stub("scraper")
    ask(asu, permit=Permit(probe="token"))
    assert asu.told == ["asked", "success"]
    ask(asu, scraper, permit=Permit(probe="of the queue's own gate"))
    assert asu.told[2:] == ["may?", "asked", "success"]


def test_listings_are_the_first_sources_own() -> None:
    asu, scraper = Stub("asu"), Stub("scraper")
    assert sources(asu, scraper).listing_of(HERE, "CSE") == CSE
    assert sources(scraper, asu).listing_of(HERE, "CSE") is None
    leave = sources(asu, scraper).leave_to_read()
    assert isinstance(leave, Leave)
    with leave:
        assert leave.read(CSE, 5) == Reading({}, True, 1, "asu")
    assert asu.told == ["may?", "read", "success"]
    asu.word = NotNow(60)
    assert sources(asu, scraper).leave_to_read() == NotNow(60)
    assert scraper.told == []


def test_leave_is_for_one_question() -> None:
    leave = sources(Stub("asu")).leave()
    assert isinstance(leave, Leave)
    leave.look_up(HERE, 5)
    with pytest.raises(RuntimeError):
        leave.look_up(HERE, 5)
