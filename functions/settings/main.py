"""GET, POST /settings: mail on or off, sign out everywhere, take the data along, close the account.

curl -b "$COOKIE" localhost:8080/settings
"""

from datetime import datetime, timedelta
from typing import Any

import functions_framework
from flask import Response

from shared.site import Caller, site_door
from shared.students.told import moment
from shared.web.replies import reply

TRIED_EVERY = timedelta(days=1)
NOTES = {
    "saved": ("good", "Saved."),
    "password": ("good", "The password is set."),
    "tested": ("good", "A test mail is on its way. When it arrives, emails are on again."),
    "failed": ("bad", "The test mail could not be sent. Try again tomorrow."),
    "sure": ("bad", "Nothing was done: tick the box if you want to close the account."),
}


@functions_framework.http
@site_door("GET", "POST")
def settings(caller: Caller) -> Response:
    """Show them, or do what a button asks."""
    told = caller.read("pmc_read_settings")
    if caller.request.method == "POST":
        return act(caller, caller.form(), told)
    now = caller.parts.clock()
    tested_at, bounced_at = told["tested_at"], told["bounced_at"]
    done = caller.request.args.get("done", "")
    return caller.page(
        "settings.html",
        notes=[NOTES[done]] if done in NOTES else [],
        mail=told["account"]["mail"] and not told["account"]["complained"],
        seats=told["seats"],
        instructors=told["instructors"],
        bounced=told["account"]["bounced"],
        bounced_at=moment(datetime.fromisoformat(bounced_at), now, caller.zone) if bounced_at else None,
        tested_at=moment(datetime.fromisoformat(tested_at), now, caller.zone) if tested_at else None,
        may_try=may_try(told, now),
    )


def may_try(told: dict[str, Any], now: datetime) -> bool:
    """Whether a bounced address may be tried again."""
    asked_at = told["tested_at"]
    return bool(told["account"]["bounced"]) and (
        asked_at is None or datetime.fromisoformat(asked_at) <= now - TRIED_EVERY
    )


def act(caller: Caller, form: dict[str, str], told: dict[str, Any]) -> Response:
    """What a button asks."""
    parts, visit = caller.parts, caller.visit()
    match form.get("do"):
        case "mail":
            seats, instructors = form.get("seats") == "yes", form.get("instructors") == "yes"
            wanted = {"p_seats": seats or not instructors, "p_instructors": instructors or not seats}
            parts.database.call(
                "pmc_set_mail", p_user_id=visit.user_id, p_mail=seats or instructors, **wanted, p_now=parts.clock()
            )
            return caller.go("/settings", done="saved")
        case "sign-out":
            parts.auth.sign_out(visit.access_token, "global")
            caller.forget_session()
            return caller.go("/login")
        case "export":
            name = f"pickmyclass-data-{parts.clock():%Y-%m-%d}.json"
            data = parts.account.export(visit.user_id)
            return reply(data, headers={"Content-Disposition": f'attachment; filename="{name}"'})
        case "close" if form.get("sure") != "yes":
            return caller.go("/settings", done="sure")
        case "close":
            parts.account.close(visit.user_id)
            return caller.go("/welcome")
        case "try" if may_try(told, parts.clock()):
            sent = parts.address_tests.send(visit.user_id, told["account"]["email"])
            return caller.go("/settings", done="tested" if sent else "failed")
    return caller.go("/settings")
