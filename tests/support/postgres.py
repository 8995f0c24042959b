"""A real Postgres for the tests: one server a session, one fresh, migrated database a test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from local.postgres import EmbeddedPostgres
from shared.stores.database import Database, connect_postgres
from shared.stores.migrations import migrate

_TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The server of this session."""
    with EmbeddedPostgres() as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    """The name of a database with all migrations applied, to copy from."""
    migrate(postgres_server.create_database(_TEMPLATE), max_watches=10)
    return _TEMPLATE


@pytest.fixture
def empty_postgres_url(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"empty_{next(_numbers)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


@pytest.fixture
def postgres_url(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """A migrated database of the test's own."""
    name = f"test_{next(_numbers)}"
    yield postgres_server.create_database(name, template=migrated_template)
    postgres_server.drop_database(name)


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """The gateway to a migrated database of the test's own, over psycopg."""
    gateway = connect_postgres(postgres_url)
    yield gateway
    gateway.close()
