"""What is wrong in words: each trouble has a remedy and a paragraph in the runbook; without figures words do, too."""

from __future__ import annotations

import logging
import re
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import OutOfMemoryError, ResponseError

from shared.cli.workers import _rate
from shared.database import DatabaseError, DatabaseUnavailable
from shared.health import probes
from shared.health.alerts import write
from shared.health.beats import side_of_beats
from shared.health.check import Check, Trouble, Unreadable
from shared.health.checks_mail import MailCheck, MailFigures
from shared.health.checks_stores import BreakerCheck, ConfigurationCheck, DatabaseCheck, LockCheck, RedisCheck
from shared.health.checks_work import FreshnessCheck, FreshnessFigures, QueueCheck, QueueFigures, SchedulerCheck
from shared.health.checks_workers import Worker, WorkersCheck
from shared.health.faults import Fault
from shared.health.page import _ages, _columns, in_code
from shared.health.probes import Probes
from shared.health.pulse import LastError
from shared.health.report import Report
from shared.health.words import span
from shared.lock import LockStatus
from shared.redis import RedisError
from shared.settings import ROOT, Problem, SettingsError
from shared.source.breaker import BreakerStatus

NOW = datetime(2026, 3, 2, 17, 5, tzinfo=UTC)
AWAY = Fault("no_answer", "it is away")
MAIL = MailFigures(0, None, 0, 0, 0, None, None, False, None, None, None)
QUEUE = QueueFigures(0, 0, 0, 7, 1, 0)
FRESH = FreshnessFigures(40, 0, 60, None, 0, 0, False, [])
TICKING = SchedulerCheck("0,30 * * * *", "America/Phoenix", known=True)
BOX = Worker("box:1", "box", "box", "active", True, "2026-03-02T17:00:00+00:00", 1, 4)

WELL: tuple[Check, ...] = (
    DatabaseCheck(3),
    RedisCheck(True, 1),
    BreakerCheck("CLOSED"),
    LockCheck(known=True),
    ConfigurationCheck(),
    MailCheck(True, MAIL),
    QueueCheck(QUEUE),
    TICKING,
    WorkersCheck((BOX,)),
    FreshnessCheck(FRESH),
)
UNWELL: tuple[tuple[Check, str], ...] = (
    (DatabaseCheck(3, AWAY), "unhealthy"),
    (DatabaseCheck(3, Fault("no_writes", "it is read-only")), "unhealthy"),
    (DatabaseCheck(3, Fault("key_refused", "status 401")), "unhealthy"),
    (RedisCheck(False, None, AWAY), "unhealthy"),
    (RedisCheck(True, 1, Fault("no_writes", "it is full")), "unhealthy"),
    (BreakerCheck("OPEN"), "degraded"),
    (BreakerCheck("UNKNOWN"), "degraded"),
    (BreakerCheck("HALF_OPEN"), "healthy"),
    (LockCheck(known=False), "degraded"),
    (ConfigurationCheck(("REDIS_URL",)), "unhealthy"),
    (MailCheck(True, replace(MAIL, oldest_pending_seconds=901)), "degraded"),
    (MailCheck(True, replace(MAIL, dead=1)), "degraded"),
    (MailCheck(True, replace(MAIL, held=True)), "degraded"),
    (MailCheck(True, replace(MAIL, held_by_guard=3)), "degraded"),
    (MailCheck(True, replace(MAIL, parked_until="2026-03-02T18:00:00+00:00")), "degraded"),
    (QueueCheck(replace(QUEUE, dead=1)), "degraded"),
    (QueueCheck(replace(QUEUE, oldest_waiting_seconds=1801)), "degraded"),
    (QueueCheck(replace(QUEUE, stalled_seconds=60)), "degraded"),
    (replace(TICKING, is_late=True), "degraded"),
    (WorkersCheck(()), "unhealthy"),
    (WorkersCheck((BOX, replace(BOX, alive=False))), "healthy"),
    (WorkersCheck((replace(BOX, status="paused"), replace(BOX, status="draining"))), "degraded"),
    (FreshnessCheck(replace(FRESH, overdue_sections=1)), "degraded"),
    (FreshnessCheck(replace(FRESH, source_looks_broken=True)), "degraded"),
    (Unreadable("queue", "Queue", AWAY), "degraded"),
)
KNOW_NOTHING: tuple[Check, ...] = (
    RedisCheck(),
    MailCheck(True, None),
    MailCheck(False, MAIL),
    QueueCheck(None),
    SchedulerCheck("off", "UTC"),
    WorkersCheck(None),
    FreshnessCheck(None),
)
ROOM = "".join(file.read_text() for file in sorted((ROOT / "shared/health").glob("check*.py")))
CAUSES = sorted(set(re.findall(r'Trouble\(\s*"([a-z ]+)"', ROOM)))


def report(*changed: Check) -> Report:
    """All is well, but for what has changed."""
    names = {check.name: check for check in changed}
    return Report(NOW, tuple(names.get(check.name, check) for check in WELL), 5)


