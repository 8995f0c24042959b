"""Migrations: on an empty Postgres, on the origin's project with its data, twice, edited, half-way, by two at once."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from postgrest import SyncPostgrestClient
from postgrest.exceptions import APIError

from shared import migrations
from shared.database import connect_postgres
from shared.migrations import MIGRATIONS, migrate, read_migrations
from shared.routines import MigrationError
from shared.sections.section import Section
from tests.support.world import NOON, SECTION, World, facts, minutes, see
from workshop.parts.postgres import EmbeddedPostgres
from workshop.parts.postgrest import EmbeddedPostgrest

ORIGIN = Path(__file__).parents[1] / "support" / "origin.sql"
ANN, BOB, LEO = (f"00000000-0000-0000-0000-0000000000{number}" for number in ("01", "02", "19"))
OTHER_PROGRAMS = [
    path
    for version in (15, 16, 17)
    if (path := Path(f"/usr/lib/postgresql/{version}/bin")).joinpath("postgres").exists()
]
WATCHER_RPCS = {
    "get_watchers_for_sections": "array['12001']",
    "get_class_watchers": "'12001'",
    "get_sections_to_check": "'even'",
    "try_record_notification": "gen_random_uuid(), 'seat_available', 24",
    "get_notification_counts_by_class": "",
    "get_notification_counts_by_user": "",
}


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the migrations that a test may spoil."""
    return Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))


@pytest.fixture(scope="module")
def origin_server() -> Iterator[EmbeddedPostgres]:
    """A server of its own, because roles belong to a server; with the origin's database and a migrated copy of it."""
    with EmbeddedPostgres() as server:
        with psycopg.connect(server.create_database("origin"), autocommit=True) as session:
            session.execute(ORIGIN.read_bytes())
        server.create_database("moved", template="origin", owner="project_owner")
        migrate(server.url("moved", user="project_owner"), max_watches=10)
        yield server


@pytest.fixture
def origin_url(origin_server: EmbeddedPostgres) -> Iterator[str]:
    """The origin's database as it was, as its owner, who is no superuser."""
    yield _copy(origin_server, "origin")
    origin_server.drop_database("origin_copy")


@pytest.fixture
def moved_url(origin_server: EmbeddedPostgres) -> Iterator[str]:
    """The origin's database after our migrations."""
    yield _copy(origin_server, "moved")
    origin_server.drop_database("moved_copy")


def _copy(server: EmbeddedPostgres, name: str) -> str:
    server.create_database(f"{name}_copy", template=name, owner="project_owner")
    return server.url(f"{name}_copy", user="project_owner")


def snapshot(url: str) -> dict[str, list[Any]]:
    """Every row of the origin's tables, and every definition of public, auth and the publications."""
    tables = [
        "auth.users",
        "class_watches",
        "class_states",
        "notifications_sent",
        "user_profiles",
        "failed_login_attempts",
    ]
    queries = {table: f"select to_jsonb(t)::text from {table} t order by 1" for table in tables} | {
        "functions": "select pg_get_functiondef(p.oid) || coalesce(p.proacl::text, '') from pg_proc p"
        " where p.pronamespace in ('public'::regnamespace, 'auth'::regnamespace) order by 1",
        "triggers": "select pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by 1",
        "policies": "select to_jsonb(p)::text from pg_policies p where schemaname = 'public' order by 1",
        "constraints": "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'public'::regnamespace order by 1, 2",
        "indexes": "select indexdef from pg_indexes where schemaname in ('public', 'auth') order by 1",
        "published": "select tablename from pg_publication_tables order by 1",
        "roles": "select rolname, rolsuper, rolbypassrls from pg_roles where rolname !~ '^pg_' order by 1",
    }
    with psycopg.connect(url) as session:
        return {name: session.execute(query).fetchall() for name, query in queries.items()}


def rows(url: str, statement: str, *values: Any) -> list[Any]:
    with psycopg.connect(url, autocommit=True) as session:
        return session.execute(statement, values).fetchall()


@contextmanager
def person(url: str, role: str, user: str | None = None) -> Iterator[psycopg.Connection[Any]]:
    """A session as the site's visitor (`anon`) or as a signed-in person, the way PostgREST does it."""
    with psycopg.connect(url, autocommit=True) as session:
        claims = "{}" if user is None else f'{{"sub": "{user}", "role": "{role}"}}'
        session.execute("select set_config('request.jwt.claims', %s, false)", [claims])
        session.execute(f"set role {role}")
        yield session


