"""A short run of chaos with fixed seeds: real processes, killed and paused; every email is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop.chaos.command import run
from workshop.chaos.report import one_line
from workshop.chaos.season import by_chance
from workshop.chaos.verdict import PROMISES


@pytest.mark.real_redis
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("seed", "source"), [(4, "scraper"), (8, "scraper"), (3, "asu,scraper")])
def test_nothing_is_lost_told_twice_or_stuck(seed: int, source: str, tmp_path: Path) -> None:
    season = by_chance(seed, tmp_path, restless=source != "scraper")
    result = run(season, seed, seconds=6.0, pause=0.5, source=source)
    assert result.good, (
        one_line(result)
        + "\n"
        + "\n".join([*(words for name in PROMISES for words in getattr(result.verdict, name)), *result.crashes])
    )
    assert result.verdict.sent
    assert len(result.done) >= 5
