"""A walk through every page in every state: it brings the browser there and says where it is.

Whoever walks along looks as long as they like; the next step leads on from where the last one ended.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator

from shared.clock import now
from tests.support.pages import HERE, let_in, live_through
from tests.support.screen import Screen
from tests.support.site import NUMBERS, SECRET
from tests.support.student import Browser, Door
from tests.support.term import TERM

ALONG = ("/", "/login", "/login?with=password", "/forgot-password", "/legal", "/legal/privacy", "/legal/terms")


def every_state(door: Door, screen: Screen) -> Iterator[str]:
    """The states, one after the other, with the browser on the page."""
    door.list_courses()
    yield from signed_out(door, screen)
    yield from by_a_mail(door, screen)
    browser = let_in(door, screen)
    yield from with_nothing_watched(door, screen)
    live_through(door, browser)
    yield from with_classes(door, screen)
    yield from settings_and_password(door, screen)
    yield from administration(door, screen)
    yield from health(door, screen)
    yield from in_the_way(door, screen, browser)


def signed_out(door: Door, screen: Screen) -> Iterator[str]:
    """What anyone sees, and what signing in says when it goes wrong."""
    for path in ALONG:
        screen.open(path)
        yield f"{path} signed out"
    screen.open("/login?with=password")
    for tries, state in ((1, "wrong password"), (4, "locked")):
        for _ in range(tries):
            screen.type("#email", "ann@example.edu")
            screen.type("#password", "not the right one")
            screen.press("Sign in")
            screen.see(".note.bad")
        yield f"/login {state}"
    screen.open("/login")
    screen.type("#email", "ann@example.edu")
    screen.press("Mail me a code")
    screen.see("#code")
    yield "/login code asked for"
    screen.type("#code", "000000")
    screen.press("Sign in")
    screen.read("wrong, used or too old")
    yield "/verify-email wrong code"
    screen.open("/forgot-password")
    screen.type("#email", "ann@example.edu")
    screen.press("Mail me")
    screen.see("#code")
    yield "/forgot-password code asked for"


def by_a_mail(door: Door, screen: Screen) -> Iterator[str]:
    """Where links in mails lead."""
    for kind in ("email", "recovery"):
        screen.open(f"/auth/confirm?token_hash=x&type={kind}")
        yield f"/auth/confirm {kind} asks"
    screen.press("Set a new password")
    screen.read("This link does not work")
    yield "/auth/confirm over"
    token = door.site.parts.tokens.issue(door.site.world.add_user(), now())
    screen.open("/api/unsubscribe?token=x")
    yield "/api/unsubscribe wrong link"
    screen.open(f"/api/unsubscribe?token={token}")
    yield "/api/unsubscribe asks"
    screen.press("Unsubscribe")
    screen.read("You are unsubscribed")
    yield "/api/unsubscribe done"


def with_nothing_watched(door: Door, screen: Screen) -> Iterator[str]:
    """A student's first minute."""
    for path, state in (
        ("/", "signed in"),
        ("/dashboard", "empty"),
        ("/dashboard/add", "empty"),
        ("/dashboard/add?q=nonsense", "not understood"),
        (f"/dashboard/add?q=99999&term={TERM}", "never seen"),
        (f"/dashboard/add?q=CSE+110&term={TERM}", "a course"),
        (f"/dashboard/add?q=CSE+999&term={TERM}", "no such course"),
        (HERE, "never seen"),
        ("/classes/1/1", "no section"),
    ):
        screen.open(path)
        yield f"{path} {state}"


def with_classes(door: Door, screen: Screen) -> Iterator[str]:
    """Watches in each state, and what the dashboard says of what was done."""
    screen.open("/dashboard")
    screen.see("#live.on")
    yield "/dashboard full"
    screen.press("Remove")
    screen.read("Removed section")
    yield "/dashboard removed, with undo"
    screen.press("Undo")
    screen.see(f".card[data-section='{TERM}:{NUMBERS[0]}']")
    screen.open("/dashboard?done=limit")
    yield "/dashboard limit"
    screen.open(f"/dashboard/add?q=CSE+110&term={TERM}")
    yield "/dashboard/add a course, some watched"
    screen.open(f"/dashboard/add?q={NUMBERS[5]}&term={TERM}")
    yield "/dashboard/add a number"
    door.site.parts.database.call("pmc_put_setting", p_key="max_watches", p_value="3")
    screen.driver.refresh()
    yield "/dashboard/add no room"
    screen.open(HERE)
    yield f"{HERE} with a past"
    screen.open(f"/classes/{TERM}/{NUMBERS[2]}")
    yield f"/classes/{TERM}/{NUMBERS[2]} removed by the university"


