"""GET, POST /admin…: for administrators."""

import functions_framework
from flask import Response

from shared.site import Caller, site_door
from shared.web.replies import failure


@functions_framework.http
@site_door("GET", "POST")
def admin(caller: Caller) -> Response:
    """To come."""
    caller.visit()
    raise failure("Not found", 404)
