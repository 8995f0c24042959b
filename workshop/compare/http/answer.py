"""One side of `compare http`: asked within bounds, and its answers as fields."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from itertools import islice
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import requests

from shared.exchange import NotConnectedError, TooLongError, bounded_session
from workshop.compare.http.case_file import HEADERS, VOLATILE, Case, covers
from workshop.compare.http.expected import Shape

MOST_BYTES = 1_000_000
MOST_FIELDS = 20_000
_FIELD = re.compile(r"\{([a-z_.]+)\}")
_TYPES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as fields, and how long it took in seconds.

    `failure`: why there is none. `unreachable`: not even a connection. `left`: what it added could not be taken back.
    """

    fields: Mapping[str, Any]
    seconds: float
    failure: str | None = None
    unreachable: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _NoAnswer(Exception):  # noqa: N818 - the side's failure, not ours
    """The side did not answer within the bounds; the message says why and quotes nothing."""

    def __init__(self, why: str, *, unreachable: bool = False) -> None:
        super().__init__(why)
        self.unreachable = unreachable


def base_of(address: str) -> str:
    """A side's address without a slash at its end. Raises `ValueError`, whose message does not quote it."""
    try:
        parts = urlsplit(address)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment or re.search(r"\s", address):
        raise ValueError("must be a base URL such as https://site.example")
    if "@" in parts.netloc:
        raise ValueError("must hold no name or password: the cases bring their own Authorization")
    return address.rstrip("/")


class Respondent:
    """One side at `base`, whose every answer may take `seconds` in all. Use it as a context manager."""

    def __init__(self, name: str, base: str, seconds: float) -> None:
        self.name, self._base, self._seconds = name, base, seconds
        self._session = _session()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def ask(self, case: Case) -> Response:
        """Send a filled case, and take back what it added. Never raises for what a side does."""
        began = time.monotonic()
        try:
            reply = self._exchange(case.method, case.path, case.headers, case.body)
            seconds = time.monotonic() - began
            fields, body = self._fields(case, reply)
        except _NoAnswer as error:
            told = Shape(f"no answer ({error})")
            return Response({"status": told}, time.monotonic() - began, str(error), error.unreachable)
        undone = self._undo(case, body) if case.undo and reply.status < 300 else {}
        left = bool(undone) and undone["undo.status"] not in range(200, 300)
        kept = {name: value for name, value in (fields | undone).items() if not covers(case.ignore, name)}
        return Response(kept, seconds, left=left)

    def _exchange(self, method: str, path: str, headers: Mapping[str, str], body: Any) -> _Reply:
        """One request and its whole answer, within the bounds."""
        try:
            answer = self._session.request(
                method,
                self._base + path,
                headers={"Accept": "application/json", **headers},
                json=body,
                timeout=self._seconds,
                allow_redirects=False,
            )
            return _Reply(answer.status_code, answer.headers, answer.content)
        except TooLongError:
            raise _NoAnswer(f"larger than {MOST_BYTES:,} bytes") from None
        except requests.ConnectionError as error:
            nobody = isinstance(error, NotConnectedError)  # others were there, and hung up
            raise _NoAnswer("ConnectionError", unreachable=nobody) from None
        except requests.Timeout:
            raise _NoAnswer(f"not finished within {self._seconds:g} s") from None
        except (requests.RequestException, OSError, ValueError) as error:
            raise _NoAnswer(type(error).__name__) from None  # the message may hold what was sent

    def _fields(self, case: Case, reply: _Reply) -> tuple[dict[str, Any], Any]:
        """Status, headers and body as fields, and the body."""
        fields: dict[str, Any] = {"status": reply.status}
        for name in HEADERS:
            if name in reply.headers and (reply.body or name != "content-type"):  # the type of nothing means nothing
                fields[f"header {name}"] = self._header(name, reply.headers[name])
        try:
            body = _parse(reply)
            fields.update(islice(_flatten(body, "body", case), MOST_FIELDS + 1))
        except RecursionError:
            raise _NoAnswer("nested too deeply") from None
        if len(fields) > MOST_FIELDS:
            raise _NoAnswer(f"more than {MOST_FIELDS:,} fields")
        return fields, body

    def _header(self, name: str, value: str) -> Any:
        """What of a header means something: a place on the side itself is told without its host."""
        if name == "content-type":
            return value.partition(";")[0].strip().lower()
        if name == "allow":
            return ", ".join(sorted(word.strip().upper() for word in value.split(",")))
        if name == "retry-after":
            return Shape("seconds" if value.strip().isdecimal() else "a date")
        return value.removeprefix(self._base) if value.startswith(f"{self._base}/") else value

    def _undo(self, case: Case, body: Any) -> dict[str, Any]:
        """Take back what a case added; the fields of that answer."""

        def field_of(found: re.Match[str]) -> str:
            value = body
            for name in found[1].split("."):
                value = value[name]
            return quote(str(value), safe="")

        try:
            reply = self._exchange("DELETE", _FIELD.sub(field_of, case.undo or ""), case.headers, None)
            fields, _ = self._fields(case, reply)
        except (LookupError, TypeError):
            return {"undo.status": Shape("not asked: the answer does not say what was added")}
        except _NoAnswer as error:
            return {"undo.status": Shape(f"no answer ({error})")}
        return {f"undo.{name}": value for name, value in fields.items()}


def _session() -> requests.Session:
    """A session that keeps no cookie from one case to the next."""
    session = bounded_session(MOST_BYTES)
    session.max_redirects = 1  # none is followed; with 0 the library would refuse to show one
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


def _parse(reply: _Reply) -> Any:
    """The JSON of a body; of a page only what kind it is; any other text as it is."""
    try:
        return json.loads(reply.body)
    except ValueError:
        text = reply.body.decode(errors="replace").strip()
    if not text:
        return Shape("nothing")
    if "html" not in reply.headers.get("content-type", ""):
        return text
    return Shape("a page that asks" if "<form" in text.lower() else "a page")


def _flatten(value: Any, path: str, case: Case) -> Iterator[tuple[str, Any]]:
    """A JSON value as fields: `body.checks.database.status`; of what is volatile only the type."""
    if covers(case.presence, path):
        yield path, Shape("present")
    elif isinstance(value, dict):
        yield path, Shape("an object")
        for name, one in value.items():
            yield from _flatten(one, f"{path}.{name}", case)
    elif isinstance(value, list):
        yield path, Shape(f"a list of {len(value)}")
        ordered = sorted(value, key=_as_text) if covers(case.unordered, path) else value
        for number, one in enumerate(ordered):
            yield from _flatten(one, f"{path}.{number}", case)
    else:
        yield path, Shape(_TYPES[type(value)]) if VOLATILE.search(path) else value


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
