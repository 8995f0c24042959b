"""The stand-in for Supabase, held to by clients that others wrote and that do not know it is one."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
import requests
from supabase import Client, create_client
from supabase.lib.client_options import SyncClientOptions
from supabase_auth.errors import AuthApiError

from tests.support.node import run_node
from tests.support.student import ANON_KEY, Door, Mail
from workshop.supabase.project import Project
from workshop.supabase.sessions import REUSE_SECONDS

ANN = "ann@example.edu"


class Clock:
    """Epoch seconds, as far as a test moves them."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def mails() -> list[Mail]:
    return []


@pytest.fixture
def project(postgres_url: str, postgres: psycopg.Connection[Any], clock: Clock, mails: list[Mail]) -> Iterator[Project]:
    with Project(
        postgres_url,
        lambda to, _subject, content: mails.append(Mail(to, content)),
        anon_key=ANON_KEY,
        site_url="http://site.test",
        clock=clock,
        mail_interval=60,
    ) as one:
        yield one


@pytest.fixture
def client(project: Project) -> Iterator[Client]:
    """The Python client, with a connection that can be closed."""
    with httpx.Client() as http:
        yield create_client(
            project.url, ANON_KEY, options=SyncClientOptions(httpx_client=http, auto_refresh_token=False)
        )


def test_supabase_py_signs_in_refreshes_and_signs_out(client: Client, mails: list[Mail]) -> None:
    client.auth.sign_in_with_otp({"email": ANN})
    session = client.auth.verify_otp({"email": ANN, "token": mails[-1].code, "type": "email"}).session
    assert session
    assert session.user.email == ANN
    assert client.auth.get_user().user.id == session.user.id
    first = session.refresh_token
    renewed = client.auth.refresh_session().session
    assert renewed
    assert renewed.refresh_token != first
    client.auth.update_user({"password": "a good long one"})
    client.auth.sign_out()
    again = client.auth.sign_in_with_password({"email": ANN, "password": "a good long one"})
    assert again.session
    client.auth.sign_out()


def test_supabase_py_understands_what_goes_wrong(client: Client, mails: list[Mail], clock: Clock) -> None:
    def code(call: Any, *words: Any) -> str | None:
        with pytest.raises(AuthApiError) as caught:
            call(*words)
        found: str | None = caught.value.code
        return found

    new = {"email": "new@example.edu", "options": {"should_create_user": False}}
    assert code(client.auth.sign_in_with_otp, new) == "otp_disabled"
    client.auth.sign_in_with_otp({"email": ANN})
    assert code(client.auth.sign_in_with_otp, {"email": ANN}) == "over_email_send_rate_limit"
    wrong = {"email": ANN, "token": "000000" if mails[-1].code != "000000" else "000001", "type": "email"}
    assert code(client.auth.verify_otp, wrong) == "otp_expired"
    right = {"email": ANN, "token": mails[-1].code, "type": "email"}
    clock.ahead = 3601
    assert code(client.auth.verify_otp, right) == "otp_expired"
    assert code(client.auth.sign_in_with_password, {"email": ANN, "password": "x"}) == "invalid_credentials"
    assert code(client.auth.refresh_session, "nobody's") == "refresh_token_not_found"


def test_a_used_refresh_token_is_good_for_ten_seconds_and_then_ends_the_family(
    project: Project, mails: list[Mail], clock: Clock
) -> None:
    def ask(path: str, body: dict[str, Any], version: str = "") -> requests.Response:
        headers = {"apikey": ANON_KEY, "X-Supabase-Api-Version": version}
        return requests.post(f"{project.url}/auth/v1{path}", json=body, headers=headers, timeout=5)

    ask("/otp", {"email": ANN})
    session = ask("/verify", {"type": "email", "email": ANN, "token": mails[-1].code}).json()
    old = {"refresh_token": session["refresh_token"]}
    refresh = "/token?grant_type=refresh_token"
    child = ask(refresh, old).json()["refresh_token"]
    assert ask(refresh, old).json()["refresh_token"] == child
    clock.ahead = REUSE_SECONDS + 1
    late = ask(refresh, old)
    assert (late.status_code, late.json()["error_code"]) == (400, "refresh_token_already_used")
    assert late.json()["msg"] == "Invalid Refresh Token: Already Used"
    gone = ask(refresh, {"refresh_token": child}, "2024-01-01")
    assert (gone.status_code, gone.json()["code"]) == (400, "refresh_token_not_found")


