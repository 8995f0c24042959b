"""Dump what our migrations change (schemas public and pickmyclass) with pg_dump, into a file only its owner reads.

    .venv/bin/python deploy/dump.py FILE

The file is pg_dump's custom format; docs/operate.md says how to restore it. The password never appears among the
arguments of a process. Leaves with status 1 and pg_dump's own words when it fails; no half file is left behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from shared.settings import SettingsError, load

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
_DEBIANS = Path("/usr/lib/postgresql")


def dump(url: str, file: Path, programs: Path = _DEBIANS) -> None:
    """Dump the database at `url` into `file`. Raises `RuntimeError` with pg_dump's words."""
    parameters = conninfo_to_dict(url)
    environ = {_VARIABLES[name]: str(value) for name, value in parameters.items() if name in _VARIABLES}
    partial = file.with_name(file.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    schemas = ["--schema=public", "--schema=pickmyclass"]
    command = [newest_pg_dump(programs), "--format=custom", "--no-owner", *schemas, f"--file={partial}"]
    try:
        result = subprocess.run(  # noqa: S603 - our own arguments
            command,
            env={"PATH": os.defpath, "PGCONNECT_TIMEOUT": "15", **environ},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            timeout=_MINUTES * 60,
        )
        if result.returncode != 0:
            raise RuntimeError(result.stderr.strip() or f"pg_dump left with status {result.returncode}")
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)


def newest_pg_dump(programs: Path = _DEBIANS) -> str:
    """The newest pg_dump of this machine: one that is older than the server refuses to work."""
    found = sorted(programs.glob("*/bin/pg_dump"), key=lambda path: [int(n) for n in path.parts[-3].split(".")])
    return str(found[-1]) if found else "pg_dump"


def main() -> None:
    """Read the settings and dump."""
    try:
        url = load().database_url
        if url is None:
            sys.exit("dump.py: DATABASE_URL is not set: a dump needs a session connection to Postgres.")
        dump(url, Path(sys.argv[1]))
    except SettingsError as error:
        sys.exit(f"dump.py: the settings need attention:\n{error}")
    except FileNotFoundError:
        sys.exit("dump.py: pg_dump is not installed: apt install postgresql-client")
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        sys.exit(f"dump.py: {error}\nIf the server is newer than pg_dump, install postgresql-client-NN from PGDG.")


if __name__ == "__main__":
    main()