def watch(session: psycopg.Connection[Any], user: str, class_nbr: str) -> None:
    session.execute(
        "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
        " values (%s, '2267', 'CSE', '1', %s)",
        [user, class_nbr],
    )


# The run itself ---------------------------------------------------------------------------------------------


def test_an_empty_postgres_gets_everything_and_is_ours(empty_postgres_url: str) -> None:
    report = migrate(empty_postgres_url, max_watches=7)
    assert report.applied == [path.stem for path in sorted(MIGRATIONS.glob("*.sql"))]
    assert (report.origin_found, report.owner) == (False, "server")
    assert f"{len(report.applied)} applied now, 0 before." in str(report)
    assert rows(empty_postgres_url, "select value from pickmyclass.settings where key = 'max_watches'") == [("7",)]


def test_a_second_run_changes_nothing(empty_postgres_url: str) -> None:
    first = migrate(empty_postgres_url, max_watches=10)
    before = snapshot(empty_postgres_url)
    second = migrate(empty_postgres_url, max_watches=10)
    assert (second.applied, second.already_applied) == ([], len(first.applied))
    assert snapshot(empty_postgres_url) == before


def test_an_edited_file_is_noticed(empty_postgres_url: str, copied: Path) -> None:
    migrate(empty_postgres_url, folder=copied)
    edited = sorted(copied.glob("*.sql"))[1]
    edited.write_text(edited.read_text() + "\n-- one more word")
    with pytest.raises(MigrationError, match=f"{edited.stem} was edited after it had been applied"):
        migrate(empty_postgres_url, folder=copied)


def test_a_file_that_fails_leaves_nothing_and_the_next_run_goes_on(empty_postgres_url: str, copied: Path) -> None:
    migrate(empty_postgres_url, folder=copied)
    broken = copied / "20991231000000_broken.sql"
    broken.write_text("create table public.half_done (); select no_such_column from public.half_done;")
    with pytest.raises(MigrationError, match=r"20991231000000_broken failed: .*no_such_column"):
        migrate(empty_postgres_url, folder=copied)
    assert rows(empty_postgres_url, "select to_regclass('public.half_done')") == [(None,)]
    broken.write_text("create table public.done ();")
    assert migrate(empty_postgres_url, folder=copied).applied == ["20991231000000_broken"]


def test_two_runs_at_once_take_turns(empty_postgres_url: str) -> None:
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(migrate, [empty_postgres_url] * 2))
    assert sorted(len(report.applied) for report in reports) == [0, len(read_migrations(MIGRATIONS))]


@pytest.mark.parametrize(
    "hold", ["select pg_advisory_lock(7425622129)", "begin; lock table public.class_watches"], ids=["another", "table"]
)
def test_a_run_that_waits_in_vain_names_who_holds_the_lock(
    empty_postgres_url: str, copied: Path, monkeypatch: pytest.MonkeyPatch, hold: str
) -> None:
    migrate(empty_postgres_url, folder=copied)
    (copied / "20991231000000_late.sql").write_text("alter table public.class_watches add column late int;")
    monkeypatch.setattr(migrations, "_LOCK_SECONDS", 1)
    with psycopg.connect(empty_postgres_url, autocommit=True, application_name="a forgotten shell") as other:
        other.execute(hold)
        with pytest.raises(MigrationError, match=rf"process {other.info.backend_pid} of \w+ \(a forgotten shell\)"):
            migrate(empty_postgres_url, folder=copied)
    assert migrate(empty_postgres_url, folder=copied).applied == ["20991231000000_late"]


def test_a_run_leaves_no_lock_and_no_limit_behind_in_its_session(empty_postgres_url: str) -> None:
    with psycopg.connect(empty_postgres_url, autocommit=True) as session:
        locks = "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()"
        with migrations._bounded(session):
            session.execute("select pg_advisory_xact_lock(%s)", [migrations._LOCK])
            assert session.execute(locks).fetchone() == (1,)
        assert session.execute(locks).fetchone() == (0,)
        assert session.execute("show lock_timeout").fetchone() == ("0",)
        assert session.execute("show statement_timeout").fetchone() == ("0",)


