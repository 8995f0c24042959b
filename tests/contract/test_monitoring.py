"""The alert rules and the dashboard are made of what `/metrics` shows, and say what health says."""

from __future__ import annotations

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.settings import ROOT
from tests.support.site import SECRET, SECTIONS, Site
from workshop import monitoring
from workshop.monitoring import CRITICAL, WARNINGS, Rule

ALL = [*CRITICAL, *WARNINGS]


def shown(site: Site) -> dict[str, set[tuple[str, str]]]:
    """What a server shows: the labels of every sample, by its name."""
    site.watch(site.world.add_user(), SECTIONS[0])
    site.ask("GET", "/api/cron?group=all", bearer=SECRET)
    site.parts.database.call(
        "pmc_beat", p_worker={"worker_id": "box:1", "worker_name": "box", "host": "box", "max_concurrent_jobs": 4}
    )
    text = site.ask("GET", "/metrics", bearer=SECRET).text
    found: dict[str, set[tuple[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        found.setdefault(family.name, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels.items())
    return found


def test_the_files_are_those_that_would_be_written() -> None:
    again = "run python -m workshop.monitoring"
    assert monitoring.RULES.read_text() == monitoring.rules(), again
    assert monitoring.DASHBOARD.read_text() == monitoring.dashboard(), again


def test_every_figure_of_a_server_has_a_panel(site: Site) -> None:
    drawn = {family.name for family in monitoring.families()}
    parts_of_one = ("_total", "_bucket", "_count", "_sum", "_created")
    assert {name for name in shown(site) if not name.endswith(parts_of_one)} <= drawn
    board = json.loads(monitoring.DASHBOARD.read_text())
    assert len(board["panels"]) == len(drawn)
    assert all(panel["description"] and panel["targets"] for panel in board["panels"])


def test_rules_ask_for_figures_and_labels_that_exist(site: Site) -> None:
    known = shown(site)
    for rule in ALL:
        asked = re.findall(r"(pickmyclass_\w+)(?:\{(\w+)=\"(\w+)\"\})?", rule.expression)
        assert asked, rule.name
        for name, label, value in asked:
            assert name in known, rule.name
            assert not label or (label, value) in known[name], rule.name


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: str(rule.name))
def test_each_rule_leads_to_its_paragraph_and_joins_figures_of_different_labels_by_none(rule: Rule) -> None:
    headings = re.findall(r"^### (.+)$", (ROOT / "docs/operate.md").read_text(), re.MULTILINE)
    assert rule.cause in headings
    assert re.fullmatch(r"[0-9]+[mh]", rule.holds)
    assert not re.search(r" (and|or|unless) (?!on\(\))", rule.expression)
