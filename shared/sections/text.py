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


_APART = re.compile(r"[,;/|&+\n]|\s+(?:and|or|with)\s+", re.IGNORECASE)
_NOT_APPLICABLE = re.compile(r"\bn\s*/\s*a\b", re.IGNORECASE)  # its slash takes nothing apart
_MARKS = re.compile(r"[\W_]+")
_ROLE = r"(?:the |any )?(?:(?:course|primary|new|adjunct|visiting|graduate|teaching|department(?:al)?) )?"
_NOBODY = re.compile(
    rf"{_ROLE}(?:staff(?: (?:member|faculty|instructor))?|faculty(?: member| staff)?"
    r"|instructors?|professors?|lecturers?|teachers?|department)(?: [0-9]+)?"
    rf"|(?:{_ROLE}(?:staff|faculty|instructors?|professors?) )?"
    r"(?:tb[acdhn]|t b [acdhn]|(?:is |are )?(?:yet )?to be "
    r"(?:announced|appointed|arranged|assigned|confirmed|decided|determined|hired|named|scheduled)"
    r"|(?:is |are )?not (?:yet )?(?:announced|applicable|appointed|assigned|available|determined|known|listed|named"
    r"|specified)(?: yet)?|(?:un|non )?assigned|unannounced|unavailable|unknown|unnamed|unspecified|undetermined|vacant"
    r"|vacancy|pending|arranged|placeholder|open position)(?: (?:staff|faculty|instructor))?"
    r"|no (?:instructors?|staff|faculty|professors?|one|name)(?: (?:yet|assigned|listed|named|available))*|nobody|none"
    r"|n a|null|nil|undefined|multiple instructors?|various(?: instructors?)?|see department"
)


def people_in(line: str | None) -> frozenset[str]:
    """The people named in `line`, in one spelling each; none for nothing at all, "Staff", "TBA" and the like (O34).

    A joined list is taken apart: somebody is named when at least one part is a person. Whether `Lovelace, Ada` is one
    or two does not matter here.
    """
    parts = _APART.split(_NOT_APPLICABLE.sub("none", line or ""))
    words = (_MARKS.sub(" ", part).strip().casefold() for part in parts)
    return frozenset(word for word in words if any(map(str.isalpha, word)) and not _NOBODY.fullmatch(word))


def is_staff(line: str | None) -> bool:
    """Whether nobody is named yet."""
    return not people_in(line)
