"""The one table of routes: which path is which function's. Host, tests and documentation read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from shared.settings import ROOT


@dataclass(frozen=True, slots=True)
class Route:
    """A path, and the folder under `functions/` that answers it; the function is named like its folder."""

    path: str
    name: str

    @property
    def source(self) -> Path:
        """The function's file, as the Functions Framework wants it."""
        return ROOT / "functions" / self.name / "main.py"


ROUTES = (
    Route("/api/cron", "cron_tick"),
    Route("/api/queue/process-section", "process_section"),
    Route("/api/monitoring/health", "health"),
    Route("/api/class-watches", "class_watches"),
    Route("/api/fetch-class-details", "fetch_class_details"),
    Route("/api/unsubscribe", "unsubscribe"),
    Route("/api/webhooks/resend", "resend_webhook"),
    Route("/api/cron/maintenance", "maintenance"),
    Route("/api/user/export", "account"),
    Route("/api/user/delete", "account"),
    Route("/go/asu", "go"),
    Route("/metrics", "metrics"),
    Route("/api/openapi.json", "openapi"),
)
