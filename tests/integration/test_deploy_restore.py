"""A backup, restored into a database that has nothing or only its accounts, serves as before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.dump import dump
from deploy.restore import FURNISH, restore
from shared.migrations import migrate
from tests.support.world import World
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.postgres_files import server_programs

DEBIANS = Path("/usr/lib/postgresql")
OTHER = next((path for path in sorted(DEBIANS.glob("*/bin")) if (path / "postgres").exists()), None)


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder as Debian has it, with the programs of the embedded server."""
    (tmp_path / "lib/18").mkdir(parents=True)
    (tmp_path / "lib/18/bin").symlink_to(server_programs())
    return tmp_path / "lib"


@pytest.fixture
def fresh_server() -> Iterator[EmbeddedPostgres]:
    """Another server, that has no role of ours."""
    with EmbeddedPostgres() as server:
        yield server


def outside(url: str) -> list[str]:
    with psycopg.connect(url, autocommit=True) as session:
        row = session.execute("select public.pmc_read_schema() -> 'outside'").fetchone()
    assert row
    return list(row[0])


def assert_it_serves(url: str) -> None:
    """What was watched is watched, a sign-up gets its profile, and the site's key still opens nothing of ours."""
    with psycopg.connect(url, autocommit=True) as session:
        assert session.execute("select class_nbr from public.class_watches").fetchall() == [("12431",)]
        session.execute("insert into auth.users (id, email) values (gen_random_uuid(), 'late@example.edu')")
        joined = "select u.email from auth.users u join public.user_profiles p on p.user_id = u.id order by 1"
        assert session.execute(joined).fetchall() == [("ann@example.edu",), ("late@example.edu",)]
        session.execute("set role anon")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("select public.pmc_read_schema()")
    assert outside(url) == []


def furnish(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        world = World(session)
        world.add_watch(user=str(world.one("insert into auth.users (email) values ('ann@example.edu') returning id")))


def test_a_backup_restored_into_an_empty_postgres_serves_as_before(
    postgres_url: str, fresh_server: EmbeddedPostgres, programs: Path, tmp_path: Path
) -> None:
    furnish(postgres_url)
    dump(postgres_url, tmp_path / "x.dump", programs)
    url = fresh_server.create_database("fresh")
    restore(url, tmp_path / "x.dump", programs=programs)
    report = migrate(url, max_watches=10)
    assert report.applied == []
    assert "Missing, and put back: class_states in the publication supabase_realtime." in str(report)
    assert_it_serves(url)


def test_restored_beside_accounts_that_are_there_the_trigger_comes_back_and_the_doctor_saw_it_missing(
    postgres_url: str, fresh_server: EmbeddedPostgres, programs: Path, tmp_path: Path
) -> None:
    furnish(postgres_url)
    dump(postgres_url, tmp_path / "x.dump", programs)
    url = fresh_server.create_database("fresh")
    with psycopg.connect(postgres_url) as old, psycopg.connect(url, autocommit=True) as new:
        new.execute(FURNISH.read_bytes())
        for person in old.execute("select id, email from auth.users").fetchall():
            new.execute("insert into auth.users (id, email) values (%s, %s)", person)
    restore(url, tmp_path / "x.dump", programs=programs)
    assert len(outside(url)) == 2
    assert len(migrate(url).mended) == 2
    assert_it_serves(url)


@pytest.mark.skipif(OTHER is None, reason="no other Postgres is installed (Debian package postgresql)")
def test_a_backup_of_an_older_postgres_goes_into_a_newer_one(
    fresh_server: EmbeddedPostgres, programs: Path, tmp_path: Path
) -> None:
    assert OTHER
    with EmbeddedPostgres(programs=OTHER) as older:
        migrate(older.create_database("old"), max_watches=10)
        furnish(older.url("old"))
        dump(older.url("old"), tmp_path / "x.dump", DEBIANS)
    url = fresh_server.create_database("fresh")
    restore(url, tmp_path / "x.dump", programs=programs)
    migrate(url)
    assert_it_serves(url)


def test_nothing_is_overwritten(postgres_url: str, programs: Path, tmp_path: Path) -> None:
    furnish(postgres_url)
    dump(postgres_url, tmp_path / "x.dump", programs)
    with pytest.raises(RuntimeError, match="holds PickMyClass already"):
        restore(postgres_url, tmp_path / "x.dump", programs=programs)
