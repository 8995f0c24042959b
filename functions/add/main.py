"""GET, POST /dashboard/add: find sections by number or by course, tick several, watch them in one step.

curl -b "$COOKIE" "localhost:8080/dashboard/add?q=12431&term=2267"
"""

import re

import functions_framework
from flask import Response

from shared.site import Caller, site_door
from shared.students.adding import Note
from shared.students.courses import Wanted, read_question
from shared.students.terms import coming_terms, likely_term, name_of
from shared.students.users import ration

NOT_UNDERSTOOD: Note = ("bad", "Type a course like CSE 110, or the five digits of a section.")
BY_NUMBER: Note = ("bad", "Type the five digits of a section, like 12431.")
NOTHING: Note = ("fair", "Tick at least one section.")


@functions_framework.http
@site_door("GET", "POST")
def add(caller: Caller) -> Response:
    """Show what was found, or watch what was ticked."""
    terms = coming_terms(caller.parts.clock(), caller.zone)
    term = caller.request.values.get("term", "")
    if term not in [code for code, _ in terms]:
        term = likely_term(caller.parts.clock(), caller.zone)
    question = caller.request.values.get("q", "").strip()[:20]
    wanted = read_question(question)
    if caller.request.method == "POST":
        return watch(caller, term, question, wanted)
    notes = []
    if question and (wanted is None or (wanted.class_nbr is None and not caller.parts.adding.by_course)):
        notes, wanted = [NOT_UNDERSTOOD if caller.parts.adding.by_course else BY_NUMBER], None
    return show(caller, term, question, wanted, notes)


def watch(caller: Caller, term: str, question: str, wanted: Wanted | None) -> Response:
    """Watch what was ticked; on to the dashboard when all of it worked."""
    caller.form()
    user_id = caller.visit().user_id
    account = caller.read("pmc_read_student")["account"]
    given = caller.request.form.getlist("class_nbr")
    numbers = [one for one in dict.fromkeys(given) if re.fullmatch(r"[0-9]{5}", one)][: account["max_watches"] + 1]
    if not numbers:
        return show(caller, term, question, wanted, [NOTHING])
    ration(user_id, caller.parts, costly=True)
    result = caller.parts.adding.add(user_id, term, numbers, wanted)
    if result.added and not result.notes:
        return caller.go("/dashboard", done="added")
    told: list[Note] = [("good", f"Added: {', '.join(result.added)}.")] if result.added else []
    return show(caller, term, question, None, [*told, *result.notes])


def show(caller: Caller, term: str, question: str, wanted: Wanted | None, notes: list[Note]) -> Response:
    """The page, with the sections that were asked for."""
    adding, now = caller.parts.adding, caller.parts.clock()
    visit = caller.visit()
    if wanted and not wanted.class_nbr:
        ration(visit.user_id, caller.parts, costly=True)
    sought = adding.find(term, wanted)
    told = caller.read(
        "pmc_read_adding",
        p_term=term,
        p_class_nbrs=[wanted.class_nbr] if wanted and wanted.class_nbr else [],
        p_subject=wanted.subject if wanted else "",
        p_catalog_nbr=wanted.catalog_nbr if wanted else "",
    )
    account, watched = told["account"], told["watched"]
    choices = adding.choices(sought, told, now, caller.zone)
    return caller.page(
        "add.html",
        question=question,
        term=term,
        terms=coming_terms(now, caller.zone),
        by_course=adding.by_course,
        choices=[(card, card.class_nbr in watched) for card in choices],
        heading=f"{question.upper()} in {name_of(term)}",
        notes=[*notes, *sought.notes],
        room=account["max_watches"] - account["watches"],
    )
