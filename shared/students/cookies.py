"""The site's own cookie: Supabase's session as base64url JSON, whole or in chunks, as `@supabase/ssr` keeps it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from shared.settings import Settings

MAX_CHUNKS = 16
CHUNK_LENGTH = 3180
"""Of one cookie's value; browsers keep 4096 bytes of name, value and attributes."""

_NAME = re.compile(r"sb-[A-Za-z0-9-]+-auth-token")


def cookie_names(cookies: Mapping[str, str], settings: Settings) -> list[str]:
    """`sb-<ref>-auth-token`: the ref is the first label of the project's address; unknown, any will do.

    It is the token's signature that convinces, not the cookie's name.
    """
    if settings.supabase_url:
        return [session_name(settings.supabase_url)]
    found = (_NAME.match(name) for name in cookies)
    return sorted({match[0] for match in found if match})


def session_name(supabase_url: str) -> str:
    """The cookie's name for the project at this address."""
    ref = (urlsplit(supabase_url).hostname or "").partition(".")[0]
    return f"sb-{ref}-auth-token"


def read_session(cookies: Mapping[str, str], name: str) -> dict[str, Any]:
    """What the cookie holds: at least `access_token`, when it is one; empty when it is none, or cut."""
    session = _session(_joined(cookies, name))
    if isinstance(session, list):  # the site's cookie of years ago: access token, refresh token
        session = dict(zip(("access_token", "refresh_token"), session, strict=False))
    if not isinstance(session, dict):
        session = {"access_token": session}
    token = session.get("access_token")
    return session if isinstance(token, str) and token else {}


def written_session(session: Mapping[str, Any], name: str) -> dict[str, str]:
    """The cookies that hold `session`: one, or as many chunks as it takes."""
    text = json.dumps(session, separators=(",", ":")).encode()
    value = "base64-" + base64.urlsafe_b64encode(text).decode().rstrip("=")
    if len(value) <= CHUNK_LENGTH:
        return {name: value}
    pieces = [value[at : at + CHUNK_LENGTH] for at in range(0, len(value), CHUNK_LENGTH)]
    return {f"{name}.{number}": piece for number, piece in enumerate(pieces)}


def outdated_names(cookies: Mapping[str, str], name: str, kept: Mapping[str, str]) -> list[str]:
    """The names of this session's cookies that the browser holds and that no longer belong to it."""
    known = re.compile(rf"{re.escape(name)}(\.[0-9]+)?")
    return [one for one in cookies if known.fullmatch(one) and one not in kept]


def _joined(cookies: Mapping[str, str], name: str) -> str:
    """The cookie's value: whole, or in numbered chunks up to the first that is missing."""
    if cookies.get(name):  # an empty one is what is left where chunks have taken its place
        return cookies[name]
    chunks = []
    for number in range(MAX_CHUNKS):
        chunk = cookies.get(f"{name}.{number}")
        if chunk is None:
            break
        chunks.append(chunk)
    return "".join(chunks)


def _session(value: str) -> Any:
    """base64url of the session's JSON, or (older clients) the JSON itself."""
    for text in (_decoded(value.removeprefix("base64-")), unquote(value)):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            continue
    return None


def _decoded(value: str) -> str:
    try:
        raw = value.encode("ascii")
        return base64.urlsafe_b64decode(raw + b"=" * (-len(raw) % 4)).decode()
    except (binascii.Error, UnicodeError):
        return ""
