"""Text from outside: made fit to be stored, shown and mailed, by one rule at every door.

Postgres holds neither NUL nor half a character (a lone UTF-16 surrogate), a terminal obeys control characters, and
what nobody can see makes two equal words differ. The catalog, Resend and people send all of them.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

_LINE_BREAKS_AND_CONTROLS = {"Cc", "Zl", "Zp", "Zs"}
_INVISIBLE = {"Cf", "Cs"}  # direction marks, joiners, soft hyphens; half characters


def one_line(text: str | None, longest: int = 300) -> str:
    """`text` as one clean line of at most `longest` characters; nothing for `None`.

    Line breaks, controls and runs of spaces become one space; what cannot be seen is left out.
    """
    text = text or ""
    if not text.isprintable():
        text = "".join(map(_printable, text))
    return " ".join(text.split())[:longest].rstrip()


def is_clean(text: str) -> bool:
    """Whether `text` can be stored as it is: for names and codes, which are refused rather than mended."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def visible(text: str) -> str:
    """`text` for a terminal or a log, every character in sight: what would steer them, or forge a line, is escaped."""
    return text if text.isprintable() else "".join(c if c.isprintable() else _escaped(c) for c in text)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """`value` as JSON that can be encoded and printed whatever is in it; letters of all languages stay as they are."""
    separators = (",", ":") if indent is None else None
    text = json.dumps(value, ensure_ascii=False, default=str, indent=indent, separators=separators)
    return _NOT_FOR_TERMINALS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


_NOT_FOR_TERMINALS = re.compile("[\x7f-\x9f\ud800-\udfff]")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _printable(character: str) -> str:
    category = unicodedata.category(character)
    if category in _INVISIBLE:
        return ""
    return " " if category in _LINE_BREAKS_AND_CONTROLS else character
