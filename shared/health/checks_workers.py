"""The check of the consumers: which live, and whether any of them takes jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any
from zoneinfo import ZoneInfo

from shared.health.check import DEGRADED, HEALTHY, UNHEALTHY, UNKNOWN, Check, Trouble, only

ALIVE_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Worker:
    """A consumer that has not said goodbye; `alive`: its last beat is at most 90 s old."""

    worker_id: str
    worker_name: str
    host: str
    status: str
    alive: bool
    last_heartbeat: str
    current_jobs: int
    max_concurrent_jobs: int


def living(workers: list[dict[str, Any]]) -> tuple[Worker, ...]:
    """The consumers of `pmc_list_workers` that have not said goodbye."""
    columns = [field.name for field in fields(Worker) if field.name != "alive"]
    return tuple(
        Worker(**only(columns, one), alive=one["heartbeat_age_seconds"] <= ALIVE_SECONDS)
        for one in workers
        if one["status"] != "offline"
    )


def beats_of_the_living(figures: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The living consumers' rows, the freshest beat first; none where the database does not answer."""
    workers = sorted(figures["workers"] if figures else [], key=lambda one: float(one["heartbeat_age_seconds"]))
    return [one for one in workers if one["status"] != "offline" and one["heartbeat_age_seconds"] <= ALIVE_SECONDS]


@dataclass(frozen=True, slots=True)
class WorkersCheck(Check):
    """Whether any consumer is alive, and any of those takes jobs. None: nobody knows."""

    name, title = "workers", "Consumers"
    workers: tuple[Worker, ...] | None

    @property
    def status(self) -> str:
        return UNKNOWN if self.workers is None else self.verdict

    def facts(self) -> dict[str, Any]:
        return {"workers": [asdict(one) for one in self.workers or ()]}

    def as_json(self) -> Any:
        """The list alone: that is its contract."""
        return self.facts()["workers"]

    def alive(self) -> list[Worker]:
        """Those that live."""
        return [one for one in self.workers or () if one.alive]

    def words(self, zone: ZoneInfo) -> Iterator[str]:  # noqa: ARG002 - as its kind
        if self.workers is not None:
            yield f"{len(self.alive())} alive"
            if lost := len(self.workers) - len(self.alive()):
                yield f"{lost} lost"

    def troubles(self) -> Iterator[Trouble]:
        if self.workers is None:
            return
        lost = [one.worker_name for one in self.workers if not one.alive]
        if not self.alive():
            yield Trouble(
                "workers",
                UNHEALTHY,
                "No consumer is alive: nothing is checked and nothing is mailed",
                "`systemctl status pickmyclass-consumer`, then `journalctl -u pickmyclass-consumer -n 50`. Jobs that "
                "were running are taken over by the next consumer that starts.",
            )
            return
        if lost:
            yield Trouble(
                "lost worker",
                HEALTHY,
                f"Not heard of: {', '.join(lost)}",
                "The others have taken its jobs over. Look at that machine.",
                alert_after=300,
            )
        if all(one.status in ("paused", "draining") for one in self.alive()):
            yield Trouble(
                "all paused",
                DEGRADED,
                "Every consumer is paused: nothing is checked",
                "`./run.sh ops workers resume --all` lets them go on.",
                alert_after=300,
            )