def settings_and_password(door: Door, screen: Screen) -> Iterator[str]:
    """Settings as they are, muted, bounced, tested; the password refused."""
    database = door.site.world.postgres
    for path in ("/settings?done=saved", "/settings?done=sure", "/reset-password"):
        screen.open(path)
        yield path
    screen.type("#password", "a good long password")
    screen.press("Save")
    screen.read("The password is set.")
    screen.open("/reset-password")
    screen.type("#password", "a good long password")
    screen.press("Save")
    screen.read("That is the password you have.")
    yield "/reset-password refused"
    database.execute("update user_profiles set notifications_enabled = false")
    for path in ("/dashboard", "/settings"):
        screen.open(path)
        yield f"{path} muted"
    database.execute(
        "update user_profiles set notifications_enabled = true, email_bounced = true, email_bounced_at = now()"
    )
    for path in ("/dashboard", "/settings"):
        screen.open(path)
        yield f"{path} bounced"
    screen.press("Send a test mail")
    screen.read("A test mail was sent")
    yield "/settings bounced, tested"
    database.execute("update user_profiles set email_bounced = false, email_bounced_at = null")


def administration(door: Door, screen: Screen) -> Iterator[str]:
    """Every page of it, the question before a deed, and the deed written down."""
    door.student("bob@example.edu")
    bob = f"/admin/users/{door.user_id('bob@example.edu')}"
    for path in ("/admin", "/admin/users", "/admin/users?search=nobody", "/admin/classes"):
        screen.open(path)
        yield path
    screen.open(f"/admin/users/{door.user_id()}")
    yield "/admin/users/… with watches"
    screen.open(f"/admin/classes/{TERM}/{NUMBERS[0]}")
    yield "/admin/classes/…"
    screen.open(bob)
    screen.press("Disable")
    screen.read("Yes, disable")
    yield "/admin/users/… asks"
    screen.press("Yes, disable")
    screen.read("Enable …")
    yield "/admin/users/… disabled"
    screen.open("/admin")
    yield "/admin with a deed"


def health(door: Door, screen: Screen) -> Iterator[str]:
    """For anyone, and for the operator."""
    page = "/api/monitoring/health"
    screen.open(page)
    yield f"{page} for anyone"
    shown = base64.b64encode(f"operator:{SECRET}".encode()).decode()
    screen.driver.execute_cdp_cmd("Network.enable", {})
    screen.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Authorization": f"Basic {shown}"}})
    screen.open(f"{page}?details=1")
    yield f"{page} for the operator"
    screen.driver.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})


def in_the_way(door: Door, screen: Screen, browser: Browser) -> Iterator[str]:
    """What stands before the pages: terms, a closed or a disabled account, parts that are down."""
    database = door.site.world.postgres
    database.execute("update user_profiles set agreed_to_terms_at = null")
    screen.open("/dashboard")
    screen.read("Before you begin")
    yield "/welcome agree"
    database.execute("update user_profiles set agreed_to_terms_at = now()")
    browser.post("/settings", {"token": browser.token(), "do": "close", "sure": "yes"})
    screen.open("/dashboard")
    screen.read("Your account is closed")
    yield "/welcome closed"
    database.execute("update user_profiles set unsubscribed_at = null")  # nobody closes an account without it
    screen.open("/dashboard")
    screen.read("switched off")
    yield "/welcome disabled"
    screen.open(f"/api/unsubscribe?token={door.site.parts.tokens.issue(door.user_id(), now())}")
    door.site.lose_database()
    screen.press("Unsubscribe")
    screen.read("That did not work")
    yield "/api/unsubscribe failed"
    for path in ("/", "/dashboard", "/api/monitoring/health"):
        screen.open(path)
        yield f"{path} without a database"
    door.project.auth.down = True
    screen.open("/login")
    screen.type("#email", "carl@example.edu")
    screen.press("Mail me a code")
    screen.read("Signing in does not work")
    yield "/login without Supabase"
