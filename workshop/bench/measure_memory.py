"""How much memory the product takes: functions, consumer and Redis, idle and after five thousand checks."""

from __future__ import annotations

import requests

from workshop.bench.meters import alone_mb, pss_mb
from workshop.bench.report import Report
from workshop.bench.site import Site, site
from workshop.parts.postgrest import PostgrestUnavailable

TICKS, SECTIONS = 5, 1000
BOUNDS = {"postgres": ("psycopg", 110.0), "supabase": ("supabase", 150.0)}


def measure(report: Report) -> None:
    """PSS over each transport. The ticks come over HTTP and a check by hand too, so that the functions have worked."""
    for transport, (name, bound) in BOUNDS.items():
        try:
            with site(SECTIONS, transport=transport) as place:
                _measure(report, place, name, bound)
        except PostgrestUnavailable as error:
            report.skipped[f"memory over {name}"] = str(error)


def _measure(report: Report, place: Site, name: str, bound: float) -> None:
    place.watch(SECTIONS)
    _note(report, place, f"memory over {name}, idle", bound)
    for _ in range(TICKS):
        _tick_and_check(place)
    _note(report, place, f"memory over {name}, after {TICKS * SECTIONS:,} checks", bound)


def _tick_and_check(place: Site) -> None:
    url, login = place.stack.functions_url, {"Authorization": f"Bearer {place.stack.cron_secret}"}
    before = place.lookups()
    for group in ("even", "odd"):
        requests.get(f"{url}/api/cron?group={group}", headers=login, timeout=60).raise_for_status()
    place.wait_for_lookups(before + SECTIONS)
    body = {"class_nbr": place.class_nbrs[0], "term": place.term}
    requests.post(f"{url}/api/queue/process-section", json=body, headers=login, timeout=60).raise_for_status()
    requests.get(f"{url}/api/monitoring/health", headers=login, timeout=60)
    place.wait_until_settled()


def _note(report: Report, place: Site, group: str, bound: float) -> None:
    redis = place.stack.redis.pid
    assert redis is not None
    pids = {name: place.part(name).child.pid for name in ("functions", "consumer")} | {"Redis": redis}
    taken = {name: pss_mb(pid) for name, pid in pids.items()}
    for name, value in taken.items():
        report.add(group, name, value, "MB")
    report.add(group, "together", sum(taken.values()), "MB", bound=bound)
    report.add(group, "together, if nothing else ran on the machine", alone_mb(list(pids.values())), "MB")
