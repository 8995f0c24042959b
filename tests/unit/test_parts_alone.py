"""Small parts by themselves: what is kept and for how long, what is read from an address, what is wired how."""

from __future__ import annotations

import socket
import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest
from psycopg_pool import ConnectionPool

from functions.admin.main import page_of
from shared.database import PostgresDatabase
from shared.sections.section import Section
from shared.settings import load
from shared.students.administering import _flags
from shared.students.front import KEPT_SECONDS, Front
from shared.wiring import Wiring

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("asked", "page"), [("2", 2), ("99999", 99999), ("123456", 1), ("", 1), ("-2", 1), ("²", 1), ("two", 1)]
)
def test_a_page_that_is_no_number_is_the_first(asked: str, page: int) -> None:
    assert page_of(cast(Any, SimpleNamespace(request=SimpleNamespace(args={"page": asked})))) == page


def test_the_front_pages_figures_are_asked_for_once_a_minute() -> None:
    asked, now = [], [0.0]

    def call(function: str, **_: object) -> Any:
        asked.append(function)
        return {"sections": len(asked), "mails": 0}

    front = Front(cast(Any, SimpleNamespace(call=call)), lambda: NOW, lambda: now[0])
    told = []
    for seconds in (0.0, 1.0, KEPT_SECONDS, KEPT_SECONDS + 1.0, 3 * KEPT_SECONDS):
        now[0] = seconds
        told.append(front.figures().sections)
    assert told == ["1 section", "1 section", "1 section", "2 sections", "3 sections"]


def test_each_thread_of_a_process_and_its_four_duties_have_a_connection_to_the_database() -> None:
    parts = Wiring(load({"DATABASE_URL": "postgresql://127.0.0.1:1/x", "WORKERS": "7"}, None))
    assert cast(Any, parts.database)._pool_size == 11


@pytest.mark.parametrize(("queued", "is_done"), [(2, True), (1, False)])
def test_sections_to_be_seen_once_more_are_done_with_when_all_of_them_are_queued(queued: int, is_done: bool) -> None:
    parts = Wiring(load({}, None))
    parts.__dict__["ticker"] = SimpleNamespace(requeue=lambda *_, **__: queued)
    assert parts._recheck([Section("2267", "12340"), Section("2267", "12341")]) is is_done


@pytest.mark.parametrize(
    ("unused", "speaks", "is_asked"), [(None, False, True), (1, False, False), (31, False, True), (1, True, True)]
)
def test_a_session_is_asked_whether_it_lives_when_it_was_long_unused_or_has_something_to_say(
    monkeypatch: pytest.MonkeyPatch, unused: float | None, speaks: bool, is_asked: bool
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(ConnectionPool, "check_connection", asked.append)
    database = PostgresDatabase("postgresql://127.0.0.1:1/x", 1, 1.0)
    ours, theirs = cast(Any, socket.socketpair())
    with ours, theirs:
        if unused is not None:
            database._used_at[ours] = time.monotonic() - unused
        if speaks:
            theirs.send(b"x")
        database._check(ours)
        assert asked == ([ours] if is_asked else [])


@pytest.mark.parametrize(
    ("different", "flags"),
    [
        ({}, []),
        ({"is_admin": True}, [("", "administrator")]),
        ({"standing": "closed"}, [("bad", "closed")]),
        ({"bounced": True, "complained": True}, [("fair", "bounced"), ("fair", "complained")]),
        ({"mail": False}, [("fair", "emails off")]),
        ({"standing": "closed", "mail": False}, [("bad", "closed")]),
    ],
)
def test_an_account_is_flagged_with_what_an_administrator_has_to_know(
    different: dict[str, Any], flags: list[tuple[str, str]]
) -> None:
    account = {"is_admin": False, "standing": "active", "bounced": False, "complained": False, "mail": True}
    assert _flags({**account, **different}) == flags
