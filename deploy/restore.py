"""Restore a dump that deploy/dump.py made into a fresh database, whole or not at all; then migrate.

    .venv/bin/python deploy/restore.py FILE

Into DATABASE_URL. A new Supabase project must have its accounts (schema auth) already; on a plain Postgres they come
out of the dump. Refused when the database holds watches already: nothing is overwritten. Afterwards `./run.sh migrate`
brings it up to date and puts back what is ours outside our schemas. Leaves with status 1 and the reason when it fails.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from deploy.dump import DEBIANS, program, run
from shared.settings import ROOT, SettingsError, load

FURNISH = ROOT / "supabase" / "migrations" / "20261122000090_supabase.sql"
"""What every Supabase project has; a plain Postgres gets it, as the dump grants rights to those roles."""

_DEFAULT_RIGHTS = """
select case d.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences' else 'functions' end,
       a.grantee::regrole::text, lower(a.privilege_type)
from pg_default_acl d, aclexplode(d.defaclacl) a
where d.defaclnamespace = 'public'::regnamespace and d.defaclrole = current_user::regrole
  and d.defaclobjtype in ('r', 'S', 'f') and a.grantee <> 0 and a.grantee <> d.defaclrole
"""
_NOT_OURS = ("DEFAULT ACL", "SCHEMA - public", "COMMENT - SCHEMA public")
"""Entries of a dump that the fresh database has in its own way."""


def restore(url: str, file: Path, *, programs: Path = DEBIANS) -> None:
    """Restore `file` into the database at `url`. Raises `RuntimeError` with the reason."""
    with psycopg.connect(url, autocommit=True, connect_timeout=15) as connection:
        if _one(connection, "select to_regclass('public.class_watches') is not null"):
            raise RuntimeError("the database holds PickMyClass already; restore into a fresh one")
        plain = not _one(connection, "select to_regclass('auth.users') is not null")
        if plain:
            connection.execute(sql.SQL(FURNISH.read_text()))
            connection.execute("drop schema auth cascade")  # the dump brings it, with the accounts
        command = program("pg_restore", connection.info.server_version // 10000, programs)
        with tempfile.NamedTemporaryFile("w", suffix=".list") as wanted, _no_rights_by_default(connection):
            wanted.write(entries(command, file, accounts=plain))
            wanted.flush()
            words = ["--single-transaction", "--no-owner", f"--use-list={wanted.name}"]
            run(command, [*words, f"--dbname={connection.info.dbname}", str(file)], url)


@contextmanager
def _no_rights_by_default(connection: psycopg.Connection[tuple[Any, ...]]) -> Iterator[None]:
    """A Supabase project gives everyone rights to what is created in public; to those a dump only adds its own."""
    rights = connection.execute(_DEFAULT_RIGHTS).fetchall()
    for kind, role, _ in rights:
        _by_default(connection, "revoke all on {kind} from {role}", kind, role)
    try:
        yield
    finally:
        for kind, role, privilege in rights:
            _by_default(connection, f"grant {privilege} on {{kind}} to {{role}}", kind, role)


def _by_default(connection: psycopg.Connection[tuple[Any, ...]], words: LiteralString, kind: str, role: str) -> None:
    change = sql.SQL(words).format(kind=sql.SQL(kind), role=sql.Identifier(role))
    connection.execute(sql.SQL("alter default privileges in schema public {}").format(change))


def entries(command: str, file: Path, *, accounts: bool) -> str:
    """The dump's own list of what is in it, without what a fresh database has already."""
    listed = subprocess.run([command, "--list", str(file)], capture_output=True, text=True, timeout=60)  # noqa: S603 - our own arguments
    if listed.returncode != 0:
        raise RuntimeError(listed.stderr.strip())
    lines = [line for line in listed.stdout.splitlines() if not any(f" {words} " in line for words in _NOT_OURS)]
    if not accounts:
        lines = [line for line in lines if " auth " not in line]
    elif not any(" TABLE auth users " in line for line in lines):
        raise RuntimeError("the dump has no accounts: restore Supabase's own backup of the schema auth first")
    return "\n".join(lines) + "\n"


def _one(connection: psycopg.Connection[tuple[Any, ...]], question: LiteralString) -> bool:
    row = connection.execute(question).fetchone()
    return bool(row and row[0])


def main() -> None:
    """Read the settings and restore."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        url = load().database_url
        if url is None:
            sys.exit("restore.py: DATABASE_URL is not set: it must lead to the fresh database.")
        restore(url, Path(sys.argv[1]))
    except SettingsError as error:
        sys.exit(f"restore.py: the settings need attention:\n{error}")
    except psycopg.OperationalError:
        sys.exit("restore.py: the database at DATABASE_URL cannot be reached")
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"restore.py: {error}")


if __name__ == "__main__":
    main()
