"""What an examination of the doctor found."""

from __future__ import annotations

from dataclasses import dataclass

OK, NOTE, PROBLEM = "ok", "note", "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `ok`, a `note` that may be as wished, or a `problem` with its remedy."""

    subject: str
    level: str
    what: str
    remedy: str = ""


def fine(subject: str, what: str) -> Finding:
    """All is well."""
    return Finding(subject, OK, what)


def note(subject: str, what: str, remedy: str = "") -> Finding:
    """Worth knowing."""
    return Finding(subject, NOTE, what, remedy)


def problem(subject: str, what: str, remedy: str) -> Finding:
    """Something to mend, and how."""
    return Finding(subject, PROBLEM, what, remedy)
