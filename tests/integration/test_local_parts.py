"""The embedded Redis and the stand-ins as processes: they start, they answer, and they go when we go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis
import requests

from workshop.parts.processes import start_child, stop_child
from workshop.parts.redis import EmbeddedRedis, find_server

ROOT = Path(__file__).resolve().parents[2]
real_server = pytest.param(
    False, marks=[pytest.mark.real_redis, pytest.mark.skipif(not find_server(), reason="no server")]
)
KINDS = [real_server, True]


@pytest.mark.parametrize("stand_in", KINDS)
def test_a_redis_answers_and_comes_back_on_its_port_after_a_kill(stand_in: bool) -> None:
    with EmbeddedRedis(stand_in=stand_in) as server:
        assert server.real is not stand_in
        with server.connect() as client:
            client.set("a", "1")
            assert client.eval("return redis.call('get', KEYS[1])", 1, "a") == b"1"
        port, pid = server.port, server.pid
        server.kill()
        assert server.pid is None
        with server.connect() as client, pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert server.port == port
        assert server.pid not in (None, pid)
        with server.connect() as client:
            assert client.get("a") is None
            client.set("b", "1")
        server.flush()
        with server.connect() as client:
            assert client.dbsize() == 0


@pytest.mark.real_redis
@pytest.mark.skipif(not find_server(), reason="no server")
def test_an_append_only_redis_remembers_over_a_restart() -> None:
    with EmbeddedRedis(appendonly=True) as server:
        with server.connect() as client:
            client.set("a", "1")
        server.restart()
        with server.connect() as client:
            assert client.get("a") == b"1"


@pytest.mark.real_redis
@pytest.mark.skipif(not find_server(), reason="no server")
@pytest.mark.skipif(sys.platform != "linux", reason="looks at what others see, in /proc")
def test_a_real_redis_wants_its_password_and_does_not_show_it() -> None:
    with EmbeddedRedis() as server:
        password = server.url.split(":")[2].split("@")[0]
        with (
            redis.Redis(port=server.port, protocol=2, retry=None) as stranger,
            pytest.raises(redis.AuthenticationError),
        ):
            stranger.ping()
        shown = Path(f"/proc/{server.pid}/cmdline").read_text()
        assert "redis" in shown or "valkey" in shown
        assert password not in shown


@pytest.mark.parametrize("module", ["workshop.campus", "workshop.inbox"])
def test_a_stand_in_says_where_it_listens_and_ends_on_a_signal(module: str) -> None:
    child = start_child([sys.executable, "-m", module], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert child.stdout is not None
    with child.stdout as output:
        secret, place = output.readline().decode(), output.readline().decode()
        assert len(secret.split()[-1]) > 15
        assert requests.get(place.split()[-1] + "/health", timeout=10).json()["status"] == "ok"
        assert stop_child(child) == 0


def test_a_campus_that_cannot_be_played_says_why(tmp_path: Path) -> None:
    tape = tmp_path / "bad.csv"
    tape.write_text("time_ms,section,course,code,instructor,seats_available,seats_total\nsoon,083615,A 1,A,Staff,1,1\n")
    command = [sys.executable, "-m", "workshop.campus", "--tape", str(tape)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert done.stderr == f"campus: {tape}, line 2, field time_ms: 'soon' is not a whole number\n"


PARENT = """
import subprocess, sys, time
from workshop.parts.processes import start_child
from workshop.parts.redis import EmbeddedRedis
real, fake = EmbeddedRedis().start(), EmbeddedRedis(stand_in=True).start()
quiet = subprocess.DEVNULL
modules = [start_child([sys.executable, "-m", name], stdout=quiet) for name in ("workshop.campus", "workshop.inbox")]
print(real.pid, fake.pid, *[child.pid for child in modules], flush=True)
time.sleep(60)
"""


def ordinary_user() -> tuple[list[str], dict[str, str]]:
    """A command that runs Python as "nobody", and the environment it needs; skips where that cannot be."""
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "HOME": "/tmp"}
    probe = [*command, "-c", "import workshop.parts.redis"]
    if os.geteuid() == 0 and subprocess.run(probe, cwd=ROOT, env=environment, capture_output=True).returncode == 0:
        return command, environment
    pytest.skip("needs root, and a Python that an ordinary user may run (one under /root is out of reach)")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends children of a killed parent")
@pytest.mark.parametrize("user", ["this one", "ordinary"])
def test_all_parts_go_when_their_parent_is_killed(user: str) -> None:
    command, environment = [sys.executable], {**os.environ, "PYTHONPATH": str(ROOT)}
    if user == "ordinary":
        command, environment = ordinary_user()
    parent = subprocess.Popen([*command, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, env=environment)
    assert parent.stdout is not None
    with parent.stdout:
        children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 4
    assert {os.stat(f"/proc/{pid}").st_uid for pid in children} == {65534 if user == "ordinary" else os.getuid()}
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    deadline = time.monotonic() + 10
    while any(runs(pid) for pid in children):
        assert time.monotonic() < deadline, "a part outlived its parent"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    """Whether the process is there and not merely waiting to be reaped by whoever inherited it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
