"""The town around the servers: students, a campus whose seats we open, and an inbox in which we count."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import psycopg
from psycopg.conninfo import make_conninfo

from workshop.parts.processes import start_child
from workshop.rehearsal import network
from workshop.rehearsal.services import KEY, TOKEN

ADDRESS = "10.77.0.2"
_MODULE = "workshop.rehearsal.services"
_WATCHED = 120


def wait_until(question: Callable[[], bool], what: str, seconds: float) -> float:
    """Ask until the answer is yes; seconds it took. Raises `TimeoutError` naming `what`."""
    began = time.monotonic()
    while not question():
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - began


@dataclass(slots=True)
class Town:
    """One student for each watched section, so that each opening is owed to exactly one address."""

    ports: dict[str, int]
    password: str
    term: str
    sections: list[str] = field(default_factory=list)
    opened: Counter[str] = field(default_factory=Counter)
    """How often each section was opened by us: so many emails its student is owed."""
    _next: int = 0

    @classmethod
    def found(cls, python: str, folder: Path) -> Town:
        """Start the services in a namespace of their own."""
        network.add("services", ADDRESS)
        network.open_loopback("services")
        said = folder / "services.json"
        with said.open("wb") as output, (folder / "services.log").open("wb") as log:
            words = ["nsenter", f"--net={network.NAMESPACES / 'services'}", python, "-m", _MODULE]
            start_child(words, stdout=output, stderr=log)
        wait_until(lambda: said.read_text().endswith("\n"), "the services", 60)
        told = json.loads(said.read_text())
        town = cls({name: told[name] for name in ("campus", "inbox", "postgres")}, told["password"], told["term"])
        everything = town.ask("campus", "/control/sections")["sections"]
        town.sections = sorted(one["class_nbr"] for one in everything)[:_WATCHED]
        for class_nbr in town.sections:
            town.show(class_nbr, seats_available=0, non_reserved_seats=0)
        return town

    def url(self, service: str) -> str:
        """Where a server reaches it."""
        return f"http://{ADDRESS}:{self.ports[service]}"

    def database(self, name: str = "project") -> str:
        """The connection URL of that database, as a server is given it."""
        return f"postgresql://project:{self.password}@{ADDRESS}:{self.ports['postgres']}/{name}"

    def settings(self) -> dict[str, str]:
        """What an operator fills in."""
        return {
            "DATABASE_URL": self.database(),
            "SCRAPER_URL": self.url("campus"),
            "SCRAPER_SECRET_TOKEN": TOKEN,
            "RESEND_API_KEY": KEY,
            "RESEND_API_URL": self.url("inbox"),
            "NOTIFICATION_FROM_EMAIL": "PickMyClass <hello@classes.example.edu>",
            "ALERT_EMAIL": "operator@example.edu",
        }

    def sql(self, statement: str, *values: Any, database: str = "project") -> list[tuple[Any, ...]]:
        """The rows of a statement."""
        with psycopg.connect(make_conninfo(self.database(database), connect_timeout=10), autocommit=True) as session:
            done = session.execute(statement, values)
            return done.fetchall() if done.description else []

    def copy_accounts(self, database: str) -> None:
        """The accounts of the project, in another one, as Supabase's own backup brings them."""
        for account in self.sql("select id, email from auth.users"):
            self.sql("insert into auth.users (id, email) values (%s, %s)", *account, database=database)

    def move_in(self) -> None:
        """The students sign up and watch."""
        for class_nbr in self.sections:
            self.sql(
                "with one as (insert into auth.users (email) values (%s) returning id)"
                " insert into public.class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
                " select id, %s, 'CSE', '110', %s from one",
                self.student(class_nbr), self.term, class_nbr,
            )  # fmt: skip

    def student(self, class_nbr: str) -> str:
        """Who watches it."""
        return f"watcher-of-{class_nbr}@example.edu"

    def show(self, class_nbr: str, **values: int) -> None:
        """Let the campus show these values from now on."""
        self.ask("campus", "/control/section", {"class_nbr": class_nbr, **values})

    def open_seats(self, count: int = 1) -> list[str]:
        """Open a seat in so many sections that are full; each owes one email more."""
        chosen = [self.sections[(self._next + step) % len(self.sections)] for step in range(count)]
        self._next += count
        for class_nbr in chosen:
            self.show(class_nbr, seats_available=2, non_reserved_seats=2)
            self.opened[class_nbr] += 1
        return chosen

    def delay(self, milliseconds: int) -> None:
        """How long the campus takes for an answer."""
        self.ask("campus", "/control/latency", {"ms": milliseconds})

    def told(self) -> Counter[str]:
        """How many emails about a seat each student has."""
        mails = self.ask("inbox", "/control/emails")
        found = mails["emails"] if isinstance(mails, dict) else mails
        return Counter(to for mail in found if "Seat Available" in mail["subject"] for to in mail["to"])

    def owed(self) -> list[str]:
        """The sections whose student has fewer emails than openings."""
        told = self.told()
        return [class_nbr for class_nbr, count in self.opened.items() if told[self.student(class_nbr)] < count]

    def twice(self) -> list[str]:
        """The students who have more emails than their section had openings."""
        mine = {self.student(class_nbr): count for class_nbr, count in self.opened.items()}
        return [student for student, count in self.told().items() if count > mine.get(student, 0)]

    def checked(self, since: float) -> int:
        """How many sections had a check that began after `since` (epoch seconds)."""
        statement = "select count(*) from pickmyclass.section_checks where checked_at > to_timestamp(%s)"
        return int(self.sql(statement, since)[0][0])

    def unchecked(self, since: float) -> int:
        """How many watched sections have no committed check since `since` (epoch seconds)."""
        rows = self.sql(
            "select count(*) from (select distinct term, class_nbr from public.class_watches) w"
            " where not exists (select from pickmyclass.section_checks c where c.term = w.term"
            " and c.class_nbr = w.class_nbr and c.checked_at >= to_timestamp(%s))",
            since,
        )
        return int(rows[0][0])

    def ask(self, service: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask campus or inbox."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url(service) + path, data, {"Content-Type": "application/json"})
        with urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
