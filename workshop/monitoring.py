"""Alert rules for Prometheus and a dashboard for Grafana, made of the metrics' own definitions and health's own limits.

`python -m workshop.monitoring` writes both into `deploy/monitoring/`; a test keeps them true.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.metrics_core import Metric

from shared.checks.measures import Measures
from shared.health.checks_looks import LONG_PAUSE_SECONDS, SLOW, SLOW_SECONDS, SourceSeen
from shared.health.checks_mail import MAIL_WAITS_SECONDS
from shared.health.checks_work import TICK_IS_OLD
from shared.health.checks_workers import ALIVE_SECONDS
from shared.health.metrics import STATUSES, Figures
from shared.health.probes import Answer
from shared.queue import Counts
from shared.sections.slots import SLOT
from shared.settings import ROOT
from shared.source.breaker import BreakerStatus

FOLDER = ROOT / "deploy" / "monitoring"
RULES, DASHBOARD = FOLDER / "pickmyclass.rules.yml", FOLDER / "grafana.json"


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert: `cause` is its paragraph in docs/operate.md, `holds` how long it must be so."""

    name: str
    cause: str
    expression: str
    holds: str
    summary: str


def _p(name: str, **labels: str) -> str:
    chosen = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"pickmyclass_{name}" + (f"{{{chosen}}}" if chosen else "")


CRITICAL = (
    Rule("Database", "database", f"{_p('up', part='database')} == 0", "2m", "The database does not answer."),
    Rule("Redis", "redis", f"{_p('up', part='redis')} == 0", "2m", "Redis does not answer."),
    Rule(
        "NoConsumer",
        "workers",
        f"min({_p('worker_heartbeat_age_seconds')}) > {ALIVE_SECONDS:.0f}"
        f" or on() absent({_p('worker_heartbeat_age_seconds')}) and on() {_p('up', part='database')} == 1",
        "2m",
        "No consumer is alive: nothing is checked and nothing is mailed.",
    ),
)
WARNINGS = (
    Rule(
        "AllPaused",
        "all paused",
        f"{_p('workers', status='active')} == 0 and on() {_p('workers', status='paused')} > 0",
        "5m",
        "Every consumer is paused: nothing is checked.",
    ),
    Rule("Overdue", "overdue", f"{_p('overdue_sections')} > 0", "5m", "Sections are unchecked for longer than a slot."),
    Rule(
        "Scheduler",
        "scheduler",
        f"time() - max({_p('tick_started_timestamp_seconds')}) > {TICK_IS_OLD.total_seconds():.0f}",
        "5m",
        "The last tick is older than two slots.",
    ),
    Rule("Breaker", "breaker", f"{_p('breaker_state', state='open')} == 1", "10m", "The scraper fails."),
    Rule(
        "SourceRefuses",
        "source refuses",
        f"min({_p('source_pause_seconds')}) > {LONG_PAUSE_SECONDS:.0f}",
        "5m",
        "Every source is left alone, because it refuses us or wants to be.",
    ),
    Rule(
        "SlowRound",
        "slow round",
        f"{_p('round_age_seconds')} > {SLOW:.0f} * {_p('round_usual_seconds')}"
        f" and on() {_p('round_age_seconds')} > {SLOW_SECONDS:.0f}",
        "5m",
        "A round of looks takes more than three times as long as usual.",
    ),
    Rule("DeadLetters", "dead letters", f"{_p('queue_jobs', state='dead')} > 0", "5m", "Checks were given up."),
    Rule(
        "SlowQueue",
        "slow queue",
        f"{_p('queue_oldest_waiting_seconds')} > {SLOT.total_seconds():.0f}",
        "1m",
        "A job has waited for longer than a slot.",
    ),
    Rule(
        "MailStuck",
        "mail stuck",
        f"{_p('outbox_oldest_pending_seconds')} > {MAIL_WAITS_SECONDS:.0f}",
        "1m",
        "Mail has waited for more than a quarter of an hour.",
    ),
    Rule("MailHeld", "mail held by hand", f"{_p('mail_held')} == 1", "1h", "An operator holds all mail."),
    Rule("MassEvent", "mass event", f"{_p('outbox_held_emails')} > 0", "10m", "Mail waits for a second look."),
)


