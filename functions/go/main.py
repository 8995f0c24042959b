"""GET /go/asu?classNbr=&term=: from a mail to the university's page of a section.

Links in mail stay on the sender's own domain; this one leaves it, and only for there.

    curl -i "localhost:8080/go/asu?classNbr=12431&term=2257"
"""

import functions_framework
from flask import Request, Response

from shared.sections.section import Section
from shared.web.doors import door, read_query
from shared.web.inputs import GoQuery
from shared.web.replies import redirect
from shared.wiring import wiring


@functions_framework.http
@door("GET")
def go(request: Request) -> Response:
    """Redirect to where the source shows this section; digits are all that goes through."""
    section = read_query(request, GoQuery)
    return redirect(wiring().page_of(Section(section.term, section.classNbr)))
