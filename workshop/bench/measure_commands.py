"""What the product costs in Redis commands: at work, and on an idle day."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests

from shared.checks.tick import TickOrder
from shared.clock import now
from shared.durations import Durations
from workshop.bench.meters import CommandMeter, Commands
from workshop.bench.report import Report
from workshop.bench.site import Site, site, wait_until
from workshop.parts.processes import start_child, stop_child

_ROOT = Path(__file__).resolve().parents[2]
HOURLY = 2000
"""Watched sections of the server whose day is summed up: half of them at :00, half at :30."""
SPEED = 288
"""An idle day in five minutes."""
WINDOW = 80.0
"""Seconds that the idle consumer is watched: more than six hours of a day, which hold everything periodic."""
SLOW_SPEED, SLOW_SECONDS = 20, 3.0
_FLUSHED = 1.5  # seconds after which the last finished job has been acknowledged


def measure(report: Report) -> None:
    """Commands per check at 200 and 1,000 sections a tick, per idle day, and the sum for a day of a real server."""
    with site(1000) as place, place.meter() as meter:
        for sections in (200, 1000):
            place.watch(sections)
            place.check_all()  # the first sight of a section is another path
            _per_check(report, place, meter, sections, bound=0.5 if sections == 200 else 0.15)
        stop_child(place.part("consumer").child)
        _slow(report, place, meter, 1000)
    with site(10) as place, place.meter() as meter:
        _idle(report, place, meter)
    _sum_up(report)


def _per_check(report: Report, place: Site, meter: CommandMeter, sections: int, bound: float) -> None:
    before = meter.read()
    place.check_all()
    spent = meter.read().since(before)
    group = f"Redis commands per check, {sections:,} sections a tick"
    report.add(group, "in all, with those inside of scripts", spent.total / sections, bound=bound)
    report.add(group, "on the wire", spent.wire / sections)


def _slow(report: Report, place: Site, meter: CommandMeter, sections: int) -> None:
    """Slow scrapes hold jobs for longer, and each 20 s of holding is one more sign of life."""
    place.set_latency(round(1000 * SLOW_SECONDS / SLOW_SPEED))
    with _consumer(place, SLOW_SPEED):
        before = meter.read()
        place.check_all()
        spent = meter.read().since(before)
    place.set_latency(0)
    group = f"Redis commands per check, {sections:,} sections a tick"
    report.add(group, f"in all, when a look-up takes {SLOW_SECONDS:g} s", spent.total / sections)


def _idle(report: Report, place: Site, meter: CommandMeter) -> None:
    """The real consumer with scheduler, rescue and mailer, its waits divided, beside a probe a minute by its clock."""
    stop_child(place.part("consumer").child)
    tick = _empty_tick(place, meter)
    with _consumer(place, SPEED):
        one = _watch(place, meter)
        with _consumer(place, SPEED):
            two = _watch(place, meter)
    report.add("Redis commands on an idle day", "one consumer", one.total + 48 * tick.total, bound=1000)
    report.add("Redis commands on an idle day", "of which its 48 ticks", 48 * tick.total)
    report.add("Redis commands on an idle day", "on the wire", one.wire + 48 * tick.wire)
    report.add("Redis commands on an idle day", "each further consumer", two.total - one.total, bound=300)


def _watch(place: Site, meter: CommandMeter) -> Commands:
    """The commands of a day, from a window of it, while the health check is asked a minute of that day apart.

    Scaled by the doorbell: an idle consumer blocks 288 times a day, a little less often by a clock that runs faster
    than the server's own.
    """
    url = f"{place.stack.functions_url}/api/monitoring/health"
    wait_until(lambda: requests.get(url, timeout=10).status_code in (200, 503), 30)
    time.sleep(5)  # start-up is over: scripts are sent, connections known
    before, until = meter.read(), time.monotonic() + WINDOW
    while time.monotonic() < until:
        requests.get(url, timeout=10)
        time.sleep(60 / SPEED)
    seen = meter.read().since(before)
    consumers = round(seen.by_name["brpoplpush"] * Durations().doorbell / (WINDOW * SPEED))
    share = 86_400 / Durations().doorbell / (seen.by_name["brpoplpush"] / max(consumers, 1))
    return Commands(round(seen.total * share), round(seen.wire * share), seen.by_name)


def _empty_tick(place: Site, meter: CommandMeter) -> Commands:
    """A tick of the scheduler that finds nothing due."""
    order = TickOrder(now(), "even", "scheduler", "bench")
    place.parts.ticker.tick(order, lambda _: False)  # the first call sends the script
    before = meter.read()
    place.parts.ticker.tick(order, lambda _: False)
    return meter.read().since(before)


@contextmanager
def _consumer(place: Site, speed: float) -> Iterator[None]:
    """One more consumer process whose waits are divided; it ticks only when told to, so that no :00 falls in."""
    environment = {**os.environ, **place.stack.environment, "CRON_SCHEDULE": "off"}
    known = len(place.parts.database.call("pmc_list_workers"))
    words = [sys.executable, "-m", "workshop.bench.consumer", str(speed)]
    child = start_child(words, cwd=_ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: len(place.parts.database.call("pmc_list_workers")) > known, 30)
        yield
    finally:
        stop_child(child, timeout=32.0)


def _sum_up(report: Report) -> None:
    """A day of a server with 2,000 sections: a thousand in each of 48 ticks, and the idle hours between them."""
    each = report.value("Redis commands per check, 1,000 sections a tick", "in all, with those inside of scripts")
    idle = report.value("Redis commands on an idle day", "one consumer")
    assert each is not None
    assert idle is not None
    total = round(24 * HOURLY * each + idle)
    note = f"{24 * HOURLY:,} checks of {each:.3f} and {idle:,.0f} idle"
    report.add(f"Redis commands a day, {HOURLY:,} sections hourly", "sum", total, bound=10_000, note=note)
