"""A deployment that is cut off at any moment ends with a proven release in service: killed, no power, a full disk."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_deploy_release import HEALTHY, SICK, Site
from tests.support.server import ScratchServer

KILL = "kill -9 $$"
FULL_DISK = "ulimit -S -f 0; trap '' XFSZ"
"""Nothing can be written any more; links and renames go on, as they do on a full disk."""
MOMENTS = 5


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(ScratchServer(tmp_path), tmp_path)
    made.deploy()
    yield made
    made.close()


def set_fault(site: Site, action: str, at: int) -> None:
    """Before its command number `at` the deployment meets `action`. Its commands are counted into a file."""
    (site.server.state / "fault").write_text(
        f"""case " $* " in *" --inside "*)
    count=0 main=$BASHPID
    moment() {{
        [ "$BASHPID" = "$main" ] || return 0
        count=$((count + 1))
        [ {at} != 0 ] || echo "$count" >"{site.server.state}/count"
        [ "$count" != {at} ] || {{ {action}; }}
    }}
    set -T
    trap moment DEBUG
esac
"""
    )


def commands_of_a_deployment(site: Site) -> int:
    """How many commands a whole one has."""
    set_fault(site, ":", 0)
    site.commit(HEALTHY)
    assert site.deploy().returncode == 0
    return int((site.server.state / "count").read_text())


def moments(commands: int) -> list[int]:
    """One by chance from each fifth, so that every part of it is met."""
    chance = random.Random()
    return [chance.randint(commands * part // MOMENTS + 1, commands * (part + 1) // MOMENTS) for part in range(MOMENTS)]


def assert_a_proven_release_serves(site: Site, story: str) -> None:
    assert site.in_service in site.proven, story
    assert not (site.base / "trial").is_symlink(), story


def assert_the_next_one_succeeds(site: Site, story: str) -> None:
    (site.server.state / "fault").unlink(missing_ok=True)
    (site.server.state / "power-loss").unlink(missing_ok=True)
    last = site.commit(HEALTHY)
    result = site.deploy()
    assert result.returncode == 0, story + result.stdout + result.stderr
    assert site.in_service == last, story


@pytest.mark.parametrize("health", [HEALTHY, SICK], ids=["good release", "bad release"])
def test_a_killed_deployment_is_taken_back_by_the_end_of_its_unit(site: Site, health: dict[str, object]) -> None:
    commands = commands_of_a_deployment(site)
    for at in moments(commands):
        set_fault(site, KILL, at)
        site.commit(health)
        story = f"killed before command {at} of {commands}: " + site.deploy().stdout
        assert_a_proven_release_serves(site, story)
    assert_the_next_one_succeeds(site, "after being killed: ")


@pytest.mark.parametrize("finisher", ["boot", "next run"])
def test_power_that_goes_is_taken_back_by_the_boot_or_the_next_run(site: Site, finisher: str) -> None:
    commands = commands_of_a_deployment(site)
    for at in moments(commands):
        (site.server.state / "power-loss").touch()
        set_fault(site, KILL, at)
        site.commit(HEALTHY)
        story = f"power lost before command {at} of {commands}: " + site.deploy().stdout
        if finisher == "boot":
            recovered = site.server.run(site.base / "repo/deploy/deploy.sh", "--recover", "--boot")
            assert recovered.returncode == 0, story + recovered.stdout + recovered.stderr
            site.start_services()
            assert_a_proven_release_serves(site, story)
        assert_the_next_one_succeeds(site, story)


def test_a_disk_that_fills_up_leaves_a_proven_release_in_service(site: Site) -> None:
    commands = commands_of_a_deployment(site)
    for at in moments(commands):
        set_fault(site, FULL_DISK, at)
        site.commit(HEALTHY)
        story = f"disk full before command {at} of {commands}: " + site.deploy().stdout
        assert_a_proven_release_serves(site, story)
    assert_the_next_one_succeeds(site, "after a full disk: ")


def test_a_lost_terminal_changes_nothing(site: Site) -> None:
    good = site.commit(HEALTHY)
    script = site.base / "repo/deploy/deploy.sh"
    for name in ("unit-pid", "unit-ended"):
        (site.server.state / name).unlink()
    with site.server.start(script, "--settle", "1", "--hold", "1", new_session=True) as front:
        wait_for(site.server.state / "unit-pid")
        os.killpg(front.pid, signal.SIGHUP)
        front.communicate(timeout=100)
    assert front.returncode == -signal.SIGHUP
    wait_for(site.server.state / "unit-ended")
    assert site.in_service == good
    assert good in site.proven


def test_stopping_its_unit_goes_back(site: Site) -> None:
    before = site.in_service
    site.commit(SICK)
    script = site.base / "repo/deploy/deploy.sh"
    with site.server.start(script, "--settle", "60", "--hold", "0", new_session=True) as front:
        wait_for(site.base / "trial")
        os.kill(int((site.server.state / "unit-pid").read_text()), signal.SIGTERM)
        said, _ = front.communicate(timeout=100)
    assert front.returncode == 3, said
    assert site.in_service == before


def wait_for(file: Path) -> None:
    for _ in range(1500):
        if file.exists() or file.is_symlink():
            return
        time.sleep(0.02)
    raise AssertionError(f"{file} did not appear")
