"""Redis over TLS, with a password, verified against a certificate authority of the test's own."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.queue.jobs import Job
from shared.redis import RedisError, connect_redis
from tests.support.redis import NOW, Workplace, wait_until
from tests.support.tls import self_signed
from workshop.parts.processes import free_port, start_child, stop_child
from workshop.parts.redis import find_server

pytestmark = pytest.mark.real_redis

PASSWORD = "correct-horse"


@pytest.fixture
def tls_server(tmp_path: Path) -> Iterator[str]:
    """`127.0.0.1:PORT/0` of a server that speaks nothing but TLS."""
    program = find_server()
    if not program:
        pytest.skip("needs redis-server or valkey-server on the path")
    self_signed(tmp_path)
    port = free_port()
    options = ["--port", "0", "--tls-port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
    options += ["--tls-cert-file", str(tmp_path / "cert.pem"), "--tls-key-file", str(tmp_path / "key.pem")]
    options += ["--tls-auth-clients", "no", "--dir", str(tmp_path)]
    child = start_child([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"127.0.0.1:{port}/0?ssl_ca_certs={tmp_path / 'cert.pem'}"

    def answers() -> bool:
        if child.poll() is not None:
            pytest.skip("this server was built without TLS")
        try:
            with connect_redis(f"rediss://:{PASSWORD}@{address}") as client:
                return bool(client.ping())
        except RedisError:
            return False

    wait_until(answers)
    yield address
    stop_child(child)


def test_jobs_go_through_an_encrypted_line_with_a_password(tls_server: str, queue_on: Callable[..., Workplace]) -> None:
    place = queue_on(f"rediss://:{PASSWORD}@{tls_server}")
    place.huey.push([Job("work", f"k{number}", {"key": f"k{number}"}) for number in range(50)], NOW)
    consumer = place.consume()
    place.wait_for_runs(50)
    place.wait_until_settled()
    place.stop(consumer)
    assert consumer.left_cleanly


def test_a_wrong_password_and_an_unknown_certificate_are_errors(tls_server: str) -> None:
    with pytest.raises(RedisError), connect_redis(f"rediss://:wrong@{tls_server}") as client:
        client.ping()
    with pytest.raises(RedisError), connect_redis(f"rediss://:{PASSWORD}@{tls_server.split('?')[0]}") as client:
        client.ping()
