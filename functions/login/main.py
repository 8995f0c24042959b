"""GET, POST /login (also /register, /verify-email): one field, the address; a mailed code or a password.

curl localhost:8080/login
"""

import re

import functions_framework
from flask import Response

from shared.site import VERIFIER, Caller, new_secret, site_door
from shared.students.auth_service import AuthRefusedError, challenge_of
from shared.students.signing_in import LockedError, TooOftenError, read_address

NO_ADDRESS = "That is not an email address."
WRONG_CODE = "That code is wrong, used or too old. Look for the latest mail, or ask for a new one."
NOT_THEM = "Address or password is wrong."
LOCKED = "Too many wrong passwords. Use a mailed code, or try again in 15 minutes."
TOO_OFTEN = "Too many tries. Wait a minute, then try again."
HOUR = 3600


@functions_framework.http
@site_door("GET", "POST")
def login(caller: Caller) -> Response:
    """Show the form, send the mail, or take the code or the password."""
    if caller.request.method != "POST":
        step = "password" if caller.request.args.get("with") == "password" else "ask"
        return show(caller, step)
    caller.require_same_site()
    email = read_address(caller.request.form.get("email", ""))
    if caller.request.path == "/verify-email":
        return take_code(caller, email)
    step = "password" if caller.request.form.get("step") == "password" else "ask"
    if email is None:
        return show(caller, step, NO_ADDRESS, 400)
    return take_password(caller, email) if step == "password" else send_mail(caller, email)


def send_mail(caller: Caller, email: str) -> Response:
    """Have the mail sent, and ask for its code. Nothing tells whether the address is known."""
    verifier = new_secret()
    site = caller.parts.settings.site_url or ""
    caller.parts.signing_in.mail(
        email,
        is_new=caller.request.form.get("agree") == "yes",
        back_to=f"{site}{caller.start}/auth/callback",
        challenge=challenge_of(verifier),
    )
    caller.keep(VERIFIER, verifier, HOUR)
    caller.keep_next(caller.next_path())
    return show(caller, "code", email=email)


def take_code(caller: Caller, email: str | None) -> Response:
    """Sign in by the code of a mail."""
    code = re.sub(r"\s", "", caller.request.form.get("code", ""))
    kind = "recovery" if caller.request.form.get("kind") == "recovery" else "email"
    if email is None:
        return show(caller, "ask", NO_ADDRESS, 400)
    try:
        if not re.fullmatch(r"[0-9]{6,8}", code):
            return show(caller, "code", WRONG_CODE, 400, email, kind)
        session = caller.parts.signing_in.by_code(email, code, kind)
    except AuthRefusedError:
        return show(caller, "code", WRONG_CODE, 400, email, kind)
    except TooOftenError:
        return show(caller, "code", TOO_OFTEN, 429, email, kind)
    return caller.enter(session, "/reset-password" if kind == "recovery" else caller.next_path())


def take_password(caller: Caller, email: str) -> Response:
    """Sign in by a password; the fifth wrong one locks the address for a while."""
    try:
        session = caller.parts.signing_in.by_password(email, caller.request.form.get("password", ""))
    except AuthRefusedError:
        return show(caller, "password", NOT_THEM, 400, email)
    except LockedError:
        return show(caller, "password", LOCKED, 429, email)
    return caller.enter(session, caller.next_path())


def show(
    caller: Caller, step: str, problem: str = "", status: int = 200, email: str = "", kind: str = "email"
) -> Response:
    """The form of a step, with what went wrong."""
    return caller.page(
        "login.html", status, step=step, problem=problem, email=email, kind=kind, next=caller.next_path()
    )
