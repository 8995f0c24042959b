"""Text from outside: made fit to be stored, shown and mailed, by one rule at every door.

Postgres holds neither NUL nor half a character (a lone UTF-16 surrogate), a terminal obeys control characters, and
what nobody can see makes two equal words differ. The catalog, Resend and people send all of them.
"""

from __future__ import annotations

import unicodedata

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


def _printable(character: str) -> str:
    category = unicodedata.category(character)
    if category in _INVISIBLE:
        return ""
    return " " if category in _LINE_BREAKS_AND_CONTROLS else character
