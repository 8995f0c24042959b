"""The move rehearsed: before, ramp, cut-over, rollback, again, and the point of no return. Every email exactly once."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from compare.drill import Drill
from tests.support.caddy import needs_caddy

ORIGIN = Path(__file__).parents[1] / "support" / "origin.sql"


@needs_caddy
@pytest.mark.slow
def test_over_the_whole_move_every_owed_email_arrives_exactly_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Drill(ORIGIN) as drill:
        drill.open("12002")  # migrated, nothing switched: the old side's
        drill.tick()

        drill.open("12003")  # in the very minute of the switch
        drill.give_to("server", "12003", "12004", "12006")
        drill.open("12004")
        drill.open("12007")  # not part of the ramp
        drill.tick()
        drill.fill("12006")
        drill.tick()

        drill.open("12008")
        drill.give_while_old_ticks("server")  # cut-over
        drill.serve_new()
        drill.open("12009")
        drill.fill("12002")
        drill.tick()

        drill.open("12010")
        drill.switch_back()
        drill.open("12005")
        drill.open("12002")
        drill.tick()
        drill.fill("12008")
        drill.tick()

        drill.open("12011")
        drill.give_while_old_ticks("server")
        drill.serve_new()
        drill.open("12006")
        drill.tick()

        drill.migrate_after()
        drill.open("12012")
        drill.open("12008")
        drill.tick(old=False)
        counts = drill.count()
    with capsys.disabled():
        click.echo(f"\nThe move: {counts}")
    assert (counts.twice, counts.missed) == ([], [])
    assert min(counts.by_old, counts.by_new) > 0
    assert counts.back_seconds < 300
