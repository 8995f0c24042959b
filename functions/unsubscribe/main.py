"""GET, POST /api/unsubscribe?token=: the link in every mail. GET asks, POST acts (O12).

curl -X POST "localhost:8080/api/unsubscribe?token=$TOKEN"
"""

import logging

import functions_framework
from flask import Request, Response

from shared.database import DatabaseError
from shared.web.doors import door, read_query
from shared.web.inputs import TokenQuery
from shared.web.outputs import Done
from shared.web.pages import page
from shared.web.replies import failure, reply
from shared.web.routes import BESIDE_A_SITE
from shared.wiring import wiring

log = logging.getLogger(__name__)


@functions_framework.http
@door("GET", "POST")
def unsubscribe(request: Request) -> Response:
    """Show the question, or unsubscribe. Mail programs post any body they like (RFC 8058); the token is in the link."""
    parts = wiring()
    flow = parts.unsubscribe
    token = read_query(request, TokenQuery).token
    if request.method != "POST":
        valid = flow.is_valid(token)
        return show("ask") if valid else show("invalid", 400)
    for_people = request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"
    try:
        if flow.act(token):
            return show("done") if for_people else reply(Done(success=True))
    except DatabaseError as error:
        log.error("unsubscribing failed", extra={"error": str(error)})
        if for_people:
            return show("failed", 500)
        raise failure("Unsubscribing failed; try again", 500) from None
    if for_people:
        return show("invalid", 400)
    raise failure("Invalid or expired token", 400)


def show(state: str, status: int = 200) -> Response:
    """A state of the page, which leads to the student's settings."""
    beside = wiring().settings.site_upstream
    return page("unsubscribe.html", status, state=state, settings=f"{BESIDE_A_SITE if beside else ''}/settings")
