"""What happens to one server, in the order in which it is played."""

from __future__ import annotations

import re
import time

from shared.settings import ROOT
from workshop.rehearsal.operator import REPO, Traffic
from workshop.rehearsal.releases import KINDS
from workshop.rehearsal.stage import Stage
from workshop.rehearsal.town import wait_until

_TWO_MINUTES = 120
_HOLD = "--hold 5"
"""Where the minute of good health is not what is played."""


def boots(stage: Stage) -> None:
    """An empty Debian comes up."""
    with stage.act("a bare Debian boots", vital=True) as said:
        seconds = stage.server.box.power_on()
        said.append(f"up in {seconds:.1f} s, {stage.server.box.run('nproc').strip()} cores, 1 GiB")


def installs(stage: Stage) -> None:
    """Steps 3 to 5 of the documentation."""
    server = stage.server
    with stage.act("setup-vps.sh", vital=True):
        server.set_up()
    with stage.act("setup-vps.sh again") as said:
        words = server.box.run(f"{REPO}/deploy/setup-vps.sh --domain {server.domain}")
        changed = [line for line in words.splitlines() if line.startswith("wrote")]
        assert not changed, f"it changed {changed}"
        said.append("changes nothing")
    with stage.act("the first release", vital=True) as said:
        server.fill_in()
        status, words = server.deploy(_HOLD if stage.quick else "")
        assert status == 0, f"status {status}: {words[-900:]}"
        server.wait_until_it_serves()
        said.append(server.in_service())


def tells(stage: Stage) -> None:
    """Students watch, a seat opens, a mail comes; all through Caddy with TLS."""
    server = stage.server
    with stage.act("a watch and a mail, through Caddy with TLS", vital=True) as said:
        stage.town.move_in()
        stage.one_tick()
        said.append(
            f"{len(stage.town.sections)} sections seen, told {server.tells_of_new_seats(3):.1f} s after the tick"
        )


def doctor(stage: Stage) -> None:
    """On a server installed to the letter it has no false word."""
    with stage.act("ops doctor") as said:
        run = "sudo -u pickmyclass /opt/pickmyclass/current/run.sh ops doctor"
        wait_until(lambda: stage.server.box.status(run)[0] == 0, stage.server.box.run(run, check=False)[-700:], 60)
        said.append("no problem")
        line = re.search(r"`(sudo sh -c '[^`]*redis-cli info memory')`", (ROOT / "docs/operate.md").read_text())
        assert line, "the runbook has no line for Redis"
        assert "used_memory" in stage.server.box.run(line[1]), "the runbook's line for Redis"


def upgrades_under_traffic(stage: Stage) -> None:
    """Nobody who asks while a release changes goes away with nothing."""
    server = stage.server
    with stage.act("an upgrade under traffic") as said, Traffic(server) as traffic:
        commit = stage.origin.push_good(1)
        status, words = server.deploy(_HOLD)
        assert status == 0, f"status {status}: {words[-900:]}"
        assert server.in_service() == commit
        assert not traffic.failed, f"{len(traffic.failed)} of {len(traffic.answers)} requests failed: {traffic.failed}"
        said.append(f"0 of {len(traffic.answers)} requests failed")


def _broken(stage: Stage, kinds: tuple[int, ...]) -> None:
    server = stage.server
    good = server.in_service()
    for kind in (KINDS[number] for number in kinds):
        with stage.act(f"a release that {kind.what}") as said:
            branch = stage.origin.push_broken(kind)
            began = time.monotonic()
            status, words = server.deploy(f"--ref {branch}")
            assert status == kind.status, f"status {status}: {words[-900:]}"
            server.wait_until_it_serves()
            seconds = time.monotonic() - began
            assert server.in_service() == good, "another release is in service"
            assert seconds <= _TWO_MINUTES, f"it took {seconds:.0f} s"
            told = server.tells_of_new_seats()
            said.append(f"status {status}, the proven one serves after {seconds:.0f} s; told {told:.1f} s after a tick")


def meets_broken_releases(stage: Stage) -> None:
    """Five kinds; each ends with the proven one in service, by itself, within two minutes."""
    _broken(stage, (0, 1, 2, 3, 4))


def meets_a_broken_release(stage: Stage) -> None:
    """The one kind that is found fastest after the switch."""
    _broken(stage, (0,))