def test_without_a_key_nothing_is_answered(project: Project) -> None:
    for headers in ({}, {"apikey": "wrong"}):
        assert requests.post(f"{project.url}/auth/v1/otp", json={}, headers=headers, timeout=5).status_code == 401
    assert requests.get(f"{project.url}/auth/v1/.well-known/jwks.json", timeout=5).json()["keys"][0]["alg"] == "ES256"


LISTEN = """
import { createClient } from "@supabase/supabase-js";
import ws from "ws";
const [url, key, email, code, version] = process.argv.slice(2);
const say = (words) => console.log(JSON.stringify(words));
const options = { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: ws } };
if (version) options.realtime.vsn = version;
const client = createClient(url, key, options);
const { data, error } = await client.auth.verifyOtp({ email, token: code, type: "email" });
if (error) throw error;
const renewed = await client.auth.refreshSession();
say({ what: "session", session: renewed.data.session, was: data.session.refresh_token });
await client.realtime.setAuth(renewed.data.session.access_token);
const timer = setTimeout(() => { say({ what: "timeout" }); process.exit(0); }, 20000);
client.channel("class_states_changes")
  .on("postgres_changes", { event: "*", schema: "public", table: "class_states", filter: "class_nbr=in.(12431,12432)" },
    (change) => {
      say({ what: "change", type: change.eventType, number: change.new.class_nbr, seats: change.new.seats_available,
            old: Object.keys(change.old) });
      if (change.new.seats_available !== 3) return;
      clearTimeout(timer);
      client.removeAllChannels().then(() => process.exit(0));
    })
  .on("system", {}, (message) => message.message === "Subscribed to PostgreSQL" && say({ what: "subscribed" }))
  .subscribe((status, problem) => { if (problem) say({ what: "problem", text: String(problem) }); });
"""


@pytest.mark.parametrize("version", ["", "1.0.0"], ids=["its own version", "1.0.0"])
def test_supabase_js_signs_in_refreshes_and_hears_of_changes(
    project: Project, postgres: psycopg.Connection[Any], mails: list[Mail], version: str
) -> None:
    requests.post(f"{project.url}/auth/v1/otp", json={"email": ANN}, headers={"apikey": ANON_KEY}, timeout=5)
    ended = threading.Event()

    def change_seats() -> None:
        insert = (
            "insert into class_states (term, subject, catalog_nbr, class_nbr, seats_available)"
            " values ('2267', 'CSE', '110', %s, %s) on conflict (class_nbr) do update"
            " set seats_available = excluded.seats_available"
        )
        while not project.realtime.open() and not ended.wait(0.02):
            pass
        for number, seats in (("12431", 0), ("99999", 1), ("12432", 2), ("12431", 3)):
            postgres.execute(insert, [number, seats])

    changing = threading.Thread(target=change_seats)
    changing.start()
    try:
        said = run_node(LISTEN, project.url, ANON_KEY, ANN, mails[-1].code, version)
    finally:
        ended.set()
        changing.join()
    session = said[0]
    assert session["session"]["refresh_token"] != session["was"]  # type: ignore[index]
    changes = [one for one in said if one["what"] == "change"]
    assert [(one["type"], one["number"], one["seats"]) for one in changes] == [
        ("INSERT", "12431", 0),
        ("INSERT", "12432", 2),
        ("UPDATE", "12431", 3),
    ]
    assert changes[-1]["old"] == ["id"]
    assert not [one for one in said if one["what"] in ("problem", "timeout")]


SESSION = """
import { createClient } from "@supabase/supabase-js";
import ws from "ws";
const [url, key, access_token, refresh_token] = process.argv.slice(2);
const options = { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: ws } };
const client = createClient(url, key, options);
const { data, error } = await client.auth.setSession({ access_token, refresh_token });
if (error) throw error;
const next = await client.auth.refreshSession();
console.log(JSON.stringify({ email: data.user.email, session: next.data.session }));
process.exit(0);
"""


def test_our_session_is_good_for_supabase_js_and_its_session_for_our_pages(door: Door) -> None:
    browser = door.student()
    ours = browser.session()
    (told,) = run_node(SESSION, door.project.url, ANON_KEY, ours["access_token"], ours["refresh_token"])
    assert told["email"] == ANN
    text = json.dumps(told["session"]).encode()
    other = door.browser()
    other.client.set_cookie("sb-127-auth-token", "base64-" + base64.urlsafe_b64encode(text).decode().rstrip("="))
    assert other.get("/dashboard").status_code == 200
