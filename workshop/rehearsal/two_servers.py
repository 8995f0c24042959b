"""What happens to two servers that share a queue, in the order in which it is played."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from workshop.rehearsal import network, one_server
from workshop.rehearsal.operator import REPO, SETTINGS, Server
from workshop.rehearsal.stage import LOOK_UP_MS, Stage
from workshop.rehearsal.town import ADDRESS, wait_until

RECOVERY_SECONDS = 60.0
"""How long a lost server may keep its jobs from the others."""
_REQUESTS = 1000
_READY = "/api/monitoring/health?probe=ready"
_POST = (
    "curl -sS -m 60 -w ' %{{http_code}}' -H 'Authorization: Bearer {secret}'"
    " -H 'Content-Type: application/json' -d '{body}' http://127.0.0.1:8090/api/queue/process-section"
)


def joins(stage: Stage) -> None:
    """The first one shares its Redis, the second one joins with one file."""
    first, second = stage.servers
    with stage.act("setup-vps.sh --shares, and --joins on a second server", vital=True) as said:
        first.box.run(f"{REPO}/deploy/setup-vps.sh --domain {first.domain} --shares {first.box.address}")
        invitation = first.box.run("cat /etc/pickmyclass/join.env")
        second.box.power_on()
        second.fetch()
        second.box.write("/root/join.env", invitation, mode=0o600)
        second.box.run(f"{REPO}/deploy/setup-vps.sh --joins /root/join.env", timeout=600)
        second.secret = first.secret
        status, words = second.deploy("--no-migrate --hold 5")
        ready = f"curl -s http://127.0.0.1:8080{_READY}"
        assert status == 0, f"status {status}: {words[-500:]} {second.box.run(ready, check=False)}"
        said.append(f"both run {second.in_service()}")
        wait_until(lambda: len(_alive(stage)) == 2, "both consumers beat", 60)


def shares_the_work(stage: Stage) -> None:
    """A tick's sections go to both."""
    with stage.act("a tick on two servers") as said:
        before = _completed(stage)
        stage.town.delay(LOOK_UP_MS)
        seconds = stage.one_tick()
        stage.town.delay(0)
        enough = sum(before.values()) + len(stage.town.sections)
        wait_until(lambda: sum(_completed(stage).values()) >= enough, "both told with a beat what they did", 60)
        shares = {name: count - before.get(name, 0) for name, count in _completed(stage).items()}
        assert all(count > 0 for count in shares.values()), f"one of them did nothing: {shares}"
        said.append(f"{len(stage.town.sections)} sections in {seconds:.1f} s, by server {shares}")


def _cut(stage: Stage, what: str, cut: Callable[[str], None]) -> None:
    """In the middle of a tick the second server loses something; everything is checked and told all the same."""
    second = stage.servers[1]
    with stage.act(f"cut: {what}") as said:
        began = stage.quarter_of_a_tick(4)
        cut(second.box.name)
        gone = time.monotonic()
        wait_until(lambda: stage.town.unchecked(began) == 0, "every section is checked", 300)
        seconds = time.monotonic() - gone
        wait_until(lambda: not stage.town.owed(), "mail", 120)
        told = time.monotonic() - gone
        network.mend(second.box.name)
        stage.town.delay(0)
        wait_until(lambda: len(_alive(stage)) == 2, "both consumers beat again", 120)
        said.append(f"all checked after {seconds:.0f} s, told after {told:.0f} s")
        assert seconds <= RECOVERY_SECONDS, f"later than {RECOVERY_SECONDS:.0f} s"


def is_cut_off(stage: Stage) -> None:
    """Each kind of cut between one server and the rest."""
    first, town = stage.server, stage.town

    def blocked(address: str, port: int) -> Callable[[str], None]:
        return lambda name: network.block(name, address, port)

    _cut(stage, "all of its network", network.pull)
    _cut(stage, "only Redis", blocked(first.box.address, 6380))
    _cut(stage, "only Postgres", blocked(ADDRESS, town.ports["postgres"]))
    _cut(stage, "only the source", blocked(ADDRESS, town.ports["campus"]))


def has_a_bad_line(stage: Stage) -> None:
    """Much of what one server sends gets lost, for a whole tick."""
    second = stage.servers[1]
    with stage.act("a bad line to one server") as said:
        stage.one_tick()
        stage.town.delay(LOOK_UP_MS)
        stage.town.open_seats(4)
        said.append(network.disturb(second.box.name))
        began = time.time()
        stage.server.tick()
        seconds = wait_until(lambda: stage.town.unchecked(began) == 0, "every section is checked", 300)
        wait_until(lambda: not stage.town.owed(), "mail", 120)
        network.mend(second.box.name)
        stage.town.delay(0)
        said.append(f"all checked after {seconds:.0f} s")
        assert seconds <= RECOVERY_SECONDS, f"later than {RECOVERY_SECONDS:.0f} s"


