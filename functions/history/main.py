"""GET /classes/<term>/<class_nbr>: a section's seats over the term, and what this student was told of it.

curl -b "$COOKIE" localhost:8080/classes/2267/12431
"""

import functions_framework
from flask import Response

from shared.site import Caller, site_door
from shared.students.story import story_of


@functions_framework.http
@site_door("GET")
def history(caller: Caller) -> Response:
    """One section's story. A section that nobody has seen has none, whoever asks."""
    term, class_nbr = caller.match(r"/classes/([0-9]{4})/([0-9]{5})").groups()
    told = caller.read("pmc_read_class", p_term=term, p_class_nbr=class_nbr)
    story = story_of(told, caller.parts.clock(), caller.zone)
    return caller.page("history.html", watch=told["watch"], **story)
