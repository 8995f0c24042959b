"""Signing in and out: by code, by link, by password; and everybody who must not get in."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.students.signing_in import MAILS_A_MINUTE
from tests.support.student import ORIGIN, Door

ANN = "ann@example.edu"


def test_a_new_student_signs_in_by_code_and_the_agreement_is_written_down(door: Door) -> None:
    browser = door.browser()
    assert "on its way" in browser.ask_for_mail(ANN).text
    answer = browser.post("/verify-email", {"email": ANN, "code": door.mails[-1].code, "next": "/settings"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings")
    cookies = [one for one in answer.headers.getlist("Set-Cookie") if one.startswith("sb-127")]
    assert cookies
    assert all("HttpOnly" in one and "SameSite=Lax" in one and "Secure" not in one for one in cookies)
    assert browser.get("/dashboard").status_code == 200
    row = door.site.world.rows(
        "select agreed_to_terms_at is not null, age_verified_at is not null from user_profiles where user_id = %s",
        door.user_id(),
    )
    assert row == [(True, True)]


def test_cookies_are_secure_where_the_site_is_not_on_this_machine(door: Door) -> None:
    door.site.restart(SITE_URL="https://classes.example.edu")
    browser = door.browser()
    browser.post("/login", {"step": "mail", "email": ANN, "agree": "yes"}, "https://classes.example.edu")
    data = {"email": ANN, "code": door.mails[-1].code}
    answer = browser.post("/verify-email", data, "https://classes.example.edu")
    assert all("Secure" in one for one in answer.headers.getlist("Set-Cookie"))


def test_known_and_unknown_addresses_are_answered_alike(door: Door) -> None:
    door.student(ANN)
    door.mails.clear()
    known = door.browser().post("/login", {"step": "mail", "email": ANN})
    unknown = door.browser().post("/login", {"step": "mail", "email": "bob@example.edu"})
    assert known.status_code == unknown.status_code == 200
    assert known.text.replace(ANN, "X") == unknown.text.replace("bob@example.edu", "X")
    assert [mail.to for mail in door.mails] == [ANN]
    assert door.site.world.one("select count(*) from auth.users where email like 'bob%%'") == 0
    forgot = [door.browser().post("/forgot-password", {"email": one}) for one in (ANN, "bob@example.edu")]
    assert forgot[0].text.replace(ANN, "X") == forgot[1].text.replace("bob@example.edu", "X")
    wrong = [
        door.browser().post("/login", {"step": "password", "email": one, "password": "no"})
        for one in (ANN, "bob@example.edu")
    ]
    assert wrong[0].status_code == wrong[1].status_code == 400
    assert wrong[0].text.replace(ANN, "X") == wrong[1].text.replace("bob@example.edu", "X")


def test_the_mailed_link_asks_first_and_signs_in_once(door: Door) -> None:
    browser = door.browser()
    browser.ask_for_mail(ANN, next="/settings")
    link = door.mails[-1].link
    for _ in range(3):  # a mail scanner follows it, again and again
        assert door.browser().get(link).status_code == 200
    words = dict(part.split("=") for part in link.partition("?")[2].split("&"))
    answer = browser.post("/auth/confirm", words)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings")
    assert door.browser().post("/auth/confirm", words).status_code == 400
    assert browser.get("/dashboard").status_code == 200


def test_wrong_used_and_foreign_codes_and_links_let_nobody_in(door: Door) -> None:
    browser = door.browser()
    browser.ask_for_mail(ANN)
    code = door.mails[-1].code
    wrong = f"{(int(code) + 1) % 10**6:06}"
    for email, tried in ((ANN, wrong), ("bob@example.edu", code), (ANN, "x"), (ANN, ""), (ANN, "0" * 500)):
        answer = browser.post("/verify-email", {"email": email, "code": tried})
        assert answer.status_code == 400, tried
        assert not browser.cookie()
    assert browser.post("/verify-email", {"email": ANN, "code": code}).status_code == 303
    assert door.browser().post("/verify-email", {"email": ANN, "code": code}).status_code == 400
    for token_hash, kind in (("x" * 56, "email"), ("", "email"), ("x", "sms"), ("x" * 5000, "email")):
        answer = door.browser().post("/auth/confirm", {"token_hash": token_hash, "type": kind})
        assert answer.status_code == 400
    for query in ("", "?code=x", "?code=" + "x" * 5000, "?error=access_denied&error_code=otp_expired"):
        assert door.browser().get(f"/auth/callback{query}").status_code == 400


@pytest.mark.parametrize(("seconds", "status"), [(3601, 400), (3595, 303)])
def test_codes_and_links_are_too_old_after_an_hour(door: Door, seconds: int, status: int) -> None:
    """By the clock of Supabase, which keeps them."""
    for email, path in ((ANN, "/verify-email"), ("bob@example.edu", "/auth/confirm")):
        browser = door.browser()
        door.later.seconds = -seconds
        browser.ask_for_mail(email)
        door.later.seconds, mail = 0, door.mails[-1]
        link = dict(part.split("=") for part in mail.link.partition("?")[2].split("&"))
        answer = browser.post(path, link | {"email": email, "code": mail.code})
        assert (answer.status_code, bool(browser.cookie())) == (status, status == 303), path


def test_codes_cannot_be_guessed_by_trying_them_all(door: Door) -> None:
    door.browser().ask_for_mail(ANN)
    tries = [door.browser().post("/verify-email", {"email": ANN, "code": f"{n:06}"}).status_code for n in range(12)]
    assert tries.count(429) >= 2


def test_a_standard_link_comes_back_to_the_browser_that_asked(door: Door) -> None:
    import requests

    browser = door.browser()
    browser.ask_for_mail(ANN, next="/settings")
    (otp,) = door.project.auth._otps.values()
    query = {"token": otp.link, "type": "magiclink", "redirect_to": f"{ORIGIN}/auth/callback"}
    back = requests.get(f"{door.project.url}/auth/v1/verify", params=query, allow_redirects=False, timeout=5)
    path = back.headers["Location"].removeprefix(ORIGIN)
    assert door.browser().get(path).status_code == 400
    answer = browser.get(path)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/settings")


def test_five_wrong_passwords_lock_the_address_and_a_code_still_works(door: Door) -> None:
    browser = door.student()
    assert browser.send("/reset-password", password="a good long one").status_code == 303
    right = {"step": "password", "email": ANN, "password": "a good long one"}
    assert door.browser().post("/login", right).status_code == 303
    wrong = right | {"password": "not this one"}
    tries = [door.browser().post("/login", wrong).status_code for _ in range(5)]
    assert tries == [400, 400, 400, 400, 429]
    assert door.browser().post("/login", right).status_code == 429
    assert door.student().get("/dashboard").status_code == 200
    door.site.world.postgres.execute("update failed_login_attempts set locked_until = now() - interval '1 second'")
    assert door.browser().post("/login", right).status_code == 303
    assert door.site.world.one("select count(*) from failed_login_attempts") == 0


def test_a_weak_or_the_same_password_is_refused_in_words(door: Door) -> None:
    browser = door.student()
    for word in ("short", "", "x" * 100):
        assert browser.send("/reset-password", password=word).status_code == 400
    assert browser.send("/reset-password", password="a good long one").status_code == 303
    assert "password you have" in browser.send("/reset-password", password="a good long one").text


def test_a_hundred_mails_asked_for_within_a_minute_are_three(door: Door) -> None:
    answers = [door.browser().ask_for_mail(ANN) for _ in range(100)]
    assert {answer.status_code for answer in answers} == {200}
    assert len(door.mails) == MAILS_A_MINUTE


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.test/",
        "//evil.test",
        "/\\evil.test",
        "\\\\evil.test",
        "/\t/evil.test",
        "javascript:alert(1)",
        "evil.test",
        "/logout",
        "/login?next=/login",
        "/x\r\nSet-Cookie: a=b",
        "http:evil",
        "/" + "x" * 3000,
    ],
)
def test_nobody_is_sent_to_another_site_after_signing_in(door: Door, wanted: str) -> None:
    browser = door.browser()
    browser.ask_for_mail(ANN, next=wanted)
    answer = browser.post("/verify-email", {"email": ANN, "code": door.mails[-1].code, "next": wanted})
    assert answer.headers["Location"] == "/dashboard"
    assert "Set-Cookie: a" not in str(answer.headers)


def test_whoever_is_not_signed_in_is_asked_to_and_comes_back(door: Door) -> None:
    answer = door.browser().get("/dashboard/add?q=12431&term=2267")
    assert answer.headers["Location"] == "/login?next=%2Fdashboard%2Fadd%3Fq%3D12431%26term%3D2267"


def test_an_old_access_token_is_renewed_and_the_cookie_with_it(door: Door) -> None:
    door.project.sessions.access_seconds = 30
    browser = door.student()
    old = browser.session()
    door.project.sessions.access_seconds = 3600
    assert browser.get("/dashboard").status_code == 200
    new = browser.session()
    assert old["refresh_token"] != new["refresh_token"]
    assert new["expires_at"] > old["expires_at"]


def test_many_tabs_with_one_old_token_renew_it_once(door: Door) -> None:
    door.project.sessions.access_seconds = 30
    browser = door.student()
    value = browser.cookie()
    door.project.sessions.access_seconds = 3600
    asked: list[str] = []
    refresh = door.project.sessions.refresh

    def counted(token: str, user: dict) -> dict:
        asked.append(token)
        return refresh(token, user)

    door.project.sessions.refresh = counted  # type: ignore[method-assign]
    start = threading.Barrier(6)

    def tab(_: int) -> int:
        start.wait()
        client = door.browser()
        client.client.set_cookie("sb-127-auth-token", value)
        return client.get("/dashboard").status_code

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(tab, range(6))) == [200] * 6
    assert len(asked) == 1


def test_an_answer_that_was_lost_signs_nobody_out(door: Door) -> None:
    """The new token never reached the browser, which shows the old one again when Supabase takes that for a theft."""
    door.project.sessions.access_seconds = 30
    browser = door.student()
    value = browser.cookie()
    door.project.sessions.access_seconds = 3600
    browser.get("/dashboard")  # this answer is the one that gets lost
    clock = door.project.sessions._clock
    door.project.sessions._clock = lambda: clock() + 60
    browser.client.set_cookie("sb-127-auth-token", value)
    assert browser.get("/dashboard").status_code == 200


def test_what_redis_keeps_of_a_session_is_readable_to_nobody(door: Door) -> None:
    door.project.sessions.access_seconds = 30
    browser = door.student()
    browser.get("/dashboard")
    session = browser.session()
    keys = list(door.site.parts.redis.scan_iter("*session:*"))
    kept = " ".join([*keys, *(str(door.site.parts.redis.get(key)) for key in keys)])
    assert keys
    for secret in (session["refresh_token"], session["access_token"], ANN):
        assert secret not in kept


def test_a_session_that_supabase_ended_is_over_here_too(door: Door) -> None:
    door.project.sessions.access_seconds = 30
    browser = door.student()
    claims = door.project.sessions.read(browser.session()["access_token"])
    door.project.sessions.end(claims["session_id"], "global")
    answer = browser.get("/dashboard")
    assert answer.headers["Location"].startswith("/login")
    assert not browser.cookie()


def test_signing_out_ends_the_session_at_supabase_too(door: Door) -> None:
    browser = door.student()
    token = browser.session()["refresh_token"]
    assert browser.get("/logout").headers["Location"] == "/dashboard"  # a mere link does nothing
    assert browser.send("/settings", do="nothing").status_code == 303
    answer = browser.post("/logout", {"token": browser.token()})
    assert answer.headers["Location"] == "/"
    assert not browser.cookie()
    assert token not in door.project.sessions._refresh


def test_signing_out_everywhere_ends_the_other_browsers_session(door: Door) -> None:
    door.project.sessions.access_seconds = 30
    one, other = door.student(), door.student()
    assert one.send("/settings", do="sign-out").headers["Location"] == "/login"
    assert other.get("/dashboard").headers["Location"].startswith("/login")


def test_a_cookie_cut_in_pieces_is_put_together_and_one_with_a_piece_missing_is_none(door: Door) -> None:
    browser = door.student()
    value = browser.cookie()
    third = len(value) // 3
    pieces = [value[:third], value[third : 2 * third], value[2 * third :]]

    def with_pieces(*numbers: int) -> int:
        other = door.browser()
        for number in numbers:
            other.client.set_cookie(f"sb-127-auth-token.{number}", pieces[number])
        return other.get("/dashboard").status_code

    assert with_pieces(0, 1, 2) == 200
    assert with_pieces(0, 1) == with_pieces(0, 2) == with_pieces(1, 2) == 303


def test_forms_from_another_site_or_another_session_change_nothing(door: Door) -> None:
    ann, bob = door.student(), door.student("bob@example.edu")
    token = ann.token()
    assert ann.post("/settings", {"token": token, "do": "close", "sure": "yes"}, "https://evil.test").status_code == 403
    assert ann.post("/settings", {"token": token, "do": "close", "sure": "yes"}, None).status_code == 403
    assert ann.post("/settings", {"token": bob.token(), "do": "close", "sure": "yes"}).status_code == 403
    assert ann.post("/settings", {"do": "close", "sure": "yes"}).status_code == 403
    assert door.browser().post("/login", {"step": "mail", "email": ANN}, "https://evil.test").status_code == 403
    assert ann.get("/dashboard").status_code == 200


def test_a_disabled_account_is_refused_and_a_closed_one_offered_to_be_reopened(door: Door) -> None:
    browser = door.student()
    assert browser.send("/settings", do="close", sure="yes").headers["Location"] == "/welcome"
    page = browser.get(
        "/dashboard",
    )
    assert page.headers["Location"].startswith("/welcome")
    again = door.student()
    assert "open it again" in again.get("/welcome").text
    assert again.send("/welcome", do="reopen").status_code == 303
    assert again.get("/dashboard").status_code == 200
    door.site.world.postgres.execute(
        "update user_profiles set is_disabled = true, disabled_at = now() where user_id = %s", [door.user_id()]
    )
    refused = door.student()
    assert refused.get("/welcome").status_code == 403
    assert refused.send("/welcome", do="reopen").status_code == 303
    assert refused.get("/dashboard").headers["Location"].startswith("/welcome")


def test_without_agreement_no_page_opens(door: Door) -> None:
    browser = door.student()
    door.site.world.postgres.execute("update user_profiles set agreed_to_terms_at = null")
    assert browser.get("/dashboard").headers["Location"] == "/welcome"
    assert browser.send("/welcome", do="agree").status_code == 400
    assert browser.send("/welcome", do="agree", agree="yes").headers["Location"] == "/dashboard"
    assert browser.get("/dashboard").status_code == 200


def test_with_supabase_down_the_open_pages_stay_up_and_the_others_say_so(door: Door) -> None:
    door.project.sessions.access_seconds = 30
    browser = door.student()
    door.project.auth.down = True
    for path in ("/", "/login", "/legal/privacy", "/robots.txt", "/forgot-password"):
        assert browser.get(path).status_code == 200, path
    session = browser.session()
    del session["access_token"]
    expired = base64.urlsafe_b64encode(json.dumps({**session, "access_token": "x.y.z"}).encode()).decode()
    browser.client.set_cookie("sb-127-auth-token", f"base64-{expired.rstrip('=')}")
    answer = browser.get("/dashboard")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "Signing in does not work right now" in answer.text
    asked = door.browser().ask_for_mail(ANN)
    assert asked.status_code == 503
