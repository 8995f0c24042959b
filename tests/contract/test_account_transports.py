"""What students and Resend make the database do, over both transports alike."""

import uuid

import psycopg
import pytest

from shared.database import Database
from tests.support.world import NOON, World


@pytest.fixture
def world(postgres: psycopg.Connection) -> World:
    return World(postgres)


def test_a_students_life_is_the_same_over_both_transports(any_database: Database, world: World) -> None:
    call, user = any_database.call, world.add_user()
    account = {"p_user_id": user}
    assert call("pmc_read_user", **account) == {"active": True, "watches": 0, "max_watches": 10}
    section = {"p_term": "2267", "p_class_nbr": "12431", "p_subject": "CSE", "p_catalog_nbr": "110"}
    added = call("pmc_add_watch", **account, **section)
    assert added["result"] == "added"
    assert call("pmc_add_watch", **account, **section) == {"result": "exists"}
    listed = call("pmc_list_watches", **account)["watches"]
    assert listed == [added["watch"] | {"class_state": None}]
    assert call("pmc_remove_watch", **account, p_watch_id=str(uuid.uuid4())) == {"removed": False}
    assert call("pmc_remove_watch", **account, p_watch_id=added["watch"]["id"]) == {"removed": True}
    assert call("pmc_export_user", **account, p_now=NOON)["export_info"]["exported_at"].startswith(
        "2026-11-22T12:00:00"
    )
    assert call("pmc_unsubscribe", **account, p_now=NOON) == {"changed": True, "dropped": 0}
    message = {
        "p_svix_id": "msg_1",
        "p_event_type": "email.bounced",
        "p_effect": "bounced",
        "p_message_id": None,
        "p_addresses": [world.one("select email from auth.users where id = %s", user)],
    }
    assert call("pmc_record_webhook", **message) == {"result": "handled", "people": 1, "mails": 0}
    assert call("pmc_record_webhook", **message) == {"result": "repeated"}
    assert call("pmc_delete_user", **account, p_now=NOON)["disabled_at"].startswith("2026-11-22T12:00:00")
    assert call("pmc_read_user", **account)["active"] is False
    assert call("pmc_prune", p_phase="ticks", p_limit=10, p_now=NOON) == {"rows": 0}
    assert call("pmc_read_metrics", p_now=NOON)["outbox"] == {}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_the_sites_public_key_opens_none_of_these(postgres: psycopg.Connection, role: str) -> None:
    """O37: whatever is made in `public` may be executed by everyone on older projects, unless it is taken away."""
    functions = postgres.execute(
        "select p.oid::regprocedure::text from pg_proc p join pg_namespace n on n.oid = p.pronamespace"
        " where (n.nspname = 'public' and p.proname like 'pmc\\_%%') or n.nspname = 'pickmyclass'"
    ).fetchall()
    assert len(functions) > 30
    for (function,) in functions:
        allowed = postgres.execute("select has_function_privilege(%s, %s, 'execute')", [role, function]).fetchone()
        assert allowed == (False,), function
