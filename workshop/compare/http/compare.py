"""`compare http`: the same requests to both sides, field by field.

The old side is asked twice: a field that differs from itself is noise. Fields that only the new side has are
additions, which the contracts allow; where the register promises some, they must be those.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from workshop.compare import PREFIX
from workshop.compare.findings import Difference, Findings
from workshop.compare.http.answer import Respondent, Response
from workshop.compare.http.case_file import Case
from workshop.compare.http.expected import ABSENT, Expected, Shape, same
from workshop.compare.http.hiding import hiding
from workshop.compare.quantiles import p50_p95
from workshop.compare.register import BY_ID

SECONDS = 100.0
"""How long an answer may take: a check may wait 90 s for the scraper."""

_OPEN = ("TERM", "CLASS_NBR", "OTHER_CLASS_NBR")
_LONGEST = 80
_WHEN = "%Y-%m-%d %H:%M"
Hide = Callable[[str], str]


class UnreachableError(Exception):
    """A side does not even take a connection; the message says which."""


class NothingComparedError(Exception):
    """No case could be played; the message says why, a line for each."""


@dataclass(frozen=True, slots=True)
class Played:
    """A case and its answers: the old side's first and second, and the new side's."""

    case: Case
    old: Response
    again: Response
    new: Response
    when: str

    @property
    def noise(self) -> set[str]:
        """The fields in which the old side differs from itself."""
        one, other = self.old.fields, self.again.fields
        return {name for name in {*one, *other} if not same(one.get(name, ABSENT), other.get(name, ABSENT))}

    @property
    def failed(self) -> bool:
        """Whether an answer did not come."""
        return any(answer.failure for answer in (self.old, self.again, self.new))


def compare_http(
    old: str,
    new: str,
    cases: Sequence[Case],
    values: Mapping[str, str],
    *,
    allow_writes: bool = False,
    seconds: float = SECONDS,
    tell: Callable[[int, int], None] = lambda _number, _count: None,
) -> Findings:
    """Play the cases; `tell(number, count)` hears of each.

    Every value is a secret, but for the section's. Raises `NothingComparedError` and `UnreachableError`.
    """
    left_out = {case.name: why for case in cases if (why := _why_not(case, values, allow_writes))}
    playable = [case for case in cases if case.name not in left_out]
    told = [f"{name} was left out: {why}." for name, why in left_out.items()]
    if not playable:
        raise NothingComparedError("\n".join(told) or "There is no case.")
    played = []
    with Respondent("old", old, seconds) as old_side, Respondent("new", new, seconds) as new_side:
        for number, case in enumerate(playable, 1):
            tell(number, len(playable))
            played.append(_play(case.filled(values), old_side, new_side))
            if number == 1:
                _must_be_there(played[0])
    hide = hiding(value for name, value in values.items() if name not in _OPEN)
    findings = Findings("HTTP: old side and new side")
    for one in played:
        findings.add(_hidden(difference, hide) for difference in _differences(one, hide))
    findings.figures = _figures(played, len(cases))
    findings.notes = [_plain(hide(note)) for note in (*told, *_notes(played, findings), *_how_many(playable, cases))]
    return findings


def explained(case: str, field: str, old: Any, new: Any, answer: Mapping[str, Any]) -> str | None:
    """The id under which the register expects this difference; `answer`: all fields of the new side."""
    for name, entry in _entries(case):
        if entry.explains(field, old, new, answer):
            return name
    return None


def _entries(case: str) -> Iterator[tuple[str, Expected]]:
    return ((known.id, entry) for known in BY_ID.values() for entry in known.answers if entry.is_of(case))


def _why_not(case: Case, values: Mapping[str, str], allow_writes: bool) -> str | None:
    missing = sorted(case.needs() - values.keys())
    if missing:
        return f"needs {', '.join(PREFIX + name for name in missing)}"
    return "writes, which takes --allow-writes" if case.changes and not allow_writes else None


def _play(case: Case, old: Respondent, new: Respondent) -> Played:
    """Ask the old side twice, but once where that would write twice, then the new side."""
    first = old.ask(case)
    again = first if case.changes or first.failure else old.ask(case)
    return Played(case, first, again, new.ask(case), f"{datetime.now(UTC):{_WHEN}}")


def _must_be_there(played: Played) -> None:
    for name, answer in (("old", played.old), ("new", played.new)):
        if answer.unreachable:
            raise UnreachableError(f"The {name} side cannot be reached ({answer.failure}).")


def _differences(played: Played, hide: Hide) -> Iterator[Difference]:
    """What differs beyond noise. An answer that did not come is one difference, which nothing explains."""
    case, new = played.case.name, played.new.fields
    if played.failed:
        old = (played.old if played.old.failure else played.again).fields["status"]
        yield Difference(case, played.when, "status", _shown(old, hide), _shown(new["status"], hide), None)
        return
    old, noise = played.old.fields, played.noise
    for name in _compared(case, old, new):
        before, after = old.get(name, ABSENT), new.get(name, ABSENT)
        if name not in noise and (before is after is ABSENT or not same(before, after)):
            known = explained(case, name, before, after, new)
            yield Difference(case, played.when, name, _shown(before, hide), _shown(after, hide), known)


def _compared(case: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The fields of the old side; of another kind of answer also those that the register promises, and no others."""
    promised = [name for _, entry in _entries(case) for name in entry.promised()]
    if not promised or all(same(old.get(name, ABSENT), new.get(name, ABSENT)) for name in ("status", "body")):
        return list(old)
    return list(dict.fromkeys((*old, *promised, *new)))


