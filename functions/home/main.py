"""GET /: what this is, and the way in.

curl localhost:8080/
"""

import functions_framework
from flask import Response

from shared.site import Caller, site_door


@functions_framework.http
@site_door("GET")
def home(caller: Caller) -> Response:
    """The first page. Its figures are the same for everyone and asked for once a minute."""
    return caller.page("home.html", front=caller.parts.front.figures())
