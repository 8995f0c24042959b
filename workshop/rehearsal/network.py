"""The network of a rehearsal: a bridge in a namespace of its own, and a cable to each box that can be pulled."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

BRIDGE = "rehearsal"
GATEWAY = "10.77.0.1"
NAME_SERVER = "10.0.2.3"  # slirp4netns answers there
NAMESPACES = Path("/run/netns")
_WAY_OUT = """
table ip out {
    chain post {
        type nat hook postrouting priority 100
        ip saddr 10.77.0.0/24 ip daddr != 10.77.0.0/24 masquerade
    }
}
"""
_TO_LOOPBACK = """
table ip in {
    chain pre {
        type nat hook prerouting priority -100
        ip daddr 10.77.0.0/24 tcp dport 1024-65535 dnat to 127.0.0.1
    }
    chain input {
        type nat hook input priority 100
        ip daddr 127.0.0.1 snat to 127.0.0.1
    }
}
"""


_CUT = """
table ip cut {{
    chain out {{
        type filter hook output priority 0
        ip daddr {address} tcp dport {port} drop
    }}
}}
"""


_LOSSY = """
table ip cut {
    chain out {
        type filter hook output priority 0
        numgen random mod 100 < 5 drop
    }
}
"""


def do(*words: str | Path, given: str | None = None) -> str:
    """Run a command of ours; its output. Raises `RuntimeError` with its words."""
    command = [str(word) for word in words]
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def set_up() -> None:
    """Bridge and way out, in the namespace that this process is in. Waits for the tap that slirp4netns brings."""
    do("mount", "-t", "tmpfs", "tmpfs", "/run/netns") if NAMESPACES.exists() else NAMESPACES.mkdir()
    do("ip", "link", "set", "lo", "up")
    do("ip", "link", "add", BRIDGE, "type", "bridge")
    do("ip", "addr", "add", f"{GATEWAY}/24", "dev", BRIDGE)
    do("ip", "link", "set", BRIDGE, "up")
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    do("nft", "-f", "-", given=_WAY_OUT)
    deadline = time.monotonic() + 20
    while "tap0" not in do("ip", "-o", "addr", "show", "up"):
        if time.monotonic() > deadline:
            raise RuntimeError("slirp4netns brought no way out within 20 s")
        time.sleep(0.05)


def add(name: str, address: str) -> None:
    """A namespace `name` with a cable to the bridge."""
    do("ip", "netns", "add", name)
    do("ip", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
    do("ip", "link", "set", f"v-{name}", "master", BRIDGE, "up")
    do("ip", "-n", name, "link", "set", "lo", "up")
    do("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
    do("ip", "-n", name, "link", "set", "eth0", "up")
    do("ip", "-n", name, "route", "add", "default", "via", GATEWAY)


def open_loopback(name: str) -> None:
    """What listens on the loopback of `name` is reached from the bridge too, and thinks that it is asked locally."""
    inside = ("ip", "netns", "exec", name)
    do(*inside, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
    do(*inside, "nft", "-f", "-", given=_TO_LOOPBACK)


def pull(name: str) -> None:
    """Pull the cable of `name`: nothing comes or goes, and nobody is told."""
    do("ip", "link", "set", f"v-{name}", "down")


def block(name: str, address: str, port: int) -> None:
    """Drop what `name` sends to that port of `address`, as a firewall between them would."""
    do("ip", "netns", "exec", name, "nft", "-f", "-", given=_CUT.format(address=address, port=port))


def disturb(name: str) -> str:
    """A bad line for `name`: of what it sends 5 % is lost, the rest 300 ms late where the kernel can. Says which."""
    delay = ("tc", "qdisc", "add", "dev", "eth0", "root", "netem", "delay", "300ms", "loss", "5%")
    if subprocess.run(["ip", "netns", "exec", name, *delay], capture_output=True, timeout=60).returncode == 0:
        return "300 ms, 5 % lost"
    do("ip", "netns", "exec", name, "nft", "-f", "-", given=_LOSSY)
    return "5 % lost (this kernel cannot delay)"


def mend(name: str) -> None:
    """Take back whatever `pull`, `block` and `disturb` did to `name`."""
    do("ip", "link", "set", f"v-{name}", "up")
    subprocess.run(
        ["ip", "netns", "exec", name, "tc", "qdisc", "del", "dev", "eth0", "root"], capture_output=True, timeout=60
    )
    inside = ("ip", "netns", "exec", name, "nft")
    if "table ip cut" in do(*inside, "list", "tables"):
        do(*inside, "delete", "table", "ip", "cut")
