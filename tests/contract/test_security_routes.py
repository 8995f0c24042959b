"""Every route against everything a stranger may try: the same refusals everywhere, and nothing given away."""

import itertools
import json
import logging
import re
import uuid

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

from shared.settings import ROOT
from shared.web.host import METHODS
from shared.web.operations import Operation, operations
from shared.web.routes import ROUTES
from tests.support.site import JWT_SECRET, SECRET, SECTIONS, WEBHOOK_SECRET, Site, token
from tests.support.term import TERM

OPERATIONS = operations()
PATHS = [route.path for route in ROUTES]
BODY = {"term": TERM, "class_nbr": SECTIONS[0].class_nbr}
FAR = {"environ_base": {"REMOTE_ADDR": "192.0.2.7"}}
STUDENTS = [one for one in OPERATIONS if one.security == "student"]
OPERATORS = [one for one in OPERATIONS if one.security.startswith("operator") and one.security != "operator or anyone"]
NOT_HERE = re.compile(
    rf"Traceback|psycopg|select |insert |{re.escape(str(ROOT))}|site-packages|postgres(ql)?://|redis://", re.IGNORECASE
)


def name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def forged_bearers(site: Site) -> dict[str, str]:
    user = site.world.add_user()
    good = token(user)
    head, body, signature = good.split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    return {
        "wrong": "wrong",
        "empty": "",
        "expired": token(user, exp=1_700_000_000),
        "alg none": f"{none}.{body}.",
        "alg none, signed": f"{none}.{body}.{signature}",
        "cut": f"{head}.{body}.",
        "nobody's": token(str(uuid.uuid4())),
        "disabled": token(site.world.add_user(is_disabled=True)),
        "prefix of the secret": SECRET[:-1],
        "the secret and more": SECRET + "x",
        "the service's key": site.environment["SUPABASE_SERVICE_ROLE_KEY"],
    }


def words_for(operation: Operation) -> dict:
    return {"json": BODY} if operation.body else {}


@pytest.mark.parametrize("operation", STUDENTS + OPERATORS, ids=name)
def test_no_token_and_every_forged_one_get_401_and_do_nothing(site: Site, operation: Operation) -> None:
    before = snapshot(site)
    for kind, bearer in {"none": None, **forged_bearers(site)}.items():
        answer = site.ask(operation.method, operation.path, bearer=bearer, **words_for(operation), **FAR)
        assert answer.status_code == 401, kind
        assert answer.get_json()["error"].startswith("Unauthorized")
    assert not site.campus.campus.lookups
    assert snapshot(site) == before


def test_the_operator_is_no_student(site: Site) -> None:
    for operation in STUDENTS:
        answer = site.ask(operation.method, operation.path, bearer=SECRET, **words_for(operation))
        assert answer.status_code == 401, name(operation)


def test_a_student_is_no_operator(site: Site) -> None:
    user = site.world.add_user(is_admin=True)
    for operation in OPERATORS:
        answer = site.ask(operation.method, operation.path, user=user, **words_for(operation), **FAR)
        assert answer.status_code == 401, name(operation)


def snapshot(site: Site) -> list:
    tables = ("class_watches", "class_states", "notifications_sent", "pickmyclass.section_checks", "pickmyclass.outbox")
    return [site.world.one(f"select count(*) from {table}") for table in tables]


def test_another_students_data_is_never_read_or_changed(site: Site) -> None:
    me, other = site.world.add_user(), site.world.add_user()
    watch = site.world.add_watch(SECTIONS[1], other)
    address = site.world.one("select email from auth.users where id = %s", other)
    before = site.world.rows("select to_jsonb(p) from user_profiles p where user_id = %s", other)
    for operation in STUDENTS:
        for query in (f"?id={watch}&user_id={other}", f"?id={watch}&id={watch}"):
            body = {"json": BODY | {"user_id": other, "id": watch}} if operation.body else {}
            answer = site.ask(operation.method, operation.path + query, user=me, **body)
            assert other not in answer.text
            assert address not in answer.text
            assert watch not in answer.text
    assert site.world.rows("select to_jsonb(p) from user_profiles p where user_id = %s", other) == before
    assert site.world.rows("select user_id::text from class_watches where id = %s", watch) == [(other,)]


def test_a_wrong_method_gets_405_before_anything_is_asked(site: Site) -> None:
    for path in PATHS:
        allowed = {one.method for one in OPERATIONS if one.path == path}
        allowed |= {"HEAD"} if "GET" in allowed else set()
        for method in {*METHODS, "TRACE", "BREW", "get"} - allowed:
            answer = site.client.open(path, method=method)
            assert answer.status_code == 405, (path, method)
            assert set(answer.headers["Allow"].split(", ")) == allowed
            if method != "HEAD":
                assert answer.get_json() == {"success": False, "error": "Method not allowed"}


