"""GET, POST /dashboard: a card for each watched section; remove one, and take that back.

curl -b "$COOKIE" localhost:8080/dashboard
"""

import hashlib
import json
import uuid
from typing import Any

import functions_framework
from flask import Response

from shared.site import Caller, site_door, wanted_section
from shared.students.cards import cards_of

NOTES = {
    "added": ("good", "Added. From now on we look at it for you."),
    "limit": ("bad", "You watch as many sections as allowed, so nothing was added."),
    "reopened": ("good", "Your account is open again."),
}


@functions_framework.http
@site_door("GET", "POST")
def dashboard(caller: Caller) -> Response:
    """The whole page, its cards alone (`?part=cards`, for the page's own script), or a change."""
    if caller.request.method == "POST":
        return change(caller, caller.form())
    told = caller.read("pmc_read_dashboard")
    tag = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]
    if caller.request.args.get("part") == "cards":
        return cards_alone(caller, told, tag)
    words = caller.request.args
    removed = wanted_section(words) if words.get("done") == "removed" else None
    notes = [NOTES[words["done"]]] if words.get("done") in NOTES else []
    return caller.page("dashboard.html", cards=shown(caller, told), removed=removed, notes=notes)


def cards_alone(caller: Caller, told: dict[str, Any], tag: str) -> Response:
    """The cards, or 304 when the caller has them as they are."""
    if caller.request.if_none_match.contains(tag):
        response = Response(status=304)
    else:
        response = caller.page("cards.html", cards=shown(caller, told))
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def shown(caller: Caller, told: dict[str, Any]) -> list[Any]:
    """The cards as of now."""
    return cards_of(told["cards"], caller.parts.clock(), caller.zone)


def change(caller: Caller, form: dict[str, str]) -> Response:
    """Remove a watch of the student's own, or watch again what was just removed."""
    user_id, section = caller.visit().user_id, wanted_section(form)
    caller.read("pmc_read_student")
    if form.get("do") == "remove":
        try:
            watch_id = str(uuid.UUID(form.get("id", "")))
        except ValueError:
            return caller.go("/dashboard")
        caller.parts.database.call("pmc_remove_watch", p_user_id=user_id, p_watch_id=watch_id)
        where = {"term": section.term, "class_nbr": section.class_nbr} if section else {}
        return caller.go("/dashboard", done="removed", **where)
    if form.get("do") == "undo" and section:
        answer = caller.parts.database.call(
            "pmc_add_known_watch", p_user_id=user_id, p_term=section.term, p_class_nbr=section.class_nbr
        )
        if answer["result"] == "limit":
            return caller.go("/dashboard", done="limit")
        if answer["result"] == "unknown":
            return caller.go("/dashboard/add", q=section.class_nbr, term=section.term)
    return caller.go("/dashboard")
