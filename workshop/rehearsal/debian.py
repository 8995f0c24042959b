"""Debian as a provider's smallest image brings it, built once and kept unpacked."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from workshop.parts.cache import cache_folder, exclusive
from workshop.rehearsal.network import do

RELEASES = {12: "bookworm", 13: "trixie"}
MIRROR = "http://deb.debian.org/debian"
SECURITY = "http://deb.debian.org/debian-security"
PACKAGES = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "libpam-systemd",
    "iproute2",
    "procps",
    "sudo",
    "ca-certificates",
    "openssh-server",
    "kmod",
    "netbase",
]
"""Beyond the essential ones: little more than what boots and lets an operator in."""
_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_PIP = Path("/etc/pip.conf")
_APT = 'Acquire::Check-Valid-Until "false";\nAcquire::Check-Date "false";\nAcquire::Languages "none";\n'


_IMAGE_PACKAGES = ["ca-certificates", "python-is-python3", "python3-venv", "redis-server"]


def unpacked(version: int) -> Path:
    """The folder with the root of that Debian; made when it is missing. Raises `RuntimeError` with the reason."""
    return _kept(f"debian-{RELEASES[version]}", RELEASES[version], PACKAGES)


def base_image() -> Path:
    """The folder with what stands in for the base images of containers: Debian 12 with its Python and its Redis.

    Raises `RuntimeError` as above.
    """
    return _kept("debian-image", RELEASES[12], _IMAGE_PACKAGES)


def _kept(kept_as: str, name: str, packages: list[str]) -> Path:
    folder = cache_folder() / kept_as
    with exclusive("debian"):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=cache_folder()) as scratch:
                _build(name, packages, Path(scratch))
                Path(scratch, "root").rename(folder)
    return folder


def _build(name: str, packages: list[str], scratch: Path) -> None:
    archive, root = scratch / "root.tar", scratch / "root"
    wanted = ["--quiet", "--variant=minbase", f"--include={','.join(packages)}"]
    command = ["mmdebstrap", *wanted, name, str(archive), MIRROR]
    built = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900)
    if built.returncode != 0:
        raise RuntimeError(f"mmdebstrap could not build Debian's {name}: {built.stderr.strip()[-600:]}")
    root.mkdir(mode=0o755)
    do("tar", "-x", "-p", "--numeric-owner", "-f", archive, "-C", root)
    _settle_in(root, name)


def _settle_in(root: Path, name: str) -> None:
    """What a provider's image has besides, and this machine's own ways to the package registries."""
    (root / "etc/apt/sources.list").write_text(
        f"deb {MIRROR} {name} main\ndeb {MIRROR} {name}-updates main\ndeb {SECURITY} {name}-security main\n"
    )
    (root / "etc/apt/apt.conf.d/99rehearsal").write_text(_APT)
    if _BUNDLE.exists():
        shutil.copyfile(_BUNDLE, root / _BUNDLE.relative_to("/"))
    if _PIP.exists():
        shutil.copyfile(_PIP, root / "etc/pip.conf")
    (root / "etc/machine-id").write_text("")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    os.chmod(root, 0o755)