def _notes(played: Sequence[Played], findings: Findings) -> Iterator[str]:
    """What is worth a word and no difference."""
    for one in played:
        if noise := sorted(one.noise) if not one.failed else []:
            yield f"{one.case.name}: {', '.join(noise)[:_LONGEST]} of the old side differs from itself."
        for name, answer in (("old", one.old), ("new", one.new)):
            if answer.left:
                yield f"{one.case.name}: what it added on the {name} side could not be taken back."
    seen = {(group.id, one.where) for group in findings.groups for one in group.members}
    for name in BY_ID:
        cases = [one.case.name for one in played if any(name == of and e.always for of, e in _entries(one.case.name))]
        if absent := [case for case in cases if (name, case) not in seen]:
            yield f"{name} is expected in {', '.join(absent)} and did not appear."


def _how_many(played: Sequence[Case], cases: Sequence[Case]) -> list[str]:
    return [f"Compared {len(played)} of {len(cases)} cases."] if len(played) < len(cases) else []


def _figures(played: Sequence[Played], cases: int) -> list[tuple[str, str, str]]:
    old = [answer for one in played for answer in ([one.old] if one.again is one.old else [one.old, one.again])]
    new = [one.new for one in played]
    noise = sum(len(one.noise) for one in played if not one.failed)
    additions = sum(len(one.new.fields.keys() - one.old.fields.keys()) for one in played if not one.failed)
    sides = [[answer.seconds for answer in answers if not answer.failure] for answers in (old, new)]
    asked = f"{len(played):,} of {cases:,}"
    return [
        ("Cases", asked, asked),
        ("Fields that differ from themselves", f"{noise:,}", ""),
        ("Fields that only one side has", "", f"{additions:,}"),
        ("Answered within, p50 / p95", p50_p95(sides[0]), p50_p95(sides[1])),
    ]


def _shown(value: Any, hide: Hide) -> str:
    """A value as a report shows it: text in quotes, so that it is told from a number; without secrets before that."""
    if isinstance(value, Shape):
        return value
    return json.dumps(hide(value) if isinstance(value, str) else value, ensure_ascii=False)


def _hidden(one: Difference, hide: Hide) -> Difference:
    """The same without secrets, and only then cut: half a secret is not recognised."""
    where, what, old, new = (_plain(hide(text))[:_LONGEST] for text in (one.where, one.what, one.old, one.new))
    return Difference(where, one.when, what, old, new, one.id)


def _plain(text: str) -> str:
    """The text without what a terminal would obey or cannot show."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
