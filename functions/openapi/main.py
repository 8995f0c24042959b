"""GET /api/openapi.json: the description of every route, made from the models that validate the requests.

curl localhost:8080/api/openapi.json
"""

import functions_framework
from flask import Request, Response

from shared.web.doors import door
from shared.web.openapi import description
from shared.web.replies import reply
from shared.wiring import wiring


@functions_framework.http
@door("GET")
def openapi(_request: Request) -> Response:
    """The OpenAPI 3.1 document."""
    return reply(description(wiring().settings.site_url), headers={"Cache-Control": "public, max-age=300"})
