"""GET, POST /auth/confirm, GET /auth/callback: the end of the link in a sign-in mail.

curl "localhost:8080/auth/confirm?token_hash=$HASH&type=email"
"""

import functions_framework
from flask import Response

from shared.site import VERIFIER, Caller, site_door
from shared.students.auth_service import AuthRefusedError

KINDS = ("email", "magiclink", "signup", "recovery", "invite", "email_change")
OVER = "It was used already, or is older than an hour."
ELSEWHERE = "It works only in the browser in which you asked for the mail. Type the code from the mail there instead."
MOST = 200


@functions_framework.http
@site_door("GET", "POST")
def confirm(caller: Caller) -> Response:
    """Mail programs follow links, so GET of a link that signs in by itself only asks; POST acts."""
    if caller.request.path == "/auth/callback":
        return returned(caller)
    values = caller.request.values
    token_hash, kind = values.get("token_hash", ""), values.get("type", "email")
    if not token_hash or len(token_hash) > MOST or kind not in KINDS:
        return broken(caller, "It is incomplete.")
    if caller.request.method != "POST":
        return caller.page("confirm.html", token_hash=token_hash, kind=kind, problem="")
    caller.require_same_site()
    try:
        session = caller.parts.signing_in.by_link(token_hash, kind)
    except AuthRefusedError:
        return broken(caller, OVER)
    return caller.enter(session, "/reset-password" if kind == "recovery" else caller.kept_next())


def returned(caller: Caller) -> Response:
    """Back from a project's standard link: with a code for the browser that asked, or with what went wrong."""
    code, verifier = caller.request.args.get("code", ""), caller.request.cookies.get(VERIFIER, "")
    if not code or len(code) > MOST:
        return broken(caller, OVER)
    if not verifier:
        return broken(caller, ELSEWHERE)
    try:
        session = caller.parts.signing_in.by_return(code, verifier)
    except AuthRefusedError as refusal:
        return broken(caller, ELSEWHERE if refusal.code == "bad_code_verifier" else OVER)
    return caller.enter(session, caller.kept_next())


def broken(caller: Caller, problem: str) -> Response:
    """The link signs nobody in."""
    return caller.page("confirm.html", 400, token_hash="", kind="", problem=problem)