def families() -> list[Metric]:
    """Every family of `/metrics`, as a well server would show it."""
    then, tick = "2026-01-01T12:00:00+00:00", {"enqueued": 1, "already_queued": 0, "checked": 1, "failed": 0}
    measures = Measures().as_json() | {"calls": {"scraper": 1}} | {"database_calls": 0, "found_lost": 0}
    worker = {"worker_name": "box", "status": "active", "started_at": then, "heartbeat_age_seconds": 1.0}
    figures = {
        "ticks": {"even": {**tick, "started_at": then, "finished_at": then, "error": None}},
        "freshness": {
            **dict.fromkeys(("watched_sections", "overdue_sections", "failed_sections", "oldest_check_seconds"), 0),
            "last_completed_check_at": then,
        },
        "email": {"oldest_pending_seconds": None, "held": 0, "hold": {"held": False}},
        "email_delay": {"p50_seconds": 1.0, "p95_seconds": 2.0},
        "opening_bound": {"p50_seconds": 1.0, "p95_seconds": 2.0},
        "round": {"seconds": 1.0, "usual_seconds": 1.0, "age_seconds": 1.0},
        "outbox": dict.fromkeys(STATUSES, 0),
        "workers": [{**worker, "figures": {"queue": {}, "measures": measures}}],
    }
    answers = {
        "database": figures,
        "redis": {"total_commands_processed": 1},
        "queue": Counts(0, 0, 0, 0, None, 0.0),
        "breaker": BreakerStatus(),
        "sources": [SourceSeen("scraper", "CLOSED")],
    }
    return list(Figures({name: Answer(value) for name, value in answers.items()}, {"functions": measures}).collect())


def rules() -> str:
    """The rules as YAML."""
    lines = [
        "# Written by `python -m workshop.monitoring`; a test keeps it true. Do not edit.",
        "groups:",
        "  - name: pickmyclass",
        "    rules:",
    ]
    for rule in (*CRITICAL, *WARNINGS):
        severity = "critical" if rule in CRITICAL else "warning"
        runbook = f"docs/operate.md#{rule.cause.replace(' ', '-')}"
        lines += [
            f"      - alert: PickMyClass{rule.name}",
            f"        expr: {json.dumps(rule.expression)}",
            f"        for: {rule.holds}",
            f"        labels: {{severity: {severity}}}",
            f"        annotations: {{summary: {json.dumps(rule.summary)}, runbook: {json.dumps(runbook)}}}",
        ]
    return "\n".join([*lines, ""])


def dashboard() -> str:
    """The dashboard as JSON: a panel for each family, in the order of `/metrics`."""
    panels = [_panel(number, family) for number, family in enumerate(families())]
    board = {
        "title": "PickMyClass",
        "uid": "pickmyclass",
        "schemaVersion": 39,
        "time": {"from": "now-24h", "to": "now"},
        "refresh": "1m",
        "templating": {
            "list": [{"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }
    return json.dumps(board, indent=1) + "\n"


def _panel(number: int, family: Metric) -> dict[str, Any]:
    unit = "s" if family.name.endswith("_seconds") and not family.name.endswith("timestamp_seconds") else "short"
    if family.name.endswith("timestamp_seconds"):
        unit = "dateTimeFromNow"
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": family.name.removeprefix("pickmyclass_").replace("_", " "),
        "description": family.documentation,
        "datasource": {"type": "prometheus", "uid": "${source}"},
        "gridPos": {"h": 7, "w": 8, "x": number % 3 * 8, "y": number // 3 * 7},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(65 + place), "expr": expression, "legendFormat": legend}
            for place, (expression, legend) in enumerate(_queries(family))
        ],
    }


def _queries(family: Metric) -> Iterator[tuple[str, str]]:
    """What to draw of a family: the value, how fast it grows, or the slow end of its distribution."""
    labels = sorted({label for sample in family.samples for label in sample.labels} - {"le"})
    legend = " ".join(f"{{{{{label}}}}}" for label in labels) or family.name.removeprefix("pickmyclass_")
    if family.type == "histogram":
        for quantile in ("0.5", "0.95"):
            yield f"histogram_quantile({quantile}, rate({family.name}_bucket[15m]))", f"p{quantile[2:]} {legend}"
    elif family.type == "counter":
        yield f"rate({family.name}_total[15m])", legend
    elif family.name.endswith("timestamp_seconds"):
        yield f"{family.name} * 1000", legend
    else:
        yield family.name, legend


def main() -> None:
    """Write both files."""
    FOLDER.mkdir(exist_ok=True)
    RULES.write_text(rules())
    DASHBOARD.write_text(dashboard())


if __name__ == "__main__":
    main()
