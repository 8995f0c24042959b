"""Brings any Postgres 15-18 up to date: `supabase/migrations/` once each and in order, then `supabase/routines/`.

A migration changes tables and data once. A routine file says what a subject's SQL functions are today; it is applied
again whenever its text changed.

Over a connection to Postgres, because data definitions cannot go over PostgREST. Lock and limits belong to each
transaction: what belongs to a session stays behind in a pooler when its client is killed, and holds up the next one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from shared.routines import (
    ROUTINES,
    MigrationError,
    apply_routines,
    checksum_of,
    functions_in,
    read_routines,
    reason_of,
)

MIGRATIONS = Path(__file__).parents[1] / "supabase" / "migrations"
POST_CUTOVER = Path(__file__).parents[1] / "supabase" / "post_cutover"

_FILE_NAME = re.compile(r"(?P<version>\d{14})_(?P<name>\w+)\.sql")
_REPLACES = re.compile(r"^-- Replaces: ([0-9a-f]{64})$", re.MULTILINE)
_LOCK = 7_425_622_129  # any number that nobody else uses
_LOCK_SECONDS = 60
_STATEMENT_SECONDS = 300
_HOLDERS = """
select a.pid, a.usename, coalesce(nullif(a.application_name, ''), 'it says no name'),
       coalesce(to_char(a.xact_start, 'HH24:MI:SS'), 'a time it does not tell')
from pg_stat_activity a
where a.pid <> pg_backend_pid() and a.datname = %s and exists (
    select from pg_locks l left join pg_class c on c.oid = l.relation
    where l.pid = a.pid and l.granted and (
        (l.locktype = 'advisory' and (l.classid::bigint << 32 | l.objid::bigint) = %s)
        or c.relnamespace in (to_regnamespace('public'), to_regnamespace('pickmyclass'), to_regnamespace('auth'))))
order by a.xact_start
"""
_BOOKS = """
create schema if not exists pickmyclass;
create table if not exists pickmyclass.schema_migrations (
    version    text primary key,
    name       text not null,
    checksum   text not null,
    applied_at timestamptz not null default clock_timestamp()
);
alter table pickmyclass.schema_migrations enable row level security;
"""
_ORIGIN = "00000000000000"  # the row that remembers what we found before our first migration


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: its version (the date in its name), its name and its text."""

    version: str
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, by which an edited file is noticed."""
        return checksum_of(self.text)

    @property
    def accepted(self) -> set[str]:
        """Checksums that count as this file: its own, and those of the texts that it says it replaces."""
        return {self.checksum, *_REPLACES.findall(self.text)}


@dataclass(slots=True)
class Report:
    """What `migrate` did: files applied now and before, what was put back outside our schemas, who owns sections."""

    applied: list[str] = field(default_factory=list)
    routines: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    already_applied: int = 0
    mended: list[str] = field(default_factory=list)
    origin_found: bool = False
    owner: str = ""
    max_watches: int | None = None

    def __str__(self) -> str:
        """What an operator wants to read after `./run.sh migrate`."""
        lines = [f"applied {name}" for name in self.applied]
        lines.append(f"{len(self.applied)} applied now, {self.already_applied} before.")
        if self.routines:
            lines.append(f"SQL functions put in place: {', '.join(self.routines)}.")
        lines += [f"dropped {signature}" for signature in self.dropped]
        lines += [f"Missing, and put back: {what}." for what in self.mended]
        if self.applied:
            lines.append("The origin's tables were here before us." if self.origin_found else "The tables are our own.")
        lines.append(f"New sections belong to: {self.owner} (./run.sh ops ownership show).")
        if self.max_watches is not None:
            lines.append(f"One student may watch {self.max_watches} sections.")
        return "\n".join(lines)


def read_migrations(folder: Path) -> list[Migration]:
    """The migrations in `folder`, in order. Raises `MigrationError` for a file that is not named like one."""
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: a migration is named <14 digits>_<name>.sql")
        migrations.append(Migration(match["version"], match["name"], path.read_text(encoding="utf-8")))
    versions = [migration.version for migration in migrations]
    for version in versions:
        if versions.count(version) > 1:
            raise MigrationError(f"two migrations have the version {version}; number one of them anew")
    return migrations


def migrate(
    url: str,
    *,
    max_watches: int | None = None,
    post_cutover: bool = False,
    folder: Path = MIGRATIONS,
    routines: Path = ROUTINES,
) -> Report:
    """Bring the database at `url` up to date; a second run changes nothing.

    All pending migrations and changed routines run in one transaction with their entries in the books, so that no
    function ever meets tables that it was not written for. At the first run the owner of all sections is settled:
    `workers` where the origin's tables already existed (the old side goes on until it is switched off), `server` where
    we created them. `max_watches` is written as the limit that the database enforces. `post_cutover` also applies the
    files that the old code does not survive. Raises `MigrationError`.
    """
    migrations = read_migrations(folder)
    if post_cutover:
        migrations += read_migrations(POST_CUTOVER)
    report = Report(max_watches=max_watches)
    try:
        with _session(url) as guard, _bounded(guard), _session(url) as connection:
            guard.execute("select pg_advisory_xact_lock(%s)", [_LOCK])  # two runs at once take turns
            report.origin_found = _open_books(connection)
            with _bounded(connection):
                report.origin_found = report.origin_found and not _adopt_pushed(connection, migrations)
                for migration in migrations:
                    _apply(connection, migration, report)
                report.routines, report.dropped = apply_routines(
                    connection,
                    read_routines(routines, post_cutover=_is_cut_over(connection)),
                    defined_elsewhere=functions_in("".join(one.text for one in migrations)),
                )
            report.mended = _mend_outside(connection)
            report.owner = _owner(connection)
            if max_watches is not None:
                connection.execute("select public.pmc_put_setting('max_watches', %s)", [str(max_watches)])
    except psycopg.Error as error:
        raise MigrationError(f"the database refused: {reason_of(error)}") from error
    return report


def _session(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url, autocommit=True, connect_timeout=15, prepare_threshold=None)


@contextmanager
def _bounded(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """A transaction in which nothing waits for ever. Raises `MigrationError` with who holds a lock for too long."""
    try:
        with connection.transaction():
            connection.execute(
                "select set_config('lock_timeout', %s, true), set_config('statement_timeout', %s, true)",
                [f"{_LOCK_SECONDS}s", f"{_STATEMENT_SECONDS}s"],
            )
            yield
    except psycopg.errors.LockNotAvailable as error:
        holders = connection.execute(_HOLDERS, [connection.info.dbname, _LOCK]).fetchall()
        names = "; ".join(f"process {pid} of {user} ({program}) since {since}" for pid, user, program, since in holders)
        raise MigrationError(
            f"it waited {_LOCK_SECONDS} s for a lock of {names or 'a session that is gone by now'};"
            " wait for it or end it (select pg_terminate_backend(PROCESS)), then try again"
        ) from error


def _open_books(connection: psycopg.Connection[Any]) -> bool:
    """Make the table of applied migrations; return whether the origin's tables were there before our first."""
    with _bounded(connection):
        connection.execute(_BOOKS)
        connection.execute(
            "insert into pickmyclass.schema_migrations (version, name, checksum)"
            " select %s, case when to_regclass('public.class_watches') is null then 'created' else 'found' end, ''"
            " on conflict do nothing",
            [_ORIGIN],
        )
    found = connection.execute(
        "select name from pickmyclass.schema_migrations where version = %s", [_ORIGIN]
    ).fetchone()
    return found is not None and found[0] == "found"


