"""Telling the operator: one mail per trouble and hour at most, and one when it is over.

What is wrong is read off the same checks as the health page. Who was told of what is kept in Postgres,
so that several servers do not tell several times and a restart does not forget: a trouble is claimed there, the mail
is sent under the claim's own idempotency key, and only then is it noted as told. A database that keeps no claims is
told of without one (`Unclaimed`). Without `ALERT_EMAIL` or a Resend key the words go to the log alone. What stops this
very machinery, the dead-man service notices (`heartbeat`).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from shared.database import DatabaseCalls, DatabaseError
from shared.health.check import Trouble
from shared.health.health import Health
from shared.mail.resend import Accepted, Outcome
from shared.parts import Parts

log = logging.getLogger(__name__)

AGAIN_SECONDS = 3600.0
WITHOUT_CLAIM = ("database", "database takes no writes", "database key")


Send = Callable[[str, str, str], bool]
"""Sends (key, subject, text); whether it was accepted."""


def raise_alerts(parts: Parts, health: Health, unclaimed: Unclaimed) -> int:
    """Look at how it goes and tell the operator what is new; how many were told. Never raises for an outage.

    For a consumer's control thread, every minute. Costs two calls of Postgres and no Redis command.
    """
    found, send = health.summary().troubles(), _sender(parts)
    told = unclaimed.tell([one for one in found if one.cause in WITHOUT_CLAIM], send, parts.clock())
    claimed = [one for one in found if one.cause not in WITHOUT_CLAIM]
    try:
        return told + tell(parts.database, parts.incarnation, claimed, send)
    except DatabaseError as error:
        log.warning("alerts: %s", error)
        return told


class Unclaimed:
    """Tells of a database in which nobody can claim to tell of it; one per process.

    Several servers tell it at the same time: key and text are the same for all of them within an hour, so that Resend
    sends one mail.
    """

    def __init__(self) -> None:
        self._since: dict[str, datetime] = {}
        self._told: dict[str, tuple[datetime, str]] = {}

    def tell(self, found: list[Trouble], send: Send, now: datetime, again: float = AGAIN_SECONDS) -> int:
        """Tell what of `found` has lasted, and what is over; how many were told."""
        causes = {one.cause: one for one in found}
        self._since = {cause: self._since.get(cause, now) for cause in causes}
        told = 0
        for cause, one in causes.items():
            last, _ = self._told.get(cause, (None, ""))
            lasts = (now - self._since[cause]).total_seconds() >= one.alert_after
            if lasts and (last is None or (now - last).total_seconds() >= again):
                words = one.for_anyone or one.what
                if self._send(cause, "wrong", words, one.remedy, now, send):
                    self._told[cause], told = (now, words), told + 1
        for cause in [cause for cause in self._told if cause not in causes]:
            if self._send(cause, "over", self._told[cause][1], "", now, send):
                del self._told[cause]
                told += 1
        return told

    def _send(self, cause: str, kind: str, words: str, remedy: str, now: datetime, send: Send) -> bool:
        hour = f"{now:%Y-%m-%dT%H}:00Z"
        log.error("alert", extra={"cause": cause, "kind": kind, "words": words})
        return send(f"alert {kind} {cause} {hour}", *write({"kind": kind, "words": words, "since": hour}, remedy))


def tell(database: DatabaseCalls, worker: str, found: list[Trouble], send: Send) -> int:
    """Claim what is due to be told, send it, and note what was sent."""
    wanted = [{"cause": one.cause, "words": one.what, "hold_seconds": one.alert_after} for one in found]
    answer = database.call("pmc_claim_alerts", p_worker=worker, p_causes=wanted, p_again_seconds=AGAIN_SECONDS)
    remedies, told = {one.cause: one.remedy for one in found}, 0
    for alert in answer["tell"]:
        subject, text = write(alert, remedies.get(alert["cause"], ""))
        level = logging.ERROR if alert["kind"] == "wrong" else logging.INFO
        log.log(level, "alert", extra={"cause": alert["cause"], "kind": alert["kind"], "words": alert["words"]})
        sent = send(alert["alert_id"], subject, text)
        database.call("pmc_settle_alert", p_worker=worker, p_alert_id=alert["alert_id"], p_told=sent)
        told += sent
    return told


def write(alert: Mapping[str, Any], remedy: str) -> tuple[str, str]:
    """Subject and text of one alert."""
    words = " ".join(str(alert["words"]).split())
    if alert["kind"] == "over":
        return f"[PickMyClass] Over: {words}"[:200], f"This is over:\n\n  {words}\n"
    plain = remedy.replace("`", "")
    text = (
        f"{words}.\n\nWhat to do: {plain}\n\nSince {alert['since']}. You are told again in an hour at the earliest.\n"
    )
    return f"[PickMyClass] {words}"[:200], text


def _sender(parts: Parts) -> Send:
    """Sends to the operator through Resend; without an address or key the log has to do."""
    settings = parts.settings
    resend = parts.mail.resend
    if settings.alert_email is None or resend is None:
        return lambda _key, _subject, _text: True

    def send(key: str, subject: str, text: str) -> bool:
        mail = {
            "from": settings.notification_from_email,
            "to": [settings.alert_email],
            "subject": subject,
            "text": text + f"\n{settings.site_url}/api/monitoring/health\n",
        }
        outcome: Outcome = resend.send_batch(key, json.dumps([mail], ensure_ascii=False), 1)
        if isinstance(outcome, Accepted):
            return True
        log.error("alert not sent", extra={"error": outcome.error})
        return False

    return send
