"""`./run.sh rehearse`: sees that the machine can do it, makes its namespaces, and clears away what it made.

Everything that runs belongs to one child in process, mount and network namespaces of its own, whose end, however it
comes, ends all of it. What is left then (a folder and control groups) is removed by a keeper, a process that only
waits for us to be gone.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from rich.console import Console

from shared.settings import ROOT
from workshop.parts.cache import RunFolder
from workshop.parts.processes import Child, start_child, stop_child
from workshop.rehearsal.debian import RELEASES, base_image, unpacked
from workshop.rehearsal.stage import play_of

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "slirp4netns": "slirp4netns",
    "mkfs.ext4": "e2fsprogs",
    "git": "git",
    "curl": "curl",
}
"""The programs that it needs, with the Debian package of each."""
_NOT_POSSIBLE = 3


def obstacles() -> list[str]:
    """What is missing for a rehearsal on this machine; empty when it can be done."""
    if sys.platform != "linux":
        return ["Linux: it boots Debian systems in namespaces of the kernel"]
    found = [] if os.geteuid() == 0 else ["root: it makes namespaces, mounts and networks (sudo ./run.sh rehearse)"]
    packages = sorted({package for program, package in TOOLS.items() if shutil.which(program) is None})
    if packages:
        found.append(f"programs: apt-get install {' '.join(packages)}")
    if not Path("/dev/net/tun").exists():
        found.append("/dev/net/tun: the boxes' way to the package registries")
    if not (ROOT / ".git").exists():
        found.append("a clone: the boxes clone the commit that is checked out")
    if not found:
        tried = subprocess.run(["unshare", "-mpnf", "true"], capture_output=True, text=True, timeout=20)
        found += [f"namespaces: {tried.stderr.strip()}"] if tried.returncode else []
    return found


def run_rehearsal(
    *, boxes: int, quick: bool, docker: bool, version: int, only: tuple[str, ...], keep: Path | None
) -> int:
    """Play it; 0 when nothing was lost, 1 when something was, 3 when this machine cannot."""
    console = Console()
    asked: dict[str, object] = {"boxes": boxes, "quick": quick, "docker": docker, "version": version, "only": only}
    acts = {act.__name__ for act in play_of(asked).FULL}
    if unknown := set(only) - acts:
        console.print(f"No act is called {', '.join(sorted(unknown))}. There are: {', '.join(sorted(acts))}.")
        return _NOT_POSSIBLE
    if missing := obstacles():
        console.print("No rehearsal on this machine. It needs:")
        for one in missing:
            console.print(f"  {one}", highlight=False, soft_wrap=True)
        return _NOT_POSSIBLE
    console.print(f"Debian {version} ({RELEASES[version]}) …", highlight=False)
    began = time.monotonic()
    try:
        debian = unpacked(version)
        if docker:
            base_image()
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        console.print(f"[bold red]{error}[/]", highlight=False)
        return 1
    console.print(f"{time.monotonic() - began:5.1f} s  its root is there", highlight=False)
    folder = RunFolder()
    name = f"rehearsal-{os.getpid()}"
    with _keeper(folder.path, name) as keeper:
        told = {**asked, "debian": str(debian), "folder": str(folder.path), "name": name}
        try:
            status = _play(json.dumps(told))
        finally:
            if keep is not None:
                _save(folder.path, keep)
            assert keeper.stdin
            keeper.stdin.close()
            keeper.wait(60)
    return status


def _keeper(folder: Path, name: str) -> subprocess.Popen[bytes]:
    """Clears away once this process is gone, also when it was killed: its input ends then."""
    words = [sys.executable, "-m", "workshop.rehearsal.keeper", str(folder), name]
    return subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, start_new_session=True)


def _play(told: str) -> int:
    spaces = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "--mount-proc"]
    stage = start_child([*spaces, sys.executable, "-m", "workshop.rehearsal.stage", told], cwd=ROOT)
    out: Child | None = None
    # An orderly end of ours is the end of the stage, whose namespaces take everything along.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        out = _way_out(stage)
        return stage.wait()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        stage.kill()
        stage.wait()
        if out is not None:
            stop_child(out)


def _way_out(stage: Child) -> Child:
    """The stage's network reaches the registries through a process of ours: nothing of this machine's is changed."""
    children = Path(f"/proc/{stage.pid}/task/{stage.pid}/children")
    ours = os.readlink("/proc/self/ns/net")
    while stage.poll() is None:
        inner = children.read_text().split()
        if inner and os.readlink(f"/proc/{inner[0]}/ns/net") != ours:
            words = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", inner[0], "tap0"]
            return start_child(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.02)
    raise RuntimeError("the rehearsal's namespaces could not be made")


def _save(folder: Path, keep: Path) -> None:
    keep.mkdir(parents=True, exist_ok=True)
    for file in [*folder.glob("*.console"), *folder.glob("*.log")]:
        shutil.copy(file, keep)
