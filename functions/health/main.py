"""GET /api/monitoring/health: how it goes.

    curl localhost:8080/api/monitoring/health                                        # for anyone: a summary
    curl -H "Authorization: Bearer $CRON_SECRET" localhost:8080/api/monitoring/health  # for operators: everything
    curl 'localhost:8080/api/monitoring/health?probe=ready'                          # live, ready: for machines

A browser gets the same as a page; its operator signs in there with the secret as password.
"""

from datetime import UTC, datetime
from typing import Literal

import functions_framework
from flask import Request, Response
from pydantic import BaseModel

from shared.ops.health import Report, health_of, misconfigured
from shared.settings import SettingsError
from shared.web.auth import is_operator
from shared.web.doors import door, read_query
from shared.web.replies import reply
from shared.wiring import Wiring, wiring


class Query(BaseModel):
    """`?probe=live`: this process answers. `?probe=ready`: database and Redis do, too."""

    probe: Literal["live", "ready"] | None = None


@functions_framework.http
@door("GET")
def health(request: Request) -> Response:
    """Answer a probe, the summary for anyone, or everything for operators."""
    query = read_query(request, Query)
    if query.probe == "live":
        return reply({"status": "ok"})
    try:
        parts = wiring()
    except SettingsError as error:
        report = misconfigured(error, datetime.now(UTC))
        return reply(report.outline(), report.code)
    if query.probe == "ready":
        return _ready(parts)
    report, detailed = _ask(request, parts)
    return reply(report.details() if detailed else report.outline(), report.code)


def _ready(parts: Wiring) -> Response:
    answer = health_of(parts).ready()
    body = {"status": "ready" if answer.ready else "not_ready", "database": answer.database, "redis": answer.redis}
    return reply(body, 200 if answer.ready else 503)


def _ask(request: Request, parts: Wiring) -> tuple[Report, bool]:
    secret = parts.settings.cron_secret
    if secret is not None and is_operator(request, secret):
        return health_of(parts).full(), True
    return health_of(parts).summary(), False
