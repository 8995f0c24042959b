"""Students during the move, at the site's front door: they sign in, watch, look at their dashboard, unsubscribe."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import jwt
import requests

from shared.mail.tokens import UnsubscribeTokens

_TIMEOUT = 60.0


class Students:
    """Everyone who has an account."""

    def __init__(self, door: str, ids: Mapping[str, str], jwt_secret: str, issuer: str, old_key: str) -> None:
        """`door` is the site's address, `ids` tells the account of each address, `old_key` signed the old links."""
        self._door, self._ids = door, ids
        self._jwt_secret, self._issuer = jwt_secret, issuer
        self._old_links = UnsubscribeTokens(old_key)

    def watch(self, email: str, term: str, class_nbr: str, *, door: str | None = None) -> None:
        """Begin to watch a section, through the site's door or another (a name that was resolved before a switch)."""
        answer = requests.post(
            f"{door or self._door}/api/class-watches",
            json={"term": term, "class_nbr": class_nbr},
            headers=self._signed_in(email),
            timeout=_TIMEOUT,
        )
        answer.raise_for_status()

    def seats(self, email: str, class_nbr: str) -> int | None:
        """What the dashboard shows of a section that this student watches."""
        answer = requests.get(f"{self._door}/api/class-watches", headers=self._signed_in(email), timeout=_TIMEOUT)
        answer.raise_for_status()
        shown: dict[str, Any] = {one["class_nbr"]: one["class_state"] for one in answer.json()["watches"]}
        seats: int | None = shown[class_nbr]["seats_available"]
        return seats

    def unsubscribe_by_old_link(self, email: str) -> None:
        """Press the button under an email of the old side: it leads to the site's door, whoever is behind it."""
        token = self._old_links.issue(self._ids[email], datetime.now(UTC))
        self._press(f"{self._door}/api/unsubscribe?token={token}")

    def unsubscribe_by_new_link(self, headers: Mapping[str, str]) -> None:
        """Press the button under an email of the new side, wherever it leads; `headers` are that email's."""
        found = re.fullmatch(r"<(\S+)>", headers["List-Unsubscribe"])
        if found is None:
            raise ValueError("the email has no link to unsubscribe")
        self._press(found[1])

    def _press(self, link: str) -> None:
        requests.post(link, data={"List-Unsubscribe": "One-Click"}, timeout=_TIMEOUT).raise_for_status()

    def _signed_in(self, email: str) -> dict[str, str]:
        now = int(time.time())
        claims = {
            "sub": self._ids[email],
            "aud": "authenticated",
            "iss": self._issuer,
            "role": "authenticated",
            "iat": now,
            "exp": now + 3600,
        }
        return {"Authorization": f"Bearer {jwt.encode(claims, self._jwt_secret, algorithm='HS256')}"}
