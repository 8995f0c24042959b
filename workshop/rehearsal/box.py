"""A server in a box: a Debian with a live systemd, its own address, its own memory, and a power switch."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from pathlib import Path

from workshop.parts.processes import Child, start_child
from workshop.rehearsal import network
from workshop.rehearsal.cgroups import Cgroups

MEMORY_BYTES = 1024**3
_BOOT = Path(__file__).with_name("boot.sh")
_ENVIRONMENT = "HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb LANG=C.UTF-8"
_UP = {"running", "degraded"}


class BoxError(RuntimeError):
    """A command in a box failed, or the box did not come up; the message holds its words."""


class Box:
    """One server. Its root is a layer over a Debian that stays as it is; `disk` holds the layer, `logs` the console."""

    def __init__(
        self, name: str, address: str, debian: Path, disk: Path, logs: Path, cgroups: Cgroups, bare: str = ""
    ) -> None:
        """`bare` is a folder of it that lies on the disk itself: an engine's layers cannot lie on a layer."""
        self.name, self.address = name, address
        self.root = disk / name / "root"
        self._console = logs / f"{name}.console"
        self._cgroups = cgroups
        self._unshare: Child | None = None
        upper, work = disk / name / "upper", disk / name / "work"
        for part in (self.root, upper, work):
            part.mkdir(parents=True)
        layers = f"lowerdir={debian},upperdir={upper},workdir={work}"
        network.do("mount", "-t", "overlay", "overlay", "-o", layers, self.root)
        if bare:
            for part in (disk / name / "bare", self.root / bare):
                part.mkdir(parents=True)
            network.do("mount", "--bind", disk / name / "bare", self.root / bare)
        self._write("etc/hostname", f"{name}\n")
        self._write("etc/hosts", f"127.0.0.1 localhost\n::1 localhost\n127.0.1.1 {name}\n")
        self._write("etc/resolv.conf", f"nameserver {network.NAME_SERVER}\n")
        network.add(name, address)

    def power_on(self, patience: float = 60) -> float:
        """Boot; seconds until systemd says that it is up. Raises `BoxError`."""
        began = time.monotonic()
        self._boot()
        while True:
            if self._unshare is None or self._unshare.poll() is not None:
                raise BoxError(f"{self.name} ended while it booted: {self.console()}")
            asking = "systemctl is-system-running"
            state = self.run(asking, check=False, timeout=20).strip() if self._init() is not None else ""
            if state in _UP:
                return time.monotonic() - began
            if time.monotonic() - began > patience:
                raise BoxError(f"{self.name} is {state or 'not up'} after {patience:.0f} s: {self.console()}")
            time.sleep(0.1)

    @property
    def has_power(self) -> bool:
        """Whether it runs."""
        return self._init() is not None

    def power_off(self) -> None:
        """Pull the plug: every process is gone at once, nothing is written any more."""
        if self._unshare is not None:
            if (init := self._init()) is not None:
                os.kill(init, signal.SIGKILL)
            self._unshare.kill()
            self._unshare.wait(20)
            self._unshare = None

    def reboot(self) -> float:
        """As an operator does it; seconds until it is up again."""
        began = time.monotonic()
        self.run("systemctl reboot", check=False, timeout=20)
        if self._unshare is not None:
            self._unshare.wait(120)
        self.power_on()
        return time.monotonic() - began

    def run(self, command: str, *, check: bool = True, timeout: float = 300) -> str:
        """Run `command` in a shell of root's; its output and errors together. Raises `BoxError` when it fails."""
        done = subprocess.run(
            self.words(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=timeout,
        )  # fmt: skip
        if check and done.returncode != 0:
            raise BoxError(f"{self.name}: {command}: status {done.returncode}: {done.stdout.strip()[-1500:]}")
        return done.stdout

    def status(self, command: str, *, timeout: float = 300) -> tuple[int, str]:
        """The status of `command` and its output."""
        done = subprocess.run(
            self.words(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", timeout=timeout,
        )  # fmt: skip
        return done.returncode, done.stdout

    def words(self, command: str) -> list[str]:
        """What runs `command` in the box."""
        init = self._init()
        if init is None:
            raise BoxError(f"{self.name} has no power")
        enter = ["nsenter", "-t", str(init), "-m", "-u", "-i", "-n", "-p", "-C", "env", "-i", *_ENVIRONMENT.split()]
        return [*enter, "bash", "-c", f"cd /root; {command}"]

    def write(self, file: str, text: str, *, mode: int = 0o644) -> None:
        """Write a file, as an operator's editor would."""
        target = f"cat > {shlex.quote(file)} && chmod {mode:o} {shlex.quote(file)}"
        done = subprocess.run(self.words(target), input=text, capture_output=True, text=True, timeout=30)
        if done.returncode != 0:
            raise BoxError(f"{self.name}: {file}: {done.stderr.strip()}")

    def console(self) -> str:
        """Its last words."""
        return self._console.read_text(errors="replace")[-1500:] if self._console.exists() else ""

    def _write(self, file: str, text: str) -> None:
        target = self.root / file
        target.unlink(missing_ok=True)
        target.write_text(text)

    def _boot(self) -> None:
        spaces = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child=KILL"]
        kind = "v1" if self._cgroups.split else "v2"
        script = f"{self._cgroups.enter(self.name, MEMORY_BYTES)} exec nsenter --net={network.NAMESPACES / self.name} "
        script += f'unshare {" ".join(spaces)} bash "$@"'
        with self._console.open("ab") as log:
            self._unshare = start_child(
                ["bash", "-c", script, "bash", _BOOT, self.root, self.name, kind], stdout=log, stderr=log
            )

    def _init(self) -> int | None:
        """The process id of its init, seen from here."""
        if self._unshare is None or self._unshare.poll() is not None:
            return None
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children").read_text().split()
        return int(children[0]) if children else None
