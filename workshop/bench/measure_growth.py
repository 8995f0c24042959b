"""From a hundred to twenty thousand sections in one tick: what it takes, and whether everything stays in proportion."""

from __future__ import annotations

import time

import requests

from workshop.bench.meters import pss_mb
from workshop.bench.report import Report
from workshop.bench.site import Site, site

STEPS = (100, 1000, 5000, 20_000)
_LOOK_UP_MS = 1000  # while the tick runs: a scraper that answers at once would leave it half of the processor


def measure(report: Report) -> None:
    """Each step: a tick over everything that is watched, all of it seen before, and all of its checks."""
    with site(STEPS[-1]) as place:
        for sections in STEPS:
            place.watch(sections)
            place.check_all()
            _step(report, place, sections)


def _step(report: Report, place: Site, sections: int) -> None:
    before = _asked(place)
    place.set_latency(_LOOK_UP_MS)
    tick = place.tick()
    place.set_latency(0)
    began = time.monotonic()
    queued = pss_mb(place.part("consumer").child.pid)
    place.wait_for_lookups(sum(before.values()) + tick.enqueued)
    took = time.monotonic() - began
    place.wait_until_settled()
    after = _asked(place)
    once = sum(after[number] == before[number] + 1 for number in place.class_nbrs[:sections])
    group = f"a tick of {sections:,} sections"
    report.add(group, "queued in", tick.duration_ms / 1000, "s")
    report.add(group, "checks a second", tick.enqueued / took)
    report.add(group, "checked exactly once", once, bound=sections, at_least=True)
    report.add(group, "consumer's memory with all of them queued", queued, "MB")
    report.add(group, "… and checked", pss_mb(place.part("consumer").child.pid), "MB")


def _asked(place: Site) -> dict[str, int]:
    """How often the scraper was asked for each section."""
    answer = requests.get(f"{place.stack.campus_url}/control/sections", timeout=60).json()
    return {section["class_nbr"]: section["lookups"] for section in answer["sections"]}
