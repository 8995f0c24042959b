"""The comparison over HTTP: the bundle with itself, and with a stand-in that has every defect."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

import jwt
import pytest
import requests
from click.testing import CliRunner
from werkzeug.serving import make_server

from shared.mail.tokens import UnsubscribeTokens
from tests.support.mail import KEY
from tests.support.site import JWT_SECRET, NUMBERS, SECRET, SECTIONS, Site, token
from tests.support.term import TERM
from workshop.compare.command import compare
from workshop.compare.http.case_file import SHIPPED, read_cases
from workshop.compare.http.compare import compare_http, explained
from workshop.compare.http.expected import ABSENT
from workshop.compare.origin.http import IN_HTTP, Settings, Workers
from workshop.compare.origin.origin import EVERYTHING
from workshop.compare.origin.rules import Defects
from workshop.compare.report import render
from workshop.parts.web import Answer, Request, Server, json_answer

CASES = read_cases(SHIPPED)
SIGNING_KEY = "the service-role key"


@pytest.fixture
def bundle(site: Site) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, site.client.application, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(5)


def settings_of(site: Site) -> Settings:
    """A deployment of the old version on the database, campus and inbox of the test."""
    return Settings(
        site.environment["DATABASE_URL"],
        site.environment["SCRAPER_URL"],
        "scraper-token",
        site.environment["RESEND_API_URL"],
        KEY,
        SECRET,
        JWT_SECRET,
        SIGNING_KEY,
    )


@pytest.fixture
def workers(site: Site) -> Iterator[str]:
    with running(site, EVERYTHING | IN_HTTP) as url:
        yield url


@contextmanager
def running(site: Site, defects: Defects) -> Iterator[str]:
    """The old version with these defects."""
    old = Workers(settings_of(site), defects)
    with Server(old) as server:
        yield server.url
    old.close()


@pytest.fixture
def values(site: Site) -> dict[str, str]:
    site.restart(UNSUBSCRIBE_LEGACY_SECRET=SIGNING_KEY)
    user = site.world.add_user()
    site.world.add_watch(SECTIONS[0], user)
    return {
        "CRON_SECRET": SECRET,
        "USER_TOKEN": token(user),
        "TERM": TERM,
        "CLASS_NBR": NUMBERS[0],
        "OTHER_CLASS_NBR": NUMBERS[1],
        "UNSUBSCRIBE_TOKEN": UnsubscribeTokens(SIGNING_KEY).issue(user, datetime.now(UTC)),
    }


def test_the_bundle_does_not_differ_from_itself(bundle: str, values: dict[str, str]) -> None:
    for allow_writes in (False, True):
        findings = compare_http(bundle, bundle, CASES, values, allow_writes=allow_writes)
        assert not findings.groups
        assert findings.good


@pytest.mark.parametrize("owner", ["server", "workers"])
def test_against_the_old_version_only_registered_differences_appear_whoever_owns_the_sections(
    owner: str, site: Site, bundle: str, workers: str, values: dict[str, str]
) -> None:
    site.parts.database.call("pmc_switch_ownership", p_owner=owner)
    findings = compare_http(workers, bundle, CASES, values, allow_writes=True)
    assert {group.id for group in findings.groups} == {"N1", "N2", "O7", "O12", "O17", "O40"}
    assert findings.good
    assert not [note for note in findings.notes if "did not appear" in note]
    figures = {what: (old, new) for what, old, new in findings.figures}
    assert figures["Cases"] == (f"{len(CASES)} of {len(CASES)}",) * 2
    assert all(side.count("ms") == 2 for side in figures["Answered within, p50 / p95"])


def test_a_defect_that_is_off_does_not_appear_and_that_is_told(site: Site, bundle: str, values: dict[str, str]) -> None:
    with running(site, frozenset(["O17"])) as url:
        findings = compare_http(url, bundle, CASES, values)
    assert {group.id for group in findings.groups} == {"N1", "O17"}
    assert "O40 is expected in fetch-class-details-anonymous and did not appear." in findings.notes


def test_the_operators_health_has_every_field_that_it_had(bundle: str, workers: str, values: dict[str, str]) -> None:
    """Whatever the old version tells an operator, less is a difference that nothing explains."""
    case = next(case for case in CASES if case.name == "health-operator")
    asked = requests.get(workers + case.path, headers=case.filled(values).headers, timeout=10).json()
    for check, fields in asked["checks"].items():
        for field in fields:
            name = f"body.checks.{check}.{field}"
            assert explained(case.name, name, "something", ABSENT, {}) is None
    assert {"failure_count", "type", "last_state_change"} <= asked["checks"]["circuit_breaker"].keys()
    assert {"lock_holder", "expires_at", "time_held_ms"} <= asked["checks"]["cron_lock"].keys()
    findings = compare_http(workers, bundle, [case], values)
    assert {one.what for group in findings.groups for one in group.members} == {"status", "body.status"}


def test_another_students_watches_are_a_difference(site: Site, bundle: str, values: dict[str, str]) -> None:
    cases = [case for case in CASES if case.name == "watches"]
    other = site.world.add_user()
    site.world.add_watch(SECTIONS[0], other)
    with running(site, frozenset()) as url, mistaken(url, values["USER_TOKEN"], token(other)) as swapped:
        findings = compare_http(swapped, bundle, cases, values)
    assert {one.what for group in findings.groups for one in group.members} == {"body.watches.0.user_id"}


def test_watches_in_another_order_are_a_difference(site: Site, bundle: str, values: dict[str, str]) -> None:
    site.world.add_watch(SECTIONS[1], user_of(values["USER_TOKEN"]))
    cases = [case for case in CASES if case.name == "watches"]

    def backwards(answer: requests.Response) -> Answer:
        body = answer.json()
        return json_answer(body | {"watches": body["watches"][::-1]})

    with passing_on(bundle, backwards) as old:
        findings = compare_http(old, bundle, cases, values)
    assert "body.watches.0.class_nbr" in {one.what for group in findings.groups for one in group.members}
    assert not findings.good


def test_a_watch_that_was_added_is_removed_again(site: Site, bundle: str, workers: str, values: dict[str, str]) -> None:
    cases = [case for case in CASES if case.name == "watches-add"]
    before = site.world.one("select count(*) from class_watches")
    assert compare_http(workers, bundle, cases, values, allow_writes=True).count == 0
    assert site.world.one("select count(*) from class_watches") == before

    def keeping(answer: requests.Response) -> Answer:
        return json_answer({"error": "no"}, 500) if answer.request.method == "DELETE" else passed(answer)

    with passing_on(bundle, keeping) as new:
        findings = compare_http(workers, new, cases, values, allow_writes=True)
    assert "undo.status" in {one.what for group in findings.groups for one in group.members}
    assert "watches-add: what it added on the new side could not be taken back." in findings.notes


def test_only_a_post_unsubscribes_when_that_defect_is_off(site: Site) -> None:
    user = site.world.add_user()
    link = f"/api/unsubscribe?token={UnsubscribeTokens(SIGNING_KEY).issue(user, datetime.now(UTC))}"
    muted = "select notifications_enabled from user_profiles where user_id = %s"
    with running(site, frozenset()) as url:
        assert requests.get(url + link, timeout=10).status_code == 200
        assert site.world.one(muted, user) is True
    with running(site, IN_HTTP) as url:
        assert requests.get(url + link, timeout=10).status_code == 200
        assert site.world.one(muted, user) is False


def test_without_leave_nothing_is_written(site: Site, bundle: str, workers: str, values: dict[str, str]) -> None:
    counted = "select count(*) from class_watches union all select count(unsubscribed_at) from user_profiles"
    before = site.world.rows(counted)
    findings = compare_http(workers, bundle, CASES, values)
    assert site.world.rows(counted) == before
    assert site.world.one("select count(*) from pickmyclass.ticks") == 0
    assert site.world.one("select count(*) from pickmyclass.section_checks where observed_at is not null") == 0
    assert site.world.one("select count(*) from class_states") == 0
    assert "cron was left out: writes, which takes --allow-writes." in findings.notes


def test_no_secret_reaches_a_report(workers: str, values: dict[str, str]) -> None:
    """The old side puts whatever it was asked with into its answer."""

    def echoing(request: Request) -> Answer:
        return json_answer({**request.headers, **request.query, request.headers.get("authorization", "x"): 1}, 418)

    with Server(echoing) as echo:
        findings = compare_http(echo.url, workers, CASES, values, allow_writes=True)
    assert findings.unexplained > len(CASES)
    told = render([findings]) + json.dumps(findings.as_json())
    secrets = [values[name] for name in ("CRON_SECRET", "USER_TOKEN", "UNSUBSCRIBE_TOKEN")]
    assert not [secret for secret in secrets if secret in told or secret[:60] in told]
    assert "***" in told


def test_a_case_whose_values_are_not_set_is_left_out_by_name(bundle: str) -> None:
    findings = compare_http(bundle, bundle, CASES, {})
    assert "watches was left out: needs COMPARE_USER_TOKEN." in findings.notes
    assert [
        note for note in findings.notes if note.startswith("Compared ") and note.endswith(f" of {len(CASES)} cases.")
    ]


def run(*words: str, **environ: str) -> tuple[int, str]:
    """Exit code and output of the command; nothing of the caller's environment gets in."""
    clean = {name: None for name in os.environ if name.startswith("COMPARE_")}
    told = CliRunner().invoke(compare, ["http", *words], env={**clean, **environ, "COLUMNS": "200"})
    assert told.exception is None or isinstance(told.exception, SystemExit), told.exception
    return told.exit_code, told.output


