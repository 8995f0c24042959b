"""Every page against everything a stranger may try, and what each page says of itself to browsers."""

from __future__ import annotations

import logging
import re
import uuid

import pytest
from werkzeug.test import Client

from shared.settings import ROOT
from shared.web.host import METHODS, build
from shared.web.routes import BESIDE_A_SITE, PAGES, Route
from tests.support.site import NUMBERS, SECRET, SECTIONS
from tests.support.student import Browser, Door
from tests.support.term import TERM

POSTED = {"login", "password", "confirm", "welcome", "logout", "dashboard", "add", "settings", "admin"}
OPEN = {"home", "login", "confirm", "legal", "assets"}
NOT_HERE = re.compile(
    rf"Traceback|psycopg|(?<!<)select |insert |{re.escape(str(ROOT))}|site-packages|postgres(ql)?://|redis://",
    re.IGNORECASE,
)


def path_of(route: Route) -> str:
    words = {"<term>": TERM, "<class_nbr>": NUMBERS[0], "<id>": str(uuid.uuid4()), "<name>": "site.000000000000.css"}
    path = route.path
    for place, word in words.items():
        path = path.replace(place, word)
    return path


PATHS = [path_of(route) for route in PAGES]
CLOSED = [path_of(route) for route in PAGES if route.name not in OPEN and route.path != "/forgot-password"]


def named(route: Route) -> str:
    return route.path


@pytest.mark.parametrize("route", PAGES, ids=named)
def test_a_wrong_method_is_refused(door: Door, route: Route) -> None:
    allowed = {"GET", "HEAD", *(["POST"] if route.name in POSTED else [])}
    for method in {*METHODS, "TRACE", "BREW", "get"} - allowed:
        answer = door.browser().client.open(path_of(route), method=method)
        assert answer.status_code == 405, method
        assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_closed_page_sends_strangers_to_sign_in_whatever_they_show(door: Door) -> None:
    for path in CLOSED:
        for value in ("", "x", "base64-e30", "base64-" + "A" * 3000, "%7B%7D", "a.b.c"):
            browser = door.browser()
            browser.client.set_cookie("sb-127-auth-token", value)
            answer = browser.get(path)
            assert answer.status_code == 303, (path, value[:10])
            assert answer.headers["Location"].partition("?")[0] in ("/login", "/dashboard")
            posted = browser.post(path, {"token": "x", "do": "close", "sure": "yes"})
            assert posted.status_code in (303, 403, 405), path
    assert door.site.world.one("select count(*) from auth.users") == 0


def test_every_form_refuses_another_site_and_a_token_of_another_session(door: Door) -> None:
    ann, bob = door.student(), door.student("bob@example.edu")
    before = door.site.world.rows("select to_jsonb(p) from user_profiles p order by user_id")
    for route in PAGES:
        if route.name not in POSTED:
            continue
        path = path_of(route)
        fields = {"token": ann.token(), "do": "close", "sure": "yes", "action": "disable", "email": "x@example.edu"}
        assert ann.post(path, fields, "https://evil.test").status_code in (400, 403, 404), path
        assert ann.post(path, fields, "null").status_code in (400, 403, 404), path
        if route.name not in OPEN and route.path != "/forgot-password":
            assert ann.post(path, {**fields, "token": bob.token()}).status_code in (403, 404), path
    assert door.site.world.rows("select to_jsonb(p) from user_profiles p order by user_id") == before


def test_a_huge_form_is_refused(door: Door) -> None:
    browser = door.student()
    for route in PAGES:
        answer = browser.client.post(path_of(route), data=b"x" * 10_000_000, headers={"Origin": "http://localhost"})
        assert answer.status_code == (413 if route.name in POSTED else 405), route.path


def test_pages_let_nothing_foreign_in_and_are_framed_by_nobody(door: Door) -> None:
    browser = door.student()
    for path in [*PATHS, "/classes/2267/x"]:
        answer = browser.get(path)
        if answer.mimetype != "text/html" or answer.status_code == 303:
            continue
        policy = answer.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"
        assert not re.search(r"<style|<script>|\son\w+=|style=", answer.text), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', answer.text), path


def test_headers_and_pages_cannot_be_injected(door: Door) -> None:
    browser = door.student()
    evil = "x\r\nSet-Cookie: a=b"
    for path in PATHS:
        for name in ("q", "next", "done", "search", "page", "term", "class_nbr", "code", "token_hash", "type"):
            answer = browser.client.get(path, query_string={name: f"{evil}<script>alert(1)</script>"})
            assert answer.status_code < 500, (path, name)
            assert "a=b" not in str(answer.headers.getlist("Set-Cookie")), path
            assert "<script>alert" not in answer.text, path


def test_administration_does_not_exist_for_anybody_else(door: Door) -> None:
    ann = door.student()
    door.student("bob@example.edu")
    bob = door.user_id("bob@example.edu")
    for path in ("/admin", "/admin/users", f"/admin/users/{bob}", "/admin/classes", f"/admin/classes/{TERM}/12431"):
        answer = ann.get(path)
        assert answer.status_code == 404
        assert "bob@" not in answer.text
    data = {"token": ann.token(), "action": "disable", "sure": "yes"}
    assert ann.post(f"/admin/users/{bob}", data).status_code == 404
    assert door.site.world.one("select count(*) from pickmyclass.acts") == 0
    told = door.site.parts.database.call("pmc_admin_users", p_user_id=door.user_id(), p_search="", p_page=1)
    assert set(told) == {"account"}
    done = door.site.parts.database.call("pmc_admin_act", p_user_id=door.user_id(), p_subject=bob, p_action="disable")
    assert done == {"done": False}


