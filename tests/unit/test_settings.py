"""Settings: everything is validated, every problem is told at once, and nothing secret is repeated."""

import re
from pathlib import Path

import pytest

from shared.environment import Supervisor, take_supervisor
from shared.settings import ROOT, Settings, SettingsError, load, names, unknown_names

GOOD = {
    "REDIS_URL": "redis://localhost:6379",
    "DATABASE_URL": "postgresql://localhost/pickmyclass",
    "SCRAPER_URL": "https://scraper.example",
    "SCRAPER_SECRET_TOKEN": "token",
    "CRON_SECRET": "a-secret-of-operators",
    "UNSUBSCRIBE_SIGNING_SECRET": "a-secret-that-signs",
    "SITE_URL": "https://example.edu/",
}


def test_a_complete_environment_loads_with_the_documented_defaults() -> None:
    settings = load(GOOD, None, complete=True)
    assert (settings.workers, settings.port, settings.cron_schedule) == (4, 8080, "0,30 * * * *")
    assert (settings.cron_timezone, settings.max_watches_per_user) == ("America/Phoenix", 10)
    assert settings.redis_prefix == "pickmyclass:"
    assert settings.site_url == "https://example.edu"


def test_an_empty_environment_names_every_missing_setting_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        load({}, None, complete=True)
    missing = {problem.name for problem in caught.value.problems}
    assert missing == set(GOOD)


def test_functions_may_start_with_settings_missing() -> None:
    assert "CRON_SECRET" in load({}, None).missing()


def test_a_source_needs_what_it_needs_and_not_what_another_one_does() -> None:
    scraper = {name for name in GOOD if name.startswith("SCRAPER")}
    base = {name: value for name, value in GOOD.items() if name not in scraper}
    contact = {"SOURCE_CONTACT": "ops@example.edu"}
    assert load({**base, **contact, "SOURCE": "asu"}, None, complete=True).sources == ("asu",)
    assert load({**GOOD, **contact, "SOURCE": "asu, scraper"}, None, complete=True).sources == ("asu", "scraper")
    assert load(GOOD, None, complete=True).sources == ("scraper",)
    for given, missing in (
        ({**base, "SOURCE": "asu"}, {"SOURCE_CONTACT"}),
        ({**base, **contact, "SOURCE": "asu,scraper"}, scraper),
        ({**base, "SOURCE": "scraper"}, scraper),
        ({**base, "SOURCE": "asu", "PORT": "many"}, {"SOURCE_CONTACT", "PORT"}),
    ):
        with pytest.raises(SettingsError) as caught:
            load(given, None, complete=True)
        assert {problem.name for problem in caught.value.problems} == missing
    assert load({**base, "SOURCE": "asu"}, None).missing() == ["SOURCE_CONTACT"]


@pytest.mark.parametrize(("looks", "calls"), [("", 30), ("0", 30), ("12", 12)])
def test_the_catalog_is_called_so_often_a_minute_as_is_set_or_thirty_times(looks: str, calls: int) -> None:
    asu = {"SOURCE": "asu", "SOURCE_CONTACT": "ops@example.edu", "LOOKS_PER_MINUTE": looks}
    assert load({**GOOD, **asu}, None).calls_a_minute == calls
    assert load({**GOOD, "LOOKS_PER_MINUTE": looks}, None).calls_a_minute is None


@pytest.mark.parametrize("value", ["banner", "asu,asu", "asu,,scraper", ",", "asu scraper", "ASU"])
def test_a_source_that_nobody_knows_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="SOURCE: must be scraper, asu"):
        load({**GOOD, "SOURCE": value}, None)


@pytest.mark.parametrize(
    "value", ["Ops <ops@example.edu>", "a@b@c.d", "ops@example.edu\r\nX: y", "ö@example.edu", "a,b@c.d"]
)
def test_a_contact_that_cannot_stand_in_a_header_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="SOURCE_CONTACT"):
        load({**GOOD, "SOURCE_CONTACT": value}, None)


