"""The old Workers' endpoints over HTTP, around the stand-in: as far as a comparison or a drill of the move needs them.

One process does what Workers, Queue and Durable Objects did: a tick enqueues and works the queue off at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
import requests
from psycopg.rows import dict_row

from workshop.compare.origin.origin import Closed, Letter, Origin, Section, StoreError
from workshop.compare.origin.pages import Pages
from workshop.compare.origin.rules import Defects, Failed
from workshop.compare.origin.store import Store
from workshop.compare.replay.breaker import MemoryBreaker
from workshop.parts.web import Answer, Request, json_answer

SENDER = "PickMyClass (Workers) <workers@pickmyclass.example>"
IN_HTTP: Defects = frozenset(("O12", "O17", "O40"))
"""The defects that only the endpoints show."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a deployment of the Workers was given."""

    database_url: str
    scraper_url: str
    scraper_token: str
    resend_url: str
    resend_key: str
    cron_secret: str
    jwt_secret: str
    signing_key: str  # the service-role key: it signed the links (O33)


class Workers:
    """Answers the requests of one deployment; give it to `workshop.parts.web.Server`. Close it."""

    def __init__(self, settings: Settings, defects: Defects) -> None:
        self.settings, self._defects = settings, defects
        self._lock, self._made = threading.RLock(), datetime.now(UTC).isoformat()
        self._http = requests.Session()
        self._http.trust_env = False
        self._session: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            settings.database_url, autocommit=True, connect_timeout=10, row_factory=dict_row
        )
        store = Store(settings.database_url, defects)
        self.origin = Origin(store, MemoryBreaker(_now_ms), self._scrape, self._send, _wait, defects=defects)
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/api/cron"): self._cron,
            ("POST", "/api/queue/process-section"): self._process,
            ("GET", "/api/monitoring/health"): self._health,
            ("GET", "/api/webhooks/resend"): self._webhook,
            ("POST", "/api/webhooks/resend"): self._webhook,
            **Pages(self._session, self.origin, settings.jwt_secret, settings.signing_key).routes,
        }

    def __call__(self, request: Request) -> Answer:
        """Answer one request; one at a time, as one database session can."""
        route = self._routes.get((request.method, request.path))
        if route is None and request.path in {path for _, path in self._routes}:
            return Answer(405)
        if route is None:
            return json_answer({"error": "Not found"}, 404)
        with self._lock:
            return route(request)

    def close(self) -> None:
        """End its sessions."""
        self.origin.store.close()
        self._session.close()
        self._http.close()

    def _cron(self, request: Request) -> Answer:
        if request.bearer != self.settings.cron_secret:
            words = "Unauthorized - this endpoint requires authentication"
            return json_answer({"success": False, "error": words}, 401)
        began, sent = time.monotonic(), request.headers.get("x-cron-scheduled-time")
        scheduled_ms = _now_ms() if sent is None or "O28" in self._defects else int(sent)
        half = "odd" if (scheduled_ms // 1_800_000) % 2 else "even"
        sections = self.origin.store.sections_to_check(half)
        self.origin.consume(sections)
        body = {"success": True, "sections_enqueued": len(sections), "stagger_group": half, "duration": _since(began)}
        return json_answer(body if sections else {**body, "message": "No sections to check"})

    def _process(self, request: Request) -> Answer:
        if request.bearer != self.settings.cron_secret:
            return json_answer({"success": False, "error": "Unauthorized"}, 401)
        began, body = time.monotonic(), request.fields()
        section = (str(body.get("term")), str(body.get("class_nbr")))
        try:
            told = self.origin.check(section)
        except Closed:
            wait = max(1, self.origin.breaker.wait_ms() // 1000)
            words = {"success": False, "error": f"Circuit breaker is OPEN. Retry in {wait}s"}
            return json_answer(words, 503, {"Retry-After": str(wait)})
        except (Failed, StoreError) as error:
            return json_answer({"success": False, "error": str(error), "processing_time_ms": _since(began)}, 500)
        return json_answer({"success": True, "class_nbr": section[1], **told, "processing_time_ms": _since(began)})

    def _health(self, request: Request) -> Answer:
        """All details for everyone (O17), or for the operator only."""
        began = time.monotonic()
        self._session.execute("select 1")
        is_open = bool(self.origin.breaker.wait_ms())
        checks: dict[str, dict[str, Any]] = {
            "database": {"status": "healthy", "latency_ms": _since(began)},
            "circuit_breaker": self._breaker_check(),
            "cron_lock": {
                "status": "healthy",
                "type": "durable-object",
                "locked": False,
                "lock_holder": None,
                "time_held_ms": None,
                "lock_acquired_at": None,
                "expires_at": None,
            },
            "configuration": {"status": "healthy"},
            "email": {"status": "healthy", "configured": True},
        }
        if "O17" not in self._defects and request.bearer != self.settings.cron_secret:
            checks = {name: {"status": check["status"]} for name, check in checks.items()}
        words = {"timestamp": datetime.now(UTC).isoformat(), "status": "degraded" if is_open else "healthy"}
        return json_answer({**words, "checks": checks, "response_time_ms": _since(began)}, 503 if is_open else 200)

    def _webhook(self, request: Request) -> Answer:
        """It looked for a header that Resend does not send (O11), so that no message ever passed."""
        if request.method == "POST":
            return json_answer({"success": False, "error": "Invalid signature"}, 401)
        events = ["email.bounced", "email.complained", "email.delivered"]
        return json_answer({"name": "PickMyClass Resend Webhook", "events": events, "status": "configured"})

    def _breaker_check(self) -> dict[str, Any]:
        breaker = self.origin.breaker
        state = "CLOSED" if breaker.opened_ms is None else "OPEN" if breaker.wait_ms() else "HALF_OPEN"
        opened = (
            None if breaker.opened_ms is None else datetime.fromtimestamp(breaker.opened_ms / 1000, UTC).isoformat()
        )
        return {
            "status": {"CLOSED": "healthy", "HALF_OPEN": "degraded"}.get(state, "unhealthy"),
            "type": "durable-object",
            "state": state,
            "failure_count": breaker.failures,
            "success_count": breaker.successes,
            "last_failure": opened,
            "last_state_change": opened or self._made,
        }

    def _scrape(self, section: Section) -> tuple[int, bytes, int]:
        began_ms = _now_ms()
        try:
            answer = self._http.post(
                f"{self.settings.scraper_url}/scrape",
                json={"sectionNumber": section[1], "term": section[0]},
                headers={"Authorization": f"Bearer {self.settings.scraper_token}"},
                timeout=90,
            )
        except requests.RequestException as error:
            raise Failed("the scraper did not answer") from error
        return answer.status_code, answer.content, began_ms

    def _send(self, letters: Sequence[Letter]) -> bool:
        emails = [
            {"from": SENDER, "to": [one.recipient], "subject": one.subject, "text": f"{one.subject}\n{one.seen.title}"}
            for one in letters
        ]
        try:
            answer = self._http.post(
                f"{self.settings.resend_url}/emails/batch",
                json=emails,
                headers={"Authorization": f"Bearer {self.settings.resend_key}"},
                timeout=30,
            )
        except requests.RequestException:
            return False
        return answer.status_code == 200


def _now_ms() -> int:
    return int(time.time() * 1000)


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _wait(milliseconds: int) -> bool:
    """Wait as long as a tick may last in one call; what is left is the next tick's."""
    if milliseconds > 5_000:
        return False
    time.sleep(milliseconds / 1000)
    return True
