"""`compare http`: the same requests to both sides, field by field.

The old side is asked twice first: a field that differs from itself is noise. Fields that only the new side has are
additions, which the contracts allow.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import requests

from compare.case_file import HEADERS, VOLATILE, Case
from compare.findings import Difference, Findings
from compare.quantiles import p50_p95
from compare.register import KNOWN

VALUES = ("CRON_SECRET", "USER_TOKEN", "TERM", "CLASS_NBR", "OTHER_CLASS_NBR", "UNSUBSCRIBE_TOKEN")
_SECRET = ("CRON_SECRET", "USER_TOKEN", "UNSUBSCRIBE_TOKEN")
_PREFIX = "COMPARE_"
_SECONDS = 100.0
_LONGEST = 80
_FIELD = re.compile(r"\{([a-z_.]+)\}")
_PAGES = {True: "a page that asks", False: "a page"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as fields, and how long it took in seconds."""

    fields: Mapping[str, Any]
    seconds: float


def values_of(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What the cases need, from the environment: the names of `VALUES` with `COMPARE_` before them."""
    return {name: environ[_PREFIX + name] for name in VALUES if environ.get(_PREFIX + name)}


def compare_http(
    old: str,
    new: str,
    cases: Sequence[Case],
    values: Mapping[str, str],
    *,
    allow_writes: bool = False,
    tell: Callable[[int], None] = lambda _: None,
) -> Findings:
    """Play the cases; raises `requests.RequestException` when a side cannot be reached."""
    findings = Findings("HTTP: old side and new side")
    old_seconds, new_seconds, additions, noisy, played = [], [], 0, 0, 0
    with requests.Session() as session:
        session.trust_env = False
        for number, case in enumerate(cases, 1):
            tell(number)
            missing = case.needs() - values.keys()
            if missing or (case.writes and not allow_writes):
                why = f"needs {', '.join(_PREFIX + name for name in sorted(missing))}" if missing else "writes"
                findings.notes.append(f"{case.name} was left out: {why}.")
                continue
            filled = case.filled(values)
            first, again = (
                (_ask(session, old, filled) for _ in range(2)) if not case.writes else [_ask(session, old, filled)] * 2
            )
            answer = _ask(session, new, filled)
            played += 1
            old_seconds += [first.seconds, again.seconds]
            new_seconds.append(answer.seconds)
            noise = {name for name in first.fields if first.fields[name] != again.fields.get(name)}
            noisy += len(noise)
            noise.update(case.ignore)
            additions += len(answer.fields.keys() - first.fields.keys())
            findings.add(_differences(case, first.fields, answer.fields, noise, values))
    asked = {case.name for case in cases}
    seen = {group.id for group in findings.groups}
    findings.notes += [
        f"{known.id} is expected here and did not appear."
        for known in KNOWN
        if known.id not in seen and asked & {place.partition(": ")[0] for place in known.http}
    ]
    findings.figures = [
        ("Cases", f"{played:,}", f"{played:,}"),
        ("Fields that differ from themselves", f"{noisy:,}", ""),
        ("Fields that only one side has", "", f"{additions:,}"),
        ("Answered within, p50 / p95", p50_p95(old_seconds), p50_p95(new_seconds)),
    ]
    return findings


def explained(case: str, name: str) -> str | None:
    """The id that the register gives for this field of this case; an entry also covers what is below its field."""
    for known in KNOWN:
        for place in known.http:
            where, _, what = place.partition(": ")
            if where == case and (name == what or name.startswith(f"{what}.")):
                return known.id
    return None


def _differences(
    case: Case, old: Mapping[str, Any], new: Mapping[str, Any], noise: set[str], values: Mapping[str, str]
) -> list[Difference]:
    when = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    return [
        Difference(
            case.name, when, name, _shown(value, values), _shown(new.get(name), values), explained(case.name, name)
        )
        for name, value in old.items()
        if name not in noise and not (name in new and new[name] == value)
    ]


def _ask(session: requests.Session, base: str, case: Case) -> Answer:
    began = time.monotonic()
    answer = session.request(
        case.method,
        base.rstrip("/") + case.path,
        headers={**case.headers, "Accept": "application/json"},
        json=case.body,
        timeout=_SECONDS,
        allow_redirects=False,
    )
    seconds = time.monotonic() - began
    fields: dict[str, Any] = {"status": answer.status_code}
    for name in HEADERS:
        if name in answer.headers:
            fields[f"header {name}"] = answer.headers[name].split(";")[0] if name == "content-type" else "present"
    try:
        body = answer.json()
        fields |= _flatten(body, "body")
    except ValueError:
        body = None
        fields["body"] = _PAGES["<form" in answer.text] if answer.text.strip() else "nothing"
    if case.undo and answer.ok:
        _undo(session, base, case, body)
    return Answer(fields, seconds)


def _undo(session: requests.Session, base: str, case: Case, body: Any) -> None:
    """Take back what a case added."""

    def field_of(found: re.Match[str]) -> str:
        value = body
        for name in found[1].split("."):
            value = value[name]
        return str(value)

    path = _FIELD.sub(field_of, case.undo or "")
    url = base.rstrip("/") + path
    session.delete(url, headers=case.headers, timeout=_SECONDS, allow_redirects=False).raise_for_status()


def _flatten(value: Any, path: str) -> dict[str, Any]:
    """A JSON value as fields: `body.checks.database.status`; of what is volatile only the type."""
    if isinstance(value, dict):
        flat: dict[str, Any] = {path: "an object"}
        for name, one in value.items():
            flat |= _flatten(one, f"{path}.{name}")
        return flat
    if isinstance(value, list):
        flat = {path: f"a list of {len(value)}"}
        for number, one in enumerate(sorted(value, key=lambda item: json.dumps(item, sort_keys=True))):
            flat |= _flatten(one, f"{path}.{number}")
        return flat
    return {path: type(value).__name__ if VOLATILE.search(path) else value}


def _shown(value: Any, values: Mapping[str, str]) -> str:
    """A value as a report may show it: bounded, without secrets."""
    text = "(absent)" if value is None else str(value)
    for name in _SECRET:
        if values.get(name):
            text = text.replace(values[name], "***")
    return text[:_LONGEST]
