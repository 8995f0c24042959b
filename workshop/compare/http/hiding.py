"""Secrets stay out of reports, also where a side echoes one in another spelling."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_SHORTEST = 6
"""Other spellings shorter than this are left: a few letters of base64 are in every text."""


def hiding(secrets: Iterable[str]) -> Callable[[str], str]:
    """What takes these secrets out of a text, in any case and in every spelling of `_spellings`."""
    spellings = {one for secret in secrets for one in (secret, *_spellings(secret))} - {""}
    if not spellings:
        return str
    longest_first = sorted(spellings, key=len, reverse=True)
    found = re.compile("|".join(re.escape(one) for one in longest_first), re.IGNORECASE)
    return lambda text: found.sub(HIDDEN, text)


def _spellings(secret: str) -> Iterator[str]:
    encoded = secret.encode()
    for one in (
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        html.escape(secret),
        encoded.hex(),
        *_in_base64(encoded),
    ):
        if len(one) >= _SHORTEST:
            yield one


def _in_base64(encoded: bytes) -> Iterator[str]:
    """The letters that only the secret decides, wherever in a longer text it begins."""
    for before, first in ((0, 0), (1, 2), (2, 3)):
        end = (before + len(encoded)) * 8 // 6
        letters = base64.b64encode(bytes(before) + encoded).decode()[first:end]
        yield letters
        yield letters.replace("+", "-").replace("/", "_")
        yield quote(letters, safe="")
