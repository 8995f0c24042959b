"""The doctor looks at the machine: clock, disk, time zone, units."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from shared.health.findings import Finding, fine, note, problem

UNITS = ("pickmyclass-functions.service", "pickmyclass-consumer.service")
BOOT_TARGETS = ("multi-user.target", "graphical.target")
SYSTEMD = Path("/run/systemd/system")  # there while it runs
SKEW_SECONDS = 5.0
LEAST_FREE = 500 * 1024 * 1024


def clock(whose: str, theirs: datetime, ours: datetime) -> Finding:
    """Slots and observations go by the database's time; certificates, sign-in tokens and logs by this machine's."""
    off = abs((theirs - ours).total_seconds())
    if off > SKEW_SECONDS:
        return problem("clock", f"{whose} clock and ours are {off:.0f} s apart", "`timedatectl set-ntp true`")
    return fine("clock", f"within {max(off, 0.1):.1f} s of {whose}")


def disk(where: Path) -> Finding:
    """Logs and Redis's append-only file need room."""
    usage = shutil.disk_usage(where)
    free = f"{usage.free / 1024**3:.1f} GB free"
    if usage.free < LEAST_FREE:
        return problem("disk", free, "`journalctl --vacuum-size=200M`; remove old releases")
    return fine("disk", free)


def timezone(name: str) -> Finding:
    """What the schedule is read in."""
    return fine("time zone", f"{name}: it is {datetime.now(UTC).astimezone(ZoneInfo(name)):%H:%M} there")


def units(systemctl: str | None) -> Iterator[Finding]:
    """Both services run and start with the machine, where there is a systemd."""
    if systemctl is None or not SYSTEMD.is_dir():
        yield note("units", "no systemd here: services are started by hand")
        return
    for unit in UNITS:
        active = _says(systemctl, "is-active", unit)
        if active != "active":
            yield problem("units", f"{unit} is {active}", f"`systemctl status {unit}`, then `systemctl start {unit}`")
        elif not _starts_with_the_machine(systemctl, unit):
            yield problem("units", f"{unit} does not start with the machine", "`systemctl enable pickmyclass.target`")
        else:
            yield fine("units", f"{unit} is active")


def _starts_with_the_machine(systemctl: str, unit: str) -> bool:
    """Whether a chain of units, each wanted by the next, ends at one that the boot starts."""
    seen, waiting = set[str](), [unit]
    while waiting:
        one = waiting.pop()
        if one in BOOT_TARGETS:
            return True
        if one not in seen:
            seen.add(one)
            waiting += _says(systemctl, "show", "--property=WantedBy", "--property=RequiredBy", "--value", one).split()
    return False


def _says(systemctl: str, *words: str) -> str:
    command = [systemctl, *words]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603 - our words
    except subprocess.TimeoutExpired:
        return "not telling"
    return said.stdout.strip() or "unknown"