def rolls_back(stage: Stage) -> None:
    """To the release before, and up again."""
    server = stage.server
    with stage.act("rollback") as said:
        left = server.in_service()
        status, words = server.deploy(f"--rollback {_HOLD}")
        assert status == 0, f"status {status}: {words[-900:]}"
        assert server.in_service() != left
        said.append(f"told {server.tells_of_new_seats():.1f} s after a tick")


def restarts_aloud(stage: Stage) -> None:
    """A service that does not come up is told by the restart of the target; the other one serves."""
    box = stage.server.box
    with stage.act("systemctl restart pickmyclass.target") as said:
        box.run("systemctl restart pickmyclass.target")
        place = "/run/systemd/system/pickmyclass-consumer.service.d"
        box.run(f"mkdir -p {place} && printf '[Service]\\nExecStartPre=/bin/false\\n' > {place}/broken.conf")
        box.run("systemctl daemon-reload")
        status, words = box.status("systemctl restart pickmyclass.target")
        box.run(f"rm {place}/broken.conf && systemctl daemon-reload && systemctl restart pickmyclass.target")
        assert status != 0, "nobody was told"
        said.append(words.strip())
        stage.server.wait_until_it_serves()


def is_killed(stage: Stage) -> None:
    """`kill -9` of each process."""
    server = stage.server
    with stage.act("kill -9 of consumer, functions, Redis and Caddy") as said:
        for unit in ("pickmyclass-consumer", "pickmyclass-functions", "redis-server", "caddy"):
            server.box.run(f"kill -9 $(systemctl show -p MainPID --value {unit})")
        said.append(f"serves again after {server.wait_until_it_serves():.1f} s")
        said.append(f"told {server.tells_of_new_seats():.1f} s after a tick")


def hangs(stage: Stage) -> None:
    """A consumer that stands still is noticed by the watchdog."""
    server = stage.server
    with stage.act("a hung consumer") as said:
        pid = server.box.run("systemctl show -p MainPID --value pickmyclass-consumer").strip()
        server.box.run(f"kill -STOP {pid}")
        show = "systemctl show -p MainPID --value pickmyclass-consumer"
        seconds = wait_until(lambda: server.box.run(show).strip() not in {pid, "0"}, "another consumer", 240)
        server.wait_until_it_serves()
        said.append(f"replaced after {seconds:.0f} s; told {server.tells_of_new_seats():.1f} s after a tick")


def runs_out_of_memory(stage: Stage) -> None:
    """Something eats all of the machine's memory."""
    server = stage.server
    with stage.act("out of memory") as said:
        hog = "python3 -c 'kept = [bytearray(b\"x\") * (1 << 20) for _ in range(1500)]'"
        status, _ = server.box.status(f"systemd-run -q --wait {hog}", timeout=120)
        assert status != 0, "1.5 GB were had from a machine of 1 GiB"
        said.append(f"the hog was ended; serves after {server.wait_until_it_serves():.1f} s")
        said.append(f"told {server.tells_of_new_seats():.1f} s after a tick")


def reboots(stage: Stage) -> None:
    """As after an update of the kernel."""
    server = stage.server
    with stage.act("reboot") as said:
        seconds = server.box.reboot()
        said.append(f"up after {seconds:.1f} s, serves {server.wait_until_it_serves():.1f} s later")
        said.append(f"told {server.tells_of_new_seats():.1f} s after a tick")


def loses_power(stage: Stage) -> None:
    """In the middle of a tick, and off over the rest of it."""
    server = stage.server
    with stage.act("power loss in the middle of a tick") as said:
        began = stage.quarter_of_a_tick(5)
        server.box.power_off()
        left = stage.town.unchecked(began)
        assert left > 0, "everything was checked before the power went"
        stage.town.delay(0)
        seconds = server.box.power_on()
        said.append(f"{left} sections left; up after {seconds:.1f} s")
        seconds = wait_until(lambda: stage.town.unchecked(began) == 0, "every section is checked", 180)
        said.append(f"all checked {seconds:.1f} s later")
        wait_until(lambda: not stage.town.owed(), "mail", 60)