def of(*changed: Check) -> list[Trouble]:
    return report(*changed).troubles()


def test_when_all_is_well_nothing_is_said() -> None:
    assert (of(), report().status, report().code) == ([], "healthy", 200)


def test_every_trouble_is_in_the_runbook() -> None:
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/operate.md").read_text(), re.MULTILINE)
    assert set(CAUSES) <= set(headings)
    assert len(CAUSES) >= 15


@pytest.mark.parametrize(("check", "whole"), UNWELL, ids=lambda value: value if isinstance(value, str) else value.name)
def test_what_is_wrong_has_words_and_a_remedy_and_the_verdict_is_as_bad(check: Check, whole: str) -> None:
    assert (report(check).status, check.verdict) == (whole, whole)
    (found,) = of(check)
    assert found.status == whole
    assert found.what
    assert found.remedy


@pytest.mark.parametrize("check", [check for check, _ in UNWELL], ids=lambda check: str(check.name))
def test_anyone_gets_the_status_alone_and_operators_the_same_status_first(check: Check) -> None:
    shown = report(check)
    assert (shown.outline().checks or {})[check.name] == {"status": check.status}
    told = (shown.details().checks or {})[check.name]
    assert check.name == "workers" or next(iter(told.items())) == ("status", check.status)


@pytest.mark.parametrize("check", [check for check, _ in UNWELL], ids=lambda check: str(check.name))
def test_what_anyone_reads_of_a_trouble_has_no_figure_and_no_reason(check: Check) -> None:
    for trouble in check.troubles():
        said = trouble.for_anyone or trouble.what
        assert trouble.status == "healthy" or not re.search(r"\d|away|REDIS_URL|box", said)


@pytest.mark.parametrize("check", KNOW_NOTHING, ids=lambda check: str(check.name))
def test_of_what_is_not_known_nothing_is_said_to_be_wrong(check: Check) -> None:
    assert list(check.troubles()) == []
    assert check.status in ("unknown", "not_configured")


def test_a_job_may_wait_for_as_long_as_a_slot_lasts() -> None:
    assert of(QueueCheck(replace(QUEUE, oldest_waiting_seconds=1800))) == []


def test_the_worst_is_said_first() -> None:
    found = of(MailCheck(True, replace(MAIL, oldest_pending_seconds=901)), DatabaseCheck(3, AWAY))
    assert [one.cause for one in found] == ["database", "mail stuck"]


def test_a_breaker_that_nobody_can_read_is_not_blamed_when_redis_is_away() -> None:
    found = of(RedisCheck(False, None, AWAY), BreakerCheck("UNKNOWN"), LockCheck(known=False))
    assert [(one.cause, one.status) for one in found] == [("redis", "unhealthy")]


def test_nobody_is_missed_where_no_beat_can_be_kept() -> None:
    found = of(DatabaseCheck(3, Fault("no_writes", "it is read-only")), WorkersCheck((replace(BOX, alive=False),)))
    assert [one.cause for one in found] == ["database takes no writes"]


@pytest.mark.parametrize(("dead", "said"), [(1, "1 section could not"), (2, "2 sections could not")])
def test_sections_are_counted_in_words(dead: int, said: str) -> None:
    assert of(QueueCheck(replace(QUEUE, dead=dead)))[0].what.startswith(said)
    overdue = of(FreshnessCheck(replace(FRESH, overdue_sections=dead)))[0].what
    assert overdue.startswith("1 section has not" if dead == 1 else "2 sections have not")


def test_a_lock_that_nobody_could_take_is_not_a_second_trouble_when_redis_takes_no_writes() -> None:
    found = of(RedisCheck(True, 1, Fault("no_writes", "it is full")), LockCheck(known=False))
    assert [one.cause for one in found] == ["redis takes no writes"]


def test_redis_is_not_blamed_when_nobody_lives_who_could_tell_of_it() -> None:
    found = of(RedisCheck(), BreakerCheck("UNKNOWN"), LockCheck(known=False), QueueCheck(None), WorkersCheck(()))
    assert [one.cause for one in found] == ["workers"]


def test_mail_without_a_key_is_no_trouble() -> None:
    assert of(MailCheck(False, replace(MAIL, pending=9, oldest_pending_seconds=9999))) == []


@given(st.permutations(list(range(len(UNWELL)))), st.integers(0, len(UNWELL)))
def test_the_whole_only_escalates(order: list[int], some: int) -> None:
    chosen = [UNWELL[place] for place in order[:some]]
    ranks = ["healthy", "degraded", "unhealthy"]
    whole = Report(NOW, tuple(check for check, _ in chosen), 0).status
    assert whole == max((expected for _, expected in chosen), key=ranks.index, default="healthy")


def test_without_living_consumers_nothing_is_known_of_redis() -> None:
    figures = {"workers": [], "freshness": {"failed_sections": 0}}
    assert side_of_beats(figures).redis.status == "unknown"


