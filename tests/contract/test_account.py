"""/api/user/export and /api/user/delete."""

import json
from datetime import UTC, datetime, timedelta

from functions.account.main import account
from tests.support.site import SECTIONS, Site
from tests.support.stage import Stage

EXPORT, DELETE = "/api/user/export", "/api/user/delete"


def test_the_export_holds_everything_about_oneself_and_nothing_about_others(site: Site) -> None:
    user, other = site.world.add_user(agreed_to_terms_at=datetime(2026, 1, 2, tzinfo=UTC)), site.world.add_user()
    for section in SECTIONS[:2]:
        site.watch(user, section)
    site.watch(other, SECTIONS[0])
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user(), SECTIONS[0])
    answer = site.ask("GET", EXPORT, user=user)
    assert answer.status_code == 200
    assert answer.mimetype == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Disposition"] == (
        f'attachment; filename="pickmyclass-data-{datetime.now(UTC):%Y-%m-%d}.json"'
    )
    data = answer.get_json()
    assert set(data) == {
        "export_info",
        "user_account",
        "profile",
        "class_watches",
        "notification_history",
        "summary",
    }
    assert data["user_account"]["id"] == user
    assert data["user_account"]["email"] == site.world.one("select email from auth.users where id = %s", user)
    assert data["profile"]["agreed_to_terms_at"].startswith("2026-01-02T")
    assert len(data["class_watches"]) == 2
    assert [(told["notification_type"], told["status"]) for told in data["notification_history"]] == [
        ("seat_available", "sent")
    ]
    assert data["summary"] == {"total_class_watches": 2, "total_notifications": 1}
    assert other not in json.dumps(data)


def test_the_export_tells_what_the_old_side_sent_too(site: Site) -> None:
    user = site.world.add_user()
    watch = site.world.add_watch(SECTIONS[0], user)
    site.world.postgres.execute(
        "insert into notifications_sent (class_watch_id, notification_type) values (%s, 'instructor_assigned')",
        [watch],
    )
    history = site.ask("GET", EXPORT, user=user).get_json()["notification_history"]
    assert [(told["notification_type"], told["class_nbr"]) for told in history] == [
        ("instructor_assigned", SECTIONS[0].class_nbr)
    ]


def test_the_export_tells_each_mail_once_whichever_side_sent_it(site: Site) -> None:
    user, other = site.world.add_user(), site.world.add_user()
    site.watch(user, SECTIONS[0])
    ours = str(site.world.one("select id from class_watches where user_id = %s", user))
    theirs = site.world.add_watch(SECTIONS[1], user)
    another = site.world.add_watch(SECTIONS[1], other)
    site.watch(other, SECTIONS[0])
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user(), SECTIONS[0])
    for watch, kind in ((ours, "instructor_assigned"), (theirs, "seat_available"), (another, "seat_available")):
        site.world.postgres.execute(
            "insert into notifications_sent (class_watch_id, notification_type) values (%s, %s)", [watch, kind]
        )
    data = site.ask("GET", EXPORT, user=user).get_json()
    assert sorted((told["class_nbr"], told["notification_type"]) for told in data["notification_history"]) == [
        (SECTIONS[0].class_nbr, "instructor_assigned"),
        (SECTIONS[0].class_nbr, "seat_available"),
        (SECTIONS[1].class_nbr, "seat_available"),
    ]
    assert data["summary"]["total_notifications"] == 3


def test_a_student_without_a_profile_can_export_and_leave(site: Site) -> None:
    user = site.world.add_user()
    site.world.postgres.execute("delete from user_profiles where user_id = %s", [user])
    assert site.ask("GET", EXPORT, user=user).get_json()["profile"] is None
    assert site.ask("DELETE", DELETE, user=user).status_code == 200
    assert site.world.one("select is_disabled from user_profiles where user_id = %s", user) is True


def test_leaving_disables_the_account_and_names_the_day_it_goes(site: Site) -> None:
    user = site.world.add_user()
    site.watch(user)
    answer = site.ask("DELETE", DELETE, user=user)
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"success", "message", "disabled_at", "permanent_deletion_date"}
    assert body["success"] is True
    closed, goes = (datetime.fromisoformat(body[name]) for name in ("disabled_at", "permanent_deletion_date"))
    assert goes - closed == timedelta(days=30)
    profile = site.world.one("select to_jsonb(p) from user_profiles p where user_id = %s", user)
    assert profile["is_disabled"] is True
    assert profile["notifications_enabled"] is False
    assert datetime.fromisoformat(profile["disabled_at"]) == closed
    assert datetime.fromisoformat(profile["unsubscribed_at"]) == closed
    assert site.ask("GET", EXPORT, user=user).status_code == 401
    assert site.ask("DELETE", DELETE, user=user).status_code == 401


def test_leaving_drops_waiting_mail(site: Site) -> None:
    user = site.world.add_user()
    site.watch(user)
    site.inbox.misbehave("quota", count=None)
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user())
    site.ask("DELETE", DELETE, user=user)
    assert [status for _, _, status in site.world.outbox(SECTIONS[0])] == ["dropped"]


def test_each_path_has_its_own_method(site: Site) -> None:
    user = site.world.add_user()
    for method, path, allowed in (
        ("DELETE", EXPORT, "GET, HEAD"),
        ("GET", DELETE, "DELETE"),
        ("POST", DELETE, "DELETE"),
    ):
        answer = site.ask(method, path, user=user)
        assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)
    assert site.world.one("select count(*) from user_profiles where is_disabled") == 0


def test_served_alone_on_any_path_the_method_decides(stage: Stage) -> None:
    answers = {method: stage.ask(account, method=method, secret=None) for method in ("GET", "DELETE", "POST")}
    assert {method: answer.status_code for method, answer in answers.items()} == {
        "GET": 401,
        "DELETE": 401,
        "POST": 405,
    }
