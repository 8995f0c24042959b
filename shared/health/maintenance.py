"""The daily tidying: what has expired, is over, or was kept long enough goes, in small steps."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from shared.clock import Clock
from shared.database import DatabaseCalls, DatabaseError

log = logging.getLogger(__name__)

PHASES = {
    "expired_claims": 2000,
    "past_terms": 1000,
    "deleted_accounts": 50,
    "mail_bodies": 1000,
    "outbox": 2000,
    "mail_batches": 2000,
    "events": 2000,
    "ticks": 2000,
    "webhook_deliveries": 2000,
    "workers": 1000,
    "baselines": 1000,
}
"""Each phase with the rows of one step. Mail goes before the batches and events that it hangs on."""

SECONDS = 40.0
"""How long all phases together may take; what is left waits for the next run."""


@dataclass(frozen=True, slots=True)
class MaintenanceReport:
    """How it went: per phase `{status, rows}`, or `{status, rows, error}` where it failed."""

    phases: dict[str, dict[str, Any]]
    duration_ms: int

    @property
    def failed(self) -> list[str]:
        """The phases that failed."""
        return [name for name, phase in self.phases.items() if phase["status"] == "failed"]

    @property
    def success(self) -> bool:
        """Whether anything was done, or found to be done: a database that is gone lets no phase come that far."""
        return any(phase["status"] == "done" or phase["rows"] for phase in self.phases.values())


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Runs the phases; safe to run twice at once, each leaves the other's rows alone."""

    database: DatabaseCalls
    clock: Clock

    def run(self, interrupted: Callable[[], bool] = lambda: False) -> MaintenanceReport:
        """Every phase, each on its own: one that fails does not keep the others from their work.

        Never raises for the database; the report says what failed. `interrupted` is asked before every step.
        """
        started = time.monotonic()
        phases = {}
        for number, (name, step) in enumerate(PHASES.items()):
            now = time.monotonic()
            share = max(0.0, started + SECONDS - now) / (len(PHASES) - number)  # what one leaves, the others get
            phases[name] = self._phase(name, step, now + share, interrupted)
        report = MaintenanceReport(phases, int((time.monotonic() - started) * 1000))
        log.info("maintenance done", extra={"rows": {n: p["rows"] for n, p in phases.items() if p["rows"]}})
        return report

    def _phase(self, name: str, step: int, deadline: float, interrupted: Callable[[], bool]) -> dict[str, Any]:
        rows = 0
        try:
            while not interrupted() and time.monotonic() < deadline:
                done = self.database.call("pmc_prune", p_phase=name, p_limit=step, p_now=self.clock())["rows"]
                rows += done
                if done < step:
                    return {"status": "done", "rows": rows}
        except DatabaseError as error:
            log.error("maintenance phase failed", extra={"phase": name, "error": str(error)})
            return {"status": "failed", "rows": rows, "error": "database failed"}
        return {"status": "to be continued", "rows": rows}
