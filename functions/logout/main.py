"""POST /logout: ends this browser's session, at Supabase too.

curl -X POST -b "$COOKIE" -H "Origin: http://localhost:8080" -d "token=$TOKEN" localhost:8080/logout
"""

from contextlib import suppress

import functions_framework
from flask import Response

from shared.site import Caller, site_door
from shared.students.auth_service import AuthUnavailableError


@functions_framework.http
@site_door("GET", "POST")
def logout(caller: Caller) -> Response:
    """A link here (GET) changes nothing: any page could hold one."""
    if caller.request.method != "POST":
        return caller.go("/dashboard")
    caller.form()
    with suppress(AuthUnavailableError):  # the cookie goes all the same, and nobody renews the session then
        caller.parts.auth.sign_out(caller.visit().access_token, "local")
    caller.forget_session()
    return caller.go("/")
