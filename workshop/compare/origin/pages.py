"""The old Workers' endpoints for people, around the stand-in: watches, details, unsubscribing."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt
import psycopg

from workshop.compare.origin.origin import Origin, Section
from workshop.compare.origin.rules import Failed, NotFound, read
from workshop.parts.web import Answer, Request, json_answer, page_answer

MOST_WATCHES = 10
CATALOG = "https://catalog.apps.asu.edu/catalog/classes/classlist"
NO_DETAILS = "Failed to fetch class details. Please verify the section number and try again."
_SHOWN = ("subject", "catalog_nbr", "title", "instructor_name", "seats_available", "seats_capacity", "location")


class Pages:
    """Answers for students, from one database session; `signing_key` signed the links (O33)."""

    def __init__(
        self, session: psycopg.Connection[dict[str, Any]], origin: Origin, jwt_secret: str, signing_key: str
    ) -> None:
        self._session, self._origin = session, origin
        self._jwt_secret, self._signing_key = jwt_secret, signing_key
        self.routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "/api/class-watches"): self._watches,
            ("POST", "/api/class-watches"): self._watches,
            ("DELETE", "/api/class-watches"): self._watches,
            ("POST", "/api/fetch-class-details"): self._details,
            ("GET", "/api/unsubscribe"): self._unsubscribe,
            ("POST", "/api/unsubscribe"): self._unsubscribe,
            ("GET", "/go/asu"): self._go,
        }

    def _watches(self, request: Request) -> Answer:
        user = self._user(request)
        if user is None:
            return json_answer({"error": "Unauthorized"}, 401)
        if request.method == "DELETE":
            return self._remove(user, request.query.get("id", ""))
        if request.method == "POST":
            return self._add(user, request.fields())
        rows = self._session.execute(
            "select to_jsonb(w) || jsonb_build_object('class_state', to_jsonb(s)) as watch from public.class_watches w"
            " left join public.class_states s on s.class_nbr = w.class_nbr where w.user_id = %s"
            " order by w.created_at desc",
            [user],
        ).fetchall()
        return json_answer({"watches": [row["watch"] for row in rows], "maxWatches": MOST_WATCHES})

    def _add(self, user: str, body: dict[str, Any]) -> Answer:
        """Count, look up, overwrite what was known (O5), insert."""
        counted = self._session.execute("select count(*) as held from public.class_watches where user_id = %s", [user])
        if counted.fetchall()[0]["held"] >= MOST_WATCHES:
            words = f"Maximum watches limit reached ({MOST_WATCHES}). Delete some watches to add more."
            return json_answer({"error": words}, 429)
        section = _section(body)
        if section is None:
            return _invalid("class_nbr")
        try:
            status, text, _ = self._origin.scrape(section)
            seen = read(status, text, self._origin.defects)
            self._origin.add_watch(section)
        except NotFound:
            return json_answer({"error": "Class section not found"}, 404)
        except Failed:
            return json_answer({"error": NO_DETAILS}, 500)
        row = self._session.execute(
            "insert into public.class_watches as w (user_id, term, subject, catalog_nbr, class_nbr)"
            " values (%s, %s, %s, %s, %s) on conflict do nothing returning to_jsonb(w) as watch",
            [user, section[0], seen.subject, seen.catalog_nbr, section[1]],
        ).fetchone()
        if row is None:
            return json_answer({"error": "You are already watching this class"}, 409)
        return json_answer({"watch": row["watch"]}, 201)

    def _remove(self, user: str, watch: str) -> Answer:
        try:
            uuid.UUID(watch)
        except ValueError:
            return _invalid("id")
        self._session.execute("delete from public.class_watches where id = %s and user_id = %s", [watch, user])
        return json_answer({"success": True})

    def _details(self, request: Request) -> Answer:
        """Nobody is asked who he is (O40)."""
        if "O40" not in self._origin.defects and self._user(request) is None:
            return json_answer({"error": "Unauthorized"}, 401)
        section = _section(request.fields())
        if section is None:
            return _invalid("class_nbr")
        try:
            status, text, _ = self._origin.scrape(section)
            seen = read(status, text, self._origin.defects).row()
        except NotFound:
            return json_answer({"error": "Class section not found"}, 404)
        except Failed:
            return json_answer({"error": NO_DETAILS}, 500)
        return json_answer({name: seen[name] for name in (*_SHOWN, "meeting_times")})

    def _unsubscribe(self, request: Request) -> Answer:
        """GET acts at once, like POST (O12), or only shows a page."""
        user = self._signed_for(request.query.get("token", ""))
        if user is None:
            if request.method == "GET":
                return Answer(400, b"<h1>Invalid or expired link</h1>", "text/html; charset=utf-8")
            return json_answer({"success": False, "error": "Invalid or expired token"}, 400)
        if request.method == "GET" and "O12" not in self._origin.defects:
            return page_answer('<h1>Unsubscribe?</h1><form method="post"><button>Yes</button></form>')
        self._session.execute(
            "update public.user_profiles set notifications_enabled = false, unsubscribed_at = now() where user_id = %s",
            [user],
        )
        if request.method == "GET":
            return page_answer("<h1>You are unsubscribed</h1>")
        return json_answer({"success": True})

    def _go(self, request: Request) -> Answer:
        """From a mail to the university's page of a section."""
        section = _section({"term": request.query.get("term"), "class_nbr": request.query.get("classNbr")})
        if section is None:
            return _invalid("classNbr")
        search = f"keywords={section[1]}&promod=F&searchType=all&term={section[0]}"
        return Answer(302, headers={"Location": f"{CATALOG}?campusOrOnlineSelection=A&honors=F&{search}"})

    def _user(self, request: Request) -> str | None:
        try:
            claims = jwt.decode(request.bearer or "", self._jwt_secret, algorithms=["HS256"], audience="authenticated")
        except jwt.InvalidTokenError:
            return None
        return str(claims["sub"])

    def _signed_for(self, token: str) -> str | None:
        try:
            text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
            user, expires, signature = text.split(":")
            claim = f"{user}:{expires}".encode()
            good = hmac.new(self._signing_key.encode(), claim, hashlib.sha256).hexdigest()
            return user if signature == good and int(expires) > int(time.time() * 1000) else None
        except ValueError:
            return None


def _section(body: dict[str, Any]) -> Section | None:
    """The section that a body names, or `None` when it cannot be one."""
    term, class_nbr = str(body.get("term")), str(body.get("class_nbr"))
    return (term, class_nbr) if re.fullmatch("[0-9]{4}", term) and re.fullmatch("[0-9]{5}", class_nbr) else None


def _invalid(field: str) -> Answer:
    return json_answer({"error": "Invalid input", "details": [{"field": field, "message": "Invalid"}]}, 400)
