"""What happens to the compose stack under a real Docker engine, in the order in which it is played."""

from __future__ import annotations

import time

from workshop.rehearsal.containers import COMPOSE, PYTHON, Containers, ends
from workshop.rehearsal.operator import REPO, Traffic
from workshop.rehearsal.stage import Stage
from workshop.rehearsal.town import wait_until

_GRACE_SECONDS = 35
"""compose.yaml's stop_grace_period."""
_MB = 1_000_000
_MEMORY = "docker stats --no-stream --format '{{.Name}} {{.MemUsage}}'"
_NONE = "0" * 16
"""An empty set of capabilities."""


def _of(stage: Stage) -> Containers:
    server = stage.server
    assert isinstance(server, Containers)
    return server


def boots(stage: Stage) -> None:
    """A bare Debian, and on it an engine."""
    server = _of(stage)
    with stage.act("a bare Debian boots", vital=True) as said:
        said.append(f"up in {server.box.power_on():.1f} s, 1 GiB")
    with stage.act("Docker and compose from Debian, stand-ins of the base images", vital=True) as said:
        said.append(server.install_engine())


def is_built(stage: Stage) -> None:
    """The image comes out of the Dockerfile as it is, and no image is asked of a registry."""
    server = _of(stage)
    with stage.act("docker compose build", vital=True) as said:
        server.fetch()
        server.fill_in_all()
        words = server.compose("build", timeout=500)
        assert "docker/dockerfile" not in words, "a frontend was asked of a registry"
        sizes = server.box.run(f"docker image inspect -f '{{{{.Size}}}}' pickmyclass {PYTHON}").split()
        whole, base = (int(size) / _MB for size in sizes)
        said.append(f"{whole:.0f} MB, {whole - base:.0f} of them ours")


def starts(stage: Stage) -> None:
    """Migrations, then everything; students watch and a mail comes."""
    server = _of(stage)
    with stage.act("docker compose run migrate, up", vital=True) as said:
        server.compose("run --rm migrate")
        server.compose("up -d")
        said.append(f"serves after {server.wait_until_it_serves():.1f} s")
        said.append(f"the engine calls it healthy {server.wait_until_healthy():.0f} s later")
        assert server.state("consumer")["RestartCount"] == 0, server.compose("logs --no-color --tail 5 consumer")
    with stage.act("a watch and a mail", vital=True) as said:
        stage.town.move_in()
        stage.one_tick()
        said.append(f"told {server.tells_of_new_seats(3):.1f} s after a tick")


def is_locked_up(stage: Stage) -> None:
    """Nothing of the image can be changed by what runs in it, and it has no rights."""
    server = _of(stage)
    with stage.act("read-only root, no rights, bounds") as said:
        for service in ("functions", "consumer"):
            for file in ("/app/x", "/etc/x", "/app/shared/x"):
                _, words = server.box.status(f"{COMPOSE} exec -T {service} touch {file}")
                assert "Read-only file system" in words, f"{service} can write {file}: {words}"
            server.compose(f"exec -T {service} touch /tmp/x")
            told = server.compose(
                f"exec -T {service} sh -c 'id -u; grep -E \"^(CapEff|CapBnd|NoNewPrivs)\" /proc/1/status'"
            )
            assert told.split() == ["10001", "CapEff:", _NONE, "CapBnd:", _NONE, "NoNewPrivs:", "1"], told
        published = {word for word in server.box.run("ss -Hltn").split() if word.endswith(":8080")}
        assert published == {"127.0.0.1:8080"}, published
        use = dict(line.split(" ", 1) for line in server.box.run(_MEMORY).splitlines())
        assert sorted(words.split(" / ")[1] for words in use.values()) == ["128MiB", "280MiB", "280MiB"], use
        said.append(", ".join(f"{name} {words}" for name, words in use.items()))
        said.append("only /tmp can be written; no capability, no new ones; 8080 on the loopback alone")


