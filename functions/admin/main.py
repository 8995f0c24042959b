"""GET, POST /admin…: counts, accounts and classes for administrators, and what they may do to an account.

curl -b "$COOKIE" "localhost:8080/admin/users?search=ann"
"""

import uuid
from typing import Any

import functions_framework
from flask import Response

from shared.site import Caller, site_door, wanted_section
from shared.students.administering import ACTIONS, actions_for, deeds, listed, story_of_class, story_of_user
from shared.students.cards import card_of
from shared.students.told import count
from shared.web.replies import failure

PAGE = 50


@functions_framework.http
@site_door("GET", "POST")
def admin(caller: Caller) -> Response:
    """By the path. For everybody else this page does not exist."""
    words = caller.request.path.split("/")[2:]
    match words:
        case []:
            return overview(caller)
        case ["users"]:
            return users(caller)
        case ["users", subject]:
            return user(caller, subject)
        case ["classes"]:
            return classes(caller)
        case _:
            return one_class(caller, words)


def read(caller: Caller, function: str, **arguments: Any) -> dict[str, Any]:
    """What the database tells an administrator; it tells nobody else."""
    told = caller.read(function, **arguments)
    if not told["account"]["is_admin"]:
        raise missing()
    return told


def overview(caller: Caller) -> Response:
    """Counts, and what was done by hand lately."""
    told = read(caller, "pmc_admin_overview")
    done = deeds(told["acts"], caller.parts.clock(), caller.zone)
    return caller.page("admin.html", view="overview", counts=told["counts"], deeds=done)


def users(caller: Caller) -> Response:
    """A page of accounts."""
    search, page = caller.request.args.get("search", "").strip()[:100], page_of(caller)
    told = read(caller, "pmc_admin_users", p_search=search, p_page=page)
    people = [listed(one, caller.parts.clock(), caller.zone) for one in told["users"]]
    total = count(told["total"], "account")
    more = told["total"] > page * PAGE
    return caller.page("admin.html", view="users", people=people, search=search, page=page, more=more, total=total)


def user(caller: Caller, text: str) -> Response:
    """One account, or what is to be done to it: first asked, then done."""
    try:
        subject = str(uuid.UUID(text))
    except ValueError:
        raise missing() from None
    told = read(caller, "pmc_admin_user", p_subject=subject)
    if told["user"] is None:
        raise missing()
    action = ""
    if caller.request.method == "POST":
        form = caller.form()
        action = form.get("action", "")
        if action not in ACTIONS:
            raise failure("There is no such action.", 400)
        if form.get("sure") == "yes":
            caller.parts.database.call(
                "pmc_admin_act",
                p_user_id=caller.visit().user_id,
                p_subject=subject,
                p_action=action,
                p_now=caller.parts.clock(),
            )
            return caller.go(f"/admin/users/{subject}")
    story = story_of_user(told, caller.parts.clock(), caller.zone)
    possible = actions_for(told["user"], is_self=subject == caller.visit().user_id)
    return caller.page("admin.html", view="user", asked=action, words=ACTIONS, possible=possible, **story)


def classes(caller: Caller) -> Response:
    """Watched sections, those with most watchers first."""
    page = page_of(caller)
    told = read(caller, "pmc_admin_classes", p_page=page)
    now = caller.parts.clock()
    rows = [(card_of(one, now, caller.zone), one["watchers"], one["mails"]) for one in told["classes"]]
    total = count(told["total"], "section")
    return caller.page(
        "admin.html", view="classes", rows=rows, page=page, more=told["total"] > page * PAGE, total=total
    )


def one_class(caller: Caller, words: list[str]) -> Response:
    """One section with who watches it."""
    section = wanted_section(dict(zip(("", "term", "class_nbr"), words, strict=False)))
    if section is None:
        raise missing()
    told = read(caller, "pmc_admin_class", p_term=section.term, p_class_nbr=section.class_nbr)
    return caller.page("admin.html", view="class", **story_of_class(told, caller.parts.clock(), caller.zone))


def page_of(caller: Caller) -> int:
    """The number of the page that is asked for, from 1."""
    text = caller.request.args.get("page", "")
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 6 else 1


def missing() -> Exception:
    """No such page, as for everybody who is no administrator."""
    return failure("This page does not exist, or not for you.", 404)