def test_a_huge_body_gets_413_whoever_sends_it(site: Site) -> None:
    student = token(site.world.add_user())
    for operation, bearer in itertools.product(OPERATIONS, (None, SECRET, student)):
        answer = site.ask(operation.method, operation.path, bearer=bearer, data=b"x" * (64 * 1024 + 1))
        assert answer.status_code == 413, name(operation)
        assert answer.get_json()["success"] is False


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.body], ids=name)
def test_another_content_type_gets_400(site: Site, operation: Operation) -> None:
    bearer = SECRET if operation.security == "operator" else token(site.world.add_user())
    body = json.dumps(BODY)
    for media in ("text/plain", "application/xml", "multipart/form-data; boundary=x", "text/json"):
        answer = site.ask(operation.method, operation.path, bearer=bearer, data=body, content_type=media)
        assert answer.status_code == 400, media
        assert answer.get_json()["details"] == [{"field": "Content-Type", "message": "must be application/json"}]


@pytest.mark.parametrize("operation", [one for one in OPERATIONS if one.body], ids=name)
def test_malformed_json_gets_400(site: Site, operation: Operation) -> None:
    bearer = SECRET if operation.security == "operator" else token(site.world.add_user())
    injected = '{"term": {"$gt": ""}, "class_nbr": []}'
    for data in ("", "{", "[]", "null", "7", '"x"', "[" * 30_000, injected, "\x00", '{"a":1e999}'):
        answer = site.ask(operation.method, operation.path, bearer=bearer, data=data, content_type="application/json")
        assert answer.status_code == 400, data[:20]
        body = answer.get_json()
        assert (body["success"], body["error"]) == (False, "Invalid input")
        assert body["details"]


def test_headers_cannot_be_injected(site: Site) -> None:
    evil = "x\r\nSet-Cookie: a=b"
    query = {"id": evil, "token": evil, "classNbr": evil, "term": evil}
    for path in PATHS:
        raw = EnvironBuilder(path=path, query_string=query).get_environ()
        raw |= {"HTTP_X_REQUEST_ID": evil, "HTTP_X_CRON_SCHEDULED_TIME": evil, "HTTP_AUTHORIZATION": f"Bearer {SECRET}"}
        _, _, headers = run_wsgi_app(site.client.application, raw)
        assert "Set-Cookie" not in headers, path
        assert all("\n" not in value and "\r" not in value for value in headers.values())
        assert re.fullmatch(r"[0-9a-f]{32}", headers["X-Request-Id"])


def test_an_unknown_path_is_404_as_json(site: Site) -> None:
    for path in ("/app", "/api", "/api/cron/", "/API/CRON", "/api//cron", "/api/cron/../cron", "/metrics/x"):
        answer = site.ask("GET", path, bearer=SECRET)
        assert (answer.status_code, answer.get_json()) == (404, {"success": False, "error": "Not found"}), path


def test_answers_and_logs_hold_no_secret_and_no_plain_address(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A tour through everything that works and everything that fails, then a look at what was said and written."""
    caplog.set_level(logging.DEBUG)
    users = [site.world.add_user() for _ in range(3)]
    addresses = [address for (address,) in site.world.rows("select email from auth.users")]
    answers = [site.watch(users[0])]
    site.set(SECTIONS[0], seats_available=2)
    answers.append(site.watch(users[1]))
    for fault in ("error", "cut", "token", "rate_limit"):
        site.misbehave(fault, count=1)
        answers.append(site.watch(users[2], SECTIONS[3]))
    bearers = [None, SECRET, token(users[2]), *forged_bearers(site).values()]
    for operation in OPERATIONS:
        if operation.path != "/api/user/export":  # which shows its owner's address, to its owner
            answers += [
                site.ask(operation.method, operation.path, bearer=one, **words_for(operation)) for one in bearers
            ]
    site.lose_database()
    for operation in OPERATIONS:
        answers.append(site.ask(operation.method, operation.path, bearer=bearers[2], **words_for(operation)))
        answers.append(site.ask(operation.method, operation.path, bearer=SECRET, **words_for(operation)))
    said = "\n".join(answer.text for answer in answers)
    logged = "\n".join(f"{record.getMessage()} {record.__dict__} {record.exc_text or ''}" for record in caplog.records)
    secrets = [SECRET, JWT_SECRET, WEBHOOK_SECRET, "hunter2", "scraper-token", "service-role-key", "re_test_key"]
    for text in (said, logged):
        assert not [secret for secret in secrets if secret in text]
        assert not [address for address in addresses if address in text]
        assert not [bearer for bearer in bearers[2:] if len(bearer or "") > 20 and str(bearer) in text]
    assert not NOT_HERE.search(said)
