"""The numbers that are promised to callers, students and the source, each once: whoever changes one changes it here."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.checks.check import INLINE_MAIL, MAX_CONFLICTS
from shared.durations import Durations
from shared.mail.resend import MAX_BATCH
from shared.mail.words import STALE
from shared.queue.jobs import MAX_ATTEMPTS
from shared.sections.changes import TWO_LOOKS
from shared.sections.slots import ROUND, SLOT
from shared.settings import Settings
from shared.source.breaker import ENOUGH_SUCCESSES, MAX_FAILURES
from shared.web.doors import MAX_BODY_BYTES

SECONDS = {
    "scrape": 90,  # a look-up of the queue's
    "user_scrape": 60,  # and one that a student waits for
    "breaker_open": 120,
    "pause": 60,  # of a 429 that does not say how long
    "retry_base": 1,
    "retry_cap": 60,
    "doorbell": 300,
    "lock": 25 * 60,
    "lock_first_delay": 5,
    "lock_patience": 300,
    "drain": 25,
    "stop": 30,
}


@pytest.mark.parametrize("name", SECONDS)
def test_a_duration_is_the_promised_one(name: str) -> None:
    assert getattr(Durations(), name) == SECONDS[name]


def test_so_are_counts_and_sizes() -> None:
    assert (MAX_FAILURES, ENOUGH_SUCCESSES) == (10, 3)
    assert (MAX_ATTEMPTS, MAX_CONFLICTS) == (3, 5)
    assert (MAX_BATCH, INLINE_MAIL) == (100, 100)
    assert MAX_BODY_BYTES == 64 * 1024
    assert tuple(timedelta(minutes=m) for m in (30, 60, 24 * 60, 2)) == (SLOT, ROUND, STALE, TWO_LOOKS)
    assert Settings.model_fields["max_watches_per_user"].default == 10
    assert Settings.model_fields["workers"].default == 4


def test_no_probe_ends_before_the_look_that_it_is() -> None:
    assert Durations().probe_lease > Durations().scrape
