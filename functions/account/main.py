"""GET /api/user/export and DELETE /api/user/delete: a student takes their data along, or leaves.

curl -H "Authorization: Bearer $TOKEN" localhost:8080/api/user/export
curl -X DELETE -H "Authorization: Bearer $TOKEN" localhost:8080/api/user/delete
"""

import functions_framework
from flask import Request, Response

from shared.students.users import require_user
from shared.web.doors import door
from shared.web.replies import reply
from shared.wiring import wiring


@functions_framework.http
def account(request: Request) -> Response:
    """By the path; alone under the framework's command line, which serves any path, by the method."""
    if request.path == "/api/user/delete" or (request.path != "/api/user/export" and request.method == "DELETE"):
        return delete(request)
    return export(request)


@door("GET")
def export(request: Request) -> Response:
    """Everything that is known about the student, as a file."""
    parts = wiring()
    user = require_user(request, parts)
    name = f"pickmyclass-data-{parts.clock():%Y-%m-%d}.json"
    data = parts.account.export(user.id)
    return reply(data, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@door("DELETE")
def delete(request: Request) -> Response:
    """Close the account; maintenance removes it thirty days later."""
    parts = wiring()
    user = require_user(request, parts)
    return reply(parts.account.close(user.id))
