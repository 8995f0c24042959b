"""GET, POST /forgot-password and /reset-password.

curl localhost:8080/forgot-password
"""

import functions_framework
from flask import Response

from shared.site import VERIFIER, Caller, new_secret, site_door
from shared.students.auth_service import AuthRefusedError, challenge_of
from shared.students.signing_in import read_address

PROBLEMS = {
    "same_password": "That is the password you have.",
    "weak_password": "That password is too easy to guess. Take a longer one.",
}
LEAST, MOST = 8, 72
HOUR = 3600


@functions_framework.http
@site_door("GET", "POST")
def password(caller: Caller) -> Response:
    """Mail a way in to whoever forgot the password, or set a new one for whoever is in."""
    return reset(caller) if caller.request.path == "/reset-password" else forgot(caller)


def forgot(caller: Caller) -> Response:
    """Ask for the address, and have the mail sent; nothing tells whether it is known."""
    if caller.request.method != "POST":
        return caller.page("password.html", step="ask", problem="")
    caller.require_same_site()
    email = read_address(caller.request.form.get("email", ""))
    if email is None:
        return caller.page("password.html", 400, step="ask", problem="That is not an email address.")
    verifier = new_secret()
    back_to = f"{caller.parts.settings.site_url}{caller.start}/auth/callback"
    caller.parts.signing_in.mail_recovery(email, back_to=back_to, challenge=challenge_of(verifier))
    caller.keep(VERIFIER, verifier, HOUR)
    caller.keep_next("/reset-password")
    return caller.page("login.html", step="code", problem="", email=email, kind="recovery", next="/reset-password")


def reset(caller: Caller) -> Response:
    """A new password for the student who is signed in."""
    caller.read("pmc_read_student")
    if caller.request.method != "POST":
        return caller.page("password.html", step="set", problem="")
    word = caller.form().get("password", "")
    if not LEAST <= len(word.encode()) <= MOST:
        return caller.page("password.html", 400, step="set", problem=f"Use {LEAST} to {MOST} characters.")
    try:
        caller.parts.auth.set_password(caller.visit().access_token, word)
    except AuthRefusedError as refusal:
        problem = PROBLEMS.get(refusal.code, "That did not work. Sign in once more, then try again.")
        return caller.page("password.html", 400, step="set", problem=problem)
    return caller.go("/settings", done="password")
