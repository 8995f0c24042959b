"""setup-vps.sh for real in a scratch folder: a server from nothing, twice without a change, and as a dry run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from shared.redis import RedisError, connect_redis
from shared.settings import ROOT, load
from tests.support.redis import wait_until
from tests.support.server import ScratchServer
from workshop.parts.processes import free_port, start_child, stop_child

SETUP = ROOT / "deploy" / "setup-vps.sh"
ORACLE_RULES = """\
-P INPUT ACCEPT
-A INPUT -m state --state RELATED,ESTABLISHED -j ACCEPT
-A INPUT -p tcp -m state --state NEW -m tcp --dport 22 -j ACCEPT
-A INPUT -j REJECT --reject-with icmp-host-prohibited
"""


@pytest.fixture
def server(tmp_path: Path) -> ScratchServer:
    return ScratchServer(tmp_path)


def set_up(server: ScratchServer, *words: str) -> subprocess.CompletedProcess[str]:
    result = server.run(SETUP, "--domain", "classes.example.edu", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (Debian package)")
def test_the_scripts_are_clean_for_shellcheck() -> None:
    scripts = [str(path) for path in sorted((ROOT / "deploy").glob("*.sh"))] + [str(ROOT / "run.sh")]
    result = subprocess.run(["shellcheck", "-x", *scripts], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.stdout == ""


def test_a_bare_server_gets_everything_it_needs(server: ScratchServer) -> None:
    set_up(server)
    calls = server.changes()
    assert [call for call in calls if "apt-get install" in call and "caddy" in call and "redis-server" in call]
    assert (
        "useradd --system --user-group --home-dir /var/lib/pickmyclass --shell /usr/sbin/nologin pickmyclass" in calls
    )
    assert "systemctl enable --quiet pickmyclass.target pickmyclass-recover.service" in calls
    assert "systemctl restart redis-server" in calls
    assert "timedatectl set-ntp true" in calls
    files = server.files()
    units = ("pickmyclass-functions.service", "pickmyclass-consumer.service", "pickmyclass.target")
    for unit in (*units, "pickmyclass-recover.service"):
        assert files[f"etc/systemd/system/{unit}"] == (0o644, (ROOT / "deploy/systemd" / unit).read_bytes())
    assert b"SystemMaxUse=200M" in files["etc/systemd/journald.conf.d/pickmyclass.conf"][1]
    assert b"/swapfile none swap" in files["etc/fstab"][1]


def test_a_second_run_changes_nothing(server: ScratchServer) -> None:
    set_up(server)
    before = server.files()
    server.forget_calls()
    set_up(server)
    assert server.files() == before
    idempotent = ("systemctl enable", "ufw", "timedatectl set-ntp")
    assert [call for call in server.changes() if not call.startswith(idempotent)] == []


def test_a_dry_run_does_nothing_and_says_what_it_would_do(server: ScratchServer) -> None:
    before = server.files()
    said = set_up(server, "--dry-run").stdout
    assert server.files() == before
    assert server.changes() == []
    assert "would run: useradd" in said
    assert "would write:" in said
    assert "ufw allow 443/tcp" in said


def test_redis_listens_on_the_loopback_only_with_a_password_and_keeps_its_queue(server: ScratchServer) -> None:
    set_up(server)
    mode, content = server.files()["etc/redis/pickmyclass.conf"]
    words = content.decode()
    assert mode == 0o640
    assert "bind 127.0.0.1 -::1" in words
    assert re.search(r"^requirepass [\w-]{43}$", words, re.M)
    assert "appendonly yes" in words
    assert "maxmemory-policy noeviction" in words
    assert server.files()["etc/redis/redis.conf"][1].endswith(b"include /etc/redis/pickmyclass.conf\n")


@pytest.mark.real_redis
def test_a_real_redis_takes_that_configuration_and_answers_the_runbooks_question(server: ScratchServer) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian package)")
    set_up(server)
    conf, port = f"{server.root}/etc/redis/pickmyclass.conf", str(free_port())
    told = re.search(r"`sudo (sh -c '[^`]*redis-cli info memory')`", (ROOT / "docs/operate.md").read_text())
    assert told
    question = told[1].replace("/etc/redis/pickmyclass.conf", conf).replace("redis-cli", f"redis-cli -p {port}")
    child = start_child([program, conf, "--port", port, "--dir", server.root], stdout=subprocess.DEVNULL)
    try:
        wait_until(
            lambda: "used_memory_human" in subprocess.run(["sh", "-c", question], capture_output=True, text=True).stdout
        )
    finally:
        stop_child(child)


@pytest.mark.real_redis
def test_a_shared_redis_is_reached_over_tls_by_the_server_that_joins(server: ScratchServer) -> None:
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian package)")
    set_up(server, "--shares", "127.0.0.1")
    port = free_port()
    conf = (server.root / "etc/redis/pickmyclass.conf").read_text()
    conf = conf.replace("/etc/redis/", f"{server.root}/etc/redis/").replace("6380", str(port))
    conf = conf.replace("bind 127.0.0.1 -::1 127.0.0.1", "bind 127.0.0.1").replace("appendonly yes", "")
    invitation = (server.root / "etc/pickmyclass/join.env").read_text()
    url = re.search(r"^REDIS_URL=(.*)$", invitation, re.M)
    assert url
    address = url[1].replace("6380", str(port)).replace("/etc/pickmyclass/redis.crt", f"{server.root}/redis.crt")
    certificate = re.findall(r"^#redis.crt (.*)$", invitation, re.M)
    (server.root / "redis.crt").write_text("\n".join(certificate))
    child = start_child([program, "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin
    child.stdin.write(f"{conf}port 0\nsave ''\ndir {server.root}\n".encode())
    child.stdin.close()
    try:
        client = connect_redis(address)
        wait_until(lambda: _answers(client))
        client.close()
    finally:
        stop_child(child)


def _answers(client: Any) -> bool:
    try:
        return bool(client.ping())
    except RedisError:
        return False


def test_the_settings_are_made_once_with_secrets_of_their_own_and_are_then_the_operators(server: ScratchServer) -> None:
    set_up(server)
    file = server.root / "etc/pickmyclass/pickmyclass.env"
    assert file.stat().st_mode & 0o777 == 0o640
    settings = load({}, file)
    password = re.search(r"requirepass (\S+)", (server.root / "etc/redis/pickmyclass.conf").read_text())
    assert password
    assert settings.redis_url == f"redis://:{password[1]}@127.0.0.1:6379/0"
    assert settings.site_url == "https://classes.example.edu"
    assert settings.cron_secret not in {None, "change-me", settings.unsubscribe_signing_secret}
    file.write_text("REDIS_URL=redis://mine\n")
    set_up(server)
    assert file.read_text() == "REDIS_URL=redis://mine\n"


def test_two_servers_never_share_a_secret(tmp_path: Path) -> None:
    secrets = set()
    for name in ("one", "two"):
        server = ScratchServer(tmp_path / name)
        set_up(server)
        secrets.add(load({}, server.root / "etc/pickmyclass/pickmyclass.env").cron_secret)
    assert len(secrets) == 2


def test_with_a_hosted_redis_none_is_installed(server: ScratchServer) -> None:
    set_up(server, "--hosted-redis")
    assert not [call for call in server.changes() if "redis-server" in call]
    assert "etc/redis/pickmyclass.conf" not in server.files()


def test_another_server_gets_the_settings_and_a_redis_over_tls_in_one_file(tmp_path: Path) -> None:
    first, second = ScratchServer(tmp_path / "first"), ScratchServer(tmp_path / "second")
    set_up(first, "--shares", "10.0.0.1")
    conf = first.files()["etc/redis/pickmyclass.conf"][1].decode()
    assert "bind 127.0.0.1 -::1 10.0.0.1\n" in conf
    assert "tls-port 6380" in conf
    assert "ufw allow proto tcp to 10.0.0.1 port 6380" in first.changes()
    mode, invitation = first.files()["etc/pickmyclass/join.env"]
    assert mode == 0o600
    (second.root / "join.env").write_bytes(invitation)
    assert second.run(SETUP, "--joins", str(second.root / "join.env")).returncode == 0
    ours, theirs = (load({}, one.root / "etc/pickmyclass/pickmyclass.env") for one in (first, second))
    assert theirs.cron_secret == ours.cron_secret
    assert theirs.redis_url
    assert theirs.redis_url.startswith("rediss://:")
    assert "@10.0.0.1:6380/0" in theirs.redis_url
    certificate = second.files()["etc/pickmyclass/redis.crt"][1]
    assert certificate == first.files()["etc/redis/pickmyclass.crt"][1]
    assert certificate.startswith(b"-----BEGIN CERTIFICATE-----")
    assert not [call for call in second.changes() if "redis-server" in call or "caddy" in call or "allow 443" in call]


def test_a_server_that_shares_later_restarts_its_redis(server: ScratchServer) -> None:
    set_up(server)
    server.forget_calls()
    set_up(server, "--shares", "10.0.0.1")
    assert "systemctl restart redis-server" in server.changes()


def test_sharing_survives_a_second_run_that_does_not_name_it(server: ScratchServer) -> None:
    set_up(server, "--shares", "10.0.0.1")
    before = server.files()
    server.forget_calls()
    set_up(server)
    assert server.files() == before
    assert "systemctl restart redis-server" not in server.changes()


@pytest.mark.parametrize("words", [["--joins", "/nowhere"], ["--domain", "x.example.edu", "--shares", "home"]])
def test_a_file_or_an_address_that_does_not_do_is_refused(server: ScratchServer, words: list[str]) -> None:
    assert server.run(SETUP, *words).returncode == 2
    assert server.changes() == []


def test_the_firewall_lets_in_ssh_and_the_web_and_nothing_else(server: ScratchServer) -> None:
    set_up(server)
    asked = [call for call in server.changes() if call.startswith("ufw")]
    assert asked == [
        "ufw allow 22/tcp",
        "ufw allow 80/tcp",
        "ufw allow 443/tcp",
        "ufw allow 443/udp",
        "ufw --force enable",
    ]


def test_an_operator_who_moved_ssh_is_not_locked_out(server: ScratchServer) -> None:
    (server.state / "sshd").write_text("port 2222\n")
    set_up(server)
    assert "ufw allow 2222/tcp" in server.changes()


def test_on_oracles_image_the_rules_go_before_its_reject_and_ufw_stays_away(server: ScratchServer) -> None:
    (server.state / "iptables").write_text(ORACLE_RULES)
    set_up(server)
    rules = (server.state / "iptables").read_text().splitlines()
    reject = next(place for place, rule in enumerate(rules) if "REJECT" in rule)
    for port in ("-p tcp --dport 80", "-p tcp --dport 443", "-p udp --dport 443", "-p tcp --dport 22"):
        assert rules.index(f"-A INPUT {port} -j ACCEPT") < reject
    assert "netfilter-persistent save" in server.changes()
    assert not [call for call in server.changes() if call.startswith("ufw")]
    set_up(server)
    assert (server.state / "iptables").read_text().splitlines() == rules


def test_on_oracles_image_ipv6_is_closed_like_ipv4(server: ScratchServer) -> None:
    (server.state / "iptables").write_text(ORACLE_RULES)
    set_up(server)
    rules = (server.state / "ip6tables").read_text().splitlines()
    assert rules[-1] == "-A INPUT -j REJECT --reject-with icmp6-adm-prohibited"
    assert rules[:2] == ["-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT", "-A INPUT -i lo -j ACCEPT"]
    open_ports = [rule for rule in rules if "--dport" in rule]
    assert sorted(rule.split("--dport ")[1].split()[0] for rule in open_ports) == ["22", "443", "443", "546", "80"]
    set_up(server)
    assert (server.state / "ip6tables").read_text().splitlines() == rules


def test_an_oracle_server_is_told_about_its_second_firewall_and_its_idle_rule(server: ScratchServer) -> None:
    tag = server.root / "sys/class/dmi/id/chassis_asset_tag"
    tag.parent.mkdir(parents=True)
    tag.write_text("OracleCloud.com\n")
    said = set_up(server).stdout
    assert "security list" in said
    assert "reclaimed" in said


def test_existing_swap_is_left_alone(server: ScratchServer) -> None:
    (server.state / "swap").write_text("/dev/sda2 partition 2G\n")
    set_up(server)
    assert not [call for call in server.changes() if call.startswith(("mkswap", "fallocate"))]


def test_a_debian_without_a_time_service_gets_one(server: ScratchServer) -> None:
    (server.state / "can-ntp").write_text("no\n")
    set_up(server)
    calls = server.changes()
    installed = calls.index("apt-get install -q -y systemd-timesyncd")
    assert installed < calls.index("timedatectl set-ntp true")


@pytest.mark.parametrize("service", ["chrony", "ntpsec", "openntpd"])
def test_another_time_service_is_left_alone(server: ScratchServer, service: str) -> None:
    (server.state / "active").write_text(f"{service}\n")
    set_up(server)
    assert not [call for call in server.changes() if call.startswith("timedatectl")]


@pytest.mark.parametrize("words", [[], ["--domain"], ["--domain", "a b"], ["--domain", "x|y"], ["--nonsense"]])
def test_wrong_arguments_are_refused_before_anything_is_done(server: ScratchServer, words: list[str]) -> None:
    result = server.run(SETUP, *words)
    assert result.returncode == 2
    assert server.changes() == []


def test_another_system_is_refused(server: ScratchServer) -> None:
    (server.root / "etc/os-release").write_text("ID=fedora\n")
    result = server.run(SETUP, "--domain", "classes.example.edu")
    assert result.returncode == 1
    assert "neither Debian nor Ubuntu" in result.stderr
    assert server.changes() == []
