"""Resend: one frozen batch goes out, and one outcome comes back that says what it means for the batch.

The outcomes are told apart by what is certain. Only a batch that was refused for certain may be taken apart;
whatever else happens, the same bytes are repeated under the same key (docs/decisions/frozen-mail.md).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import idna
import requests

from shared.durations import DEFAULT
from shared.exchange import NotConnectedError, TooLongError, bounded_session
from shared.sections.text import one_line

Headers = Mapping[str, str]
MAX_BATCH = 100
MAX_ANSWER_BYTES = 1024 * 1024
ACCOUNT_SECONDS = 15 * 60.0
QUOTA_SECONDS = 60 * 60.0
_LONGEST_PAUSE = 10 * 60.0
_MAX_ERROR = 300

_INVALID_STATUSES = (400, 413, 422, 451)
_NOT_TAKEN_IN = (408, 425)  # the request did not come in whole, or too early: worth another try soon
_OUR_FAULT = ("invalid_from_address", "invalid_idempotency_key", "invalid_access", "invalid_region")
"""Error types that blame our settings and not the email: they would kill every row one by one."""
_QUOTAS = ("daily_quota_exceeded", "monthly_quota_exceeded")
_ADDRESS = re.compile(r"[^\s@<>\"'`(),:;]+@[^\s@<>\"'`(),:;]+")


@dataclass(frozen=True, slots=True)
class RowError:
    """One email of the batch that Resend would not take, by its place in the batch."""

    index: int
    message: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The batch was taken: a message id per email, `None` for those in `errors`.

    `wait_seconds`: how long the rate that Resend grants us is used up; `None` while it is not.
    """

    message_ids: tuple[str | None, ...]
    errors: tuple[RowError, ...] = ()
    wait_seconds: float | None = None

    def as_json(self) -> dict[str, Any]:
        """The outcome as `pmc_settle_batch` takes it."""
        return {"kind": "accepted", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Invalid:
    """Refused for certain: something about the content. Each email is tried by itself."""

    error: str

    def as_json(self) -> dict[str, Any]:
        """The outcome as `pmc_settle_batch` takes it."""
        return {"kind": "refused", "reason": "invalid", "error": self.error}


@dataclass(frozen=True, slots=True)
class RateLimited:
    """Refused for certain: too many requests. All mail waits `wait_seconds`."""

    error: str
    wait_seconds: float

    def as_json(self) -> dict[str, Any]:
        """The outcome as `pmc_settle_batch` takes it."""
        return {"kind": "refused", "reason": "rate", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Parked:
    """Refused for certain: quota, key or account. A person may have to act; asked again after `wait_seconds`.

    `quota`: a smaller batch may still be taken, which `pmc_settle_batch` tries.
    """

    error: str
    wait_seconds: float
    quota: bool = False

    def as_json(self) -> dict[str, Any]:
        """The outcome as `pmc_settle_batch` takes it."""
        return {"kind": "refused", "reason": "park", **asdict(self)}


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Refused for certain: the request did not arrive. Worth another try soon."""

    error: str

    def as_json(self) -> dict[str, Any]:
        """The outcome as `pmc_settle_batch` takes it."""
        return {"kind": "refused", "reason": "no_answer", "error": self.error}


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody knows whether it was taken: timeout, 5xx, cut, nonsense, or (`busy`) the same key is under way."""

    error: str
    busy: bool = False

    def as_json(self) -> dict[str, Any]:
        """The outcome as `pmc_settle_batch` takes it."""
        return {"kind": "unknown", "reason": "busy" if self.busy else "no_answer", "error": self.error}


Outcome = Accepted | Invalid | RateLimited | Parked | Unreachable | Unknown


class ResendClient:
    """Sends batches to `url` with the account's `key`; safe to share between threads, each keeps one connection.

    `seconds` bounds a whole exchange. Neither key nor addresses appear in any error. The requests are written here
    and not by Resend's library, which can send no frozen bytes (docs/decisions/plain-requests.md).
    """

    def __init__(self, url: str, key: str, *, seconds: float = DEFAULT.mail_answer) -> None:
        self._url = f"{url}/emails/batch"
        self._key = key
        self._seconds = seconds
        self._limits_in_a_row = 0
        self._local = threading.local()

    def send_batch(self, key: str, body: str, size: int) -> Outcome:
        """Send the frozen `body` of `size` emails under the idempotency `key`. Never raises for what came back."""
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "pickmyclass",
            "Idempotency-Key": key,
            "x-batch-validation": "permissive",  # one bad address fails alone
        }
        try:
            response = self._session().post(
                self._url, data=body.encode(), headers=headers, timeout=self._seconds, allow_redirects=False
            )
        except NotConnectedError:
            return Unreachable("Resend: cannot be reached")
        except TooLongError:
            return Unknown("Resend: the answer was too long")
        except requests.Timeout:
            return Unknown(f"Resend: no answer within {self._seconds:g} s")
        except requests.RequestException:
            return Unknown("Resend: the connection was cut")
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            answer = None
        answer = answer if isinstance(answer, dict) else {}
        if 200 <= response.status_code < 300:
            return self._accepted(answer, response.headers, size)
        return self._failed(response.status_code, answer, response.headers)

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._local, "session", None)
        if session is None:
            session = self._local.session = bounded_session(MAX_ANSWER_BYTES)
        return session

    def _accepted(self, answer: dict[str, Any], headers: Headers, size: int) -> Outcome:
        """Message ids by place. In permissive mode the ids of the accepted ones come in order, without gaps."""
        try:
            errors = {int(e["index"]): self._clean(str(e["message"])) for e in answer.get("errors") or []}
            ids = [one_line(str(item["id"])) for item in answer["data"] if item and item.get("id")]
        except (KeyError, TypeError, ValueError, AttributeError):
            return Unknown("Resend's answer made no sense")
        if len(ids) + len(errors) != size or any(not 0 <= index < size for index in errors):
            return Unknown("Resend's answer does not fit the batch")
        self._limits_in_a_row = 0
        taken = iter(ids)
        return Accepted(
            tuple(None if index in errors else next(taken) for index in range(size)),
            tuple(RowError(index, message) for index, message in sorted(errors.items())),
            _rate_used_up(headers),
        )

    def _failed(self, status: int, answer: dict[str, Any], headers: Headers) -> Outcome:
        """What an error means, by its status and its name."""
        kind = str(answer.get("name", "no error of Resend's"))
        words = self._clean(f"Resend: {answer.get('message')} ({status} {kind})")
        if status == 409:
            return Unknown(words, busy=True)
        if status == 429 and kind not in _QUOTAS:
            self._limits_in_a_row += 1
            return RateLimited(words, max(_retry_after(headers), _floor(self._limits_in_a_row)))
        if status == 429:
            # Asked again every hour: which hour ends the day, or the month, is Resend's affair.
            return Parked(words, QUOTA_SECONDS, quota=True)
        if status in _INVALID_STATUSES and kind not in _OUR_FAULT:
            return Invalid(words)
        if status in _NOT_TAKEN_IN:
            return Unreachable(words)
        if 400 <= status < 500:
            return Parked(words, ACCOUNT_SECONDS)
        return Unknown(words)

    def _clean(self, words: str) -> str:
        """Words fit for logs and tables: without addresses and key, on one line, bounded."""
        return one_line(_ADDRESS.sub("<address>", words.replace(self._key, "<key>")), _MAX_ERROR)