BAD = {
    "REDIS_URL": "http://localhost",
    "DATABASE_URL": "mysql://x",
    "SUPABASE_URL": "project.supabase.co",
    "SCRAPER_URL": "https://user:hunter2@scraper.example",
    "DATABASE_TRANSPORT": "carrier-pigeon",
    "SOURCE": "banner",
    "ASU_CATALOG_URL": "catalog.example",
    "LOOKS_PER_MINUTE": "-1",
    "SOURCE_CONTACT": "nobody",
    "CRON_SECRET": "a,b,c",
    "RESEND_WEBHOOK_SECRET": "hunter2",
    "NOTIFICATION_FROM_EMAIL": "nobody\r\nBcc: x@y.z",
    "MAX_WATCHES_PER_USER": "0",
    "USER_REQUESTS_PER_MINUTE": "0",
    "WORKERS": "many",
    "WORKER_NAME": "a b",
    "CRON_SCHEDULE": "0 * * * *",
    "CRON_TIMEZONE": "Mars/Olympus",
    "LOG_FORMAT": "xml",
    "LOG_LEVEL": "LOUD",
    "REDIS_PREFIX": "no spaces",
    "PORT": "70000",
    "HEARTBEAT_URL": "ftp://x",
    "ALERT_EMAIL": "nobody",
    "SITE_URL": "example.edu",
    "SITE_UPSTREAM": "example.edu",
    "RESEND_API_URL": "example.edu",
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_value_is_an_error_not_a_default(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, name: BAD[name]}, None)
    (problem,) = caught.value.problems
    assert problem.name == name
    assert problem.remedy


def test_all_wrong_values_are_reported_together_and_none_is_repeated() -> None:
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, **BAD}, None)
    assert {problem.name for problem in caught.value.problems} == set(BAD)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("odd", ["\0", "\udc80"], ids=["nul", "half a character"])
@pytest.mark.parametrize("name", ["SCRAPER_SECRET_TOKEN", "CRON_SECRET", "SITE_URL"])
def test_a_value_that_is_no_text_is_refused_by_its_name(name: str, odd: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load({**GOOD, name: GOOD[name].replace("e", f"e{odd}", 1)}, None)
    assert [(problem.name, "no text" in problem.remedy) for problem in caught.value.problems] == [(name, True)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REDIS_URL", "redis://localhost:many"),
        ("REDIS_URL", "redis://localhost:6379/first"),
        ("REDIS_URL", "rediss://:secret@localhost:70000/0"),
        ("SCRAPER_URL", "https://scraper.example:many"),
        ("SCRAPER_URL", "https://:8080"),
        ("DATABASE_URL", "postgresql://user:secret@localhost:many/name"),
        ("DATABASE_URL", "postgresql://user:secret@localhost:0/name"),
        ("HOST", "127.0.0.1:8080"),
        ("HOST", "http://localhost"),
        ("HOST", "300.1.1.1"),
    ],
)
def test_an_address_that_nobody_can_connect_to_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        load({**GOOD, name: value}, None)


@pytest.mark.parametrize(
    "url",
    ["redis://h", "redis://h:6379/", "rediss://default:pass@h.example:6380/2?ssl_cert_reqs=none", "unix:///run/r.sock"],
)
def test_every_form_of_a_redis_address_is_accepted(url: str) -> None:
    assert load({**GOOD, "REDIS_URL": url}, None).redis_url == url


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "localhost", "box-1.example"])
def test_every_address_to_listen_on_is_accepted(host: str) -> None:
    assert load({**GOOD, "HOST": host}, None).host == host


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db.example:5432/name?sslmode=require",
        "postgres://u@/name?host=%2Frun%2Fpg&port=5432",
        "postgresql://u:p@one.example:5432,two.example:5433/name",
    ],
)
def test_every_form_of_a_postgres_address_is_accepted(url: str) -> None:
    assert load({**GOOD, "DATABASE_URL": url}, None).database_url == url


def test_what_is_missing_is_reported_together_with_what_is_wrong() -> None:
    given = {"PORT": "many", "REDIS_URL": "http://x", "SUPABASE_URL": "https://x.example", "RESEND_API_KEY": "re_1"}
    with pytest.raises(SettingsError) as caught:
        load(given, None, complete=True)
    told = [problem.name for problem in caught.value.problems]
    needed = set(GOOD) - {"DATABASE_URL"} | {"SUPABASE_SERVICE_ROLE_KEY"}
    assert sorted(told) == sorted({"PORT", "NOTIFICATION_FROM_EMAIL", *needed})


