"""Figures for Prometheus, asked of the stores at every scrape, so that any process can tell those of all.

Names by Prometheus's conventions: base units, `_total` for what only grows. What a process alone can know comes with
the consumers' beats and carries its name; a restart begins it at zero, as Prometheus expects of a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from prometheus_client.metrics_core import Metric

from shared.checks.measures import BOUNDS
from shared.health.checks_looks import SourceSeen, sources_asked
from shared.health.probes import Answer, Probes
from shared.parts import Parts

__all__ = ["CONTENT_TYPE", "collect"]

STATES = ("CLOSED", "OPEN", "HALF_OPEN", "UNKNOWN")
STATUSES = ("pending", "sending", "sent", "delivered", "dropped", "dead")
_probes = Probes()


def collect(parts: Parts) -> bytes:
    """Every figure, in Prometheus's text format. A store that does not answer in time is `pickmyclass_up 0`."""
    questions: dict[str, Callable[[], Any]] = {
        "database": lambda: parts.database.call("pmc_read_metrics", p_now=parts.clock()),
        "redis": lambda: parts.redis.info("stats"),
        "queue": lambda: parts.huey.counts(),
        "breaker": lambda: parts.breaker.status(),
        "sources": lambda: sources_asked(parts),
    }
    answers = _probes.ask({f"{id(parts)}:{name}": question for name, question in questions.items()})
    named = {key.partition(":")[2]: answer for key, answer in answers.items()}
    registry = CollectorRegistry(auto_describe=False)
    own = {"functions": parts.measures.as_json() | {"database_calls": parts.database.calls}}
    registry.register(Figures(named, own))
    return generate_latest(registry)


class Figures:
    """Turns the answers of the stores into metrics."""

    def __init__(self, answers: Mapping[str, Answer], own: Mapping[str, Any]) -> None:
        """`own`: what the asked process counted itself, by its name."""
        self._answers, self._own = answers, own

    def collect(self) -> Iterator[Metric]:
        """What the registry asks for."""
        figures = self._answers["database"].value
        up = _gauges("up", "Whether the part answered.", "part")
        up.add_metric(["database"], float(figures is not None))
        up.add_metric(["redis"], float(self._answers["queue"].value is not None))
        yield up
        yield from _breaker(self._answers["breaker"].value)
        yield from _sources(self._answers["sources"].value)
        yield from _queue(self._answers["queue"].value)
        if figures is not None:
            yield from _ticks(figures["ticks"])
            yield from _freshness(figures["freshness"])
            yield from _mail(figures)
            yield from _looks(figures)
            yield from _workers(figures["workers"])
        yield from _work({**self._own, **_measured(figures)})
        yield from self._redis()

    def _redis(self) -> Iterator[Metric]:
        stats = self._answers["redis"].value
        if stats and "total_commands_processed" in stats:
            commands = CounterMetricFamily(
                "pickmyclass_redis_commands", "Commands that the Redis server processed, of all its users."
            )
            commands.add_metric([], stats["total_commands_processed"])
            yield commands


def _gauges(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"pickmyclass_{name}", text, labels=labels)


def _counters(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"pickmyclass_{name}", text, labels=labels)


def _gauge(name: str, text: str, value: float | None) -> Iterator[Metric]:
    """One figure; nothing at all when it is not known."""
    if value is not None:
        yield GaugeMetricFamily(f"pickmyclass_{name}", text, value=value)


def _epoch(moment: str | None) -> float | None:
    return datetime.fromisoformat(moment).timestamp() if moment else None


def _breaker(status: Any) -> Iterator[Metric]:
    now = status.state if status else "UNKNOWN"
    states = _gauges("breaker_state", "1 for the state that the scraper's breaker is in.", "state")
    for state in STATES:
        states.add_metric([state.lower()], float(state == now))
    yield states
    if status:
        yield from _gauge("breaker_failures", "Failures in a row that the breaker counts.", status.failure_count)


def _sources(sources: Sequence[SourceSeen] | None) -> Iterator[Metric]:
    states = _gauges("source_state", "1 for the state that a source's breaker is in.", "source", "state")
    paused = _gauges("source_pause_seconds", "How long a source is still left alone.", "source")
    for one in sources or ():
        for state in STATES:
            states.add_metric([one.source, state.lower()], float(state == one.state))
        paused.add_metric([one.source], one.paused_seconds or 0)
    yield from (states, paused)


def _looks(figures: Mapping[str, Any]) -> Iterator[Metric]:
    bound, rounds = figures["opening_bound"], figures["round"]
    text = "From when it was last seen full to when it was seen open, of the last day's openings."
    yield _quantiles("opening_bound_seconds", text, bound)
    for name, text, seconds in (
        ("round_seconds", "How long the last round of looks took.", rounds["seconds"]),
        ("round_usual_seconds", "How long a round takes as a rule.", rounds["usual_seconds"]),
        ("round_age_seconds", "How long the present round has gone on.", rounds["age_seconds"]),
    ):
        family = _gauges(name, text)
        if seconds is not None:
            family.add_metric([], seconds)
        yield family


def _quantiles(name: str, text: str, told: Mapping[str, Any]) -> Metric:
    found = _gauges(name, text, "quantile")
    for quantile in ("p50", "p95"):
        seconds = told[f"{quantile}_seconds"]
        if seconds is not None:
            found.add_metric([f"0.{quantile[1:].rstrip('0')}"], seconds)
    return found


def _queue(counts: Any) -> Iterator[Metric]:
    if counts is None:
        return
    jobs = _gauges("queue_jobs", "Jobs by where they are.", "state")
    for state in ("waiting", "leased", "delayed", "dead", "limbo"):
        jobs.add_metric([state], getattr(counts, state))
    yield jobs
    oldest = counts.oldest_waiting_seconds or 0.0
    yield from _gauge("queue_oldest_waiting_seconds", "Age of the job that waits longest.", oldest)
    yield from _gauge("queue_pause_seconds", "How long queued jobs are still held.", counts.paused_for)


