"""The comparison over HTTP: the bundle with itself, and with a stand-in that has every defect."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests
from click.testing import CliRunner
from werkzeug.serving import make_server

from compare.case_file import SHIPPED, Case, CaseError, read_cases
from compare.command import compare
from compare.http import compare_http
from compare.origin import EVERYTHING
from compare.origin_http import IN_HTTP, Settings, Workers
from compare.origin_rules import Defects
from compare.report import render
from local.web import Server
from shared.emails.tokens import UnsubscribeTokens
from tests.support.mail import KEY
from tests.support.site import JWT_SECRET, NUMBERS, SECRET, SECTIONS, TERM, Site, token

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


def test_against_the_old_version_only_registered_differences_appear(
    bundle: str, workers: str, values: dict[str, str]
) -> None:
    findings = compare_http(workers, bundle, CASES, values, allow_writes=True)
    assert {group.id for group in findings.groups} == {"O7", "O12", "O17", "O40"}
    assert findings.good


def test_a_defect_that_is_off_does_not_appear_and_that_is_told(site: Site, bundle: str, values: dict[str, str]) -> None:
    with running(site, frozenset(["O17"])) as url:
        findings = compare_http(url, bundle, CASES, values)
    assert {group.id for group in findings.groups} == {"O17"}
    assert "O40 is expected here and did not appear." in findings.notes


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


def test_an_unregistered_difference_fails(workers: str, bundle: str, values: dict[str, str]) -> None:
    findings = compare_http(workers, bundle, [Case("new-here", "GET", "/go/asu?term=2267&classNbr=12431")], values)
    assert (findings.unexplained > 0, findings.good) == (True, False)


def test_without_leave_nothing_is_written(site: Site, bundle: str, values: dict[str, str]) -> None:
    findings = compare_http(bundle, bundle, CASES, values)
    assert site.world.one("select count(*) from pickmyclass.ticks") == 0
    assert site.world.one("select count(*) from pickmyclass.section_checks where observed_at is not null") == 0
    assert "cron was left out: writes." in findings.notes


def test_no_secret_reaches_a_report(workers: str, bundle: str, values: dict[str, str]) -> None:
    findings = compare_http(workers, bundle, CASES, values)
    told = render([findings]) + json.dumps(findings.as_json())
    assert not [secret for secret in (SECRET, values["USER_TOKEN"]) if secret in told]


def test_a_case_whose_values_are_not_set_is_left_out_by_name(bundle: str) -> None:
    findings = compare_http(bundle, bundle, CASES, {})
    assert "watches was left out: needs COMPARE_USER_TOKEN." in findings.notes


def test_a_file_that_holds_no_cases_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "cases.json"
    file.write_text('[{"name": "a", "paht": "/"}]')
    with pytest.raises(CaseError, match="case 1"):
        read_cases(file)


def test_by_command_the_exit_code_tells_and_a_side_that_is_not_there_is_named_without_its_address(bundle: str) -> None:
    told = CliRunner().invoke(compare, ["http", "--old", bundle, "--new", bundle])
    assert (told.exit_code, "No difference." in told.output) == (0, True)
    told = CliRunner().invoke(compare, ["http", "--old", "http://user:hunter2@127.0.0.1:1", "--new", bundle])
    assert (told.exit_code, "hunter2" in told.output) == (2, False)
