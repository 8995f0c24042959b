"""Faults in SQL and Lua: words and signs that are easily taken for each other, numbers off by one, lost statements."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from workshop.mutate.faults import Place

_TEXT = [
    (r"\band\b", "or"),
    (r"\bor\b", "and"),
    (r"<=", "<"),
    (r">=", ">"),
    (r"(?<![<>=~!-])<(?![=>@])", "<="),
    (r"(?<![<>=~!-])>(?![=>])", ">="),
    (r"<>", "="),
    (r"~=", "=="),
    (r"==", "~="),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\bleast\b", "greatest"),
    (r"\bgreatest\b", "least"),
    (r"\bmax\b", "min"),
    (r"\bmin\b", "max"),
    (r"\bnot (?=in|exists|found)", ""),
    (r"\bis not null\b", "is null"),
    (r"\bis null\b", "is not null"),
]
_WHERE = r"(?<=[\w)\"'\]] )=(?= [\w('])"
_NUMBER = r"(?<![\w.$])\d+(?![\w.'])"  # not an error code or another quoted number
_STATEMENT = r"(?m)^ +(?:perform|redis\.call|call_many|ring)\b[^\n]*;?$"


def places_in_text(path: Path, source: str) -> Iterator[Place]:
    """Every place in the SQL or Lua file `path`, whose text is `source`; comments are left alone."""
    is_sql = path.suffix == ".sql"
    comments = [range(*found.span()) for found in re.finditer(r"--[^\n]*", source)]
    rules: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [*_TEXT, (_STATEMENT, "")]
    rules.append((_NUMBER, lambda found: str(int(found[0]) + 1)))
    if is_sql:
        rules.append((_WHERE, "<>"))
    for pattern, instead in rules:
        for found in re.finditer(pattern, source):
            if any(found.start() in comment for comment in comments):
                continue
            line = source.count("\n", 0, found.start()) + 1
            yield Place(path, line, _text_fault(source, found, instead))


def _text_fault(
    source: str, found: re.Match[str], instead: str | Callable[[re.Match[str]], str]
) -> Callable[[], str | None]:
    def make() -> str:
        word = instead if isinstance(instead, str) else instead(found)
        return source[: found.start()] + word + source[found.end() :]

    return make