def _apply(connection: psycopg.Connection[Any], migration: Migration, report: Report) -> None:
    name = f"{migration.version}_{migration.name}"
    try:
        known = connection.execute(
            "select checksum from pickmyclass.schema_migrations where version = %s", [migration.version]
        ).fetchone()
        if known is None:
            connection.execute(sql.SQL(migration.text))  # our own files, not user input
            connection.execute(
                "insert into pickmyclass.schema_migrations (version, name, checksum) values (%s, %s, %s)",
                [migration.version, migration.name, migration.checksum],
            )
            _settle_owner(connection, report.origin_found)
    except psycopg.errors.LockNotAvailable:
        raise  # `_bounded` says who holds it
    except psycopg.Error as error:
        raise MigrationError(f"{name} failed: {reason_of(error)}") from error
    if known is None:
        report.applied.append(name)
    elif known[0] in migration.accepted:
        report.already_applied += 1
    else:
        raise MigrationError(
            f"{name} was edited after it had been applied; restore the file and put the change into a new one"
        )


def _adopt_pushed(connection: psycopg.Connection[Any], migrations: list[Migration]) -> bool:
    """Whether `supabase db push` made the tables of this fresh project: they are ours, and our books count from now."""
    pushed = connection.execute("select to_regclass('supabase_migrations.schema_migrations') is not null").fetchone()
    if pushed != (True,):
        return False
    adopted = 0
    for migration in migrations:
        adopted += connection.execute(
            "insert into pickmyclass.schema_migrations (version, name, checksum)"
            " select p.version, %s, %s from supabase_migrations.schema_migrations p where p.version = %s"
            " on conflict do nothing",
            [migration.name, migration.checksum, migration.version],
        ).rowcount
    if adopted:
        connection.execute("update pickmyclass.schema_migrations set name = 'created' where version = %s", [_ORIGIN])
        _settle_owner(connection, origin_found=False)
    return adopted > 0


def _is_cut_over(connection: psycopg.Connection[Any]) -> bool:
    versions = [one.version for one in read_migrations(POST_CUTOVER)]
    applied = connection.execute("select from pickmyclass.schema_migrations m where m.version = any (%s)", [versions])
    return applied.fetchone() is not None


def _settle_owner(connection: psycopg.Connection[Any], origin_found: bool) -> None:
    """Write the default owner together with the table that holds it, so that the old side never sees it empty."""
    ready = connection.execute("select to_regclass('pickmyclass.ownership') is not null").fetchone()
    if ready is not None and ready[0]:
        connection.execute(
            "insert into pickmyclass.ownership (owner) values (%s) on conflict do nothing",
            ["workers" if origin_found else "server"],
        )


def _mend_outside(connection: psycopg.Connection[Any]) -> list[str]:
    """Put back what is ours outside our schemas, which a restored backup does not bring; what was missing, in words."""
    with _bounded(connection):
        found = connection.execute("select pickmyclass.outside(true)").fetchone()
    return list(found[0]) if found else []


def _owner(connection: psycopg.Connection[Any]) -> str:
    row = connection.execute("select owner from pickmyclass.ownership where term = '' and class_nbr = ''").fetchone()
    return str(row[0]) if row else ""
