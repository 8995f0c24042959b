"""What is on the internet for a server: campus, inbox, and a database as a Supabase project has one.

`python -m workshop.rehearsal.services` serves them on the loopback of the namespace that it runs in, until it is
killed, and prints one line of JSON: their ports and the database's password.
"""

from __future__ import annotations

import json
import secrets
import signal
import time
from pathlib import Path

import psycopg
from psycopg import sql

from workshop.campus.campus import Campus
from workshop.campus.chance import make_campus
from workshop.campus.clock import VirtualClock
from workshop.campus.server import CampusApp
from workshop.campus.tape import term_of
from workshop.inbox.limits import Limits
from workshop.inbox.mailbox import Mailbox
from workshop.inbox.server import InboxApp
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.web import Server

TOKEN, KEY = "rehearsal-scraper-token", "re_rehearsal"
_SECTIONS = 400
_WEEK_MS = 7 * 24 * 3600 * 1000
_ROLES, _PROJECT = (Path(__file__).with_name(name) for name in ("roles.sql", "project.sql"))


def main() -> None:
    """Serve until a signal."""
    start = int(time.time() * 1000)
    timelines = make_campus(1, _SECTIONS, start, _WEEK_MS)
    campus = Server(CampusApp(Campus(term_of(timelines), timelines, VirtualClock(start, 0.0)), TOKEN))
    inbox = Server(InboxApp(KEY, Mailbox(), Limits(100, None)))
    with campus, inbox, EmbeddedPostgres(loopback=True) as postgres:
        password = _furnish(postgres)
        ports = {"campus": _port(campus), "inbox": _port(inbox), "postgres": postgres.port}
        print(json.dumps({**ports, "password": password, "term": term_of(timelines)}), flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _port(server: Server) -> int:
    return int(server.url.rsplit(":", 1)[1])


def _furnish(postgres: EmbeddedPostgres) -> str:
    """The database `project` and an empty one, `fresh`, of a role that is no superuser; its password."""
    password = secrets.token_urlsafe(16)
    with psycopg.connect(postgres.url(), autocommit=True) as session:
        role = "create role project login createdb createrole replication bypassrls password {}"
        session.execute(sql.SQL(role).format(sql.Literal(password)))
        session.execute(_ROLES.read_bytes())
    for name in ("project", "fresh"):
        with psycopg.connect(postgres.create_database(name, owner="project"), autocommit=True) as session:
            session.execute(_PROJECT.read_bytes())
    return password


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    main()