def _rate_used_up(headers: Headers) -> float | None:
    """Seconds until our rate allows another request, `None` while it does."""
    if headers.get("ratelimit-remaining", "").strip() != "0":
        return None
    return _number(headers.get("ratelimit-reset"), 1.0, 60.0)


def _retry_after(headers: Headers) -> float:
    """How long a rate limit asks us to wait: `Retry-After` (RFC 9110: seconds or a date), else the window's end."""
    value = headers.get("retry-after") or headers.get("ratelimit-reset")
    try:
        wait = parsedate_to_datetime(value or "") - parsedate_to_datetime(headers.get("date", ""))
    except (TypeError, ValueError):
        return _number(value, 1.0, _LONGEST_PAUSE)
    return min(_LONGEST_PAUSE, max(1.0, wait.total_seconds()))


def _floor(limits_in_a_row: int) -> float:
    """The shortest wait after so many rate limits without a success: what asks for no wait is not asked ever faster."""
    return min(_LONGEST_PAUSE, 0.1 * 2.0 ** min(limits_in_a_row - 1, 20))


def _number(value: str | None, default: float, longest: float) -> float:
    try:
        seconds = float(value or "")
    except ValueError:
        return default
    return min(longest, max(0.1, seconds)) if seconds == seconds else default


_LOCAL_PART = re.compile(r"[!-?A-~]{1,64}")
_DOMAIN = re.compile(r"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")


def ascii_address(address: str | None) -> str | None:
    """The address with its domain in punycode, as Resend takes it; `None` when mail cannot be written to it."""
    local, at, domain = (address or "").rpartition("@")
    if not domain.isascii():
        try:
            domain = idna.encode(domain, uts46=True).decode()
        except (idna.IDNAError, UnicodeError):
            return None
    return f"{local}{at}{domain}" if _LOCAL_PART.fullmatch(local) and _DOMAIN.fullmatch(domain) else None


def spellings(address: str) -> list[str]:
    """The address as it came and, where its domain is in punycode, as a person writes it."""
    local, at, domain = address.rpartition("@")
    try:
        return list(dict.fromkeys([address, f"{local}{at}{idna.decode(domain)}"]))
    except (idna.IDNAError, UnicodeError):
        return [address]
