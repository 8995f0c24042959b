"""GET /api/live: how the student's own page joins the project's Realtime, and with which token.

curl -H "Authorization: Bearer $TOKEN" localhost:8080/api/live
"""

import functions_framework
from flask import Request, Response

from shared.site import Caller
from shared.students.auth_service import AuthUnavailableError
from shared.students.jwks import KeysUnavailableError
from shared.students.sessions import Visit
from shared.students.users import refusal, require_user, require_user_id
from shared.web.auth import bearer_token
from shared.web.doors import door
from shared.web.outputs import Live, LiveWay
from shared.web.replies import reply
from shared.wiring import Wiring, wiring


@functions_framework.http
@door("GET")
def live(request: Request) -> Response:
    """Address, key, token and its end (Unix seconds); `null` where nothing can be joined.

    A session in the cookie that is about to end is renewed, and the cookie with it.
    """
    parts = wiring()
    settings = parts.settings
    if "Authorization" in request.headers or not settings.supabase_anon_key or not settings.supabase_url:
        require_user(request, parts)
        token = bearer_token(request)
        return reply(Live(realtime=_way(parts, token, None) if token else None))
    caller = Caller(request, parts)
    visit = _visit(request, parts)
    if visit.renewed:
        caller.keep_session(visit.renewed)
    require_user_id(visit.user_id, parts)
    return caller.leave(reply(Live(realtime=_way(parts, visit.access_token, visit.expires_at))))


def _visit(request: Request, parts: Wiring) -> Visit:
    try:
        found = parts.sessions.find(request.cookies, parts.settings)
    except (AuthUnavailableError, KeysUnavailableError):
        raise refusal("Sign-in cannot be verified right now", 503, {"Retry-After": "30"}) from None
    if found is None:
        raise refusal("Unauthorized", 401, {"WWW-Authenticate": "Bearer"})
    return found


def _way(parts: Wiring, token: str, expires_at: int | None) -> LiveWay | None:
    settings = parts.settings
    if not settings.supabase_url or not settings.supabase_anon_key:
        return None
    address = settings.supabase_url.replace("http", "ws", 1) + "/realtime/v1/websocket"
    return LiveWay(url=address, key=settings.supabase_anon_key, token=token, expires_at=expires_at)
