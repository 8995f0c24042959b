"""The two tables of routes: which path is which function's. Host, tests and documentation read them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from shared.settings import ROOT


@dataclass(frozen=True, slots=True)
class Route:
    """A path, and the folder under `functions/` that answers it; the function is named like its folder.

    `<word>` in a path stands for anything without a slash.
    """

    path: str
    name: str

    @property
    def source(self) -> Path:
        """The function's file, as the Functions Framework wants it."""
        return ROOT / "functions" / self.name / "main.py"

    @property
    def pattern(self) -> re.Pattern[str]:
        """What a path of this route looks like."""
        return re.compile(re.sub(r"<\w+>", "[^/]+", self.path))


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
    Route("/api/live", "live"),
)

PAGES = (
    Route("/", "home"),
    Route("/login", "login"),
    Route("/register", "login"),
    Route("/verify-email", "login"),
    Route("/forgot-password", "password"),
    Route("/reset-password", "password"),
    Route("/auth/confirm", "confirm"),
    Route("/auth/callback", "confirm"),
    Route("/welcome", "welcome"),
    Route("/logout", "logout"),
    Route("/dashboard", "dashboard"),
    Route("/dashboard/add", "add"),
    Route("/classes/<term>/<class_nbr>", "history"),
    Route("/settings", "settings"),
    Route("/admin", "admin"),
    Route("/admin/users", "admin"),
    Route("/admin/users/<id>", "admin"),
    Route("/admin/classes", "admin"),
    Route("/admin/classes/<term>/<class_nbr>", "admin"),
    Route("/legal", "legal"),
    Route("/legal/privacy", "legal"),
    Route("/legal/terms", "legal"),
    Route("/robots.txt", "assets"),
    Route("/sitemap.xml", "assets"),
    Route("/manifest.webmanifest", "assets"),
    Route("/favicon.ico", "assets"),
    Route("/assets/<name>", "assets"),
)
"""For people. Served as they stand here, or below `/app` where the site's own pages are somewhere else."""

BESIDE_A_SITE = "/app"


def find_page(path: str) -> Route | None:
    """The page at this path, if there is one."""
    return next((route for route in PAGES if route.pattern.fullmatch(path)), None)
