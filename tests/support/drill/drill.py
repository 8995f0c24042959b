"""The move, rehearsed on the loopback: the old stand-in and the real bundle on one database, behind one front door.

Real are Postgres with the origin's schema, Redis, functions, consumer, migrations, `ops ownership` and Caddy as the
switch; campus and inbox are the local ones. Every opening is written down with those who are to be told and the side
that has to tell them, and each step's emails are held against that before the next one begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
import requests

from tests.support.drill.book import Book, Counts, Sender, read_email
from tests.support.drill.parts import OLD_KEY, DrillError, Parts
from tests.support.drill.students import Students
from tests.support.term import TERM
from workshop.compare.origin.rules import NAMED, SEAT

_PATIENCE, _ASK_AGAIN = 60.0, 0.5  # seconds
_PEOPLE = "select email, id::text from auth.users"
_WATCHERS = """select u.email, w.class_nbr from public.class_watches w join auth.users u on u.id = w.user_id
    where w.term = %s"""
_MUTED = """select u.email from auth.users u join public.user_profiles p on p.user_id = u.id
    where p.email_bounced or p.is_disabled or p.spam_complained or not p.notifications_enabled"""
_ATTEMPTED = """select count(*) from pickmyclass.section_checks
    where term = %s and class_nbr = any (%s) and last_attempt_at >= %s"""
_WAITING = """select count(*) from pg_stat_activity
    where datname = current_database() and wait_event_type = 'Lock' and strpos(query, %s) > 0"""


class Drill:
    """A rehearsal. Use it as a context manager; the steps are its methods."""

    def __init__(self, origin: Path, before: Callable[[Drill], None]) -> None:
        """`origin` is SQL that makes the origin's project, with students and their watches.

        `before` plays the time in which the old side is alone and our migrations have not run.
        """
        self._parts = Parts(origin, lambda: self._begin(before))
        self._book = Book()
        self._ours: set[str] = set()
        self._emails_seen = 0
        self._headers: dict[tuple[str, str], dict[str, str]] = {}

    def __enter__(self) -> Self:
        self._parts.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._parts.__exit__(kind, error, trace)

    # What happens on the campus -------------------------------------------------------------------------------------

    def open(self, *class_nbrs: str, by: Sender) -> None:
        """Seats open, and everybody who watches is to be told by this side."""
        for class_nbr in class_nbrs:
            self._parts.show(class_nbr, seats_available=5)
            self._book.owe(SEAT, class_nbr, by)

    def fill(self, *class_nbrs: str) -> None:
        """The seats are gone."""
        for class_nbr in class_nbrs:
            self._parts.show(class_nbr, seats_available=0)

    def name_instructor(self, class_nbr: str, *, by: Sender) -> None:
        """Somebody is named to teach, and everybody who watches is to be told by this side."""
        self._parts.show(class_nbr, instructor="Grace Hopper")
        self._book.owe(NAMED, class_nbr, by)

    def let_a_day_pass(self, *class_nbrs: str) -> None:
        """The claims of those who were told about these sections expire."""
        self._parts.session.execute(
            "update public.notifications_sent n set sent_at = sent_at - interval '25 hours',"
            " expires_at = expires_at - interval '25 hours' from public.class_watches w"
            " where w.id = n.class_watch_id and w.class_nbr = any (%s)",
            [list(class_nbrs)],
        )

    # What students do -----------------------------------------------------------------------------------------------

    def watch(self, person: str, class_nbr: str, served_by: Sender, *, straight: bool = False) -> None:
        """A student begins to watch at the front door, or `straight` at ours, and is served by this side."""
        self._take_looks()
        self._students.watch(person, TERM, class_nbr, door=self._parts.stack.functions_url if straight else None)
        looks = self._take_looks()
        if looks != {served_by: {class_nbr}, _other(served_by): set()}:
            self.counts.strange_looks.append(f"{person} watches {class_nbr}: {looks}")
        self._book.watch(person, class_nbr)

    def seats_shown(self, person: str, class_nbr: str) -> int | None:
        """What the dashboard behind the front door shows."""
        return self._students.seats(person, class_nbr)

    def unsubscribe(self, person: str) -> None:
        """By the link in an email of the old side."""
        self._students.unsubscribe_by_old_link(person)
        self._book.mute(person)

    def unsubscribe_from_ours(self, person: str, class_nbr: str) -> None:
        """By the link in the email about this section that our side sent."""
        headers = self._headers.get((person, class_nbr), {})
        if "List-Unsubscribe" not in headers:
            words = "; ".join(self.counts.wrong)
            raise DrillError(
                f"our side sent {person} no email about {class_nbr}; so far {words or 'nothing'} went wrong"
            )
        self._students.unsubscribe_by_new_link(headers)
        self._book.mute(person)

    # What the two sides do ------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Both sides' cron, the old one's first; returns when all that it led to is done."""
        self.tick_old()
        self.tick_new()

    def tick_old(self) -> None:
        """The Cron Trigger of the Workers, both halves: it looks at exactly what is its own."""
        self._take_looks()
        self._parts.cron_old()
        self._note_looks(Sender.OLD, self._book.sections - self._ours)

    def tick_new(self) -> None:
        """Our cron, all sections, and then until every check has ended and no mail is left: exactly what is ours."""
        self._take_looks()
        began, asked = self._parts.one("select clock_timestamp()"), 0.0

        def done() -> bool:
            nonlocal asked
            if self._parts.is_idle():
                if self._parts.one(_ATTEMPTED, TERM, list(self._ours), began) == len(self._ours) and asked:
                    return True
                if time.monotonic() - asked > _ASK_AGAIN:
                    self._parts.cron_new()
                    asked = time.monotonic()
            return False

        self._until("our checks and mail", done)
        self._note_looks(Sender.NEW, self._ours)

    @contextmanager
    def old_in_flight(self, class_nbr: str) -> Iterator[None]:
        """Inside, the old side's tick waits for the scraper with this section; then it goes on to its end."""
        self._parts.old_gate.keep(class_nbr)
        with ThreadPoolExecutor(1) as pool:
            ticking = pool.submit(self._parts.cron_old)
            try:
                if not self._parts.old_gate.wait_until_kept():
                    raise DrillError(f"the old side does not look at {class_nbr}")
                yield
            finally:
                in_flight = self._parts.old_gate.let_go()
            ticking.result(_PATIENCE)
        if not in_flight:
            raise DrillError(f"the old side's look at {class_nbr} was over before it was let go")

    @contextmanager
    def new_in_flight(self, *class_nbrs: str) -> Iterator[None]:
        """Inside, our checks of these sections wait for the scraper; then they go on to their end."""
        self._parts.new_gate.keep(*class_nbrs)
        try:
            self._parts.cron_new()
            if not self._parts.new_gate.wait_until_kept():
                raise DrillError(f"our side does not look at {' and '.join(class_nbrs)}")
            yield
        finally:
            in_flight = self._parts.new_gate.let_go()
        if not in_flight:
            raise DrillError(f"our looks at {' and '.join(class_nbrs)} were over before they were let go")
        self._until("our checks and mail", self._parts.is_idle)

    # What the operator does -----------------------------------------------------------------------------------------

    def give_to(self, owner: str, *class_nbrs: str) -> None:
        """`./run.sh ops ownership`: everything, or these sections."""
        words = [word for class_nbr in class_nbrs for word in (TERM, class_nbr)]
        self._parts.run("ops", "ownership", owner, *words, *([] if words else ["--yes"]))
        given = set(class_nbrs) or self._book.sections
        self._ours = self._ours | given if owner == "server" else self._ours - given

    def give_while_our_commit_waits(self, owner: str, class_nbr: str) -> None:
        """Switch a section whose commit has begun and waits for somebody else: the switch has to wait for it."""
        with ThreadPoolExecutor(1) as pool, psycopg.connect(self._parts.stack.postgres.url()) as locker:
            locker.execute("select from pickmyclass.section_checks where class_nbr = %s for update", [class_nbr])
            self._parts.cron_new()
            self._until("our commit", lambda: self._waits("pmc_commit_check"))
            switching = pool.submit(self.give_to, owner, class_nbr)
            self._until("the switch", lambda: self._waits("pmc_switch_ownership") or switching.done())
            if switching.done():
                raise DrillError(f"the switch of {class_nbr} did not wait for the commit on its way")
            locker.rollback()
            switching.result(_PATIENCE)
        self._until("our checks and mail", self._parts.is_idle)

    def serve_new(self) -> None:
        """The front door leads to the bundle."""
        self._parts.front.lead_to(self._parts.stack.functions_url)
        self._until("the new side's door", lambda: not self._parts.old_answers())

    def switch_back(self) -> None:
        """Rollback as written, ownership and front door; how long until the old side serves."""
        began = time.monotonic()
        self.give_to("workers")
        self._parts.front.lead_to(self._parts.old.url)
        self._until("the old side's door", self._parts.old_answers)
        self.counts.back_seconds = time.monotonic() - began

    def migrate_after(self) -> None:
        """The point of no return."""
        self._parts.migrate("--post-cutover", "--yes")

    @property
    def counts(self) -> Counts:
        """What came of all steps that are settled."""
        return self._book.counts

    def settle(self, step: str) -> None:
        """Hold the emails of this step against what was due in it."""
        answer = requests.get(
            f"{self._parts.stack.inbox_url}/control/emails?after={self._emails_seen}", timeout=_PATIENCE
        )
        emails = []
        for one in answer.json()["emails"]:
            self._emails_seen = one["number"]
            email = read_email(one["from"], one["to"][0], one["subject"])
            self._headers[email.to, email.class_nbr] = one["headers"]
            emails.append(email)
        self._book.settle(step, emails)

    def _begin(self, before: Callable[[Drill], None]) -> None:
        """The old side is up; everybody in its database is known."""
        stack, session = self._parts.stack, self._parts.session
        people = {str(email): str(user) for email, user in session.execute(_PEOPLE)}
        issuer = f"{stack.environment['SUPABASE_URL']}/auth/v1"
        secret = stack.environment["SUPABASE_JWT_SECRET"]
        self._students = Students(self._parts.front.url, people, secret, issuer, OLD_KEY)
        for email, class_nbr in session.execute(_WATCHERS.encode(), [TERM]):
            self._book.watch(email, class_nbr)
        for (email,) in session.execute(_MUTED):
            self._book.mute(email)
        before(self)

    def _take_looks(self) -> dict[Sender, set[str]]:
        return {Sender.OLD: self._parts.old_gate.take_looks(), Sender.NEW: self._parts.new_gate.take_looks()}

    def _note_looks(self, side: Sender, expected: set[str]) -> None:
        looks = self._take_looks()
        if looks != {side: expected, _other(side): set()}:
            self.counts.strange_looks.append(f"a tick of {side}: {looks}, expected {sorted(expected)}")

    def _waits(self, words: str) -> bool:
        """Whether a statement with these words waits for a lock."""
        return bool(self._parts.one(_WAITING, words))

    def _until(self, what: str, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not done():
            self._parts.stack.check()
            if time.monotonic() > deadline:
                raise DrillError(f"{what}: not done within {_PATIENCE:g} s")
            time.sleep(0.02)


def _other(side: Sender) -> Sender:
    return Sender.NEW if side is Sender.OLD else Sender.OLD
