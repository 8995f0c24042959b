"""Prepare the virtual environment, then hand on to the commands. Called by run.sh with the environment's Python.

Only the standard library is used here: on a fresh clone nothing else is installed yet.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent
SETS = {
    "runtime": ["requirements.txt"],
    "local": ["requirements.txt", "requirements-local.txt"],
    "dev": ["requirements.txt", "requirements-local.txt", "requirements-dev.txt"],
    "mutate": ["requirements.txt", "requirements-local.txt", "requirements-dev.txt", "requirements-mutate.txt"],
}
"""What a command needs; a later set holds the earlier ones."""


def main() -> None:
    """Install what is missing, then run the command."""
    needs = sys.argv[2]
    del sys.argv[1:3]
    prepare(needs)
    from commands import commands

    commands(prog_name="run.sh")


def prepare(needs: str) -> None:
    """Install the set `needs` unless it, or one that holds it, is installed as the requirement files say now."""
    order = list(SETS)
    if any(_stamp(name).exists() for name in order[order.index(needs) :]):
        return
    with open(Path(sys.prefix) / ".installing", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two commands started at once must not install into each other
        if not _stamp(needs).exists():
            _install(needs)


def _install(needs: str) -> None:
    print(f"Installing what this needs into {Path(sys.prefix).name} (once) …", file=sys.stderr, flush=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    wanted = ["-r", str(ROOT / SETS[needs][-1]), "-c", str(ROOT / "constraints.txt")]
    if subprocess.run([*pip, *wanted], stdin=subprocess.DEVNULL).returncode != 0:  # noqa: S603 - our own arguments
        sys.exit("run.sh: the packages could not be installed; see pip's message above.")
    # Functions started by the Functions Framework alone find `shared` through this.
    (Path(sysconfig.get_path("purelib")) / "pickmyclass.pth").write_text(f"{ROOT}\n")
    for old in Path(sys.prefix).glob(".installed-*"):
        old.unlink()
    _stamp(needs).touch()


def _stamp(needs: str) -> Path:
    files = [ROOT / name for name in [*SETS[needs], "constraints.txt"]]
    content = b"\0".join(file.read_bytes() for file in files) + str(ROOT).encode()
    return Path(sys.prefix) / f".installed-{needs}-{hashlib.sha256(content).hexdigest()[:16]}"


if __name__ == "__main__":
    main()
