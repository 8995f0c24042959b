"""The gateway: the same calls, answers and errors over psycopg and over supabase-py with a real PostgREST."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from shared.clock import DatabaseClock
from shared.database import Database, DatabaseError, DatabaseUnavailable, connect_postgres
from shared.database_supabase import SupabaseDatabase
from shared.migrations import migrate
from tests.support.world import NOON, SECTION, World, facts, minutes, read, see
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.postgrest import EmbeddedPostgrest
from workshop.parts.web import Answer, Request, Server

ECHO = """
create function public.pmc_echo(p_text text default null, p_number int default null, p_ratio float default null,
    p_flag boolean default null, p_time timestamptz default null, p_json jsonb default null)
returns jsonb language sql as $$ select jsonb_build_object('text', p_text, 'number', p_number, 'ratio', p_ratio,
    'flag', p_flag, 'time', extract(epoch from p_time), 'json', p_json) $$;
create function public.pmc_nap(p_seconds float) returns jsonb language sql as
$$ select to_jsonb(1) from pg_sleep(p_seconds) $$;
create function public.pmc_nothing() returns jsonb language sql as $$ select null::jsonb $$;
grant execute on all functions in schema public to service_role;
notify pgrst, 'reload schema';
"""


@pytest.fixture
def world(postgres: psycopg.Connection[Any]) -> World:
    return World(postgres)


@pytest.fixture(autouse=True)
def helpers(postgres: psycopg.Connection[Any]) -> None:
    """Small functions of the tests' own; before PostgREST starts, so that it knows them."""
    postgres.execute(ECHO)


def test_arguments_and_answers_keep_their_types(any_database: Database) -> None:
    payload = {"list": [1, None, "two"], "nested": {"ü": "Ж 🎉", "quote": "'\"\\"}}
    answer = any_database.call(
        "pmc_echo", p_text="it's 5% {off}", p_number=7, p_ratio=0.5, p_flag=False, p_time=NOON, p_json=payload
    )
    assert answer == {
        "text": "it's 5% {off}",
        "number": 7,
        "ratio": 0.5,
        "flag": False,
        "time": NOON.timestamp(),
        "json": payload,
    }


def test_lists_are_json_and_none_is_null(any_database: Database) -> None:
    answer = any_database.call("pmc_echo", p_json=[{"term": "2267"}], p_text=None, p_number=None)
    assert answer["json"] == [{"term": "2267"}]
    assert answer["text"] is None
    assert any_database.call("pmc_echo")["json"] is None
    assert any_database.call("pmc_nothing") is None


def test_a_time_with_another_offset_is_the_same_moment(any_database: Database) -> None:
    assert (
        any_database.call("pmc_echo", p_time=NOON.astimezone(ZoneInfo("America/Phoenix")))["time"] == NOON.timestamp()
    )


def test_a_check_goes_through_either_transport_alike(any_database: Database, world: World) -> None:
    watch = world.add_watch()
    see(any_database, facts(0), NOON)
    answer = see(any_database, facts(3, "Ada Lovelace"), NOON + minutes(1), lease_to="me", lease_limit=1)
    assert (answer["emails_queued"], answer["leased"], len(answer["events"])) == (2, 1, 2)
    assert read(any_database).facts == facts(3, "Ada Lovelace")
    assert {(kind, owner) for kind, owner, _ in world.outbox()} == {
        ("seat_available", watch),
        ("instructor_assigned", watch),
    }


def test_more_sections_than_a_row_set_may_hold_arrive_uncut(any_database: Database, world: World) -> None:  # O14
    world.postgres.execute("update pickmyclass.settings set value = '2000' where key = 'max_watches'")
    world.postgres.execute(
        "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
        " select %s, '2267', 'CSE', '110', (20000 + 2 * i)::text from generate_series(1, 1500) i",
        [world.add_user()],
    )
    page = any_database.call("pmc_due_sections", p_group="even", p_now=NOON)
    assert len({row["class_nbr"] for row in page["sections"]}) == 1500
    assert page["next"] is None


def test_round_trips_are_counted(any_database: Database) -> None:
    for _ in range(3):
        any_database.call("pmc_echo")
    assert any_database.calls == 3


def an_hour_back() -> DatabaseClock:
    return DatabaseClock(lambda: time.time() - 3600)


