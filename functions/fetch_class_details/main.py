"""POST /api/fetch-class-details: what the university says of a section now. Writes nothing.

    curl -X POST -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
         -d '{"term": "2257", "class_nbr": "12431"}' localhost:8080/api/fetch-class-details
"""

import functions_framework
from flask import Request, Response

from shared.logs import bind
from shared.sections.section import Section
from shared.students.lookups import told_to_students
from shared.students.users import require_user
from shared.web.doors import door, read_json
from shared.web.inputs import SectionBody
from shared.web.outputs import ClassDetails
from shared.web.replies import reply
from shared.wiring import wiring


@functions_framework.http
@door("POST")
def fetch_class_details(request: Request) -> Response:
    """Ask who is there (O40), look the section up, show what came back and nothing else (O32)."""
    parts = wiring()
    require_user(request, parts, costly=True)
    body = read_json(request, SectionBody)
    with bind(term=body.term, class_nbr=body.class_nbr), told_to_students(parts.lookups):
        facts = parts.watches.look_up(Section(body.term, body.class_nbr))
    return reply(ClassDetails.model_validate(facts))
