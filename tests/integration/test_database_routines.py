"""Routines: today's SQL functions, put in place whenever their text changed, on a fresh database and an early one."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from shared.migrations import MIGRATIONS, migrate, read_migrations
from shared.routines import ROUTINES, MigrationError, functions_in, read_routines
from tests.support.postgres import catalog
from workshop.parts.postgres import EmbeddedPostgres

SUPABASE = ROUTINES.parent
# The migrations of the time when they still held every function, as a database may have them in its books.
FIRST_MIGRATIONS = Path(__file__).parents[1] / "support" / "first_migrations.tar.gz"


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the routines that a test may spoil."""
    return Path(shutil.copytree(ROUTINES, tmp_path / "routines"))


@pytest.fixture
def early_url(postgres_server: EmbeddedPostgres, tmp_path: Path) -> Iterator[str]:
    """A database that the first migrations made, with their checksums in its books, before there were routines."""
    shutil.unpack_archive(FIRST_MIGRATIONS, tmp_path / "first")
    url = postgres_server.create_database("early")
    with psycopg.connect(url, autocommit=True) as session:
        session.execute(
            "create schema pickmyclass; create table pickmyclass.schema_migrations ("
            " version text primary key, name text not null, checksum text not null,"
            " applied_at timestamptz not null default clock_timestamp());"
            " alter table pickmyclass.schema_migrations enable row level security;"
            " insert into pickmyclass.schema_migrations values ('00000000000000', 'created', '')"
        )
        for one in read_migrations(tmp_path / "first"):
            session.execute(one.text.encode())
            session.execute(
                "insert into pickmyclass.schema_migrations (version, name, checksum) values (%s, %s, %s)",
                [one.version, one.name, one.checksum],
            )
    yield url
    postgres_server.drop_database("early")


def rows(url: str, statement: str) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as session:
        return session.execute(statement).fetchall()


def test_an_early_database_arrives_where_a_fresh_one_does(early_url: str, postgres_url: str) -> None:
    report = migrate(early_url)
    assert report.already_applied == len(read_migrations(MIGRATIONS)) - len(report.applied)
    assert set(report.routines) == {one.name for one in read_routines(ROUTINES, post_cutover=False)}
    assert catalog(early_url) == catalog(postgres_url)
    again = migrate(early_url)
    assert (again.applied, again.routines, again.dropped) == ([], [], [])


def test_after_the_cutover_the_two_are_still_the_same(early_url: str, empty_postgres_url: str) -> None:
    for url in (early_url, empty_postgres_url):
        migrate(url)
        assert migrate(url, post_cutover=True).routines == ["post_cutover/project_state"]
        assert migrate(url).routines == []
    assert catalog(early_url) == catalog(empty_postgres_url)


def test_what_supabase_db_push_makes_is_what_migrate_makes(empty_postgres_url: str, postgres_url: str) -> None:
    # The Supabase CLI runs the migrations and then the seeds, in the order of their names, and keeps its own books.
    seeds = tomllib.loads((SUPABASE / "config.toml").read_text())["db"]["seed"]["sql_paths"]
    with psycopg.connect(empty_postgres_url, autocommit=True) as session:
        session.execute(
            "create schema supabase_migrations; create table supabase_migrations.schema_migrations ("
            " version text primary key, statements text[], name text)"
        )
        for one in read_migrations(MIGRATIONS):
            session.execute(one.text.encode())
            session.execute("insert into supabase_migrations.schema_migrations values (%s)", [one.version])
    for pattern in seeds:
        for path in sorted(SUPABASE.glob(pattern)):
            with psycopg.connect(empty_postgres_url) as session:
                session.execute(path.read_bytes())
    with psycopg.connect(empty_postgres_url, autocommit=True) as session:
        assert session.execute("select pickmyclass.owner_of('', '')").fetchone() == ("server",)
        session.execute("drop function public.pmc_read_tick(text)")
    report = migrate(empty_postgres_url)
    assert (report.applied, report.owner) == ([], "server")
    with psycopg.connect(empty_postgres_url, autocommit=True) as session:
        session.execute("drop schema supabase_migrations cascade")
    assert catalog(empty_postgres_url) == catalog(postgres_url)


