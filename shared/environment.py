"""What the process was told from outside: its environment and `.env`, read here and nowhere else."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

OLD_NAMES = {
    "NEXT_PUBLIC_SUPABASE_URL": "SUPABASE_URL",
    "NEXT_PUBLIC_SUPABASE_ANON_KEY": "SUPABASE_ANON_KEY",
    "NEXT_PUBLIC_SITE_URL": "SITE_URL",
}
"""Names of the Workers deployment that are accepted where ours is not set."""


def gather(
    wanted: Collection[str], environ: Mapping[str, str] | None = None, env_file: Path | None = None
) -> dict[str, str]:
    """The raw values of these names: the file first, the environment over it, old names where ours are not set.

    `environ`: the process's by default. What is empty is not set. Raises `UnicodeDecodeError` for a file that is no
    text.
    """
    merged: dict[str, str | None] = dict(dotenv_values(env_file)) if env_file and env_file.is_file() else {}
    merged.update(os.environ if environ is None else environ)
    for old, new in OLD_NAMES.items():
        if merged.get(old) and not merged.get(new):
            merged[new] = merged[old]
    return {name: value.strip() for name, value in merged.items() if name in wanted and value and value.strip()}


def prefixed(prefix: str, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """What the environment holds under names with this prefix, by the rest of the name; empty ones are not set.

    For a command with words of its own, which the product does not know as settings.
    """
    given = os.environ if environ is None else environ
    return {name.removeprefix(prefix): value for name, value in given.items() if name.startswith(prefix) and value}


@dataclass(frozen=True, slots=True)
class Supervisor:
    """What systemd told this process: where to report to, and the watchdog's interval in seconds. `None`: nothing."""

    notify_socket: str | None = None
    watchdog_seconds: float | None = None


def take_supervisor(environ: MutableMapping[str, str] | None = None) -> Supervisor:
    """Read what systemd told, and take it out of `environ` (default: the process's).

    It is meant for us alone: gunicorn would report readiness before the functions are loaded, and a child that
    finds the socket could speak for us. The interval of another process (WATCHDOG_PID) is not ours.
    """
    environ = os.environ if environ is None else environ
    told = {name: environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")}
    ours = told["WATCHDOG_PID"] in ("", str(os.getpid()))
    interval = int(told["WATCHDOG_USEC"]) / 1e6 if ours and told["WATCHDOG_USEC"].isdecimal() else None
    return Supervisor(told["NOTIFY_SOCKET"] or None, interval)
