"""GET /api/monitoring/health: how it goes.

    curl localhost:8080/api/monitoring/health                                        # for anyone: a summary
    curl -H "Authorization: Bearer $CRON_SECRET" localhost:8080/api/monitoring/health  # for operators: everything
    curl 'localhost:8080/api/monitoring/health?probe=ready'                          # live, ready: for machines

A browser gets the same as a page; its operator signs in there with the secret as password.
"""

from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

import functions_framework
from flask import Request, Response
from pydantic import BaseModel

from shared.health.page import page_values
from shared.health.report import Report, misconfigured
from shared.settings import SettingsError
from shared.web.auth import is_operator, is_operator_in_browser
from shared.web.doors import door, read_query
from shared.web.outputs import HealthReport
from shared.web.pages import page
from shared.web.replies import reply
from shared.wiring import Wiring, wiring


class Query(BaseModel):
    """`?probe=live`: this process answers. `?probe=ready`: database and Redis do, too. `?details=1`: ask a browser
    for the operator's password. `?again=1`: the page asks anew every minute, which nobody has to bear unasked."""

    probe: Literal["live", "ready"] | None = None
    details: Literal["1"] | None = None
    again: Literal["1"] | None = None


@functions_framework.http
@door("GET")
def health(request: Request) -> Response:
    """Answer a probe, the summary for anyone, or everything for operators."""
    query = read_query(request, Query)
    if query.probe == "live":
        return reply(HealthReport(status="ok"))
    try:
        parts = wiring()
    except SettingsError as error:
        report = misconfigured(error, datetime.now(UTC))
        return reply(report.outline(), report.code)
    if query.probe == "ready":
        return _ready(parts)
    wants_page = _wants_page(request)
    operator = _is_operator(request, parts)
    if wants_page and query.details and not operator:
        return _sign_in()
    kept = parts.health
    report = kept.full(history=wants_page) if operator else kept.summary()
    if wants_page:
        return _page(report, parts, detailed=operator, again=query.again is not None)
    return reply(report.details() if operator else report.outline(), report.code)


def _ready(parts: Wiring) -> Response:
    answer = parts.health.ready()
    database, redis = answer.database, answer.redis
    if answer.ready:
        return reply(HealthReport(status="ready", database=database, redis=redis))
    return reply(HealthReport(status="not_ready", database=database, redis=redis), 503)


def _wants_page(request: Request) -> bool:
    """Whether the caller would rather have HTML; one that takes anything gets JSON."""
    return request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _is_operator(request: Request, parts: Wiring) -> bool:
    secret = parts.settings.cron_secret
    return secret is not None and (is_operator(request, secret) or is_operator_in_browser(request, secret))


def _sign_in() -> Response:
    """Let the browser ask for the password; what it shows when its user does not know it."""
    return Response(
        "The password is the operator's secret.\n",
        401,
        {"WWW-Authenticate": 'Basic realm="PickMyClass operator", charset="UTF-8"', "Cache-Control": "no-store"},
        mimetype="text/plain",
    )


def _page(report: Report, parts: Wiring, *, detailed: bool, again: bool) -> Response:
    values = page_values(report, ZoneInfo(parts.settings.cron_timezone), detailed=detailed)
    answer = page("health.html", report.code, sheet="health.css", again=again, **values)
    answer.headers["Vary"] = "Accept, Authorization"
    return answer
