"""GET, POST /api/webhooks/resend: what became of mail. Signed by the Svix scheme (O11).

curl localhost:8080/api/webhooks/resend
"""

import json
import logging
from typing import Literal

import functions_framework
from flask import Request, Response

from shared.database import DatabaseError
from shared.students.webhooks import EVENTS, is_signed
from shared.web.doors import door
from shared.web.outputs import Done, WebhookInfo
from shared.web.replies import failure, reply
from shared.wiring import wiring

log = logging.getLogger(__name__)


@functions_framework.http
@door("GET", "POST")
def resend_webhook(request: Request) -> Response:
    """Say what this is, or handle one signed message. A database that fails is told, so that Resend comes again."""
    parts = wiring()
    secret = parts.settings.resend_webhook_secret
    if request.method != "POST":
        status: Literal["configured", "not configured"] = "configured" if secret else "not configured"
        return reply(WebhookInfo(name="PickMyClass Resend Webhook", events=list(EVENTS), status=status))
    if secret is None:
        raise failure("Webhook not configured", 500)
    if not is_signed(request, secret):
        raise failure("Invalid signature", 401)
    try:
        parts.webhooks.handle(request.headers["svix-id"], json.loads(request.get_data()))
    except DatabaseError as error:
        log.error("webhook not recorded", extra={"error": str(error)})
        raise failure("Webhook could not be recorded", 500) from None
    return reply(Done(success=True))