def expect_the_servers_time(clock: DatabaseClock, world: World) -> None:
    before: datetime = world.one("select clock_timestamp()")
    told = clock()
    assert before - timedelta(seconds=2) < told < world.one("select clock_timestamp()") + timedelta(seconds=2)


def test_a_clock_that_was_set_back_tells_the_servers_time_after_an_answer(postgres_url: str, world: World) -> None:
    clock = an_hour_back()
    with closing(connect_postgres(postgres_url, clock=clock)) as database:
        database.call("pmc_echo")
    expect_the_servers_time(clock, world)


@pytest.mark.postgrest
def test_a_clock_that_was_set_back_tells_the_servers_time_after_an_answer_of_postgrest(
    postgrest: EmbeddedPostgrest, world: World
) -> None:
    clock = an_hour_back()
    with closing(SupabaseDatabase(postgrest.url, postgrest.service_role_key, clock=clock)) as database:
        with pytest.raises(DatabaseError):
            database.call("pmc_nobody_has_this")
        assert clock() < world.one("select now() - interval '50 min'"), "an error may be anybody's word"
        database.call("pmc_echo")
    expect_the_servers_time(clock, world)


def test_threads_share_it_and_get_their_own_answers(any_database: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda number: any_database.call("pmc_echo", p_number=number)["number"], range(200))
        assert list(answers) == list(range(200))


def test_it_can_be_used_again_after_it_was_closed(any_database: Database) -> None:
    any_database.call("pmc_echo")
    any_database.close()
    any_database.close()
    assert any_database.call("pmc_echo", p_number=1)["number"] == 1


# Errors ---------------------------------------------------------------------------------------------------------


def test_what_a_function_refuses_is_said_with_its_code(any_database: Database) -> None:
    with pytest.raises(DatabaseError, match="pmc_due_sections: p_group must be even, odd or all") as caught:
        any_database.call("pmc_due_sections", p_group="evn")
    assert caught.value.code == "22023"
    assert not isinstance(caught.value, DatabaseUnavailable)


@pytest.mark.parametrize(("function", "arguments"), [("pmc_no_such_thing", {}), ("pmc_echo", {"p_other": 1})])
def test_a_function_that_does_not_exist_is_an_error(
    any_database: Database, function: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(DatabaseError) as caught:
        any_database.call(function, **arguments)
    assert not isinstance(caught.value, DatabaseUnavailable)


def test_a_name_is_not_a_way_to_run_sql(database: Database, world: World) -> None:
    for name in ("pmc_echo(); drop table class_watches; --", 'pmc_echo"; drop table class_watches; --'):
        with pytest.raises(DatabaseError):
            database.call(name)
        with pytest.raises(DatabaseError):
            database.call("pmc_echo", **{name: 1})
    assert world.one("select count(*) from class_watches") == 0


@pytest.mark.postgrest
def test_a_key_that_may_not_is_an_error_and_not_an_outage(postgrest: EmbeddedPostgrest) -> None:
    for key in (postgrest.anon_key, "not.a.key"):
        gateway = SupabaseDatabase(postgrest.url, key)
        with pytest.raises(DatabaseError) as caught:
            gateway.call("pmc_read_section", p_term="2267", p_class_nbr="12431")
        assert not isinstance(caught.value, DatabaseUnavailable)
        assert key not in str(caught.value)
        gateway.close()


def open_postgres(url: str, request: pytest.FixtureRequest, timeout: float) -> Database:
    return connect_postgres(url, timeout=timeout)


def open_supabase(url: str, request: pytest.FixtureRequest, timeout: float) -> Database:
    rest: EmbeddedPostgrest = request.getfixturevalue("postgrest")
    return SupabaseDatabase(rest.url, rest.service_role_key, timeout=timeout)


Opener = Callable[[str, pytest.FixtureRequest, float], Database]
both = pytest.mark.parametrize(
    "opener", [open_postgres, pytest.param(open_supabase, marks=pytest.mark.postgrest)], ids=["postgres", "supabase"]
)


@both
def test_a_call_that_takes_too_long_is_given_up(
    opener: Opener, request: pytest.FixtureRequest, postgres_url: str
) -> None:
    gateway = opener(postgres_url, request, 0.5)
    with pytest.raises(DatabaseUnavailable, match="pmc_nap"):
        gateway.call("pmc_nap", p_seconds=20.0)
    assert gateway.call("pmc_echo", p_number=1)["number"] == 1
    gateway.close()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are accepted and nobody ever answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(50)
        yield listener.getsockname()[1]


@pytest.mark.parametrize("transport", ["postgres", "supabase"])
@pytest.mark.parametrize("place", ["silent", "closed"])
def test_a_server_that_does_not_answer_is_unavailable_and_not_named(
    transport: str, place: str, silent_port: int
) -> None:
    port = silent_port if place == "silent" else 9
    gateway: Database
    if transport == "postgres":
        gateway = connect_postgres(f"postgresql://owner:verysecret@127.0.0.1:{port}/gone", timeout=0.5)
    else:
        gateway = SupabaseDatabase(f"http://127.0.0.1:{port}", "verysecret", timeout=0.5)
    with pytest.raises(DatabaseUnavailable) as caught:
        gateway.call("pmc_echo")
    assert str(port) not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)
    assert "verysecret" not in repr(caught.value)
    gateway.close()


