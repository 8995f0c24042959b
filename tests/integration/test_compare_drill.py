"""The move rehearsed: before, ramp, cut-over, rollback, again, and the point of no return. Every email exactly once,
and from the side whose it was.
"""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.support.caddy import needs_caddy
from tests.support.drill.book import Sender
from tests.support.drill.drill import Drill
from tests.support.drill.parts import DrillError

ORIGIN = Path(__file__).parents[1] / "support" / "origin.sql"
OLD, NEW = Sender.OLD, Sender.NEW


def student(number: int) -> str:
    """Student 1 watches every section, each further one a section less; from 15 on they watch nothing yet."""
    return f"student{number}@example.edu"


def old_side_alone(drill: Drill) -> None:
    drill.tick_old()
    drill.watch(student(15), "12003", served_by=OLD)
    drill.unsubscribe(student(6))
    drill.open("12006", "12010", by=OLD)  # both stay open until the ramp
    drill.tick_old()
    drill.settle("the old side alone")


def migrated(drill: Drill) -> None:
    drill.open("12002", by=OLD)
    drill.tick()
    drill.settle("migrated, nothing switched")


def ramp(drill: Drill) -> None:
    drill.let_a_day_pass("12010")
    drill.open("12003", by=NEW)  # the old side has an open seat in hand, and ours is first
    drill.open("12007", by=OLD)  # not part of the ramp
    with drill.old_in_flight("12003"):
        drill.give_to("server", "12003", "12004", "12006", "12010")
        drill.name_instructor("12004", by=NEW)
        drill.tick_new()
    drill.settle("ramp, the old side in flight")

    drill.unsubscribe_from_ours(student(7), "12003")
    drill.fill("12006")
    drill.open("12001", by=OLD)
    drill.tick()
    drill.settle("ramp, filled")
    assert drill.seats_shown(student(1), "12006") == 0

    drill.watch(student(20), "12006", served_by=OLD)  # at the old door, of a section that is ours
    drill.open("12006", by=NEW)
    drill.tick()
    drill.settle("ramp, open again")

    drill.open("12004", by=NEW)
    drill.give_while_our_commit_waits("workers", "12004")
    drill.tick()
    drill.settle("ramp, one section back while its commit waits")


def cut_over(drill: Drill) -> None:
    drill.open("12008", "12012", by=OLD)  # its tick goes on with 12012 after the switch
    with drill.old_in_flight("12008"):
        drill.give_to("server")
    drill.settle("cut-over, the old side in flight")

    drill.tick()
    drill.settle("cut-over, the first tick")

    drill.serve_new()
    drill.watch(student(16), "12009", served_by=NEW)
    drill.unsubscribe(student(5))
    drill.open("12009", "12011", by=NEW)
    drill.fill("12002")
    drill.tick()
    drill.settle("after the cut-over")
    assert drill.seats_shown(student(16), "12009") == 5


def roll_back(drill: Drill) -> None:
    drill.let_a_day_pass("12011")
    drill.open("12002", "12005", by=OLD)
    with drill.new_in_flight("12002", "12005"):
        drill.switch_back()
        drill.watch(student(18), "12007", served_by=NEW, straight=True)
    drill.tick()
    drill.settle("rollback, our side in flight")

    drill.watch(student(17), "12008", served_by=OLD)
    drill.unsubscribe(student(8))
    drill.fill("12007", "12008", "12009", "12012")
    drill.tick()
    drill.settle("after the rollback, filled")

    drill.open("12007", "12009", by=OLD)
    drill.tick()
    drill.settle("after the rollback, open again")


def again(drill: Drill) -> None:
    drill.let_a_day_pass("12005")
    with drill.old_in_flight("12012"):  # it has no seat in hand
        drill.give_to("server")
        drill.open("12012", by=NEW)
        drill.open("12008", by=NEW)  # filled while it was the old side's
        drill.tick_new()
        drill.settle("again, the old side in flight")
    drill.give_to("workers", "12012")
    drill.tick()
    drill.settle("again, one section back after the old side's late word")

    drill.give_to("server", "12012")
    drill.serve_new()
    drill.watch(student(14), "12008", served_by=NEW)
    drill.unsubscribe_from_ours(student(3), "12008")
    drill.name_instructor("12001", by=NEW)
    drill.fill("12006", "12008", "12012")
    drill.tick()
    drill.settle("again, named and filled")


def point_of_no_return(drill: Drill) -> None:
    drill.migrate_after()
    with pytest.raises(DrillError, match="the workers can no longer write"):
        drill.give_to("workers")
    drill.watch(student(19), "12006", served_by=NEW)
    drill.unsubscribe(student(4))
    drill.open("12006", "12008", "12012", by=NEW)
    drill.tick()
    drill.settle("after the point of no return")
    assert drill.seats_shown(student(19), "12006") == 5


@needs_caddy
@pytest.mark.slow
def test_over_the_whole_move_every_owed_email_arrives_exactly_once_and_from_its_side(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Drill(ORIGIN, old_side_alone) as drill:
        for play in (migrated, ramp, cut_over, roll_back, again, point_of_no_return):
            play(drill)
            assert not drill.counts.wrong, "\n".join(drill.counts.wrong)
        drill.settle("the end")
    counts = drill.counts
    with capsys.disabled():
        click.echo(f"\nThe move: {counts}")
    assert not counts.wrong, "\n".join(counts.wrong)
    assert counts.by_old + counts.by_new == counts.owed
    assert min(counts.by_old, counts.by_new) > 0
    assert 0 < counts.back_seconds < 300