@pytest.mark.parametrize("name", ["init.sql", "2026_first.sql", "20261122000100.sql"])
def test_a_file_with_another_name_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(MigrationError, match=name):
        read_migrations(tmp_path)


def test_two_files_with_one_version_are_refused(tmp_path: Path) -> None:
    for name in ("20261122000100_one.sql", "20261122000100_two.sql"):
        (tmp_path / name).touch()
    with pytest.raises(MigrationError, match="20261122000100"):
        read_migrations(tmp_path)


def test_an_unreachable_database_is_named_by_its_setting_only() -> None:
    with pytest.raises(MigrationError) as caught:
        migrate("postgresql://owner:verysecret@127.0.0.1:9/gone")
    assert "DATABASE_URL" in str(caught.value)
    assert "verysecret" not in str(caught.value)
    assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("programs", OTHER_PROGRAMS, ids=str)
def test_other_versions_of_postgres_take_them_too(programs: Path) -> None:
    with EmbeddedPostgres(programs=programs) as server:
        url = server.create_database("moved")
        with psycopg.connect(url, autocommit=True) as session:
            session.execute(ORIGIN.read_bytes())
        assert migrate(server.url("moved", user="project_owner")).owner == "workers"
        assert migrate(server.create_database("plain")).owner == "server"
        database = connect_postgres(server.url("plain"))
        assert see(database, facts(3))["result"] == "committed"
        database.close()


def test_what_was_done_by_hand_before_there_was_one_record_is_kept_in_order(
    empty_postgres_url: str, copied: Path
) -> None:
    for path in copied.glob("*.sql"):
        if path.name >= "20261127000100_acts.sql":
            path.unlink()
    migrate(empty_postgres_url, folder=copied)
    with psycopg.connect(empty_postgres_url) as session:
        session.execute("insert into auth.users (id, email) values (%s, 'ann@example.edu')", [ANN])
        session.execute(
            "insert into pickmyclass.admin_actions (at, admin_id, user_id, action) values"
            " ('2026-11-01 10:00Z', %s, %s, 'disable'), ('2026-11-03 10:00Z', %s, %s, 'enable')",
            [BOB, ANN, BOB, LEO],
        )
        session.execute(
            "insert into pickmyclass.operator_acts (at, by, act, user_id, detail)"
            " values ('2026-11-02 10:00Z', 'carol', 'resend', %s, '{\"mail_id\": 7}')",
            [ANN],
        )
    migrate(empty_postgres_url)
    assert rows(
        empty_postgres_url, "select by, admin_id::text, act, user_id::text, detail from pickmyclass.acts order by id"
    ) == [
        (None, BOB, "disable", ANN, {}),
        ("carol", None, "resend", ANN, {"mail_id": 7}),
        (None, BOB, "enable", LEO, {}),
    ]


# The origin's project ---------------------------------------------------------------------------------------


def test_the_first_files_do_nothing_on_the_origins_project(origin_url: str) -> None:
    before = snapshot(origin_url)
    with psycopg.connect(origin_url, autocommit=True) as session:
        for file in read_migrations(MIGRATIONS)[:2]:
            session.execute(file.text.encode())
    assert snapshot(origin_url) == before


def test_every_row_of_the_origin_is_kept(origin_url: str) -> None:
    before = snapshot(origin_url)
    report = migrate(origin_url, max_watches=10)
    after = snapshot(origin_url)
    assert (report.origin_found, report.owner) == (True, "workers")
    for table in ("auth.users", "class_watches", "class_states", "notifications_sent", "user_profiles"):
        assert after[table] == before[table], table
    for kind in ("policies", "constraints", "published", "roles"):
        assert after[kind] == before[kind], kind
    assert set(before["triggers"]) <= set(after["triggers"])
    assert set(before["indexes"]) <= set(after["indexes"])


def test_the_origins_calls_give_what_they_gave(origin_url: str, moved_url: str) -> None:
    for call in (
        "get_sections_to_check('even')",
        "get_sections_to_check('odd')",
        "get_sections_to_check('all')",
        "get_watchers_for_sections(array['12001', '12002', '99999'])",
        "get_class_watchers('12001')",
        "get_notification_counts_by_class()",
        "get_notification_counts_by_user()",
    ):
        statement = f"select to_jsonb(r)::text from {call} r order by 1"
        with person(moved_url, "service_role") as service:
            assert service.execute(statement).fetchall() == rows(origin_url, statement), call