def stops_in_order(stage: Stage) -> None:
    """In the middle of a tick: what runs ends, Redis goes last, nothing is lost."""
    server = _of(stage)
    with stage.act("docker compose stop in the middle of a tick, and start") as said:
        began = stage.quarter_of_a_tick(4)
        stopping = time.monotonic()
        server.compose("stop")
        seconds = time.monotonic() - stopping
        left = stage.town.unchecked(began)
        found = ends(server.box.run(f"docker inspect $({COMPOSE} ps -aq)"))
        assert left > 0, "everything was checked before the stop"
        assert [end.service for end in found][-1] == "redis", f"Redis was not the last: {found}"
        assert [end.code for end in found] == [0, 0, 0], f"not in good order: {found}"
        assert seconds < _GRACE_SECONDS, f"it took {seconds:.0f} s"
        said.append(f"stopped in {seconds:.1f} s, {left} sections left, Redis last, all with status 0")
        stage.town.delay(0)
        server.compose("start")
        seconds = wait_until(lambda: stage.town.unchecked(began) == 0, "every section is checked", 120)
        wait_until(lambda: not stage.town.owed(), "mail", 60)
        said.append(f"all checked {seconds:.1f} s after the start")


def is_killed(stage: Stage) -> None:
    """`kill -9` of each program: the engine starts it again, Redis has kept its jobs."""
    server = _of(stage)
    with stage.act("kill -9 of functions, consumer and Redis in the middle of a tick") as said:
        began = stage.quarter_of_a_tick(3)
        services = ("consumer", "functions", "redis")
        before = {service: server.state(service)["RestartCount"] for service in services}
        for service in services:
            server.signal(service, "KILL")
        stage.town.delay(0)
        said.append(f"serves again after {server.wait_until_it_serves():.1f} s")
        for service in services:
            assert server.state(service)["RestartCount"] > before[service], f"{service} was not started again"
        seconds = wait_until(lambda: stage.town.unchecked(began) == 0, "every section is checked", 180)
        wait_until(lambda: not stage.town.owed(), "mail", 60)
        said.append(f"all checked {seconds:.1f} s later")


def hangs(stage: Stage) -> None:
    """A consumer that stands still is told by health, functions that do by the engine; a restart mends both."""
    server = _of(stage)
    with stage.act("a hung consumer, hung functions") as said:
        server.signal("consumer", "STOP")
        seconds = wait_until(lambda: server.health()["status"] == "unhealthy", "health tells of the consumer", 150)
        said.append(f"health tells of the consumer after {seconds:.0f} s")
        server.signal("functions", "STOP")
        seconds = wait_until(lambda: server.health_of("functions") == "unhealthy", "the engine notices", 180)
        said.append(f"the engine of the functions after {seconds:.0f} s")
        began = time.monotonic()
        server.compose("restart functions consumer")
        server.wait_until_it_serves()
        said.append(
            f"restarted in {time.monotonic() - began:.0f} s; told {server.tells_of_new_seats():.1f} s after a tick"
        )


def is_upgraded(stage: Stage) -> None:
    """Other code, as docs/operate.md says; and how many requests meet nobody meanwhile."""
    server = _of(stage)
    with stage.act("an upgrade: git pull, build, migrate, up") as said:
        stage.origin.push_good(1)
        old = server.state("functions")["Image"]
        server.box.run(f"cd {REPO} && git pull -q && echo '# a change' >> shared/__init__.py")
        server.compose("build")
        server.compose("run --rm migrate")
        with Traffic(server) as traffic:
            server.compose("up -d")
            server.wait_until_it_serves()
        assert server.state("functions")["Image"] != old, "the old image still runs"
        said.append(f"{len(traffic.failed)} of {len(traffic.answers)} requests met nobody")
        said.append(f"told {server.tells_of_new_seats():.1f} s after a tick")


def reboots(stage: Stage) -> None:
    """Engine, then machine: all comes back by itself."""
    server = _of(stage)
    with stage.act("systemctl restart docker") as said:
        server.box.run("systemctl restart docker")
        said.append(
            f"serves after {server.wait_until_it_serves():.1f} s; told {server.tells_of_new_seats():.1f} s later"
        )
    with stage.act("reboot") as said:
        seconds = server.box.reboot()
        said.append(f"up after {seconds:.1f} s, serves {server.wait_until_it_serves():.1f} s later")
        said.append(f"told {server.tells_of_new_seats():.1f} s after a tick")


INSTALLATION = (boots, is_built, starts)
SHORT = (is_locked_up, stops_in_order)
FULL = (is_locked_up, stops_in_order, is_killed, hangs, is_upgraded, reboots)
