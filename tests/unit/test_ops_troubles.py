"""What is wrong in words: each trouble has a remedy and a paragraph in the runbook; without figures words do, too."""

from __future__ import annotations

import re
import threading
from zoneinfo import ZoneInfo

import pytest

from shared.database import DatabaseError
from shared.health import checks, probes, troubles
from shared.health.beats import checks_from_beats
from shared.health.checks import Check
from shared.health.page import in_code
from shared.health.probes import Probes
from shared.health.troubles import Trouble
from shared.health.words import describe, span
from shared.redis import RedisError
from shared.settings import ROOT, Problem, SettingsError
from shared.source.breaker import BreakerStatus

WELL: dict[str, Check] = {name: {"status": "healthy"} for name in checks.EFFECTS}
CAUSES = sorted(set(re.findall(r'Trouble\(\s*"([a-z ]+)"', (ROOT / "shared/health/troubles.py").read_text())))


def of(**changed: Check) -> list[Trouble]:
    return troubles.troubles(WELL | changed)


def test_when_all_is_well_nothing_is_said() -> None:
    assert of() == []


def test_every_trouble_is_in_the_runbook() -> None:
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/operate.md").read_text(), re.MULTILINE)
    assert set(CAUSES) <= set(headings)
    assert len(CAUSES) >= 15


@pytest.mark.parametrize("name", list(checks.EFFECTS))
def test_each_check_that_matters_has_words_also_without_figures(name: str) -> None:
    worst = next(iter(checks.EFFECTS[name]))
    (found,) = of(**{name: {"status": worst}})
    assert found.remedy
    assert found.what


def test_the_worst_is_said_first() -> None:
    found = of(email={"status": "degraded"}, database={"status": "unhealthy"})
    assert [one.cause for one in found] == ["database", "mail stuck"]


def test_a_breaker_that_nobody_can_read_is_not_blamed_when_redis_is_away() -> None:
    found = of(redis={"status": "unhealthy"}, circuit_breaker=checks.breaker_check(BreakerStatus(state="UNKNOWN")))
    assert [one.cause for one in found] == ["redis"]


def test_mail_without_a_key_is_no_trouble() -> None:
    assert of(email={"status": "not_configured", "configured": False, "pending": 9, "dead": 0}) == []


def test_the_whole_only_escalates() -> None:
    assert checks.whole(WELL) == "healthy"
    assert checks.whole(WELL | {"email": {"status": "degraded"}}) == "degraded"
    both = {"database": {"status": "unhealthy"}, "freshness": {"status": "degraded"}}
    assert checks.whole(WELL | both) == "unhealthy"
    assert checks.whole(dict(reversed((WELL | both).items()))) == "unhealthy"
    assert checks.whole(WELL | {"cron_lock": {"status": "unknown"}}) == "degraded"


def test_without_living_consumers_nothing_is_known_of_redis() -> None:
    figures = {"workers": [], "freshness": {"failed_sections": 0}}
    assert checks_from_beats(figures)["redis"] == {"status": "unknown"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, None), (0.4, "0 s"), (119, "119 s"), (150, "2 min"), (7300, "2 h"), (200000, "2 days")],
)
def test_a_span_is_said_in_the_largest_unit_that_says_enough(seconds: float | None, words: str | None) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize("name", list(checks.EFFECTS))
def test_a_check_of_which_only_the_status_is_known_is_described_by_nothing(name: str) -> None:
    assert describe(name, {"status": "healthy"}, ZoneInfo("UTC")) == ""


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
        assert patient.ask({"one": hang})["one"].error == "no answer within 0.05 s"
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
    ("error", "words"),
    [
        (SettingsError([Problem("REDIS_URL", "set it")]), "not set: REDIS_URL"),
        (DatabaseError("pmc_x: the database is not available"), "pmc_x: the database is not available"),
        (RedisError("Error 111 connecting to 10.0.0.7:6379"), "Redis does not answer (RedisError)"),
        (RuntimeError("token=abc"), "failed (RuntimeError)"),
    ],
)
def test_errors_name_what_failed_and_neither_host_nor_secret(error: Exception, words: str) -> None:
    def fail() -> None:
        raise error

    assert Probes().ask({"x": fail})["x"].error == words