def test_bars_are_as_long_as_the_greatest_of_them_allows() -> None:
    buckets = [{"up_to_minutes": 30, "sections": 40}, {"up_to_minutes": None, "sections": 10}]
    bars = _ages({"ages": {"buckets": buckets, "never": 4}})
    assert bars
    assert [bar.percent for bar in bars] == [100, 25, 10]
    slots = [{"slot": NOW.isoformat(), "failed": False, "ticked": True, "queued": queued} for queued in (40, 10, 0)]
    assert [bar.percent for bar in _columns(slots, ZoneInfo("UTC"), "queued", "checks")] == [100, 25, 2]


@pytest.mark.parametrize("time", [10**18, -(10**18), 1e300, float("nan"), float("inf"), "soon", [1]])
def test_a_time_that_no_date_can_hold_is_not_shown_and_spoils_nothing(time: Any) -> None:
    breaker = BreakerCheck.of(BreakerStatus("OPEN", 10, 0, time, time))
    lock = LockCheck.of(LockStatus(True, "box", time, 5000), NOW)
    assert (breaker.last_failure, breaker.last_state_change, breaker.status) == (None, None, "unhealthy")
    assert (lock.time_held_ms, lock.lock_acquired_at, lock.locked) == (None, None, True)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, None), (0.4, "0 s"), (119, "119 s"), (150, "2 min"), (7300, "2 h"), (200000, "2 days")],
)
def test_a_span_is_said_in_the_largest_unit_that_says_enough(seconds: float | None, words: str | None) -> None:
    assert span(seconds) == words


def test_remedies_are_escaped_and_their_commands_set_as_code() -> None:
    assert in_code("`a <b>` & c") == "<code>a &lt;b&gt;</code> &amp; c"


# ---- probes


def test_a_question_that_hangs_is_not_asked_again_beside_itself() -> None:
    asked, free = [], threading.Event()

    def hang() -> bool:
        asked.append(1)
        return free.wait(30)

    patient = Probes(deadline=0.05)
    for _ in range(5):
        assert patient.ask({"one": hang, "two": lambda: 7})["two"].value == 7
        assert patient.ask({"one": hang})["one"].fault == Fault("timeout", "no answer within 0.05 s")
    assert len(asked) == 1
    free.set()


def test_a_question_that_has_hung_for_long_is_asked_anew_a_few_times_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "LOST_SECONDS", 0.0)
    asked, free = [], threading.Event()

    def hang() -> bool:
        asked.append(1)
        return free.wait(30)

    impatient = Probes(deadline=0.02)
    for _ in range(6):
        impatient.ask({"one": hang})
    assert len(asked) == probes.MOST_THREADS
    free.set()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SettingsError([Problem("REDIS_URL", "set it")]), "not_set", "not set: REDIS_URL"),
        (DatabaseUnavailable("pmc_x: no connection"), "no_answer", "pmc_x: no connection"),
        (DatabaseError("pmc_x: read-only", "25006"), "no_writes", "pmc_x: read-only"),
        (DatabaseError("pmc_x: failed", "22003"), "refused", "pmc_x: failed"),
        (OutOfMemoryError("command not allowed"), "no_writes", "Redis takes no writes (OutOfMemoryError)"),
        (ResponseError("MISCONF cannot persist"), "no_writes", "Redis takes no writes (ResponseError)"),
        (ResponseError("Error running script: -OOM no"), "no_writes", "Redis takes no writes (ResponseError)"),
        (RedisError("Error 111 connecting to 10.0.0.7:6379"), "no_answer", "Redis does not answer (RedisError)"),
        (RuntimeError("token=abc"), "broken", "failed (RuntimeError)"),
    ],
)
def test_errors_have_a_code_and_words_that_name_neither_host_nor_secret(
    error: Exception, code: str, words: str
) -> None:
    def fail() -> None:
        raise error

    assert Probes().ask({"x": fail})["x"].fault == Fault(code, words)


@pytest.mark.parametrize("kind", ["trouble", "over"])
def test_an_alert_has_a_subject_that_every_mail_program_shows(kind: str) -> None:
    subject, text = write({"kind": kind, "words": "a lot " * 50, "since": "noon"}, "`look`")
    assert len(subject) == 200
    assert subject.startswith("[PickMyClass] ")
    assert "a lot " * 49 in text


def test_of_the_last_error_the_first_words_are_kept() -> None:
    last = LastError(lambda: NOW)
    assert last.as_json() is None
    for words in ("early", "x" * 300):
        last.emit(logging.LogRecord("any", logging.ERROR, "", 0, words, None, None))
    assert last.as_json() == {"at": NOW.isoformat(), "words": "x" * 200}


def test_a_consumer_that_has_just_started_has_no_rate_yet() -> None:
    def rate(completed: int, minutes: int) -> str:
        beat = NOW + timedelta(minutes=minutes)
        times = {"started_at": NOW.isoformat(), "last_heartbeat": beat.isoformat()}
        return _rate({**times, "figures": {"queue": {"completed": completed}}})

    assert [rate(5, 0), rate(0, 2), rate(5, 2)] == ["none yet", "none yet", "2.5/min"]