def administrator(door: Door) -> Browser:
    browser = door.student("root@example.edu")
    door.site.world.postgres.execute(
        "update user_profiles set is_admin = true where user_id = %s", [door.user_id("root@example.edu")]
    )
    return browser


def test_an_administrator_sees_and_acts_and_every_action_is_written_down(door: Door) -> None:
    root, ann = administrator(door), door.student()
    ann.send(f"/dashboard/add?term={TERM}", term=TERM, q=NUMBERS[0], class_nbr=NUMBERS[0])
    person = f"/admin/users/{door.user_id()}"
    assert "ann@example.edu" in root.get("/admin/users?search=ANN").text
    assert "ann@example.edu" not in root.get("/admin/users?search=nobody").text
    listed = root.get("/admin/classes").text
    assert NUMBERS[0] in listed
    assert "?page=2" not in listed
    assert "ann@example.edu" in root.get(f"/admin/classes/{TERM}/{NUMBERS[0]}").text
    asked = root.send(person, action="disable")
    assert "Yes, disable" in asked.text
    assert ann.get("/dashboard").status_code == 200
    assert root.send(person, action="disable", sure="yes").status_code == 303
    assert ann.get("/dashboard").headers["Location"].startswith("/welcome")
    root.send(person, action="enable", sure="yes")
    assert ann.get("/dashboard").status_code == 200
    door.site.world.postgres.execute(
        "update user_profiles set email_bounced = true where user_id = %s", [door.user_id()]
    )
    root.send(person, action="forgive", sure="yes")
    assert door.site.world.rows("select email_bounced from user_profiles where user_id = %s", door.user_id()) == [
        (False,)
    ]
    ann.send("/settings", do="close", sure="yes")
    root.send(person, action="restore", sure="yes")
    root.send(person, action="restore", sure="yes")  # a second time it is nothing
    assert ann.get("/dashboard").status_code == 200
    done = door.site.world.rows("select act, admin_id::text, user_id::text from pickmyclass.acts order by id")
    who = (door.user_id("root@example.edu"), door.user_id())
    assert done == [(action, *who) for action in ("disable", "enable", "forgive", "restore")]
    assert "root@example.edu disabled ann@example.edu" in root.get("/admin").text


def test_what_an_operator_did_stands_in_the_same_record(door: Door) -> None:
    root, _ = administrator(door), door.student()
    door.site.world.postgres.execute(
        "update user_profiles set notifications_enabled = false where user_id = %s", [door.user_id()]
    )
    call = door.site.parts.database.call
    assert call("pmc_help_student", p_address="ann@example.edu", p_act="mail-on", p_by="carol")["done"]
    for path in ("/admin", f"/admin/users/{door.user_id()}"):
        assert "carol switched emails on for ann@example.edu" in root.get(path).text
    root.send(f"/admin/users/{door.user_id()}", action="disable", sure="yes")
    told = call("pmc_find_student", p_address="ann@example.edu")["acts"]
    assert [(one["by"], one["act"]) for one in told] == [("root@example.edu", "disable"), ("carol", "mail-on")]


def test_an_account_that_an_administrator_disabled_is_never_removed(door: Door) -> None:
    root, ann = administrator(door), door.student()
    ann.send("/settings", do="mail")  # unsubscribed a moment ago
    root.send(f"/admin/users/{door.user_id()}", action="disable", sure="yes")
    later = "now() + interval '40 days'"
    world = door.site.world
    assert world.one(f"select public.pmc_prune('deleted_accounts', 10, {later})") == {"rows": 0}
    root.send(f"/admin/users/{door.user_id('root@example.edu')}", action="disable", sure="yes")
    assert root.get("/admin").status_code == 200


def test_pages_and_logs_hold_no_secret_and_no_trace(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    browser = door.student()
    session = browser.session()
    pages = [path for path in PATHS if not path.startswith("/assets")]  # a style sheet may speak of select
    said = [browser.get(path).text for path in pages]
    browser.post("/login", {"step": "password", "email": "ann@example.edu", "password": "hunter2hunter2"})
    door.site.lose_database()
    for path in pages:
        answer = browser.get(path)
        assert answer.status_code != 500 or "The database does not answer right now" in answer.text, path
        said.append(answer.text)
    logged = "\n".join(f"{one.getMessage()} {one.__dict__} {one.exc_text or ''}" for one in caplog.records)
    secrets = (session["refresh_token"], session["access_token"], SECRET, "hunter2", "service-role-key")
    for secret in secrets:
        assert secret not in logged
        assert not [text for text in said if secret in text]
    assert "ann@example.edu" not in logged
    assert not [text for text in said if NOT_HERE.search(text)]


def test_beside_another_site_every_page_answers_below_app_and_leads_there(door: Door) -> None:
    client = Client(build(BESIDE_A_SITE), use_cookies=True)
    assert client.get("/").status_code == 404
    assert client.get("/dashboard").status_code == 404
    assert client.get("/application").status_code == 404
    page = client.get("/app")
    assert page.status_code == 200
    inside = re.findall(r'(?:href|src|action)="([^"]*)"', page.text)
    assert inside
    assert all(address.startswith(("/app/", "#")) for address in inside), inside
    assert client.get("/app/dashboard").headers["Location"] == "/app/login"
    assert client.get("/app/robots.txt").text.endswith("/app/sitemap.xml\n")
    assert client.get("/api/monitoring/health?probe=live").status_code == 200


def test_sections_in_the_address_are_digits_and_nothing_else(door: Door) -> None:
    browser = administrator(door)
    for path in (f"/classes/{TERM}/1243x", "/classes/22670/12431", "/admin/classes/x/12431", "/admin/users/x"):
        assert browser.get(path).status_code == 404, path
    assert browser.get(f"/classes/{TERM}/{SECTIONS[0].class_nbr}").status_code == 200
