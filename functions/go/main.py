"""GET /go/asu?classNbr=&term=: from a mail to the university's page of a section.

Links in mail stay on the sender's own domain; this one leaves it, and only for there.

    curl -i "localhost:8080/go/asu?classNbr=12431&term=2257"
"""

from urllib.parse import urlencode

import functions_framework
from flask import Request, Response

from shared.web.doors import door, read_query
from shared.web.inputs import GoQuery
from shared.web.replies import redirect

CATALOG = "https://catalog.apps.asu.edu/catalog/classes/classlist"


@functions_framework.http
@door("GET")
def go(request: Request) -> Response:
    """Redirect to the catalog's search for this section; digits are all that goes through."""
    section = read_query(request, GoQuery)
    search = {
        "campusOrOnlineSelection": "A",
        "honors": "F",
        "keywords": section.classNbr,
        "promod": "F",
        "searchType": "all",
        "term": section.term,
    }
    return redirect(f"{CATALOG}?{urlencode(search)}")