def test_by_command_the_exit_code_tells_what_was_found(bundle: str, workers: str, tmp_path: Path) -> None:
    code, told = run("--old", bundle, "--new", bundle)
    assert (code, "No difference." in told) == (0, True)
    file = tmp_path / "cases.json"
    file.write_text('[{"name": "tick", "method": "GET", "path": "/api/nothing-here/${WORD}"}]')
    code, told = run("--old", workers, "--new", bundle, "--cases", str(file))
    assert (code, "No difference." in told) == (2, False)
    assert "tick was left out: needs COMPARE_WORD." in told
    assert "Nothing was compared." in told
    with Server(lambda _: json_answer({"error": "hello hunter2"}, 500)) as broken:
        words = ("--old", broken.url, "--new", bundle, "--cases", str(file), "--json", str(tmp_path / "report.json"))
        code, told = run(*words, COMPARE_WORD="hunter2")
    assert (code, "Not explained: 2." in told, "hunter2" in told) == (1, True, False)
    assert json.loads((tmp_path / "report.json").read_text())[0]["unexplained"] == 2


def test_by_command_a_file_that_holds_no_cases_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    for content, words in (("[]", "holds no case"), ('[{"name": "a", "method": 5, "path": "/"}]', "case 1, method")):
        file.write_text(content)
        code, told = run("--old", "http://127.0.0.1:1", "--new", "http://127.0.0.1:1", "--cases", str(file))
        assert (code, words in told.replace("\n", " ")) == (2, True)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:1", "ftp://127.0.0.1", "http://", "http://a:b:c", "http://user:hunter2@127.0.0.1:1", "http://a?b"],
)
def test_by_command_a_bad_address_is_refused_by_option_and_not_repeated(bundle: str, address: str) -> None:
    for option, other in (("--old", "--new"), ("--new", "--old")):
        code, told = run(option, address, other, bundle)
        assert (code, f"'{option}'" in told, address in told, "hunter2" in told) == (2, True, False, False)