def test_a_file_that_is_no_text_is_a_problem_with_a_name(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_bytes(b"CRON_SECRET=\xff\xfe")
    with pytest.raises(SettingsError, match="UTF-8"):
        load({}, file)


def test_a_key_without_a_sender_is_refused() -> None:
    with pytest.raises(SettingsError, match="NOTIFICATION_FROM_EMAIL"):
        load({**GOOD, "RESEND_API_KEY": "re_1"}, None)


@pytest.mark.parametrize("schedule", ["0,30 * * * *", "*/30 * * * *", "*/10 * * * *", "5,35 * * * *", "off"])
def test_a_schedule_that_hits_every_slot_is_accepted(schedule: str) -> None:
    assert load({**GOOD, "CRON_SCHEDULE": schedule}, None).cron_schedule == schedule


@pytest.mark.parametrize(
    "schedule", ["30 * * * *", "0,30 8-20 * * *", "0,30 * * * 1-5", "0,30 * 1 * *", "x", "* * * * * *"]
)
def test_a_schedule_that_skips_a_slot_is_refused(schedule: str) -> None:
    with pytest.raises(SettingsError, match="CRON_SCHEDULE"):
        load({**GOOD, "CRON_SCHEDULE": schedule}, None)


def test_names_of_the_old_deployment_are_accepted_where_ours_are_not_set() -> None:
    old = {"NEXT_PUBLIC_SUPABASE_URL": "https://old.example", "NEXT_PUBLIC_SITE_URL": "https://other.example"}
    settings = load({**GOOD, **old}, None)
    assert settings.supabase_url == "https://old.example"
    assert settings.site_url == "https://example.edu"


def test_supabase_is_the_transport_when_its_address_is_set() -> None:
    settings = load({**GOOD, "SUPABASE_URL": "https://x.example"}, None)
    assert settings.transport == "supabase"
    assert settings.missing() == ["SUPABASE_SERVICE_ROLE_KEY"]


def test_the_environment_wins_over_the_file_and_empty_means_not_set(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=9000\nWORKERS=2\n# a comment\nSOMETHING_ELSE=1\n")
    settings = load({**GOOD, "PORT": "9001", "WORKERS": " "}, file)
    assert (settings.port, settings.workers) == (9001, 4)


def test_no_secret_is_in_the_representation_of_the_settings() -> None:
    shown = repr(load({**GOOD, "CRON_SECRET": "hunter2hunter2hunter2", "REDIS_URL": "redis://:hunter2@h:1"}, None))
    assert "hunter2" not in shown


def test_the_example_file_lists_every_setting_with_its_comment_and_default() -> None:
    text = (ROOT / ".env.example").read_text()
    listed = re.findall(r"^#? ?([A-Z_]+)=", text, re.MULTILINE)
    assert listed == names()
    for name, field in Settings.model_fields.items():
        assert f"# {field.description}" in text, name
    for name, value in re.findall(r"^# ([A-Z_]+)=(.+)$", text, re.MULTILINE):
        field = Settings.model_fields[name.lower()]
        if field.default is not None:
            assert value == str(field.default), name


def example() -> dict[str, str]:
    """Every line of the example file, also those that are switched off."""
    text = (ROOT / ".env.example").read_text()
    return dict(re.findall(r"^#? ?([A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_the_example_file_as_it_is_has_nothing_set_that_only_a_person_knows() -> None:
    with pytest.raises(SettingsError) as caught:
        load(example(), None, complete=True)
    told = {problem.name: problem.remedy for problem in caught.value.problems}
    assert {"SCRAPER_URL", "SCRAPER_SECRET_TOKEN", "CRON_SECRET", "UNSUBSCRIBE_SIGNING_SECRET", "SITE_URL"} <= set(told)
    assert told["CRON_SECRET"].startswith("still the placeholder of .env.example; ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CRON_SECRET", "change-me"),
        ("REDIS_URL", "redis://:change-me@127.0.0.1:6379/0"),
        ("SITE_URL", "https://pickmyclass.example.com"),
        ("SCRAPER_URL", "https://scraper.example.com/"),
    ],
)
def test_a_placeholder_counts_as_not_set(name: str, value: str) -> None:
    settings = load({**GOOD, name: value}, None)
    assert (getattr(settings, name.lower()), settings.missing()) == (None, [name])


@pytest.mark.parametrize(
    ("given", "good"),
    [("x" * 16, True), ("x" * 16 + "," + "y" * 16, True), (",".join(["x" * 16] * 3), False), ("x" * 16 + ", ", False)],
)
def test_two_secrets_are_taken_while_rotating_and_neither_three_nor_a_gap(given: str, good: bool) -> None:
    if good:
        assert load({**GOOD, "CRON_SECRET": given}, None).cron_secret is not None
    else:
        with pytest.raises(SettingsError, match="CRON_SECRET: must be one secret, or two separated by a comma"):
            load({**GOOD, "CRON_SECRET": given}, None)


@pytest.mark.parametrize("host", ["myexample.com", "example.community", "example.org"])
def test_what_only_resembles_a_placeholder_is_set(host: str) -> None:
    assert load({**GOOD, "SITE_URL": f"https://{host}"}, None).site_url == f"https://{host}"


@pytest.mark.parametrize("name", ["CRON_SECRET", "UNSUBSCRIBE_SIGNING_SECRET"])
def test_a_secret_that_can_be_guessed_is_refused_with_how_to_make_one(name: str) -> None:
    for value in ("x" * 15, *(["x" * 16 + ",short"] if name == "CRON_SECRET" else [])):
        with pytest.raises(SettingsError, match=f"{name}: must have at least 16 characters: `openssl"):
            load({**GOOD, name: value}, None)
    load({**GOOD, name: "x" * 16}, None)


@pytest.mark.parametrize(("url", "good"), [
    ("http://classes.example.edu", False), ("http://10.0.0.7", False), ("https://classes.example.edu", True),
    ("http://localhost:8080", True), ("http://127.0.0.1", True), ("http://[::1]:8080", True),
])  # fmt: skip
def test_a_site_of_plain_http_is_refused_unless_it_is_this_machine(url: str, good: bool) -> None:
    if good:
        assert load({**GOOD, "SITE_URL": url}, None).site_url == url
    else:
        with pytest.raises(SettingsError, match="SITE_URL: must begin with https"):
            load({**GOOD, "SITE_URL": url}, None)


@pytest.mark.parametrize(("zone", "schedule", "good"), [
    ("America/Phoenix", "0,30 * * * *", True),
    ("America/Phoenix", "14,46 * * * *", True),
    ("Asia/Kathmandu", "14,46 * * * *", False),  # its hours begin at our quarters
    ("Asia/Kathmandu", "0,29 * * * *", True),
    ("America/Phoenix", "0,29 * * * *", False),
    ("America/Phoenix", "0,30 0-23 * * *", True),
    ("America/New_York", "0,30 0-23 * * *", False),  # the hour that comes twice in autumn
    ("America/New_York", "0,30 * * * *", True),
])  # fmt: skip
def test_a_schedule_is_tried_in_its_own_time_zone(zone: str, schedule: str, good: bool) -> None:
    given = {**GOOD, "CRON_TIMEZONE": zone, "CRON_SCHEDULE": schedule}
    if good:
        load(given, None)
    else:
        with pytest.raises(SettingsError, match="CRON_SCHEDULE: skips the slot at"):
            load(given, None)


def test_names_that_nobody_knows_are_pointed_out_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SITE_URl=https://x.edu\nCRON_SECRETS=x\nPORT=80\nNEXT_PUBLIC_SITE_URL=x\nMY_OWN=1\n")
    assert [str(one) for one in unknown_names(file)] == [
        "SITE_URl: is no setting of PickMyClass; is SITE_URL meant?",
        "CRON_SECRETS: is no setting of PickMyClass; is CRON_SECRET meant?",
        "MY_OWN: is no setting of PickMyClass",
    ]
    assert unknown_names(tmp_path / "none") == []


def test_what_systemd_told_is_taken_out_of_the_environment() -> None:
    environ = {"NOTIFY_SOCKET": "/run/notify", "WATCHDOG_USEC": "90000000", "PATH": "/bin"}
    assert take_supervisor(environ) == Supervisor("/run/notify", 90.0)
    assert environ == {"PATH": "/bin"}
    assert take_supervisor(environ) == Supervisor()


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    assert take_supervisor({"WATCHDOG_USEC": "90000000", "WATCHDOG_PID": "1"}).watchdog_seconds is None
