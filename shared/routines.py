"""Puts the SQL functions of `supabase/routines/` in place: today's text of each, once per subject and function.

A file is applied again whenever its text changed. What no file defines any more is dropped, and so is what a function
was under other arguments: a caller never meets an old self. Ours are the functions of the schema `pickmyclass` and
those named `pmc_...` in `public`; nothing else is ever dropped.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

ROUTINES = Path(__file__).parents[1] / "supabase" / "routines"

_DEFINES = re.compile(r"^\s*create (?:or replace )?function ([a-z_]+\.\w+)\(", re.MULTILINE)
_BOOKS = """
create table if not exists pickmyclass.schema_routines (
    name       text primary key,
    checksum   text not null,
    applied_at timestamptz not null default clock_timestamp()
);
alter table pickmyclass.schema_routines enable row level security;
"""
_OURS = """
select p.oid::regprocedure::text, n.nspname || '.' || p.proname
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'pickmyclass' or n.nspname = 'public' and p.proname like 'pmc\\_%'
order by 1
"""


class MigrationError(Exception):
    """A file could not be applied; the message says which one and what to do."""


@dataclass(frozen=True, slots=True)
class Routine:
    """One file of SQL functions: its name (with its folder, after the cut-over) and its text."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the text, by which a change is noticed."""
        return checksum_of(self.text)


def read_routines(folder: Path, *, post_cutover: bool) -> list[Routine]:
    """The files of `folder`; after the cut-over those of its `post_cutover/` stand in for their namesakes.

    Raises `MigrationError` for a function that stands twice.
    """
    paths = {path.name: path for path in sorted(folder.glob("*.sql"))}
    if post_cutover:
        paths |= {path.name: path for path in sorted((folder / "post_cutover").glob("*.sql"))}
    routines = [
        Routine(path.relative_to(folder).with_suffix("").as_posix(), path.read_text(encoding="utf-8"))
        for path in paths.values()
    ]
    times = Counter(name for routine in routines for name in _DEFINES.findall(routine.text))
    twice = [name for name, count in times.items() if count > 1]
    if twice:
        raise MigrationError(f"{twice[0]} stands twice in {folder.name}/; write a function down once")
    return routines


def outdated(books: dict[str, str]) -> list[str]:
    """The files whose text differs from what a database has in its books (name to checksum)."""
    cut_over = any(name.startswith("post_cutover/") for name in books)
    routines = read_routines(ROUTINES, post_cutover=cut_over)
    return [one.name for one in routines if books.get(one.name) != one.checksum]


def functions_in(text: str) -> set[str]:
    """The functions that an SQL text creates, as schema.name."""
    return set(_DEFINES.findall(text))


def apply_routines(
    connection: psycopg.Connection[Any], routines: list[Routine], *, defined_elsewhere: set[str]
) -> tuple[list[str], list[str]]:
    """Put changed files in place and drop our functions that neither they nor `defined_elsewhere` name.

    Runs in the caller's transaction. Returns the names of the files applied and the signatures dropped. Raises
    `MigrationError`.
    """
    connection.execute(_BOOKS)
    books = dict(connection.execute("select name, checksum from pickmyclass.schema_routines").fetchall())
    applied, dropped = [], []
    for routine in routines:
        if books.get(routine.name) != routine.checksum:
            dropped += _apply(connection, routine)
            applied.append(routine.name)
    kept = defined_elsewhere.union(*(functions_in(one.text) for one in routines))
    dropped += _drop(connection, [one for one, name in _our_functions(connection).items() if name not in kept])
    connection.execute(
        "delete from pickmyclass.schema_routines r where r.name <> all (%s)", [[one.name for one in routines]]
    )
    return applied, dropped


def _apply(connection: psycopg.Connection[Any], routine: Routine) -> list[str]:
    """Put one file in place; the signatures that its functions had before and have no more."""
    names = functions_in(routine.text)
    before = {one: name for one, name in _our_functions(connection).items() if name in names}
    try:
        try:
            with connection.transaction():
                connection.execute(sql.SQL(routine.text))  # our own files, not user input
        except psycopg.errors.InvalidFunctionDefinition:
            # Another result or other names of arguments: `or replace` cannot change those.
            _drop(connection, list(before))
            connection.execute(sql.SQL(routine.text))
            before = {}
    except psycopg.errors.LockNotAvailable:
        raise  # the caller says who holds it
    except psycopg.Error as error:
        raise MigrationError(f"routines/{routine.name}.sql failed: {reason_of(error)}") from error
    connection.execute(
        "insert into pickmyclass.schema_routines as r (name, checksum) values (%s, %s)"
        " on conflict (name) do update set checksum = excluded.checksum, applied_at = excluded.applied_at",
        [routine.name, routine.checksum],
    )
    come_anew = {name for one, name in _our_functions(connection).items() if one not in before}
    return _drop(connection, [one for one, name in before.items() if name in come_anew])


def _our_functions(connection: psycopg.Connection[Any]) -> dict[str, str]:
    """Every function of this project: its signature and its schema.name."""
    return dict(connection.execute(_OURS).fetchall())


def _drop(connection: psycopg.Connection[Any], signatures: list[str]) -> list[str]:
    for signature in signatures:
        connection.execute(sql.SQL("drop function {}").format(sql.SQL(signature)))  # as the server spells it
    return signatures


def checksum_of(text: str) -> str:
    """SHA-256 of a file's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def reason_of(error: psycopg.Error) -> str:
    """What the server said, without the address that a failed connection would name."""
    said = error.diag.message_primary
    return f"{said} ({error.sqlstate})" if said else "no connection (check DATABASE_URL)"
