"""/api/webhooks/resend: what Resend says became of mail."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from svix.webhooks import Webhook
from werkzeug.test import TestResponse

from tests.support.site import SECTIONS, WEBHOOK_SECRET, Site
from tests.support.world import NOON

PATH = "/api/webhooks/resend"
_PERMANENT = {"bounce": {"type": "Permanent", "subType": "General", "message": "no such mailbox a.b@example.edu"}}


def event(kind: str, *to: str, email_id: str = "unknown", **more: Any) -> str:
    """A message as Resend writes it."""
    data = {"email_id": email_id, "from": "PickMyClass <hello@example.edu>", "to": list(to), "subject": "x", **more}
    return json.dumps({"type": f"email.{kind}", "created_at": "2026-11-22T12:00:00.000Z", "data": data})


def signed(body: str, svix_id: str, at: datetime | None = None, secret: str = WEBHOOK_SECRET) -> dict[str, str]:
    """The headers that the scheme's own library gives a body."""
    moment = at or datetime.now(UTC)
    signature = Webhook(secret).sign(svix_id, moment, body)
    return {"svix-id": svix_id, "svix-timestamp": str(int(moment.timestamp())), "svix-signature": signature}


def tell(site: Site, body: str, svix_id: str = "msg_1", **headers: str) -> TestResponse:
    """Deliver a message; `headers` replace the right ones."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.client.post(PATH, data=body, headers=signed(body, svix_id) | named, content_type="application/json")


def profile(site: Site, user: str) -> dict[str, Any]:
    return dict(site.world.one("select to_jsonb(p) from user_profiles p where user_id = %s", user))


def address(site: Site, user: str) -> str:
    return str(site.world.one("select email from auth.users where id = %s", user))


def sent_mail(site: Site, user: str) -> str:
    """Mail that Resend accepted for this student; its message id."""
    site.world.add_watch(SECTIONS[0], user, NOON)
    site.watch(site.world.add_user())
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user())
    message_id = site.world.one(
        "select message_id from pickmyclass.outbox where user_id = %s and status = 'sent'", user
    )
    assert message_id
    return str(message_id)


def mail_status(site: Site, message_id: str) -> tuple[str, str | None]:
    found = site.world.rows("select status, last_error from pickmyclass.outbox where message_id = %s", message_id)
    return found[0][0], found[0][1]


def test_o11_a_message_signed_by_the_svix_library_passes(site: Site) -> None:
    user = site.world.add_user()
    answer = tell(site, event("bounced", address(site, user), **_PERMANENT))
    assert (answer.status_code, answer.get_json()) == (200, {"success": True})
    bounced = profile(site, user)
    assert bounced["email_bounced"] is True
    assert bounced["email_bounced_at"]
    assert bounced["notifications_enabled"] is False
    assert bounced["unsubscribed_at"] is None
    assert bounced["spam_complained"] is False


def test_a_changed_byte_an_old_timestamp_or_a_missing_header_has_no_effect(site: Site) -> None:
    user = site.world.add_user()
    body = event("complained", address(site, user))
    headers = signed(body, "msg_1")
    old = signed(body, "msg_1", datetime.now(UTC) - timedelta(minutes=6))
    early = signed(body, "msg_1", datetime.now(UTC) + timedelta(minutes=6))
    for wrong_body, wrong_headers in [
        (body.replace("complained", "complaineD"), headers),
        (body + " ", headers),
        (body, headers | {"svix-id": "msg_2"}),
        (body, headers | {"svix-timestamp": str(int(headers["svix-timestamp"]) + 1)}),
        (body, headers | {"svix-signature": "v1,AAAA"}),
        (body, headers | {"svix-signature": ""}),
        (body, headers | {"svix-signature": headers["svix-signature"].replace("v1,", "v2,")}),
        (body, headers | {"svix-timestamp": "soon"}),
        (body, headers | {"svix-timestamp": ""}),
        (body, headers | {"svix-id": ""}),
        (body, old),
        (body, early),
        (body, signed(body, "msg_1", secret="whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")),
        (body, {}),
        (body, {"resend-signature": headers["svix-signature"]}),
        ("", headers),
        ("\xff", headers),
    ]:
        answer = site.client.post(PATH, data=wrong_body, headers=wrong_headers)
        assert answer.status_code == 401
        assert answer.get_json() == {"success": False, "error": "Invalid signature"}
    assert profile(site, user)["notifications_enabled"] is True
    assert site.world.one("select count(*) from pickmyclass.webhook_deliveries") == 0


def test_several_signatures_are_allowed(site: Site) -> None:
    user = site.world.add_user()
    body = event("complained", address(site, user))
    right = signed(body, "msg_1")["svix-signature"]
    answer = tell(site, body, svix_signature=f"v1,AAAA {right} v1a,BBBB")
    assert answer.status_code == 200
    assert profile(site, user)["spam_complained"] is True


def test_a_message_that_comes_again_has_no_effect(site: Site) -> None:
    user = site.world.add_user()
    body = event("bounced", address(site, user), **_PERMANENT)
    assert tell(site, body).status_code == 200
    site.world.postgres.execute("update user_profiles set email_bounced = false, notifications_enabled = true")
    assert tell(site, body).get_json() == {"success": True}
    assert profile(site, user)["email_bounced"] is False
    assert tell(site, body, "msg_2").get_json() == {"success": True}
    assert profile(site, user)["email_bounced"] is True


def test_the_same_message_many_times_at_once_acts_once(site: Site) -> None:
    user = site.world.add_user()
    body = event("complained", address(site, user))
    site.world.postgres.execute(
        "create table acts (n int); create function note() returns trigger language plpgsql as"
        " 'begin insert into public.acts values (1); return null; end';"
        "create trigger note after update on user_profiles for each row execute function note()"
    )
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: tell(site, body).status_code, range(16))) == {200}
    assert site.world.one("select count(*) from acts") == 1
    assert site.world.one("select count(*) from pickmyclass.webhook_deliveries") == 1


def test_a_message_whose_effect_failed_is_new_when_it_comes_again(site: Site) -> None:
    user = site.world.add_user()
    body = event("bounced", address(site, user), **_PERMANENT)
    site.world.postgres.execute("alter table user_profiles add constraint never check (not email_bounced)")
    answer = tell(site, body)
    assert (answer.status_code, answer.get_json()["success"]) == (500, False)
    assert "never" not in answer.text
    assert site.world.one("select count(*) from pickmyclass.webhook_deliveries") == 0
    site.world.postgres.execute("alter table user_profiles drop constraint never")
    assert tell(site, body).status_code == 200
    assert profile(site, user)["email_bounced"] is True


def test_only_permanent_bounces_count(site: Site) -> None:
    user = site.world.add_user()
    for number, bounce in enumerate(({"type": "Transient"}, {"type": "Undetermined"}, {}, {"type": None}, "Permanent")):
        answer = tell(site, event("bounced", address(site, user), bounce=bounce), f"msg_{number}")
        assert answer.status_code == 200
    assert profile(site, user)["email_bounced"] is False


@pytest.mark.parametrize("odd", ["\0", "\ud800"], ids=["nul", "half a character"])
def test_characters_that_the_database_cannot_hold_do_not_hide_a_bounce(site: Site, odd: str) -> None:
    user = site.world.add_user()
    bounce = {"type": "Permanent", "message": f"550 {odd} no such mailbox"}
    bounced = event("bounced", address(site, user), f"x{odd}@y", email_id=odd, bounce=bounce)
    assert tell(site, bounced).status_code == 200
    assert profile(site, user)["email_bounced"] is True
    failed = event("failed", address(site, user), email_id=odd, failed={"reason": odd})
    assert tell(site, failed, "msg_2").status_code == 200


def test_a_message_id_that_is_no_text_does_not_hide_a_bounce(site: Site) -> None:
    user = site.world.add_user()
    message = json.loads(event("bounced", address(site, user), **_PERMANENT))
    message["data"]["email_id"] = 7
    assert tell(site, json.dumps(message)).status_code == 200
    assert profile(site, user)["email_bounced"] is True


def test_a_complaint_is_also_a_goodbye(site: Site) -> None:
    user = site.world.add_user()
    tell(site, event("complained", address(site, user)))
    told = profile(site, user)
    assert told["spam_complained"] is True
    assert told["spam_complained_at"]
    assert told["unsubscribed_at"]
    assert told["notifications_enabled"] is False


def test_every_address_in_to_counts_in_any_spelling(site: Site) -> None:
    one, two, other = (site.world.add_user() for _ in range(3))
    tell(site, event("bounced", address(site, one).upper(), f"Two <{address(site, two)}>", **_PERMANENT))
    assert [profile(site, user)["email_bounced"] for user in (one, two, other)] == [True, True, False]


def move(site: Site, user: str, address: str = "moved@example.edu") -> None:
    """The student's address becomes another one."""
    site.world.postgres.execute("update auth.users set email = %s where id = %s", [address, user])


