"""A real Postgres for the tests: one server a session, one fresh, migrated database a test.

`database` is the gateway over psycopg, `any_database` runs its test over both transports, the second one against
a real PostgREST. `postgres` is a plain session for looking behind the functions.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from shared.database import Database, connect_postgres
from shared.database_supabase import SupabaseDatabase
from shared.migrations import migrate
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.postgrest import EmbeddedPostgrest, PostgrestUnavailable, postgrest_binary

_TEMPLATE = "migrated"
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """The server of this session."""
    with EmbeddedPostgres(in_memory=True) as server:
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
def postgres(postgres_url: str) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A session of the database's owner, each statement on its own."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database(postgres_url: str) -> Iterator[Database]:
    """The gateway to a migrated database of the test's own, over psycopg."""
    gateway = connect_postgres(postgres_url)
    yield gateway
    gateway.close()


@pytest.fixture
def postgrest(postgres_url: str) -> Iterator[EmbeddedPostgrest]:
    """A real PostgREST in front of the test's database. Skipped where there is none, but never in CI."""
    try:
        binary = postgrest_binary()
    except PostgrestUnavailable as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    with EmbeddedPostgrest(_as_user(postgres_url, "authenticator"), binary=binary) as server:
        yield server


@pytest.fixture
def supabase_database(postgrest: EmbeddedPostgrest) -> Iterator[Database]:
    """The gateway to the test's database, over supabase-py and PostgREST, as the service."""
    gateway = SupabaseDatabase(postgrest.url, postgrest.service_role_key)
    yield gateway
    gateway.close()


@pytest.fixture(params=["postgres", pytest.param("supabase", marks=pytest.mark.postgrest)])
def any_database(request: pytest.FixtureRequest) -> Database:
    """The gateway, once over each transport."""
    name = "database" if request.param == "postgres" else "supabase_database"
    gateway: Database = request.getfixturevalue(name)
    return gateway


def _as_user(url: str, user: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=f"{user}@{parts.netloc.rpartition('@')[2]}"))


def catalog(url: str) -> dict[str, list[Any]]:
    """Every definition of `public`, `auth` and our schema, with its rights: two databases with the same are alike."""
    ours = "('public'::regnamespace, 'auth'::regnamespace, 'pickmyclass'::regnamespace)"
    queries = {
        "functions": "select pg_get_functiondef(oid), array(select unnest(proacl)::text order by 1) from pg_proc"
        f" where pronamespace in {ours} order by 1",
        "tables": "select oid::regclass::text, relkind, relrowsecurity,"
        " array(select unnest(coalesce(relacl, acldefault('r', relowner)))::text order by 1)"
        f" from pg_class where relnamespace in {ours} and relkind in ('r', 'v', 'S') order by 1",
        "columns": "select table_schema, table_name, column_name, data_type, is_nullable, column_default, is_identity"
        " from information_schema.columns where table_schema in ('public', 'auth', 'pickmyclass') order by 1, 2, 3",
        "views": "select viewname, definition from pg_views where schemaname = 'pickmyclass' order by 1",
        "triggers": "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by 1",
        "policies": "select to_jsonb(p)::text from pg_policies p order by 1",
        "constraints": "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        f" where connamespace in {ours} order by 1, 2",
        "indexes": "select indexdef from pg_indexes where schemaname in ('public', 'auth', 'pickmyclass') order by 1",
        "published": "select tablename from pg_publication_tables order by 1",
    }
    with psycopg.connect(url) as session:
        return {name: session.execute(query.encode()).fetchall() for name, query in queries.items()}
