"""A post office for the tests: owed mail in a real database, and an inbox that speaks Resend's API over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg.rows import dict_row

from shared.database import Database
from shared.mail.renderer import OwedMail, Renderer
from shared.mail.resend import Outcome, ResendClient
from shared.mail.send import MailReport, MailRoom, MailTiming, send_due_mail
from shared.mail.tokens import UnsubscribeTokens
from shared.sections.section import Section
from workshop.inbox.limits import Limits
from workshop.inbox.mailbox import Mailbox
from workshop.inbox.server import InboxApp
from workshop.parts.web import Answer, Request, Server

KEY = "re_test_key"
SEEN_AT = datetime(2026, 3, 3, 17, 2, 11, tzinfo=UTC)
SLOT = datetime(2026, 3, 3, 17, 0, tzinfo=UTC)
FACTS = {"subject": "CSE", "catalog_nbr": "110", "title": "Principles of Programming", "seats_available": 3}
SECTION = Section("2261", "12431")


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the mailer may catch it."""


class Inbox:
    """An inbox on the loopback, with every request that reached it."""

    def __init__(self) -> None:
        self.app = InboxApp(KEY, Mailbox(), Limits(100_000))
        self.requests: list[tuple[str, bytes]] = []  # idempotency key and body, as they came over the wire
        self.server = Server(self._answer)

    def _answer(self, request: Request) -> Answer:
        if request.path == "/emails/batch":
            self.requests.append((request.headers["idempotency-key"], request.body))
        return self.app(request)

    def misbehave(self, kind: str, count: int | None = 1, **options: Any) -> None:
        """The next `count` calls go wrong in this way."""
        self.app.faults.add({"kind": kind, "count": count, **options})

    def addresses(self) -> list[str]:
        """To whom mail was accepted, in order; twice when twice."""
        return [mail.body["to"][0] for mail in self.app.mailbox.mails()]