def test_the_person_is_found_by_the_message_first(site: Site) -> None:
    user = site.world.add_user()
    message_id = sent_mail(site, user)
    move(site, user)
    tell(site, event("complained", "old@example.edu", email_id=message_id))
    assert profile(site, user)["spam_complained"] is True


def test_a_late_bounce_of_the_old_address_mutes_nobody(site: Site) -> None:
    user = site.world.add_user()
    message_id, old = sent_mail(site, user), address(site, user)
    move(site, user)
    tell(site, event("bounced", old, email_id=message_id, **_PERMANENT))
    assert profile(site, user)["email_bounced"] is False
    assert profile(site, user)["notifications_enabled"] is True
    assert mail_status(site, message_id) == ("sent", "bounced: no such mailbox <address>")


@pytest.mark.parametrize("choice", [True, False])
def test_after_a_bounce_a_new_address_is_told_as_before(site: Site, choice: bool) -> None:
    user = site.world.add_user()
    site.watch(user)
    if not choice:
        site.world.postgres.execute("update user_profiles set notifications_enabled = false where user_id = %s", [user])
    tell(site, event("bounced", address(site, user), **_PERMANENT))
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user())
    assert site.inbox.addresses() == []
    move(site, user)
    site.set(SECTIONS[0], seats_available=0)
    site.watch(site.world.add_user())
    site.set(SECTIONS[0], seats_available=3)
    site.watch(site.world.add_user())
    assert site.inbox.addresses().count("moved@example.edu") == choice
    assert (profile(site, user)["email_bounced"], profile(site, user)["notifications_enabled"]) == (False, choice)


