"""The durations that were promised stand in one table, and nowhere a second time."""

from __future__ import annotations

import ast
import inspect

import pytest

from shared.backoff import retry_after, retry_delay
from shared.durations import DEFAULT
from shared.health import alerts, checks_mail, checks_work, checks_workers, health, probes
from shared.mail.resend import ResendClient
from shared.mail.send import MailTiming
from shared.settings import ROOT
from shared.source.breaker import ENOUGH_SUCCESSES, MAX_FAILURES

PROMISED = {
    "doorbell": 300, "scrape": 90, "user_scrape": 60, "breaker_open": 120, "pause": 60, "retry_base": 1,
    "retry_cap": 60, "lock": 25 * 60, "lock_first_delay": 5, "lock_patience": 5 * 60, "drain": 25, "stop": 30,
}  # fmt: skip


@pytest.mark.parametrize(("name", "seconds"), PROMISED.items())
def test_each_duration_is_the_one_that_was_promised(name: str, seconds: float) -> None:
    assert getattr(DEFAULT, name) == seconds


def test_the_breaker_and_the_limits_of_health_are_those_that_were_promised() -> None:
    assert (MAX_FAILURES, ENOUGH_SUCCESSES) == (10, 3)
    assert (probes.DEADLINE_SECONDS, health.SUMMARY_SECONDS, alerts.AGAIN_SECONDS) == (2, 60, 3600)
    assert (checks_mail.MAIL_WAITS_SECONDS, checks_workers.ALIVE_SECONDS) == (15 * 60, 90)
    assert checks_work.TICK_IS_OLD.total_seconds() == 60 * 60


def test_what_has_a_default_takes_it_from_the_table() -> None:
    assert (MailTiming().lease, MailTiming().unit) == (DEFAULT.mail_lease, DEFAULT.retry_base)
    assert inspect.signature(ResendClient).parameters["seconds"].default == DEFAULT.mail_answer
    assert retry_delay(99, lambda _low, high: high) == DEFAULT.retry_cap
    assert retry_after(None) == DEFAULT.pause


def test_a_lease_outlasts_what_it_covers() -> None:
    assert DEFAULT.mail_lease > DEFAULT.mail_answer
    assert DEFAULT.probe_lease > DEFAULT.scrape > DEFAULT.user_scrape
    assert DEFAULT.lease > 2 * DEFAULT.lease_renewal
    assert DEFAULT.beat_is_old > 2 * DEFAULT.beat
    assert max(DEFAULT.lease, DEFAULT.beat_is_old) <= 60  # a dead consumer's jobs are taken over within a minute
    assert DEFAULT.beat_is_old < checks_workers.ALIVE_SECONDS
    assert DEFAULT.drain < DEFAULT.stop


def test_no_parameter_repeats_a_duration_of_the_table_as_a_number() -> None:
    """A second default is what lets one file say 60 and another 120."""
    for file in sorted((ROOT / "shared").rglob("*.py")):
        if file.name == "durations.py":
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_number(node.value):
                assert node.target.id not in PROMISED, f"{file.name}: {node.target.id}"
            if isinstance(node, ast.FunctionDef):
                given = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                for argument, default in given:
                    assert not (argument.arg in PROMISED and _is_number(default)), f"{file.name}: {argument.arg}"


def _is_number(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)
