"""GET /legal, /legal/privacy, /legal/terms: what is stored and for how long, what to expect, who runs this.

curl localhost:8080/legal/privacy
"""

import functions_framework
from flask import Response

from shared.site import Caller, site_door


@functions_framework.http
@site_door("GET")
def legal(caller: Caller) -> Response:
    """By the path."""
    about = caller.request.path.rpartition("/")[2]
    settings = caller.parts.settings
    return caller.page(
        "legal.html",
        about=about if about in ("privacy", "terms") else "who",
        operator=settings.operator_name or "",
        address=settings.operator_email or "",
        max_watches=settings.max_watches_per_user,
    )