def test_by_command_a_side_that_is_not_there_is_named(bundle: str) -> None:
    for option, other, name in (("--old", "--new", "old"), ("--new", "--old", "new")):
        code, told = run(option, "http://127.0.0.1:1", other, bundle)
        assert (code, told) == (2, f"The {name} side cannot be reached (ConnectionError).\n")


def user_of(user_token: str) -> str:
    return str(jwt.decode(user_token, options={"verify_signature": False})["sub"])


def passed(answer: requests.Response) -> Answer:
    return Answer(answer.status_code, answer.content, answer.headers["content-type"])


@contextmanager
def passing_on(url: str, change: Callable[[requests.Response], Answer]) -> Iterator[str]:
    """A side that asks another and changes what it says."""

    def handler(request: Request) -> Answer:
        address = f"{url}{request.path}?{urlencode(request.query)}"
        kept = {name: request.headers[name] for name in ("authorization", "content-type") if name in request.headers}
        return change(requests.request(request.method, address, headers=kept, data=request.body, timeout=10))

    with Server(handler) as server:
        yield server.url


@contextmanager
def mistaken(url: str, mine: str, theirs: str) -> Iterator[str]:
    """A side that takes one student for another."""

    def handler(request: Request) -> Answer:
        bearer = request.headers["authorization"].replace(mine, theirs)
        return passed(requests.get(url + request.path, headers={"Authorization": bearer}, timeout=10))

    with Server(handler) as server:
        yield server.url