def test_whoever_left_after_the_bounce_stays_away_from_the_new_address_too(site: Site) -> None:
    user = site.world.add_user()
    tell(site, event("bounced", address(site, user), **_PERMANENT))
    site.parts.database.call("pmc_unsubscribe", p_user_id=user)
    move(site, user)
    site.parts.database.call("pmc_due_sections", p_group="all")
    assert (profile(site, user)["email_bounced"], profile(site, user)["notifications_enabled"]) == (False, False)


def test_a_suppressed_address_has_bounced(site: Site) -> None:
    user = site.world.add_user()
    message_id = sent_mail(site, user)
    tell(site, event("suppressed", address(site, user), email_id=message_id))
    assert (profile(site, user)["email_bounced"], mail_status(site, message_id)[0]) == (True, "dead")


def test_a_bounce_of_a_domain_in_punycode_is_its_owners(site: Site) -> None:
    user = site.world.add_user()
    move(site, user, "ann@b\u00fccher.example")
    tell(site, event("bounced", "ann@xn--bcher-kva.example", **_PERMANENT))
    assert profile(site, user)["email_bounced"] is True


def test_waiting_mail_of_whoever_bounced_is_dropped(site: Site) -> None:
    user = site.world.add_user()
    site.watch(user)
    site.inbox.misbehave("quota", count=None)
    site.set(SECTIONS[0], seats_available=2)
    site.watch(site.world.add_user())
    tell(site, event("bounced", address(site, user), **_PERMANENT))
    assert [status for _, _, status in site.world.outbox(SECTIONS[0])] == ["dropped"]


def test_delivered_mail_is_delivered(site: Site) -> None:
    user = site.world.add_user()
    message_id = sent_mail(site, user)
    assert tell(site, event("delivered", address(site, user), email_id=message_id)).status_code == 200
    assert mail_status(site, message_id) == ("delivered", None)
    assert profile(site, user)["notifications_enabled"] is True


@pytest.mark.parametrize(
    ("kind", "more", "reason"),
    [
        ("failed", {"failed": {"reason": "reached_daily_quota"}}, "failed: reached_daily_quota"),
        ("suppressed", {"suppressed": {"message": "on the list since a@b.edu bounced"}}, None),
        ("suppressed", {}, "suppressed"),
    ],
)
def test_failed_and_suppressed_mail_is_dead_with_the_reason(
    site: Site, kind: str, more: dict, reason: str | None
) -> None:
    user = site.world.add_user()
    message_id = sent_mail(site, user)
    tell(site, event(kind, address(site, user), email_id=message_id, **more))
    status, error = mail_status(site, message_id)
    assert status == "dead"
    assert error == (reason or "suppressed: on the list since <address> bounced")
    assert profile(site, user)["email_bounced"] is (kind == "suppressed")


def test_everything_else_is_acknowledged_and_ignored(site: Site) -> None:
    odd = ['{"type": "domain.updated"}', '{"type": 7, "data": []}', "{}", "[]", "null", "7"]
    for body in (event("opened", "a@b.edu"), event("sent"), *odd):
        answer = tell(site, body)
        assert (answer.status_code, answer.get_json()) == (200, {"success": True}), body
    assert site.world.one("select count(*) from pickmyclass.webhook_deliveries") == 0


def test_a_database_that_fails_is_500_so_that_resend_repeats_it(site: Site) -> None:
    site.lose_database()
    answer = tell(site, event("complained", "a@b.edu"))
    assert answer.status_code == 500
    assert answer.get_json() == {"success": False, "error": "Webhook could not be recorded"}


def test_without_a_secret_it_is_not_configured(site: Site) -> None:
    assert site.client.get(PATH).get_json() == {
        "name": "PickMyClass Resend Webhook",
        "events": ["email.bounced", "email.complained", "email.delivered", "email.failed", "email.suppressed"],
        "status": "configured",
    }
    site.restart(RESEND_WEBHOOK_SECRET=None)
    assert site.client.get(PATH).get_json()["status"] == "not configured"
    answer = tell(site, event("complained", "a@b.edu"))
    assert (answer.status_code, answer.get_json()) == (500, {"success": False, "error": "Webhook not configured"})
