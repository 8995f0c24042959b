"""Who teaches a section, read from one line of a catalog: catalogs have many words for "nobody yet"."""

from __future__ import annotations

import re

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