def deployment_loses_power(stage: Stage) -> None:
    """While a release is on trial: the boot goes back to the proven one."""
    server = stage.server
    with stage.act("power loss while a release is on trial") as said:
        good = server.in_service()
        branch = stage.origin.push_broken(KINDS[1])
        server.box.run(f"systemd-run -q {REPO}/deploy/deploy.sh --ref {branch}")
        wait_until(lambda: server.box.status("test -L /opt/pickmyclass/trial")[0] == 0, "a trial", 300)
        time.sleep(2)
        server.box.power_off()
        server.box.power_on()
        said.append(f"serves {server.wait_until_it_serves():.1f} s after the boot")
        assert server.in_service() == good, "another release is in service"


def is_restored(stage: Stage) -> None:
    """A backup goes into an empty database, and the doctor is content."""
    server = stage.server
    with stage.act("a backup restored into an empty database") as said:
        here = "cd /opt/pickmyclass/current &&"
        server.box.run(f"{here} .venv/bin/python deploy/dump.py /var/backups/pickmyclass/by-hand.dump")
        there = f"env DATABASE_URL='{stage.town.database('fresh')}'"
        stage.town.copy_accounts("fresh")
        server.box.run(f"{here} {there} .venv/bin/python deploy/restore.py /var/backups/pickmyclass/by-hand.dump")
        migrated = server.box.run(f"{here} {there} ./run.sh migrate")
        assert "put back" in migrated, migrated
        looked = server.box.run(f"{here} {there} ./run.sh ops doctor", check=False)
        assert "missing" not in looked, looked
        profile = "select count(*) from public.user_profiles p join auth.users u on u.id = p.user_id where email = %s"
        stage.town.sql("insert into auth.users (email) values ('late@example.edu')", database="fresh")
        assert stage.town.sql(profile, "late@example.edu", database="fresh") == [(1,)], "a sign-up got no profile"
        said.append(f"{len(migrated.split('put back')) - 1} things put back, a sign-up gets its profile")


def fills_its_disk(stage: Stage) -> None:
    """A full disk: checks go on, a deployment ends before its switch."""
    server = stage.server
    with stage.act("disk full") as said:
        good = server.in_service()
        server.box.run("cat /dev/zero > /var/full 2>/dev/null; true")
        commit = stage.origin.push_good(2)
        try:
            status, words = server.deploy(_HOLD)
            assert status in {1, 3}, f"status {status}: {words[-500:]}"
            assert server.in_service() == good
        finally:
            server.box.run("rm /var/full")
        said.append(f"a deployment ends with status {status}, the proven one serves")
        server.wait_until_it_serves()
        said.append(f"with room again told {server.tells_of_new_seats():.1f} s after a tick")
        status, words = server.deploy(_HOLD)
        assert (status, server.in_service()) == (0, commit), words[-500:]


def goes_back_in_time(stage: Stage) -> None:
    """Its clock is set back an hour, and forward again."""
    server = stage.server
    with stage.act("clock an hour back, and forward again") as said:
        server.box.run("DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends libfaketime")
        library = server.box.run("ls /usr/lib/*/faketime/libfaketime.so.1").strip()
        units = ("pickmyclass-consumer", "pickmyclass-functions")
        text = f"[Service]\nEnvironment=LD_PRELOAD={library} FAKETIME=-3600 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\n"
        for unit in units:
            server.box.run(f"mkdir -p /run/systemd/system/{unit}.service.d")
            server.box.write(f"/run/systemd/system/{unit}.service.d/clock.conf", text)
        restart = f"systemctl daemon-reload && systemctl restart {' '.join(units)}"
        server.box.run(restart)
        server.wait_until_it_serves()
        said.append(f"back: told {server.tells_of_new_seats(2):.1f} s after a tick")
        server.box.run(f"rm /run/systemd/system/pickmyclass-*.service.d/clock.conf && {restart}")
        server.wait_until_it_serves()
        said.append(f"forward: told {server.tells_of_new_seats(2):.1f} s after a tick")


INSTALLATION = (boots, installs, tells)
SHORT = (upgrades_under_traffic, meets_a_broken_release, rolls_back)
FULL = (
    doctor,
    upgrades_under_traffic,
    meets_broken_releases,
    rolls_back,
    restarts_aloud,
    is_killed,
    hangs,
    runs_out_of_memory,
    reboots,
    loses_power,
    deployment_loses_power,
    is_restored,
    fills_its_disk,
    goes_back_in_time,
)
