"""/api/unsubscribe: the link in every mail."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta

from shared.mail.tokens import UnsubscribeTokens
from shared.sections.section import Section
from tests.support.site import SECTIONS, Site

PATH = "/api/unsubscribe"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
ONE_CLICK = {"data": "List-Unsubscribe=One-Click", "content_type": "application/x-www-form-urlencoded"}


def link(site: Site, user: str) -> str:
    return f"{PATH}?token={site.parts.tokens.issue(user, datetime.now(UTC))}"


def wants_mail(site: Site, user: str) -> bool:
    return bool(site.world.one("select notifications_enabled from user_profiles where user_id = %s", user))


def by_the_rule(secret: str, user: str, expires: datetime) -> str:
    """A token written down from the rule alone."""
    claim = f"{user}:{int(expires.timestamp() * 1000)}"
    signature = hmac.new(secret.encode(), claim.encode(), hashlib.sha256).hexdigest()
    return base64.urlsafe_b64encode(f"{claim}:{signature}".encode()).decode().rstrip("=")


def owe_mail(site: Site, user: str, section: Section = SECTIONS[0]) -> None:
    """Mail for `user` that waits, because Resend has parked us."""
    site.watch(user, section)
    site.inbox.misbehave("quota", count=None)
    site.set(section, seats_available=2)
    site.watch(site.world.add_user(), section)


def test_o12_get_asks_and_changes_nothing(site: Site) -> None:
    user = site.world.add_user()
    for method in ("GET", "HEAD", "GET"):
        answer = site.ask(method, link(site, user))
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert wants_mail(site, user)
    page = site.ask("GET", link(site, user)).text
    assert page.count("<button") == 1
    assert '<form method="post">' in page
    assert "<script" not in page


def test_post_unsubscribes_whatever_its_body(site: Site) -> None:
    for words in (ONE_CLICK, {}, {"json": {"a": 1}}, {"data": b"\xff\x00", "content_type": "application/octet-stream"}):
        user = site.world.add_user()
        answer = site.ask("POST", link(site, user), **words)
        assert (answer.status_code, answer.get_json()) == (200, {"success": True})
        assert not wants_mail(site, user)
        assert site.world.one("select unsubscribed_at from user_profiles where user_id = %s", user)


def test_a_second_time_is_the_same(site: Site) -> None:
    user = site.world.add_user()
    address = link(site, user)
    site.ask("POST", address)
    first = site.world.one("select unsubscribed_at from user_profiles where user_id = %s", user)
    assert site.ask("POST", address).get_json() == {"success": True}
    assert site.world.one("select unsubscribed_at from user_profiles where user_id = %s", user) == first


def test_a_student_without_a_profile_gets_one(site: Site) -> None:
    user = site.world.add_user()
    site.world.postgres.execute("delete from user_profiles where user_id = %s", [user])
    assert site.ask("POST", link(site, user)).status_code == 200
    assert not wants_mail(site, user)


def test_a_student_who_is_gone_is_no_error(site: Site) -> None:
    user = site.world.add_user()
    site.world.postgres.execute("delete from auth.users where id = %s", [user])
    assert site.ask("POST", link(site, user)).get_json() == {"success": True}


def test_mail_that_still_waits_is_dropped_and_nobody_elses(site: Site) -> None:
    user, other = site.world.add_user(), site.world.add_user()
    site.watch(other)
    owe_mail(site, user)
    assert [status for _, _, status in site.world.outbox(SECTIONS[0])] == ["pending", "pending"]
    site.ask("POST", link(site, user))
    left = dict(
        site.world.rows("select user_id::text, status || ' ' || coalesce(last_error, '') from pickmyclass.outbox")
    )
    assert left[user] == "dropped unsubscribed"
    assert left[other].startswith("pending")


def test_a_browser_gets_a_page(site: Site) -> None:
    user = site.world.add_user()
    done = site.ask("POST", link(site, user), headers=BROWSER)
    assert (done.status_code, done.mimetype) == (200, "text/html")
    assert "You are unsubscribed" in done.text
    bad = site.ask("POST", f"{PATH}?token=x", headers=BROWSER)
    assert (bad.status_code, bad.mimetype) == (400, "text/html")
    assert not wants_mail(site, user)


def test_a_bad_token_is_400_and_never_shown_again(site: Site) -> None:
    for token in ("", "x", "A" * 600, "%00", "../../etc/passwd", "<script>alert(1)</script>", "é", None):
        query = {} if token is None else {"token": token}
        asked = site.ask("GET", PATH, query_string=query)
        assert (asked.status_code, asked.mimetype) == (400, "text/html"), token
        assert "alert(1)" not in asked.text
        posted = site.ask("POST", PATH, query_string=query)
        assert posted.status_code == 400
        assert posted.get_json() == {"success": False, "error": "Invalid or expired token"}


def test_an_altered_or_old_token_is_400(site: Site) -> None:
    user, other = site.world.add_user(), site.world.add_user()
    secret = site.environment["UNSUBSCRIBE_SIGNING_SECRET"]
    soon, past = datetime.now(UTC) + timedelta(days=1), datetime.now(UTC) - timedelta(seconds=1)
    assert site.ask("POST", f"{PATH}?token={by_the_rule(secret, user, past)}").status_code == 400
    assert site.ask("POST", f"{PATH}?token={by_the_rule('another', user, soon)}").status_code == 400
    good = base64.urlsafe_b64decode(by_the_rule(secret, user, soon) + "==").decode()
    swapped = base64.urlsafe_b64encode(good.replace(user, other).encode()).decode().rstrip("=")
    assert site.ask("POST", f"{PATH}?token={swapped}").status_code == 400
    assert wants_mail(site, user)
    assert wants_mail(site, other)
    assert site.ask("POST", f"{PATH}?token={by_the_rule(secret, user, soon)}").status_code == 200


def test_o33_links_signed_with_the_old_master_key_act_but_no_new_ones_are(site: Site) -> None:
    user = site.world.add_user()
    soon = datetime.now(UTC) + timedelta(days=1)
    old = by_the_rule("old-service-role-key", user, soon)
    assert site.ask("POST", f"{PATH}?token={old}").status_code == 400
    site.restart(UNSUBSCRIBE_LEGACY_SECRET="old-service-role-key")
    assert site.ask("GET", f"{PATH}?token={old}").status_code == 200
    assert site.ask("POST", f"{PATH}?token={old}").get_json() == {"success": True}
    assert not wants_mail(site, user)
    issued = site.parts.tokens.issue(user, datetime.now(UTC))
    assert UnsubscribeTokens("old-service-role-key").verify(issued, datetime.now(UTC)) is None
    service_key = site.environment["SUPABASE_SERVICE_ROLE_KEY"]
    assert site.ask("POST", f"{PATH}?token={by_the_rule(service_key, user, soon)}").status_code == 400


def test_the_page_loads_nothing_and_hands_its_address_to_nobody(site: Site) -> None:
    answer = site.ask("GET", link(site, site.world.add_user()))
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    style = answer.text.partition("<style>")[2].partition("</style>")[0]
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in policy
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert '<html lang="en">' in answer.text
    assert 'name="viewport"' in answer.text


def test_a_database_that_fails_is_told_so_that_one_tries_again(site: Site) -> None:
    address = link(site, site.world.add_user())
    site.lose_database()
    answer = site.ask("POST", address)
    assert (answer.status_code, answer.get_json()["success"]) == (500, False)
    page = site.ask("POST", address, headers=BROWSER)
    assert (page.status_code, page.mimetype) == (500, "text/html")
    assert "You are not unsubscribed yet" in page.text
    assert "hunter2" not in answer.text + page.text
