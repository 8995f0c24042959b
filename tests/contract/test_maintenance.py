"""/api/cron/maintenance: what goes, and above all what stays."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.database import Database, DatabaseError
from shared.health.maintenance import PHASES, Maintenance
from shared.sections.section import Section
from tests.support.site import SECRET, SECTIONS, Site
from tests.support.world import World

PATH = "/api/cron/maintenance"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECTION = SECTIONS[0]


@pytest.fixture
def world(postgres) -> World:
    return World(postgres)


def run(database: Database, now: datetime = NOW) -> dict[str, int]:
    report = Maintenance(database, lambda: now).run()
    assert report.failed == []
    assert all(phase["status"] == "done" for phase in report.phases.values())
    return {name: phase["rows"] for name, phase in report.phases.items() if phase["rows"]}


def owe(world: World, *, status: str, age: timedelta, user: str | None = None, batch: str | None = None) -> int:
    """A row of the outbox with its event, `age` before `NOW`."""
    at = NOW - age
    event = world.one(
        "insert into pickmyclass.section_events (term, class_nbr, kind, observed_at, slot, created_at)"
        " values ('2267', '12431', 'seat_available', %s, %s, %s) returning id",
        *(at, at, at),
    )
    world.postgres.execute(
        "insert into pickmyclass.outbox (event_id, watch_id, user_id, watched_since, term, class_nbr,"
        " notification_type, payload, event_at, slot, status, created_at, batch_id)"
        " values (%s, gen_random_uuid(), coalesce(%s, gen_random_uuid()), now(), '2267', '12431',"
        " 'seat_available', '{}', %s, %s, %s, %s, %s)",
        [event, user, at, at, status, at, batch],
    )
    return int(event)


def test_the_operator_runs_it_and_sees_every_phase(site: Site) -> None:
    answer = site.ask("GET", PATH, bearer=SECRET)
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"success", "duration_ms", "phases"}
    assert body["success"] is True
    assert body["phases"] == {name: {"status": "done", "rows": 0} for name in PHASES}


def test_nobody_else_does(site: Site) -> None:
    for words in ({}, {"bearer": "x"}, {"user": site.world.add_user()}):
        answer = site.ask("GET", PATH, **words)
        assert (answer.status_code, answer.get_json()) == (401, {"success": False, "error": "Unauthorized"})
    site.restart(CRON_SECRET=None)
    assert site.ask("GET", PATH, bearer=SECRET).get_json()["error"] == "Server configuration error"


def test_a_database_that_is_gone_fails_every_phase(site: Site) -> None:
    site.lose_database()
    answer = site.ask("GET", PATH, bearer=SECRET)
    body = answer.get_json()
    assert (answer.status_code, body["success"]) == (500, False)
    assert {phase["status"] for phase in body["phases"].values()} == {"failed"}
    assert "hunter2" not in answer.text


def test_a_database_that_is_slow_to_fail_is_no_success_either(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.health.maintenance.SECONDS", 0.3)  # over before every phase had its turn
    site.lose_database()
    answer = site.ask("GET", PATH, bearer=SECRET)
    body = answer.get_json()
    assert (answer.status_code, body["success"], body["error"]) == (500, False, "No phase could be run")
    assert {phase["status"] for phase in body["phases"].values()} == {"failed", "to be continued"}


def test_a_phase_with_much_to_do_leaves_time_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        def call(self, _function: str, **arguments: Any) -> dict[str, int]:
            time.sleep(0.005)
            return {"rows": arguments["p_limit"] if arguments["p_phase"] == "expired_claims" else 0}

    monkeypatch.setattr("shared.health.maintenance.SECONDS", 0.5)
    phases = Maintenance(Endless(), lambda: NOW).run().phases
    assert phases.pop("expired_claims")["status"] == "to be continued"
    assert {phase["status"] for phase in phases.values()} == {"done"}


def test_expired_claims_go(database: Database, world: World) -> None:
    old, new = world.add_watch(), world.add_watch()
    for watch, ends in ((old, NOW), (new, NOW + timedelta(seconds=1))):
        world.postgres.execute(
            "insert into notifications_sent (class_watch_id, notification_type, expires_at)"
            " values (%s, 'seat_available', %s)",
            [watch, ends],
        )
    assert run(database) == {"expired_claims": 1}
    assert world.claims() == {(new, "seat_available")}


@pytest.mark.parametrize(
    ("term", "last_day"),
    [("2261", "2026-05-15"), ("2264", "2026-08-20"), ("2267", "2026-12-20")],
)
def test_watches_of_a_term_go_the_day_after_its_last_session(
    database: Database, world: World, term: str, last_day: str
) -> None:
    world.add_watch(Section(term, "12431"))
    ends = datetime.fromisoformat(last_day).replace(tzinfo=UTC)
    assert run(database, ends + timedelta(hours=30)) == {}  # still that day in Arizona
    assert run(database, ends + timedelta(hours=32)) == {"past_terms": 1}
    assert world.one("select count(*) from class_watches") == 0


def test_a_term_that_nobody_knows_is_never_past(database: Database, world: World) -> None:
    world.add_watch(Section("9999", "12431"))
    assert run(database, NOW + timedelta(days=3650)) == {}


def test_a_term_is_easy_to_add(database: Database, world: World) -> None:
    world.add_watch(Section("2262", "12431"))
    world.postgres.execute("insert into pickmyclass.terms (term, ends) values ('2262', '2026-06-01')")
    assert run(database) == {"past_terms": 1}


def close(world: World, days: float, **changed: object) -> str:
    closed = NOW - timedelta(days=days)
    columns = {
        "is_disabled": True,
        "disabled_at": closed,
        "notifications_enabled": False,
        "unsubscribed_at": closed,
        **changed,
    }
    user = world.add_user(**columns)
    world.add_watch(SECTION, user)
    return user


def test_a_closed_account_goes_after_thirty_days_with_all_it_has(database: Database, world: World) -> None:
    gone, kept = close(world, 30.01), close(world, 29.99)
    address = world.one("select email from auth.users where id = %s", gone)
    owe(world, status="delivered", age=timedelta(days=31), user=gone)
    world.postgres.execute("insert into failed_login_attempts (email, attempts) values (%s, 1)", [address])
    assert run(database) == {"deleted_accounts": 1}
    assert world.rows("select id::text from auth.users") == [(kept,)]
    for table in ("class_watches", "user_profiles"):
        assert world.rows(f"select user_id::text from {table}") == [(kept,)]
    assert world.one("select count(*) from pickmyclass.outbox") == 0
    assert world.one("select count(*) from failed_login_attempts") == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"unsubscribed_at": None},
        {"unsubscribed_at": NOW - timedelta(days=300)},
        {"notifications_enabled": True},
        {"is_disabled": False},
        {"disabled_at": None},
    ],
    ids=str,
)
def test_an_account_that_its_owner_did_not_close_stays(database: Database, world: World, changed: dict) -> None:
    close(world, 90, **changed)
    assert run(database) == {}


def test_the_account_routes_date_is_the_one_that_counts(site: Site) -> None:
    user = site.world.add_user()
    said = site.ask("DELETE", "/api/user/delete", user=user).get_json()
    date = datetime.fromisoformat(said["permanent_deletion_date"])
    assert run(site.parts.database, date - timedelta(seconds=1)) == {}
    assert run(site.parts.database, date + timedelta(seconds=1))["deleted_accounts"] == 1


def test_old_mail_goes_and_what_is_owed_never(database: Database, world: World) -> None:
    old, older = timedelta(days=91), timedelta(days=400)
    for status in ("sent", "delivered", "dropped", "dead"):
        owe(world, status=status, age=old)
    for status in ("pending", "sending"):
        owe(world, status=status, age=older)
    owe(world, status="delivered", age=timedelta(days=89))
    assert run(database) == {"outbox": 4}
    left = world.rows("select status from pickmyclass.outbox order by 1")
    assert [status for (status,) in left] == ["delivered", "pending", "sending"]


def test_events_stay_while_pages_draw_their_term_and_until_their_mail_is_gone(database: Database, world: World) -> None:
    events = [owe(world, status="delivered", age=timedelta(days=60)) for _ in range(4)]
    unsent, bare, running, unknown = events
    for event, term in ((unsent, "2261"), (bare, "2261"), (unknown, "9999")):
        world.postgres.execute("update pickmyclass.section_events set term = %s where id = %s", [term, event])
    world.postgres.execute("delete from pickmyclass.outbox where event_id <> %s", [unsent])
    assert run(database) == {"events": 1}
    left = world.rows("select id from pickmyclass.section_events order by id")
    assert [event for (event,) in left] == [unsent, running, unknown]


def test_frozen_bodies_go_a_week_after_they_settled(database: Database, world: World) -> None:
    ids = {}
    for name, settled in (("old", NOW - timedelta(days=7)), ("new", NOW - timedelta(days=6)), ("open", None)):
        ids[name] = world.one(
            "insert into pickmyclass.mail_batches (id, body, leased_until, settled_at, outcome)"
            " values (gen_random_uuid(), '[]', now(), %s, %s) returning id",
            *(settled, "accepted" if settled else None),
        )
    assert run(database) == {"mail_bodies": 1}
    bodies = dict(world.rows("select id, body from pickmyclass.mail_batches"))
    assert [bodies[ids[name]] for name in ("old", "new", "open")] == [None, "[]", "[]"]
    assert run(database, NOW + timedelta(days=90))["mail_batches"] == 2
    assert world.rows("select id from pickmyclass.mail_batches") == [(ids["open"],)]


def test_logs_go_when_they_are_old(database: Database, world: World) -> None:
    for days in (30, 29):
        at = NOW - timedelta(days=days)
        world.postgres.execute(
            "insert into pickmyclass.ticks (id, slot, stagger_group, source, started_at)"
            " values (%s, %s, 'even', 'scheduler', %s)",
            [str(days), at, at],
        )
        world.postgres.execute(
            "insert into pickmyclass.webhook_deliveries (svix_id, event_type, received_at) values (%s, 'x', %s)",
            [str(days), at],
        )
    assert run(database) == {"ticks": 1, "webhook_deliveries": 1}


def test_only_consumers_that_were_taken_over_are_forgotten(database: Database, world: World) -> None:
    for worker, status in (("gone", "offline"), ("silent", "active"), ("draining", "draining")):
        world.postgres.execute(
            "insert into pickmyclass.workers (worker_id, worker_name, host, status, max_concurrent_jobs, updated_at)"
            " values (%s, 'one', 'box', %s, 4, %s)",
            [worker, status, NOW - timedelta(days=8)],
        )
    assert run(database) == {"workers": 1}
    assert world.one("select count(*) from pickmyclass.workers") == 2


def test_baselines_of_past_terms_go_when_nobody_watches(database: Database, world: World) -> None:
    for term in ("2257", "2267", "9999"):
        world.postgres.execute("insert into pickmyclass.section_checks (term, class_nbr) values (%s, '12431')", [term])
    assert run(database) == {"baselines": 1}


def test_steps_are_bounded_and_all_of_them_are_taken(database: Database, world: World) -> None:
    world.postgres.execute(
        "insert into pickmyclass.webhook_deliveries (svix_id, event_type, received_at)"
        " select 'id' || i, 'x', '2026-01-01' from generate_series(1, 5000) i"
    )
    step = database.call("pmc_prune", p_phase="webhook_deliveries", p_limit=100, p_now=NOW)
    assert step == {"rows": 100}
    assert run(database) == {"webhook_deliveries": 4900}


def test_one_phase_that_fails_does_not_stop_the_others(database: Database, world: World) -> None:
    class Broken:
        def call(self, function: str, **arguments: object) -> object:
            if arguments["p_phase"] == "past_terms":
                raise DatabaseError("past_terms: no", "XX000")
            return database.call(function, **arguments)

    world.postgres.execute(
        "insert into pickmyclass.webhook_deliveries (svix_id, event_type, received_at) values ('x', 'x', '2026-01-01')"
    )
    report = Maintenance(Broken(), lambda: NOW).run()
    assert report.failed == ["past_terms"]
    assert report.phases["past_terms"] == {"status": "failed", "rows": 0, "error": "database failed"}
    assert report.phases["webhook_deliveries"] == {"status": "done", "rows": 1}


def test_it_can_be_interrupted_between_steps(database: Database) -> None:
    report = Maintenance(database, lambda: NOW).run(interrupted=lambda: True)
    assert {phase["status"] for phase in report.phases.values()} == {"to be continued"}


def test_an_unknown_phase_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseError):
        database.call("pmc_prune", p_phase="everything")
