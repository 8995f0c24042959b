"""GET /api/cron/maintenance: remove what has expired, is over, or was kept long enough. Also runs daily by itself.

curl -H "Authorization: Bearer $CRON_SECRET" localhost:8080/api/cron/maintenance
"""

import functions_framework
from flask import Request, Response

from shared.flows.maintenance import PHASES, Maintenance
from shared.web.auth import require_operator
from shared.web.doors import door
from shared.web.replies import reply
from shared.wiring import wiring


@functions_framework.http
@door("GET")
def maintenance(request: Request) -> Response:
    """Run every phase, tell of each how it went. Only when all of them failed has the run failed."""
    parts = wiring()
    require_operator(request, parts.settings)
    report = Maintenance(parts.database, parts.clock).run()
    success = len(report.failed) < len(PHASES)
    body = {"success": success, "duration_ms": report.duration_ms, "phases": report.phases}
    return reply(body if success else {**body, "error": "Every phase failed"}, 200 if success else 500)
