"""What the inbox keeps: the mails it accepted, and the answers it gave under idempotency keys."""

from __future__ import annotations

import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workshop.inbox.letters import recipients

_DAY = 24 * 3600


@dataclass(frozen=True, slots=True)
class Mail:
    """One accepted email. `number` counts up from 1 in the order of acceptance."""

    number: int
    id: str
    received_at: str  # ISO 8601, by our clock
    key: str | None  # the idempotency key of its request
    body: Mapping[str, Any]

    def as_json(self, *, full: bool) -> dict[str, Any]:
        """For `/control/emails`; the HTML and text only when `full`."""
        brief = {
            "number": self.number,
            "id": self.id,
            "received_at": self.received_at,
            "idempotency_key": self.key,
            "from": self.body["from"],
            "to": recipients(dict(self.body)),
            "subject": self.body["subject"],
            "headers": self.body.get("headers") or {},
        }
        return {**brief, "html": self.body.get("html"), "text": self.body.get("text")} if full else brief


@dataclass(slots=True)
class _Used:
    """A key in use: by what request, until when, and what it was answered (`None`: it is being worked on)."""

    digest: str
    until: float
    answer: Any = None


class Replay(Exception):  # noqa: N818 - a way to answer, not an error
    """The key was used before by this very request: give the same `answer` again."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        super().__init__("answered before")


class KeyReused(Exception):  # noqa: N818 - the names Resend gives to the cases
    """The key was used before by another request."""


class KeyBusy(Exception):  # noqa: N818
    """A request with this key is being worked on at this moment."""


class Mailbox:
    """Mails and keys, in memory. For any thread."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives epoch seconds."""
        self._clock = clock
        self._mails: list[Mail] = []
        self._keys: dict[str, _Used] = {}
        self._accepted = 0
        self._lock = threading.Lock()

    def begin(self, key: str, path: str, body: bytes) -> None:
        """Reserve `key` for a request; raises `Replay`, `KeyReused` or `KeyBusy` when it was used within a day."""
        digest = hashlib.sha256(path.encode() + b"\0" + body).hexdigest()
        with self._lock:
            used = self._keys.get(key)
            if used is None or used.until <= self._clock():
                self._keys[key] = _Used(digest, self._clock() + _DAY)
                return
            if used.digest != digest:
                raise KeyReused
            if used.answer is None:
                raise KeyBusy
            raise Replay(used.answer)

    def finish(self, key: str, answer: Any) -> None:
        """Remember what the request under `key` was answered; `None` (nothing was sent) frees the key."""
        with self._lock:
            if answer is None:
                self._keys.pop(key, None)
            elif key in self._keys:
                self._keys[key].answer = answer

    def accept(self, emails: list[dict[str, Any]], key: str | None) -> list[str]:
        """Keep `emails`; their new ids, in order."""
        now = datetime.fromtimestamp(self._clock(), UTC).isoformat()
        with self._lock:
            ids = []
            for email in emails:
                self._accepted += 1
                ids.append(str(uuid.uuid4()))
                self._mails.append(Mail(self._accepted, ids[-1], now, key, email))
            return ids

    def mails(self, *, after: int = 0, to: str = "", search: str = "") -> list[Mail]:
        """The mails, oldest first, whose number is above `after`; to `to` only, and with `search` in the subject."""
        with self._lock:
            # Numbers rise by one, so the first one wanted is found without looking at those before it.
            first = max(0, after + 1 - self._mails[0].number) if self._mails else 0
            mails = self._mails[first:]
        if to:
            mails = [mail for mail in mails if to.lower() in recipients(dict(mail.body))]
        return [mail for mail in mails if search.lower() in mail.body["subject"].lower()] if search else mails

    def mail(self, mail_id: str) -> Mail | None:
        """The mail with this id."""
        with self._lock:
            return next((mail for mail in self._mails if mail.id == mail_id), None)

    def clear(self) -> None:
        """Throw the mails away; the keys stay used."""
        with self._lock:
            self._mails.clear()

    @property
    def accepted(self) -> int:
        """How many mails were ever accepted."""
        return self._accepted