def test_a_function_is_written_down_once() -> None:
    texts = [one.text for one in read_routines(ROUTINES, post_cutover=False)]
    texts += [one.text for one in read_migrations(MIGRATIONS)[2:]]  # the first two are the origin's side of the house
    names = [name for text in texts for name in functions_in(text)]
    assert sorted(set(names)) == sorted(names)
    assert len(names) > 80


def test_a_changed_file_is_put_in_place_and_no_other(postgres_url: str, copied: Path) -> None:
    text = (copied / "ticks.sql").read_text()
    (copied / "ticks.sql").write_text(text.replace("'finished', found", "'done', found"))
    assert migrate(postgres_url, routines=copied).routines == ["ticks"]
    assert rows(postgres_url, "select public.pmc_finish_tick('t-1')") == [({"done": False},)]
    assert migrate(postgres_url, routines=copied).routines == []


def test_a_function_that_vanished_from_the_files_is_dropped(postgres_url: str, copied: Path) -> None:
    (copied / "old_side.sql").unlink()
    (copied / "history.sql").unlink()
    report = migrate(postgres_url, routines=copied)
    assert [one.split("(")[0] for one in report.dropped] == [
        "pickmyclass.ages",
        "pickmyclass.slots_of_the_day",
        "pmc_read_history",
    ]
    # What the old side calls is not ours to take away.
    assert rows(postgres_url, "select to_regprocedure('public.get_sections_to_check(text)') is null") == [(False,)]
    assert migrate(postgres_url).routines == ["history", "old_side"]


@pytest.mark.parametrize(
    "arguments",
    ["p_worker_id text, p_status text, p_why text DEFAULT ''::text", "p_worker_id text, p_state text"],
    ids=["one more argument", "another name"],
)
def test_a_changed_signature_leaves_no_old_self(postgres_url: str, copied: Path, arguments: str) -> None:
    text = (copied / "workers.sql").read_text()
    text = text.replace("status = p_status,", "").replace("p_worker_id text, p_status text", arguments)
    (copied / "workers.sql").write_text(text)
    migrate(postgres_url, routines=copied)
    told = rows(
        postgres_url,
        "select pg_get_function_arguments(oid), has_function_privilege('service_role', oid, 'execute'),"
        " has_function_privilege('anon', oid, 'execute') from pg_proc where proname = 'pmc_set_worker_status'",
    )
    assert told == [(arguments, True, False)]


def test_functions_and_the_tables_that_they_need_come_together_or_not_at_all(
    postgres_url: str, copied: Path, tmp_path: Path
) -> None:
    migrations = Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))
    (migrations / "20991231000000_moods.sql").write_text("create table pickmyclass.moods (mood text);")
    (copied / "moods.sql").write_text("create or replace function public.pmc_mood() returns jsonb language sql as ''''")
    with pytest.raises(MigrationError, match=r"routines/moods.sql failed: unterminated"):
        migrate(postgres_url, folder=migrations, routines=copied)
    assert rows(postgres_url, "select to_regclass('pickmyclass.moods')") == [(None,)]
    (copied / "moods.sql").write_text(
        "create or replace function public.pmc_mood() returns jsonb language sql as"
        " $$ select to_jsonb(m) from pickmyclass.moods m $$;"
    )
    report = migrate(postgres_url, folder=migrations, routines=copied)
    assert (report.applied, report.routines) == (["20991231000000_moods"], ["moods"])


def test_a_function_that_stands_twice_is_refused(postgres_url: str, copied: Path) -> None:
    shutil.copy(copied / "ticks.sql", copied / "more_ticks.sql")
    with pytest.raises(MigrationError, match=r"pmc_begin_tick stands twice in routines/"):
        migrate(postgres_url, routines=copied)
