"""A short run of chaos with fixed seeds: real processes, killed and paused; every email is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from workshop.chaos.command import run
from workshop.chaos.report import one_line
from workshop.chaos.season import by_chance


@pytest.mark.real_redis
@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [4, 8])
def test_nothing_is_lost_told_twice_or_stuck(seed: int, tmp_path: Path) -> None:
    result = run(by_chance(seed, tmp_path), seed, seconds=6.0, pause=0.5)
    assert result.good, (
        one_line(result)
        + "\n"
        + "\n".join(
            [*result.verdict.lost, *result.verdict.twice, *result.verdict.extra, *result.verdict.stuck, *result.crashes]
        )
    )
    assert result.verdict.sent
    assert len(result.done) >= 5
