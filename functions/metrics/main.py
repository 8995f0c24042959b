"""GET /metrics: figures for Prometheus, for the operator's token or a caller on this machine.

curl localhost:8080/metrics
"""

import functions_framework
from flask import Request, Response

from shared.health.metrics import CONTENT_TYPE, collect
from shared.web.auth import is_local, require_operator
from shared.web.doors import door
from shared.wiring import wiring


@functions_framework.http
@door("GET")
def metrics(request: Request) -> Response:
    """Authorise, ask every store once, answer. A store that fails is a figure too."""
    parts = wiring()
    if not is_local(request):
        require_operator(request, parts.settings)
    return Response(collect(parts), 200, {"Content-Type": CONTENT_TYPE, "Cache-Control": "no-store"})