def _ticks(ticks: Mapping[str, Any]) -> Iterator[Metric]:
    started = _gauges("tick_started_timestamp_seconds", "When the scheduler's latest tick began.", "group")
    took = _gauges("tick_duration_seconds", "How long the latest tick took.", "group")
    sections = _gauges("tick_sections", "Sections of the latest tick, by what became of them.", "group", "outcome")
    failed = _gauges("tick_failed", "1 when the latest tick failed.", "group")
    for group, tick in ticks.items():
        if not tick:
            continue
        began, ended = _epoch(tick["started_at"]), _epoch(tick["finished_at"])
        started.add_metric([group], began or 0.0)
        failed.add_metric([group], float(bool(tick["error"])))
        if began and ended:
            took.add_metric([group], ended - began)
        for outcome in ("enqueued", "already_queued", "checked", "failed"):
            sections.add_metric([group, outcome], tick[outcome] or 0)
    yield from (started, took, sections, failed)


def _freshness(fresh: Mapping[str, Any]) -> Iterator[Metric]:
    yield from _gauge("watched_sections", "Sections that are ours to check.", fresh["watched_sections"])
    yield from _gauge("overdue_sections", "Sections unchecked for a full slot.", fresh["overdue_sections"])
    yield from _gauge("failed_sections", "Sections whose last attempt failed.", fresh["failed_sections"])
    yield from _gauge("oldest_check_seconds", "Age of the oldest check.", fresh["oldest_check_seconds"] or 0.0)
    last = _epoch(fresh["last_completed_check_at"])
    yield from _gauge("last_completed_check_timestamp_seconds", "When a check last succeeded.", last)


def _mail(figures: Mapping[str, Any]) -> Iterator[Metric]:
    mail, delay = figures["email"], figures["email_delay"]
    emails = _gauges("outbox_emails", "Emails that are remembered, by status.", "status")
    for status in STATUSES:
        emails.add_metric([status], figures["outbox"].get(status, 0))
    yield emails
    oldest = mail["oldest_pending_seconds"] or 0.0
    yield from _gauge("outbox_oldest_pending_seconds", "Age of the email that waits longest.", oldest)
    yield from _gauge("outbox_held_emails", "Emails that the mass-event guard holds.", mail["held"])
    yield from _gauge(
        "mail_held", "1 while an operator holds all mail.", float((mail["hold"] or {}).get("held", False))
    )
    yield _quantiles("mail_delay_seconds", "From an opening's check to its acceptance, of the last day.", delay)


def _workers(workers: list[dict[str, Any]]) -> Iterator[Metric]:
    count = _gauges("workers", "Consumers by status.", "status")
    for status in ("active", "paused", "draining", "offline"):
        count.add_metric([status], sum(worker["status"] == status for worker in workers))
    yield count
    beat = _gauges("worker_heartbeat_age_seconds", "Time since a consumer's last beat.", "worker")
    ended = _counters("jobs_ended", "Jobs that a consumer ended.", "worker", "outcome")
    found = _counters("jobs_found_lost", "Jobs that nobody had, by a fault of ours, and that were put back.", "worker")
    for worker in _newest(workers):
        beat.add_metric([worker["worker_name"]], worker["heartbeat_age_seconds"])
        queue = worker["figures"].get("queue", {})
        for outcome in ("completed", "failed"):
            ended.add_metric([worker["worker_name"], outcome], queue.get(outcome) or 0)
        found.add_metric([worker["worker_name"]], queue.get("found_lost") or 0)
    yield from (beat, ended, found)


def _work(processes: Mapping[str, Any]) -> Iterator[Metric]:
    """What each process counted itself."""
    calls = _counters("database_calls", "Round trips to the database.", "process")
    checks = _counters("checks", "Ended checks by outcome.", "process", "outcome")
    lookups = _counters("scraper_lookups", "Looks at any source by the kind of answer.", "process", "answer")
    asked = _counters("source_calls", "Calls to a source.", "process", "source")
    seconds = {
        "check": HistogramMetricFamily("pickmyclass_check_duration_seconds", "Time a check took.", labels=["process"]),
        "lookup": HistogramMetricFamily("pickmyclass_scrape_duration_seconds", "Time it took.", labels=["process"]),
    }
    for name, measures in processes.items():
        calls.add_metric([name], measures["database_calls"])
        for outcome, number in sorted(measures["checks"].items()):
            checks.add_metric([name, outcome], number)
        for answer, number in sorted(measures["lookups"].items()):
            lookups.add_metric([name, answer], number)
        for source, number in sorted(measures.get("calls", {}).items()):
            asked.add_metric([name, source], number)
        for kind, family in seconds.items():
            told = measures["seconds"][kind]
            family.add_metric([name], _buckets(told["buckets"]), told["sum"])
    yield from (calls, checks, lookups, asked, *seconds.values())


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    """Prometheus counts upwards: each bucket holds those below it."""
    total, buckets = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets


def _newest(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The latest incarnation of each name that is not gone: a name may not appear twice."""
    ordered = sorted(workers, key=lambda worker: str(worker["started_at"]))
    return list({worker["worker_name"]: worker for worker in ordered if worker["status"] != "offline"}.values())


def _measured(figures: Mapping[str, Any] | None) -> dict[str, Any]:
    """What came with the consumers' beats, by their names."""
    workers = _newest(figures["workers"]) if figures else []
    return {one["worker_name"]: one["figures"]["measures"] for one in workers if "measures" in one["figures"]}
