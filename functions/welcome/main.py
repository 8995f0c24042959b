"""GET, POST /welcome: what stands between signing in and the pages: terms to agree to, or an account that is closed.

curl -b "$COOKIE" localhost:8080/welcome
"""

from datetime import datetime, timedelta

import functions_framework
from flask import Response

from shared.site import Caller, site_door
from shared.students.told import moment

KEPT = timedelta(days=30)


@functions_framework.http
@site_door("GET", "POST")
def welcome(caller: Caller) -> Response:
    """Show what is in the way, and take it away."""
    account = caller.read("pmc_read_student")["account"]
    if caller.request.method == "POST":
        return act(caller, caller.form())
    if account["standing"] == "active":
        return caller.go(caller.next_path()) if account["has_agreed"] else show(caller, "agree")
    if account["standing"] == "closed":
        now = caller.parts.clock()
        gone = moment(datetime.fromisoformat(account["disabled_at"]) + KEPT, now, caller.zone)
        return show(caller, "closed", until=gone.ago)
    return show(caller, "disabled")


def act(caller: Caller, form: dict[str, str]) -> Response:
    """Write the agreement down, or open the account again; the database decides whether it may be."""
    call = {"agree": "pmc_agree", "reopen": "pmc_reopen"}.get(form.get("do", ""))
    if call == "pmc_agree" and form.get("agree") != "yes":
        return show(caller, "agree", status=400)
    if call:
        caller.parts.database.call(call, p_user_id=caller.visit().user_id, p_now=caller.parts.clock())
    return caller.go(caller.next_path())


def show(caller: Caller, state: str, until: str = "", status: int = 200) -> Response:
    """One state of the page; an account that cannot be used is refused (403)."""
    code = 403 if state == "disabled" else status
    return caller.page("welcome.html", code, state=state, until=until, next=caller.next_path())