class HookedWriter:
    """A renderer that runs `hook` before each email: the moment between gather and freeze."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer
        self.hook: Callable[[OwedMail], object] = lambda mail: None

    def write(self, mail: OwedMail) -> dict[str, Any]:
        self.hook(mail)
        return self._renderer.write(mail)


class HookedResend:
    """A client that runs `before` and `after` around each batch: frozen, and answered but not settled."""

    def __init__(self, client: ResendClient) -> None:
        self._client = client
        self.before: Callable[[], None] = lambda: None
        self.after: Callable[[], None] = lambda: None

    def send_batch(self, key: str, body: str, size: int) -> Outcome:
        self.before()
        outcome = self._client.send_batch(key, body, size)
        self.after()
        return outcome


class PostOffice:
    """Owed mail, a mailer's tools, and hands in the tables to move time."""

    def __init__(self, database: Database, connection: psycopg.Connection[dict[str, Any]], inbox: Inbox) -> None:
        self.database, self.connection, self.inbox = database, connection, inbox
        self.writer = HookedWriter(renderer())
        self.resend = HookedResend(ResendClient(inbox.server.url, KEY, seconds=5.0))
        self.rechecked: list[Section] = []
        self.room = MailRoom(database, self.resend, self.writer, self.on_recheck, MailTiming(lease=60.0))
        self._people = 0

    def on_recheck(self, sections: Sequence[Section]) -> bool:
        self.rechecked += sections
        return True

    def sql(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def owe(
        self,
        people: int = 1,
        *,
        kind: str = "seat_available",
        section: Section = SECTION,
        seen_at: datetime = SEEN_AT,
        slot: datetime = SLOT,
        facts: dict[str, Any] = FACTS,
    ) -> int:
        """Owe one email each to `people` new people, for one new event; the event's id."""
        first, self._people = self._people + 1, self._people + people
        event = "retired" if kind == "section_removed" else kind
        rows = self.sql(
            "insert into pickmyclass.section_events (term, class_nbr, kind, observed_at, slot, tick_id) "
            "values (%s, %s, %s, %s, %s, 'tick-1') returning id",
            section.term, section.class_nbr, event, seen_at, slot,
        )  # fmt: skip
        self.sql(
            "insert into auth.users (id, email) select gen_random_uuid(), 'student' || i || '@example.edu' "
            "from generate_series(%s::int, %s::int) i",
            first, self._people,
        )  # fmt: skip
        self.sql(
            "insert into pickmyclass.outbox (event_id, watch_id, user_id, watched_since, term, class_nbr, "
            "  notification_type, payload, event_at, slot) "
            "select %s, gen_random_uuid(), u.id, '2026-01-01'::timestamptz + n * interval '1 hour', %s, %s, %s, "
            "  jsonb_build_object('facts', %s::text::jsonb, 'observed_at', %s::timestamptz), %s, %s "
            "from auth.users u, lateral (select substring(u.email from '[0-9]+')::int as n) s where n >= %s::int",
            rows[0]["id"], section.term, section.class_nbr, kind, psycopg.types.json.json.dumps(facts), seen_at,
            seen_at, slot, first,
        )  # fmt: skip
        return int(rows[0]["id"])

    def fill(self, section: Section = SECTION) -> None:
        """A later event: the seats are gone (as a commit would record it, without its own clean-up)."""
        self.sql(
            "insert into pickmyclass.section_events (term, class_nbr, kind, observed_at, slot) "
            "values (%s, %s, 'seats_filled', %s, %s)",
            section.term, section.class_nbr, SEEN_AT + timedelta(hours=1), SLOT + timedelta(hours=1),
        )  # fmt: skip

    def send(self, worker: str = "mailer", **options: Any) -> MailReport:
        return send_due_mail(self.room, worker, **options)

    def send_and_die(self, worker: str = "mailer") -> None:
        """Send until a hook kills the mailer."""
        with pytest.raises(Killed):
            send_due_mail(self.room, worker)

    def pass_time(self, **duration: float) -> None:
        """Let this much of the server's time go by for everything that waits: what was stored moves back."""
        by = timedelta(**duration)
        self.sql(
            "update pickmyclass.mail_batches set attempted_at = attempted_at - %s, leased_until = leased_until - %s, "
            "unknown_since = unknown_since - %s, next_attempt_at = next_attempt_at - %s",
            by, by, by, by,
        )  # fmt: skip
        self.sql("update pickmyclass.outbox set leased_until = leased_until - %s", by)
        self.sql(
            "update pickmyclass.mail_hold set paused_until = paused_until - %s, parked_until = parked_until - %s",
            by, by,
        )  # fmt: skip

    def statuses(self) -> dict[str, int]:
        """How many rows have each status."""
        rows = self.sql("select status, count(*) as n from pickmyclass.outbox group by status")
        return {row["status"]: row["n"] for row in rows}

    def mail(self) -> list[dict[str, Any]]:
        """The outbox with addresses, in the order owed."""
        return self.sql(
            "select o.*, u.email from pickmyclass.outbox o join auth.users u on u.id = o.user_id order by o.id"
        )

    def batches(self) -> list[dict[str, Any]]:
        return self.sql("select * from pickmyclass.mail_batches order by created_at")

    def tap(self) -> dict[str, Any]:
        return self.sql("select * from pickmyclass.mail_hold")[0]


def renderer() -> Renderer:
    """The real renderer with a site and a secret of the tests' own."""
    return Renderer(
        site_url="https://pickmyclass.example",
        sender="PickMyClass <hello@pickmyclass.example>",
        zone=ZoneInfo("America/Phoenix"),
        tokens=UnsubscribeTokens("signing secret of the tests"),
    )


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    """A running inbox."""
    inbox = Inbox()
    with inbox.server:
        yield inbox
        inbox.app.stop()


@pytest.fixture
def post_office(database: Database, postgres_url: str, inbox: Inbox) -> Iterator[PostOffice]:
    """A post office on a database of the test's own."""
    with psycopg.connect(postgres_url, autocommit=True, row_factory=dict_row) as connection:
        yield PostOffice(database, connection, inbox)
