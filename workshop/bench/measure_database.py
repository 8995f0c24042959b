"""What an unchanged check costs in calls of the database, and what those are on the wire."""

from __future__ import annotations

import threading

import huey_app
from shared.wiring import Wiring
from workshop.bench.report import Report
from workshop.bench.site import Site, site
from workshop.bench.turns import TurnCounter
from workshop.parts.processes import stop_child

SECTIONS = 1000


def measure(report: Report) -> None:
    """Calls and round trips per unchanged check over psycopg, those of tick and commit together."""
    with site(SECTIONS) as place:
        stop_child(place.part("consumer").child)
        place.watch(SECTIONS)
        with TurnCounter(place.stack.postgres.url()) as counter:
            settings = place.parts.settings.model_copy(update={"database_url": counter.url})
            parts = Wiring(settings)
            _measure(report, place, parts, counter)
            parts.close()


def _measure(report: Report, place: Site, parts: Wiring, counter: TurnCounter) -> None:
    consumer = huey_app.build(parts, replay=True)
    thread = threading.Thread(target=consumer.run, daemon=True)
    thread.start()
    place.check_all()  # the first sight is another path
    calls, turns = parts.database.calls, counter.turns
    ticks = place.parts.database.calls
    place.check_all()
    calls, turns = parts.database.calls - calls, counter.turns - turns
    ticks = place.parts.database.calls - ticks
    consumer.request_stop()
    thread.join(30)
    group = "database, per unchanged check"
    report.add(group, "calls", calls / SECTIONS, bound=1.1)
    report.add(group, "round trips on the wire", turns / SECTIONS)
    report.add("database, per tick of 1,000 sections", "calls", ticks)
