"""Any sequence of faults, deaths, fills and unsubscriptions: who is owed mail is told once, nobody else at all."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.mail.resend import (
    Accepted,
    Invalid,
    Outcome,
    Parked,
    RateLimited,
    RowError,
    Unknown,
    Unreachable,
)
from shared.mail.send import MailRoom, send_due_mail
from shared.sections.section import Section
from tests.support.mail import Killed, PostOffice

SECTIONS = (Section("2261", "11111"), Section("2261", "22222"))

# What one call to Resend can come to; "taken" ones deliver before they go wrong.
CALLS = (
    "accept", "accept_then_time_out", "accept_then_kill", "accept_then_busy", "kill_before", "time_out",
    "rate", "park", "invalid", "unreachable", "busy", "one_bad",
)  # fmt: skip
TAKEN = {"accept", "accept_then_time_out", "accept_then_kill", "accept_then_busy", "one_bad"}

send = st.tuples(st.just("send"), st.sampled_from(("a", "b")), st.lists(st.sampled_from(CALLS), max_size=4))
turn = st.one_of(
    send,
    send,
    st.tuples(st.just("owe"), st.sampled_from(SECTIONS), st.integers(1, 5)),
    st.tuples(st.just("fill"), st.sampled_from(SECTIONS)),
    st.tuples(st.just("unsubscribe"), st.integers(0, 20)),
    st.tuples(st.just("wait"), st.sampled_from((1, 30, 61, 900, 3600))),
    st.tuples(st.just("hold")),
    st.tuples(st.just("release")),
)


@dataclass
class Resend:
    """Resend as far as promises go: a key is answered once, and its mail delivered once."""

    office: PostOffice
    plan: list[str] = field(default_factory=list)
    bodies: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Accepted] = field(default_factory=dict)
    delivered: Counter[str] = field(default_factory=Counter)
    rejected: set[str] = field(default_factory=set)

    def send_batch(self, key: str, body: str, size: int) -> Outcome:
        if key not in self.bodies:
            self._expect_all_owed(body)
        assert self.bodies.setdefault(key, body) == body, "a batch changed between two attempts"
        assert len(json.loads(body)) == size
        call = self.plan.pop(0) if self.plan else "accept"
        if call in TAKEN:
            self._take(key, body, bad=call == "one_bad")
        match call:
            case "accept" | "one_bad":
                return self.answers[key]
            case "kill_before" | "accept_then_kill":
                raise Killed
            case "time_out" | "accept_then_time_out":
                return Unknown("timeout")
            case "busy" | "accept_then_busy":
                return Unknown("busy", busy=True)
            case "rate":
                return RateLimited("slow down", 1.0)
            case "park":
                return Parked("quota", 600.0)
            case "invalid":
                self._note_invalid(key, body)
                return Invalid("invalid")
            case _:
                return Unreachable("nobody there")

    def _take(self, key: str, body: str, *, bad: bool) -> None:
        if key in self.answers:
            return
        addresses = [email["to"][0] for email in json.loads(body)]
        errors = (RowError(0, "bad address"),) if bad else ()
        self.rejected |= {addresses[error.index] for error in errors}
        taken = addresses[1:] if bad else addresses
        self.delivered.update(taken)
        ids = tuple(None if address in self.rejected else f"id of {address}" for address in addresses)
        self.answers[key] = Accepted(ids, errors)

    def _note_invalid(self, key: str, body: str) -> None:
        """Refused by itself, a row is given up; refused after it may have been taken, it is not."""
        emails = json.loads(body)
        if len(emails) == 1 and key not in self.answers:
            self.rejected.add(emails[0]["to"][0])

    def _expect_all_owed(self, body: str) -> None:
        """At the moment of the freeze (just now) nobody in the batch is muted, and no seat mail is outdated."""
        addresses = [email["to"][0] for email in json.loads(body)]
        wrong = self.office.sql(
            "select u.email from pickmyclass.outbox o join auth.users u on u.id = o.user_id "
            "join public.user_profiles p on p.user_id = u.id "
            "where u.email = any (%s) and (not p.notifications_enabled or exists ("
            "  select from pickmyclass.section_events e where e.term = o.term and e.class_nbr = o.class_nbr "
            "  and e.kind = 'seats_filled' and e.id > o.event_id))",
            addresses,
        )  # fmt: skip
        assert wrong == []


class Storm:
    """One play: turns on a clean post office, then calm, then the reckoning."""

    def __init__(self, office: PostOffice) -> None:
        self.office = office
        for table in ("pickmyclass.outbox", "pickmyclass.mail_batches", "pickmyclass.section_events", "auth.users"):
            office.sql(f"delete from {table}")
        office.database.call("pmc_release_mail")
        self.resend = Resend(office)
        self.room = MailRoom(office.database, self.resend, office.writer, office.on_recheck, office.room.timing)
        self.passed = 0

    def play(self, turns: list[tuple[object, ...]]) -> None:
        for name, *arguments in turns:
            getattr(self, str(name))(*arguments)

    def send(self, worker: str, plan: list[str]) -> None:
        self.resend.plan = list(plan)
        with contextlib.suppress(Killed):
            send_due_mail(self.room, worker)

    def owe(self, section: Section, people: int) -> None:
        self.office.owe(people, section=section)

    def fill(self, section: Section) -> None:
        self.office.fill(section)

    def unsubscribe(self, who: int) -> None:
        self.office.sql(
            "update public.user_profiles set notifications_enabled = false where user_id = "
            "(select user_id from pickmyclass.outbox order by id offset %s limit 1)",
            who,
        )  # fmt: skip

    def wait(self, seconds: int) -> None:
        if self.passed + seconds < 18 * 3600:
            self.passed += seconds
            self.office.pass_time(seconds=seconds)

    def hold(self) -> None:
        self.office.database.call("pmc_hold_mail", p_reason="storm")

    def release(self) -> None:
        self.office.database.call("pmc_release_mail")

    def calm(self) -> None:
        """No more faults: everything drains within a few leases."""
        self.release()
        for _ in range(6):
            self.send("calm", [])
            self.office.pass_time(seconds=960)

    def reckon(self) -> None:
        """Everyone once who was told, nobody twice, nothing stuck, and every row knows its end."""
        assert not [address for address, times in self.resend.delivered.items() if times > 1]
        for row in self.office.mail():
            times, rejected = self.resend.delivered[row["email"]], row["email"] in self.resend.rejected
            expected = {"sent": (1, False), "dead": (0, True), "dropped": (0, False)}[row["status"]]
            assert (times, rejected if times == 0 else False) == expected, row


@pytest.mark.slow
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(turn, max_size=14))
def test_after_any_storm_everyone_is_told_once_or_for_a_reason_not_at_all(
    post_office: PostOffice, turns: list[tuple[object, ...]]
) -> None:
    storm = Storm(post_office)
    storm.play([("owe", SECTIONS[0], 3), ("owe", SECTIONS[1], 2), *turns])
    storm.calm()
    storm.reckon()
