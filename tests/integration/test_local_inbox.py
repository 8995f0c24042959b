"""The inbox over HTTP: what Resend's documentation says of its API, row by row, and faults on demand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import resend

from workshop.inbox.letters import problem_with
from workshop.inbox.limits import Limits
from workshop.inbox.mailbox import Mailbox
from workshop.inbox.server import FAULTS, InboxApp
from workshop.inbox.webhooks import Courier
from workshop.parts.web import Answer, Request, Server

KEY = "re_key"


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1_000_000.25

    def __call__(self) -> float:
        return self.now


class Account:
    """A running inbox and a sender."""

    def __init__(self, server: Server, app: InboxApp, clock: Clock) -> None:
        self.app, self.url, self.clock = app, server.url, clock
        self.http = requests.Session()
        self.http.trust_env = False

    def send(
        self, emails: Any, key: str | None = None, *, path: str = "/emails/batch", **headers: str
    ) -> requests.Response:
        headers = {
            "Authorization": f"Bearer {KEY}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if key is not None:
            headers["Idempotency-Key"] = key
        return self.http.post(self.url + path, json=emails, headers=headers, timeout=10)

    def fault(self, **order: Any) -> None:
        answer = self.http.post(self.url + "/control/faults", json=order, timeout=10)
        assert answer.status_code == 201, answer.text

    def got(self, query: str = "") -> list[Any]:
        emails: list[Any] = self.http.get(f"{self.url}/control/emails{query}", timeout=10).json()["emails"]
        return emails


@pytest.fixture
def account() -> Iterator[Account]:
    clock = Clock()
    app = InboxApp(KEY, Mailbox(clock), Limits(5, daily_quota=120, clock=clock))
    with Server(app) as server:
        account = Account(server, app, clock)
        yield account
        account.http.close()
        app.stop()


def email(to: str = "ann@example.edu", **more: Any) -> dict[str, Any]:
    body = {"from": "PickMyClass <hello@example.edu>", "to": [to], "subject": "Seat", "html": "<p>x</p>", "text": "x"}
    return {**body, **more}


def error_of(answer: requests.Response) -> tuple[int, str]:
    body = answer.json()
    assert body["statusCode"] == answer.status_code
    assert body["message"]
    return answer.status_code, body["name"]


def test_a_batch_is_accepted_with_an_id_for_each_in_order(account: Account) -> None:
    answer = account.send([email("ann@example.edu"), email("Ben <BEN@example.edu>")])
    assert answer.status_code == 200
    ids = [one["id"] for one in answer.json()["data"]]
    assert list(answer.json()) == ["data"]
    kept = account.got("?full=1")
    assert [one["id"] for one in kept] == ids
    assert [one["to"] for one in kept] == [["ann@example.edu"], ["ben@example.edu"]]
    assert (kept[0]["html"], kept[0]["text"], kept[0]["number"]) == ("<p>x</p>", "x", 1)


def test_one_email_is_accepted_by_itself(account: Account) -> None:
    answer = account.send(email(), path="/emails")
    assert answer.json() == {"id": account.got()[0]["id"]}


def test_the_same_request_under_the_same_key_is_answered_the_same_and_sent_once(account: Account) -> None:
    first = account.send([email()], "key-1")
    again = account.send([email()], "key-1")
    assert (again.status_code, again.json()) == (200, first.json())
    assert len(account.got()) == 1
    assert account.got()[0]["idempotency_key"] == "key-1"


def test_another_request_under_the_same_key_is_a_conflict(account: Account) -> None:
    account.send([email()], "key-1")
    assert error_of(account.send([email("ben@example.edu")], "key-1")) == (409, "invalid_idempotent_request")
    assert error_of(account.send(email(), "key-1", path="/emails")) == (409, "invalid_idempotent_request")
    assert len(account.got()) == 1


def test_a_request_under_a_key_that_is_being_worked_on_is_a_conflict_too(account: Account) -> None:
    inside, go_on = threading.Event(), threading.Event()
    accept = account.app.mailbox.accept

    def slowly(*arguments: Any) -> list[str]:
        inside.set()
        assert go_on.wait(10)
        return accept(*arguments)

    account.app.mailbox.accept = slowly  # type: ignore[method-assign]  # holds the first request inside
    first: list[requests.Response] = []
    body, headers = [email()], {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "key-1"}
    url = account.url + "/emails/batch"
    sender = threading.Thread(target=lambda: first.append(requests.post(url, json=body, headers=headers, timeout=10)))
    sender.start()
    assert inside.wait(10)
    assert error_of(account.send(body, "key-1")) == (409, "concurrent_idempotent_requests")
    go_on.set()
    sender.join(10)
    assert account.send(body, "key-1").json() == first[0].json()
    assert len(account.got()) == 1


def test_a_key_is_forgotten_after_a_day(account: Account) -> None:
    account.send([email()], "key-1")
    account.clock.now += 24 * 3600 - 1
    account.send([email()], "key-1")
    assert len(account.got()) == 1
    account.clock.now += 1
    account.send([email()], "key-1")
    assert len(account.got()) == 2


def test_a_refused_request_does_not_use_up_its_key(account: Account) -> None:
    assert account.send([email(to="nobody")], "key-1").status_code == 422
    assert account.send([email()], "key-1").status_code == 200


@pytest.mark.parametrize("key", ["", "x" * 257])
def test_a_key_of_impossible_length_is_refused(account: Account, key: str) -> None:
    assert error_of(account.send([email()], key)) == (400, "invalid_idempotency_key")


def test_one_bad_email_fails_a_strict_batch_whole(account: Account) -> None:
    assert error_of(account.send([email(), email(to="nobody")])) == (422, "validation_error")
    assert error_of(account.send([email(), email(subject="")])) == (422, "missing_required_field")
    assert account.got() == []


def test_one_bad_email_fails_alone_in_a_permissive_batch(account: Account) -> None:
    batch = [email("ann@example.edu"), email(to="nobody"), email("ben@example.edu")]
    answer = account.send(batch, "key-1", x_batch_validation="permissive")
    body = answer.json()
    assert answer.status_code == 200
    assert [one["id"] for one in body["data"]] == [one["id"] for one in account.got()]
    assert [one["to"] for one in account.got()] == [["ann@example.edu"], ["ben@example.edu"]]
    assert [(one["index"], "`to`" in one["message"]) for one in body["errors"]] == [(1, True)]
    assert account.send(batch, "key-1", x_batch_validation="permissive").json() == body


def test_a_permissive_batch_without_a_bad_email_has_no_errors(account: Account) -> None:
    assert account.send([email()], x_batch_validation="permissive").json()["errors"] == []


@pytest.mark.parametrize("batch", [[], {}, "x", [email()] * 101])
def test_a_batch_of_impossible_size_is_refused(account: Account, batch: Any) -> None:
    assert error_of(account.send(batch)) == (422, "validation_error")
    assert account.got() == []


def test_a_hundred_emails_fit(account: Account) -> None:
    assert len(account.send([email()] * 100).json()["data"]) == 100


def test_who_asks_is_looked_at_first(account: Account) -> None:
    url = account.url + "/emails/batch"
    assert error_of(account.http.post(url, json=[], timeout=10)) == (401, "missing_api_key")
    other = {"Authorization": "Bearer re_other"}
    assert error_of(account.http.post(url, json=[], headers=other, timeout=10)) == (403, "invalid_api_key")


def test_other_methods_and_paths_are_refused(account: Account) -> None:
    assert error_of(account.http.get(account.url + "/emails/batch", timeout=10)) == (405, "method_not_allowed")
    assert error_of(account.http.get(account.url + "/domains", timeout=10)) == (404, "not_found")


def test_a_body_that_is_not_json_is_refused(account: Account) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = account.http.post(account.url + "/emails/batch", data=b"[{", headers=headers, timeout=10)
    assert error_of(answer) == (422, "validation_error")


def test_every_answer_tells_the_rate_and_too_many_requests_wait(account: Account) -> None:
    remaining = [account.send([email()]).headers["ratelimit-remaining"] for _ in range(5)]
    assert remaining == ["4", "3", "2", "1", "0"]
    refused = account.send([email()], "key-1")
    assert error_of(refused) == (429, "rate_limit_exceeded")
    assert (refused.headers["ratelimit-limit"], refused.headers["retry-after"]) == ("5", "1")
    account.clock.now += 1
    assert account.send([email()], "key-1").status_code == 200


def test_the_daily_quota_takes_a_batch_whole_or_not_at_all(account: Account) -> None:
    account.send([email()] * 100)
    assert error_of(account.send([email()] * 21, "key-1")) == (429, "daily_quota_exceeded")
    answer = account.send([email()] * 20)
    assert (answer.status_code, len(account.got())) == (200, 120)
    assert account.http.post(account.url + "/control/day", timeout=10).status_code == 200
    assert account.send([email()] * 21, "key-1").status_code == 200


REFUSALS: list[tuple[dict[str, Any], tuple[int, str]]] = [
    ({"kind": "error"}, (500, "application_error")),
    ({"kind": "error", "status": 503}, (503, "application_error")),
    ({"kind": "rate_limit", "retry_after": 3}, (429, "rate_limit_exceeded")),
    ({"kind": "quota"}, (429, "daily_quota_exceeded")),
    ({"kind": "quota", "period": "monthly"}, (429, "monthly_quota_exceeded")),
    ({"kind": "missing_key"}, (401, "missing_api_key")),
    ({"kind": "forbid"}, (403, "invalid_api_key")),
    ({"kind": "forbid", "name": "validation_error"}, (403, "validation_error")),
    ({"kind": "invalid"}, (422, "validation_error")),
    ({"kind": "concurrent"}, (409, "concurrent_idempotent_requests")),
]


@pytest.mark.parametrize(("order", "error"), REFUSALS, ids=lambda value: str(value))
def test_a_refusal_on_demand_accepts_nothing_and_is_gone_after_its_calls(
    account: Account, order: dict[str, Any], error: tuple[int, str]
) -> None:
    account.fault(**order, count=1)
    refused = account.send([email()], "key-1")
    assert error_of(refused) == error
    assert "ratelimit-limit" in refused.headers
    if "retry_after" in order:
        assert refused.headers["retry-after"] == "3"
    assert account.got() == []
    assert account.send([email()], "key-1").status_code == 200


@pytest.mark.parametrize(
    "order",
    [{"kind": "error"}, {"kind": "cut"}, {"kind": "nonsense"}, {"kind": "hang", "seconds": 0.01}],
    ids=lambda value: str(value["kind"]),
)
@pytest.mark.parametrize("accepted", [False, True])
def test_a_call_can_be_spoiled_before_or_after_its_mail_was_accepted(
    account: Account, order: dict[str, Any], accepted: bool
) -> None:
    account.fault(**order, accepted=accepted, count=1)
    try:
        first = account.send([email()], "key-1")
    except requests.ConnectionError:
        assert order["kind"] in ("cut", "hang")
    else:
        spoiled = first.status_code != 200 or "json" not in first.headers["Content-Type"]
        assert spoiled or (order["kind"] == "hang" and accepted)
    assert len(account.got()) == (1 if accepted else 0)
    again = account.send([email()], "key-1")
    assert again.json()["data"][0]["id"] == account.got()[0]["id"]
    assert len(account.got()) == 1


def test_every_kind_of_fault_is_tried() -> None:
    assert {order["kind"] for order, _ in REFUSALS} | {"cut", "nonsense", "hang", "reject"} == set(FAULTS)


def test_one_address_can_be_rejected(account: Account) -> None:
    account.fault(kind="reject", match="ben@example.edu")
    batch = [email("ann@example.edu"), email("Ben <Ben@example.edu>")]
    body = account.send(batch, x_batch_validation="permissive").json()
    assert [one["index"] for one in body["errors"]] == [1]
    assert error_of(account.send(batch)) == (422, "validation_error")
    assert [one["to"] for one in account.got()] == [["ann@example.edu"]]


def test_a_fault_waits_behind_the_callers_own_mistakes(account: Account) -> None:
    account.fault(kind="error", count=1, accepted=True)
    assert account.send([email(to="nobody")]).status_code == 422


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"from": "me"}, "`from`"),
        ({"from": None}, "`from`"),
        ({"to": []}, "`to`"),
        ({"to": "a b@example.edu"}, "`to`"),
        ({"to": ["a@example.edu", 5]}, "`to`"),
        ({"to": ["a@example.edu"] * 51}, "50"),
        ({"subject": "two\nlines"}, "`subject`"),
        ({"subject": ""}, "`subject`"),
        ({"html": None, "text": ""}, "`html` or `text`"),
        ({"attachments": [{}]}, "attachments"),
        ({"headers": {"X-A": "1\r\nBcc: all@example.edu"}}, "`X-A`"),
        ({"headers": ["X"]}, "headers"),
    ],
)
def test_what_is_wrong_with_an_email_is_said(change: dict[str, Any], problem: str) -> None:
    assert problem in (problem_with({**email(), **change}) or "")


def test_a_good_email_has_no_problem() -> None:
    assert problem_with(email(headers={"List-Unsubscribe": "<https://example.edu/u>"}, html=None)) is None
    assert problem_with(["not", "an", "email"]) is not None


def test_the_mails_can_be_filtered_read_and_thrown_away(account: Account) -> None:
    account.send([email("ann@example.edu", subject="Seat in CSE 110"), email("ben@example.edu", subject="Name")])
    account.send([email("ann@example.edu", subject="Name")])
    assert [one["number"] for one in account.got("?to=ANN@example.edu")] == [1, 3]
    assert [one["number"] for one in account.got("?search=cse")] == [1]
    assert [one["number"] for one in account.got("?after=2")] == [3]
    assert [one["number"] for one in account.got("?order=newest&limit=2")] == [3, 2]
    one = account.got()[0]
    assert "html" not in one
    assert account.http.get(f"{account.url}/control/emails/{one['id']}", timeout=10).json()["html"] == "<p>x</p>"
    assert account.http.get(f"{account.url}/control/emails/none", timeout=10).status_code == 404
    assert account.http.get(f"{account.url}/control/emails?after=x", timeout=10).status_code == 400
    emptied = account.http.delete(f"{account.url}/control/emails", timeout=10).json()
    assert (emptied["accepted"], emptied["emails"]) == (3, [])
    account.send([email()])
    assert [one["number"] for one in account.got("?after=3")] == [4]


def test_what_became_of_a_mail_is_brought_to_the_webhook_signed_as_resend_signs_it() -> None:
    secret, brought = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", []

    def site(request: Request) -> Answer:
        words = {name: request.headers[f"svix-{name}"] for name in ("id", "timestamp", "signature")}
        payload = request.body.decode()
        resend.Webhooks.verify({"payload": payload, "headers": words, "webhook_secret": secret})  # type: ignore[typeddict-item]
        brought.append(request.json())
        return Answer(503 if "Second" in payload else 200)

    with Server(site) as webhook:
        app = InboxApp(KEY, Mailbox(), Limits(50), Courier(webhook.url, secret))
        with Server(app) as server:
            account = Account(server, app, Clock())
            account.send([email("ann@example.edu"), email("ben@example.edu", subject="Second")])
            first, second = (f"{account.url}/control/emails/{one['id']}" for one in account.got())
            for event in ("delivered", "bounced", "complained"):
                answer = account.http.post(first, json={"event": event}, timeout=10)
                assert answer.json() == {"answered": 200}
            assert account.http.post(second, json={"event": "bounced"}, timeout=10).json() == {"answered": 503}
            assert account.http.post(first, json={"event": "eaten"}, timeout=10).status_code == 400
            account.http.close()
    assert [one["type"] for one in brought[:3]] == ["email.delivered", "email.bounced", "email.complained"]
    assert brought[1]["data"]["bounce"]["type"] == "Permanent"
    assert brought[0]["data"]["to"] == ["ann@example.edu"]


def test_an_inbox_without_a_webhook_says_so(account: Account) -> None:
    account.send([email()])
    answer = account.http.post(f"{account.url}/control/emails/{account.got()[0]['id']}", json={"event": "bounced"})
    assert (answer.status_code, "--webhook" in answer.text) == (400, True)


def test_the_page_shows_mail_without_letting_it_act(account: Account) -> None:
    page = account.http.get(account.url + "/", timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert 'sandbox="allow-popups allow-popups-to-escape-sandbox"' in page.text
    assert account.http.get(account.url + "/health", timeout=10).json()["status"] == "ok"