def test_the_old_side_is_given_only_what_is_its_own(moved_url: str) -> None:
    database = connect_postgres(moved_url)
    database.call("pmc_switch_ownership", p_owner="server", p_sections=[{"term": "2267", "class_nbr": "12002"}])
    evens = [row[0] for row in rows(moved_url, "select class_nbr from get_sections_to_check('even') order by 1")]
    assert evens == ["12004", "12006", "12008", "12010", "12012"]
    database.call("pmc_switch_ownership", p_owner="server")
    database.close()
    assert rows(moved_url, "select * from get_sections_to_check('all')") == []


@pytest.mark.parametrize("group", ["'evn'", "null", "''"])
def test_a_group_that_does_not_exist_is_refused(moved_url: str, group: str) -> None:  # O36
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        rows(moved_url, f"select * from get_sections_to_check({group})")


def test_an_expired_claim_can_be_taken_again_and_a_fresh_one_cannot(moved_url: str) -> None:  # O1
    watch_id = rows(moved_url, "select id from class_watches where class_nbr = '12001' limit 1")[0][0]
    claim = "select try_record_notification(%s, 'seat_available')"
    assert [rows(moved_url, claim, watch_id)[0][0] for _ in range(2)] == [True, False]


def test_sections_that_come_over_keep_what_the_old_side_saw(moved_url: str) -> None:
    database = connect_postgres(moved_url)
    with psycopg.connect(moved_url, autocommit=True) as session:
        World(session).old_upsert(Section("2267", "12001"), facts(0, "Ada Lovelace"))
    database.call("pmc_switch_ownership", p_owner="server")
    known = database.call("pmc_read_section", p_term="2267", p_class_nbr="12001")
    database.close()
    assert known["facts"]["instructor_name"] == "Ada Lovelace"
    assert known["version"] == 1


# The holes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_nobody_but_the_service_may_call_what_shows_addresses(moved_url: str, role: str) -> None:  # O37
    with person(moved_url, role, ANN) as session:
        for name, arguments in WATCHER_RPCS.items():
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"select * from {name}({arguments})")
        assert session.execute("select user_owns_class_watch(gen_random_uuid())").fetchone() == (False,)


@pytest.mark.parametrize("url_name", ["moved_url", "postgres_url"])
def test_none_of_our_functions_and_tables_is_open_to_people(request: pytest.FixtureRequest, url_name: str) -> None:
    url = request.getfixturevalue(url_name)
    opened = rows(
        url,
        "select p.oid::regprocedure::text, role from pg_proc p, unnest(array['anon', 'authenticated']) role"
        " where (p.proname like 'pmc\\_%%' or p.pronamespace = 'pickmyclass'::regnamespace)"
        " and has_function_privilege(role, p.oid, 'execute')",
    )
    assert opened == []
    closed = rows(
        url,
        "select p.oid::regprocedure::text from pg_proc p where p.proname like 'pmc\\_%%'"
        " and not has_function_privilege('service_role', p.oid, 'execute')",
    )
    assert closed == []
    bare = rows(
        url,
        "select c.oid::regclass::text from pg_class c where c.relnamespace = 'pickmyclass'::regnamespace"
        " and c.relkind = 'r' and not c.relrowsecurity",
    )
    assert bare == []
    for role in ("anon", "authenticated", "service_role"):
        with person(url, role, ANN) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
            session.execute("select * from pickmyclass.section_checks")


def test_our_functions_are_safe_to_call_with_the_owners_rights(postgres_url: str) -> None:
    unsafe = rows(
        postgres_url,
        "select p.oid::regprocedure::text from pg_proc p where p.proname like 'pmc\\_%%'"
        " and (not p.prosecdef or p.prorettype <> 'jsonb'::regtype or p.proretset"
        " or not coalesce('search_path=\"\"' = any (p.proconfig), false))",
    )
    assert unsafe == []


