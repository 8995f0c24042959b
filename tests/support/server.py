"""A server in a scratch folder: stubs for what only root may do, each of which writes down how it was called."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

STUBS = {
    "systemctl": """
[ "$1" != is-active ] || grep -qsx "$3" "$STATE/active" """,
    # A unit of its own: what it started is killed with it, and its last command runs however it ended.
    "systemd-run": """
while :; do
    case $1 in
    --property=StandardOutput=append:*) log=${1#*append:} ;;
    --property=ExecStopPost=*) last=${1#*ExecStopPost=} ;;
    -*) ;;
    *) break ;;
    esac
    shift
done
[ ! -e "$STATE/fault" ] || export BASH_ENV="$STATE/fault"
rm -f "$STATE/unit-ended"
setsid sh -c '
    exec >>"$1" 2>&1
    last=$2 state=$3
    shift 3
    setsid "$@" &
    echo $! >"$state/unit-pid"
    wait $!
    status=$?
    kill -9 -- "-$(cat "$state/unit-pid")" 2>/dev/null
    unset BASH_ENV
    [ -e "$state/power-loss" ] || $last || status=1
    echo $status >"$state/unit-ended"
    exit $status' sh "$log" "$last" "$STATE" "$@" &
wait $!""",
    "apt-get": """
if [ "$1" = install ]; then for word; do echo "$word" >> "$STATE/packages"; done; fi""",
    "dpkg-query": """
grep -qsx "$3" "$STATE/packages" && echo 'install ok installed'""",
    "getent": """
grep -qs "^$2" "$STATE/users" """,
    "useradd": """
for word; do :; done; echo "$word" >> "$STATE/users" """,
    "runuser": """
shift 3; exec "$@" """,
    "chown": "",
    "ufw": "",
    "timedatectl": """
[ "$1" != show ] || cat "$STATE/can-ntp" 2>/dev/null""",
    "sysctl": "",
    "netfilter-persistent": "",
    "iptables": """
case $1 in
-S) cat "$STATE/iptables" 2>/dev/null ;;
-C) shift 2; grep -qsxF -- "-A INPUT $*" "$STATE/iptables" ;;
-I) place=$3; shift 3; sed -i "$((place + 1))i -A INPUT $*" "$STATE/iptables" ;;
esac""",
    "ip6tables": """
case $1 in
-S) cat "$STATE/ip6tables" 2>/dev/null ;;
-C) shift 2; grep -qsxF -- "-A INPUT $*" "$STATE/ip6tables" ;;
-A) shift; echo "-A $*" >> "$STATE/ip6tables" ;;
-I) place=$3; shift 3; sed -i "${place}i -A INPUT $*" "$STATE/ip6tables" ;;
esac""",
    "sshd": """
echo 'port 22'; cat "$STATE/sshd" 2>/dev/null; true""",
    "swapon": """
if [ "$1" = --show ]; then cat "$STATE/swap" 2>/dev/null; else echo "$1" >> "$STATE/swap"; fi; true""",
    "fallocate": """
touch "$3" """,
    "mkswap": "",
    "caddy": """
case $1 in
version) echo 2.6.2 ;;
validate) ! grep -q broken "$3" ;;
esac""",
}
"""What each does beside writing down its call; its last status is its own."""


class ScratchServer:
    """A root folder of its own, and stubs in front of the path. `calls` are the stubs' calls so far, in order."""

    def __init__(self, folder: Path) -> None:
        self.root, self.state, self._bin = folder / "root", folder / "state", folder / "bin"
        for place in (self.root / "etc", self.state, self._bin):
            place.mkdir(parents=True)
        (self.root / "etc/os-release").write_text('ID=debian\nVERSION_ID="12"\n')
        for name, body in STUBS.items():
            self.stub(name, body)

    def stub(self, name: str, body: str) -> None:
        """Put a program in front of the path that writes down its call, then does `body` in sh."""
        file = self._bin / name
        head = f"#!/bin/sh\nSTATE='{self.state}' ROOT='{self.root}'\necho \"{name} $*\" >> \"$STATE/calls\"\n"
        file.write_text(f"{head}{body}\n")
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """How the stubs were called."""
        file = self.state / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def changes(self) -> list[str]:
        """The calls that change something, as against those that only ask."""
        asking = ("dpkg-query", "getent", "sshd", "swapon --show", "iptables -S", "iptables -C", "ip6tables -S")
        asking += (
            "ip6tables -C",
            "systemctl is-active",
            "timedatectl show",
            "caddy version",
            "caddy validate",
            "runuser",
        )
        return [call for call in self.calls if not call.startswith(asking)]

    def forget_calls(self) -> None:
        """Begin a new list of calls."""
        (self.state / "calls").unlink(missing_ok=True)

    def run(
        self, program: Path, *words: str, timeout: float = 60, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the scripts on this server."""
        with self.start(program, *words, environ=environ) as process:
            try:
                said, complained = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, said, complained)

    def start(
        self, program: Path, *words: str, environ: Mapping[str, str] | None = None, new_session: bool = False
    ) -> subprocess.Popen[str]:
        """Begin one of the scripts on this server."""
        own = {"PATH": f"{self._bin}:{os.environ['PATH']}", "PICKMYCLASS_ROOT": str(self.root), "LC_ALL": "C"}
        return subprocess.Popen(
            [str(program), *words],
            env={**own, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=new_session,
        )

    def files(self) -> dict[str, tuple[int, bytes]]:
        """Every file below the root with its mode and content."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            if path.is_file() and not path.is_symlink():
                found[str(path.relative_to(self.root))] = (path.stat().st_mode & 0o777, path.read_bytes())
        return found