@contextmanager
def server_with_outages(transport: str) -> Iterator[tuple[EmbeddedPostgres, Database]]:
    with EmbeddedPostgres() as server:
        migrate(server.create_database("own"))
        if transport == "postgres":
            gateway: Database = connect_postgres(server.url("own"), timeout=2)
            yield server, gateway
            gateway.close()
            return
        with EmbeddedPostgrest(server.url("own", user="authenticator")) as rest:
            gateway = SupabaseDatabase(rest.url, rest.service_role_key, timeout=5)
            yield server, gateway
            gateway.close()


@pytest.mark.parametrize("transport", ["postgres", pytest.param("supabase", marks=pytest.mark.postgrest)])
def test_it_finds_a_server_again_that_was_killed(transport: str) -> None:
    with server_with_outages(transport) as (server, gateway):
        see(gateway, facts(4), NOON)
        server.kill()
        with pytest.raises(DatabaseUnavailable):
            _ask_until_it_fails(gateway)
        server.start()
        answer = _when_back(gateway)
        assert answer["facts"]["seats_available"] == 4  # what was committed outlives the kill


def _ask_until_it_fails(gateway: Database) -> None:
    """A session may outlive its server by a moment and still answer."""
    while True:
        gateway.call("pmc_read_section", p_term=SECTION.term, p_class_nbr=SECTION.class_nbr)


def _when_back(gateway: Database) -> dict[str, Any]:
    """The section, as soon as the transport has found its server again (PostgREST takes its time)."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = gateway.call("pmc_read_section", p_term=SECTION.term, p_class_nbr=SECTION.class_nbr)
        except DatabaseUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            assert isinstance(answer, dict)
            return answer


def test_a_restart_between_two_calls_goes_unnoticed() -> None:
    with server_with_outages("postgres") as (server, gateway):
        see(gateway, facts(4), NOON)
        server.restart()
        assert read(gateway, now=NOON + timedelta(hours=1)).facts == facts(4)


# ---- Supabase's gateway, and what else stands between


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, '{"message": "Invalid API key", "hint": "Double check your API key."}', "key_refused"),
        (401, '{"message": "Legacy API keys are disabled"}', "key_refused"),
        (401, '{"code": "PGRST301", "message": "JWSError", "details": null, "hint": null}', "key_refused"),
        (402, '{"message": "exceed_egress_quota"}', "key_refused"),
        (403, '{"message": "Forbidden"}', "key_refused"),
        (401, '{"code": "42501", "message": "permission denied", "details": null, "hint": null}', "refused"),
        (405, '{"code": "25006", "message": "cannot execute UPDATE", "details": null, "hint": null}', "no_writes"),
        (403, "<html>a proxy that knows nobody</html>", "no_answer"),
        (404, "the platform is deploying", "no_answer"),
        (503, '{"code": "PGRST001", "message": "no connection", "details": null, "hint": null}', "no_answer"),
    ],
)
def test_a_refusal_counts_as_the_services_word_only_when_it_is_its_own(status: int, body: str, kind: str) -> None:
    def says(_request: Request) -> Answer:
        return Answer(status, body.encode(), "application/json" if body.startswith("{") else "text/html")

    with Server(says) as server:
        gateway = SupabaseDatabase(server.url, "sb_secret_" + "x" * 20)
        with pytest.raises(DatabaseError) as caught:
            gateway.call("pmc_echo")
        gateway.close()
    assert caught.value.kind == kind
    assert "127.0.0.1" not in str(caught.value)
