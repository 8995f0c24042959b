"""GET /api/cron/maintenance: remove what has expired, is over, or was kept long enough. Also runs daily by itself.

curl -H "Authorization: Bearer $CRON_SECRET" localhost:8080/api/cron/maintenance
"""

import functions_framework
from flask import Request, Response

from shared.web.auth import require_operator
from shared.web.doors import door
from shared.web.outputs import MaintenanceRun, Phase
from shared.web.replies import reply
from shared.wiring import wiring


@functions_framework.http
@door("GET")
def maintenance(request: Request) -> Response:
    """Run every phase, tell of each how it went. Only when none of them came to anything has the run failed."""
    parts = wiring()
    require_operator(request, parts.settings)
    report = parts.maintenance.run()
    failed = {} if report.success else {"error": "No phase could be run"}
    phases = {name: Phase(**phase) for name, phase in report.phases.items()}
    run = MaintenanceRun(success=report.success, duration_ms=report.duration_ms, phases=phases, **failed)
    return reply(run, 200 if report.success else 500)