@pytest.mark.parametrize(
    "change",
    [
        "is_admin = true",
        "email_bounced = false",
        "email_bounced_at = now()",
        "spam_complained = true",
        "is_disabled = true",
        "disabled_at = now()",
        "notifications_enabled = true, is_admin = true",
    ],
)
def test_people_cannot_write_what_is_said_about_them(moved_url: str, change: str) -> None:  # O38
    with (
        person(moved_url, "authenticated", BOB) as session,
        pytest.raises(psycopg.errors.InsufficientPrivilege) as caught,
    ):
        session.execute(f"update user_profiles set {change} where user_id = '{BOB}'")
    assert caught.value.sqlstate == "42501"


def test_people_cannot_come_in_with_what_is_said_about_them(moved_url: str) -> None:  # O38
    with person(moved_url, "service_role") as service:
        service.execute(f"delete from user_profiles where user_id = '{BOB}'")
    with person(moved_url, "authenticated", BOB) as session:
        for name in ("is_admin", "is_disabled", "email_bounced", "spam_complained"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"insert into user_profiles (user_id, {name}) values ('{BOB}', true)")
        for name in ("disabled_at", "email_bounced_at", "spam_complained_at"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                session.execute(f"insert into user_profiles (user_id, {name}) values ('{BOB}', now())")
        session.execute(f"insert into user_profiles (user_id, age_verified_at) values ('{BOB}', now())")


def test_people_cannot_shed_a_bounce_by_coming_back_with_a_fresh_profile(moved_url: str) -> None:  # O38
    with person(moved_url, "authenticated", BOB) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute(f"delete from user_profiles where user_id = '{BOB}'")
    assert rows(moved_url, "select email_bounced from user_profiles where user_id = %s", BOB) == [(True,)]
    rows(moved_url, "delete from auth.users where id = %s returning id", BOB)
    assert rows(moved_url, "select 1 from user_profiles where user_id = %s", BOB) == []


def test_people_still_write_their_consent_and_the_service_everything(moved_url: str) -> None:
    theirs = (
        "age_verified_at = now(), agreed_to_terms_at = now(), notifications_enabled = false, unsubscribed_at = now()"
    )
    with person(moved_url, "authenticated", BOB) as session:
        assert session.execute(f"update user_profiles set {theirs}").rowcount == 1
    with person(moved_url, "service_role") as service:
        service.execute(f"update user_profiles set email_bounced = false, is_admin = true where user_id = '{BOB}'")


def test_a_closed_account_begins_no_watch_with_the_sites_own_key(moved_url: str) -> None:
    with person(moved_url, "service_role") as service:
        service.execute(f"update user_profiles set is_disabled = true where user_id = '{LEO}'")
    before = rows(moved_url, "select count(*) from class_watches where user_id = %s", LEO)
    with person(moved_url, "authenticated", LEO) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        watch(session, LEO, "30001")
    assert rows(moved_url, "select count(*) from class_watches where user_id = %s", LEO) == before
    with person(moved_url, "service_role") as service:
        service.execute(f"update user_profiles set is_disabled = false where user_id = '{LEO}'")
    with person(moved_url, "authenticated", LEO) as session:
        watch(session, LEO, "30001")


def test_nobody_holds_more_watches_than_the_limit_whichever_way_they_come(moved_url: str) -> None:  # O39
    for role, user in (("authenticated", LEO), ("service_role", BOB)):
        with person(moved_url, role, user) as session:
            held = session.execute("select count(*) from class_watches where user_id = %s", [user]).fetchone()
            assert held is not None
            for number in range(held[0], 10):
                watch(session, user, str(30000 + number))
            with pytest.raises(psycopg.Error, match=r"Maximum watches limit reached \(10\)") as caught:
                watch(session, user, "39999")
            assert caught.value.sqlstate == "PT429"


def test_one_statement_cannot_carry_more_watches_than_the_limit(moved_url: str) -> None:
    with person(moved_url, "authenticated", LEO) as session, pytest.raises(psycopg.Error, match="Maximum watches"):
        session.execute(
            "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr)"
            " select %s, '2267', 'CSE', '1', (40000 + i)::text from generate_series(1, 11) i",
            [LEO],
        )
    assert rows(moved_url, "select count(*) from class_watches where user_id = %s", LEO) == [(0,)]


def test_two_inserts_of_one_person_take_turns(moved_url: str) -> None:  # O31
    def add(class_nbr: str) -> str | None:
        with person(moved_url, "authenticated", LEO) as session:
            try:
                watch(session, LEO, class_nbr)
            except psycopg.Error as error:
                return error.sqlstate
            return None

    assert [add(str(50000 + number)) for number in range(9)] == [None] * 9
    with (
        person(moved_url, "authenticated", LEO) as first,
        psycopg.connect(moved_url, autocommit=True) as watching,
        ThreadPoolExecutor(1) as pool,
    ):
        with first.transaction():
            watch(first, LEO, "50010")
            second = pool.submit(add, "50011")
            World(watching).wait_until_blocked()
        assert second.result(30) == "PT429"


def test_who_had_more_watches_keeps_them_but_gets_no_further_one(moved_url: str) -> None:
    assert rows(moved_url, "select count(*) from class_watches where user_id = %s", ANN) == [(12,)]
    with person(moved_url, "authenticated", ANN) as session, pytest.raises(psycopg.Error, match="Maximum watches"):
        watch(session, ANN, "12099")


# The statements that the old code and the site send through PostgREST ---------------------------------------


@pytest.fixture
def rest(origin_server: EmbeddedPostgres, moved_url: str) -> Iterator[EmbeddedPostgrest]:
    with EmbeddedPostgrest(origin_server.url("moved_copy", user="authenticator")) as server:
        yield server


@contextmanager
def caller(rest: EmbeddedPostgrest, token: str) -> Iterator[SyncPostgrestClient]:
    with httpx.Client(base_url=f"{rest.url}/rest/v1/", headers={"Authorization": f"Bearer {token}"}) as http:
        yield SyncPostgrestClient(f"{rest.url}/rest/v1", headers={"Authorization": f"Bearer {token}"}, http_client=http)


@pytest.mark.postgrest
def test_the_public_key_shows_no_address_and_makes_no_admin(rest: EmbeddedPostgrest) -> None:
    for token in (rest.anon_key, rest.user_token(BOB)):
        with caller(rest, token) as site:
            for name, arguments in (
                ("get_watchers_for_sections", {"section_numbers": ["12001"]}),
                ("get_class_watchers", {"section_number": "12001"}),
                ("pmc_read_section", {"p_term": "2267", "p_class_nbr": "12001"}),
            ):
                with pytest.raises(APIError) as caught:
                    site.rpc(name, arguments).execute()
                assert caught.value.code == "42501"
    with caller(rest, rest.anon_key) as site:
        assert site.table("user_profiles").select("*").execute().data == []
        assert site.table("class_watches").select("*").execute().data == []
    with caller(rest, rest.user_token(BOB)) as site, pytest.raises(APIError) as caught:
        site.table("user_profiles").update({"is_admin": True}).eq("user_id", BOB).execute()
    assert caught.value.code == "42501"


@pytest.mark.postgrest
def test_the_sites_statements_work_as_before(rest: EmbeddedPostgrest, moved_url: str) -> None:
    with caller(rest, rest.user_token(LEO)) as site:
        row = {"user_id": LEO, "term": "2267", "subject": "CSE", "catalog_nbr": "101", "class_nbr": "12001"}
        added = site.table("class_watches").insert(row).execute().data[0]
        assert site.table("class_watches").select("*").eq("user_id", LEO).execute().data == [added]
        consent = {"user_id": LEO, "age_verified_at": NOON.isoformat(), "agreed_to_terms_at": NOON.isoformat()}
        site.table("user_profiles").upsert(consent, on_conflict="user_id").execute()
        muted = site.table("user_profiles").update({"notifications_enabled": False}).eq("user_id", LEO).execute()
        assert muted.data[0]["age_verified_at"].startswith("2026-11-22")
        assert len(site.table("class_states").select("*").execute().data) == 11
        site.table("class_watches").delete().eq("id", added["id"]).execute()
    assert rows(moved_url, "select count(*) from class_watches where user_id = %s", LEO) == [(0,)]


@pytest.mark.postgrest
def test_the_old_workers_statements_work_as_before(rest: EmbeddedPostgrest, moved_url: str) -> None:
    state = {"term": "2267", "subject": "CSE", "catalog_nbr": "101", "class_nbr": "12001", "title": "T"}
    state |= {"instructor_name": "Ada", "seats_available": 4, "seats_capacity": 30, "non_reserved_seats": None}
    state |= {"location": None, "meeting_times": None, "last_checked_at": NOON.isoformat()}
    with caller(rest, rest.service_role_key) as old:
        old.table("class_states").upsert(state, on_conflict="class_nbr").execute()
        seen = old.table("class_states").select("*").eq("class_nbr", "12001").single().execute().data
        assert (seen["seats_available"], seen["instructor_name"]) == (4, "Ada")
        watches = old.table("class_watches").select("id").eq("class_nbr", "12001").execute().data
        ids = [row["id"] for row in watches]
        gone = old.table("notifications_sent").delete().in_("class_watch_id", ids)
        assert len(gone.eq("notification_type", "seat_available").execute().data) == len(ids)
        due = old.rpc("get_sections_to_check", {"stagger_type": "odd"}).execute().data
        assert {row["class_nbr"] for row in due} == {f"{12000 + i}" for i in range(1, 12, 2)}
        claim = {"p_class_watch_id": ids[0], "p_notification_type": "seat_available", "p_expires_hours": 24}
        assert [old.rpc("try_record_notification", claim).execute().data for _ in range(2)] == [True, False]


# After the cut-over -----------------------------------------------------------------------------------------


def test_states_are_not_kept_per_term_while_the_old_side_still_runs(moved_url: str) -> None:
    with pytest.raises(MigrationError, match="workers still own sections"):
        migrate(moved_url, post_cutover=True)


def test_after_the_cutover_each_term_has_its_own_state(moved_url: str) -> None:
    database = connect_postgres(moved_url)
    database.call("pmc_switch_ownership", p_owner="server")
    assert len(migrate(moved_url, post_cutover=True).applied) == 1
    assert migrate(moved_url, post_cutover=True).applied == []
    assert migrate(moved_url).applied == []
    spring = Section("2271", SECTION.class_nbr)
    see(database, facts(1), NOON, section=SECTION)
    see(database, facts(2), NOON, section=spring)
    see(database, facts(3), NOON + minutes(1), section=SECTION)
    database.close()
    seen = rows(moved_url, "select term, seats_available from class_states where class_nbr = '12431' order by 1")
    assert seen == [("2267", 3), ("2271", 2)]


def test_terms_end_a_few_days_after_their_last_session(postgres_url: str) -> None:
    over = "select pickmyclass.term_is_over(%s, %s)"
    noon = NOON.replace(month=8, day=20, hour=12)
    assert rows(postgres_url, over, "2264", noon) == [(False,)]
    assert rows(postgres_url, over, "2264", noon + timedelta(days=1)) == [(True,)]
    assert rows(postgres_url, over, "9999", noon + timedelta(days=9999)) == [(False,)]


# What Python calls ----------------------------------------------------------------------------------------------


def test_every_function_that_the_program_calls_exists_with_these_arguments(postgres_url: str) -> None:
    known = {
        name: set(arguments or [])
        for name, arguments in rows(
            postgres_url, "select proname, proargnames from pg_proc where proname like 'pmc\\_%%'"
        )
    }
    root = Path(__file__).parents[2]
    folders = [path for name in ("shared", "functions", "local") for path in (root / name).rglob("*.py")]
    called = 0
    for path in [*folders, *root.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
                continue
            name = node.args[0].value
            if isinstance(name, str) and name.startswith("pmc_"):
                called += 1
                arguments = {keyword.arg for keyword in node.keywords if keyword.arg}
                assert name in known, f"{path.name}:{node.lineno} calls {name}"
                assert arguments <= known[name], (
                    f"{path.name}:{node.lineno} calls {name} with {arguments - known[name]}"
                )
    assert called > 10


def test_nobody_may_say_when_his_watch_began(postgres_url: str) -> None:
    # The order of mail follows it: a watch from 1970 would always be told first.
    user = rows(postgres_url, "insert into auth.users (email) values ('early@example.edu') returning id")[0][0]
    began = "select created_at > now() - interval '1 minute' from class_watches"
    with person(postgres_url, "authenticated", str(user)) as session:
        session.execute(
            "insert into class_watches (user_id, term, subject, catalog_nbr, class_nbr, created_at)"
            " values (%s, '2267', 'CSE', '1', '12345', '1970-01-01')",
            [user],
        )
    assert rows(postgres_url, began) == [(True,)]