def comes_back(stage: Stage) -> None:
    """A server without power over a tick, and back later."""
    second = stage.servers[1]
    with stage.act("the second server loses power in the middle of a tick, and comes back") as said:
        began = stage.quarter_of_a_tick(3)
        second.box.power_off()
        seconds = wait_until(lambda: stage.town.unchecked(began) == 0, "every section is checked", 300)
        wait_until(lambda: not stage.town.owed(), "mail", 120)
        said.append(f"all checked {seconds:.0f} s later")
        stage.town.delay(0)
        second.box.power_on()
        wait_until(lambda: len(_alive(stage)) == 2, "it beats again", 120)
        assert seconds <= RECOVERY_SECONDS, f"later than {RECOVERY_SECONDS:.0f} s"


def upgrades_one_by_one(stage: Stage) -> None:
    """Old and new release side by side, under ticks."""
    with stage.act("a rolling upgrade of both under ticks") as said:
        commit, began, ticks = stage.origin.push_good(9), time.time(), 0
        with ThreadPoolExecutor(1) as pool:
            for server in reversed(stage.servers):
                deployed = pool.submit(server.deploy, "--hold 5")
                while not deployed.done():
                    stage.server.tick()
                    ticks += 1
                    time.sleep(5)
                status, words = deployed.result()
                assert status == 0, f"{server.box.name}: status {status}: {words[-900:]}"
        assert {server.in_service() for server in stage.servers} == {commit}
        seconds = stage.server.tells_of_new_seats(3)
        left = stage.town.unchecked(began)
        assert left == 0, f"{left} sections unchecked"
        said.append(f"{ticks} ticks on the way, 0 sections unchecked; told {seconds:.1f} s after the next")


def balances(stage: Stage) -> None:
    """A thousand requests through the balancer; the functions of one server and the other are restarted and killed."""
    first, second = stage.servers
    with stage.act(f"{_REQUESTS} POST process-section through the balancer") as said:
        second.box.run(f"printf 'HOST={second.box.address}\\n' >> {SETTINGS} && systemctl restart pickmyclass.target")
        second.box.run(f"ufw allow proto tcp from {first.box.address} to {second.box.address} port 8080")
        first.box.run(f"curl -sS -m 10 --retry 20 --retry-connrefused http://{second.box.address}:8080/api/live")
        first.box.run("apt-get install -q -y --no-install-recommends haproxy", timeout=300)
        first.box.run(f"printf 'UPSTREAMS={second.box.address}:8080\\n' >> {SETTINGS}")
        status, words = first.deploy("--force --hold 5")
        assert status == 0, f"status {status}: {words[-900:]}"
        answers: list[str] = []
        restart, kill = "systemctl restart", "systemctl kill -s KILL"
        harm = {150: (second, restart), 350: (second, kill), 550: (first, restart), 750: (first, kill)}
        with ThreadPoolExecutor(8) as pool, ThreadPoolExecutor(1) as hand:
            for number in range(_REQUESTS):
                if number in harm:
                    hand.submit(_harm, *harm[number])
                pool.submit(_post, stage, number, answers)
                while pool._work_queue.qsize() > 16:
                    time.sleep(0.01)
        failed = [answer for answer in answers if not answer.endswith(" 200")]
        assert not failed, f"{len(failed)} of {len(answers)} failed: {sorted(set(failed))}"
        said.append(f"0 of {len(answers)} failed; the functions of each server were restarted and killed on the way")


def _harm(server: Server, command: str) -> None:
    """To the functions of one server, until they are ready again."""
    server.box.run(f"{command} pickmyclass-functions; sleep 1")  # what was killed may answer for a moment
    address = server.box.run(f"sed -n s/^HOST=//p {SETTINGS}").strip() or "127.0.0.1"
    ready = f"curl -sf -m 5 -o /dev/null http://{address}:8080{_READY}"
    wait_until(lambda: server.box.status(ready)[0] == 0, f"{server.box.name} is ready", 60)


def _post(stage: Stage, number: int, answers: list[str]) -> None:
    class_nbr = stage.town.sections[number % len(stage.town.sections)]
    body = f'{{"term":"{stage.town.term}","class_nbr":"{class_nbr}"}}'
    answers.append(stage.server.box.run(_POST.format(secret=stage.server.secret, body=body), check=False).strip())


def _alive(stage: Stage) -> list[str]:
    rows = stage.town.sql(
        "select worker_name from pickmyclass.workers where status <> 'offline'"
        " and last_heartbeat > clock_timestamp() - interval '45 seconds'"
    )
    return [str(row[0]) for row in rows]


def _completed(stage: Stage) -> dict[str, int]:
    rows = stage.town.sql(
        "select worker_name, sum((figures -> 'queue' ->> 'completed')::int) from pickmyclass.workers group by 1"
    )
    return {str(name): int(count or 0) for name, count in rows}


INSTALLATION = (*one_server.INSTALLATION, joins)
SHORT = (shares_the_work,)
FULL = (shares_the_work, is_cut_off, has_a_bad_line, comes_back, upgrades_one_by_one, balances)
