"""GET, POST, DELETE /api/class-watches: what a student watches.

    curl -H "Authorization: Bearer $TOKEN" localhost:8080/api/class-watches
    curl -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
         -d '{"term": "2257", "class_nbr": "12431"}' localhost:8080/api/class-watches
    curl -X DELETE -H "Authorization: Bearer $TOKEN" "localhost:8080/api/class-watches?id=$WATCH"
"""

import functions_framework
from flask import Request, Response

from shared.logs import bind
from shared.sections.section import Section
from shared.students.lookups import told_to_students
from shared.students.users import User, refusal, require_user
from shared.students.watches import AlreadyWatchingError, WatchLimitError
from shared.web.doors import door, read_json, read_query
from shared.web.inputs import SectionBody, WatchQuery
from shared.web.outputs import AddedWatch, Done
from shared.web.replies import reply
from shared.wiring import Wiring, wiring


@functions_framework.http
@door("GET", "POST", "DELETE")
def class_watches(request: Request) -> Response:
    """Ask who is there, then list, add or remove."""
    parts = wiring()
    user = require_user(request, parts, costly=request.method == "POST")
    if request.method == "POST":
        return add(request, user, parts)
    if request.method == "DELETE":
        parts.watches.remove(user.id, read_query(request, WatchQuery).id)
        return reply(Done(success=True))
    return reply(parts.watches.of(user.id))


def add(request: Request, user: User, parts: Wiring) -> Response:
    """Add a watch. The limit comes before everything else, so that whoever has no room costs no look-up."""
    try:
        if user.watches >= user.max_watches:
            raise WatchLimitError(user.max_watches)
        body = read_json(request, SectionBody)
        with bind(term=body.term, class_nbr=body.class_nbr), told_to_students(parts.lookups):
            return reply(AddedWatch(watch=parts.watches.add(user.id, Section(body.term, body.class_nbr))), 201)
    except WatchLimitError as error:
        raise refusal(str(error), 429) from None
    except AlreadyWatchingError:
        raise refusal("You are already watching this class", 409) from None
