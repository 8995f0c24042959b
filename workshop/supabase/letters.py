"""The mails of Auth, from the very templates that a real project is given (supabase/templates), sent as Resend mail."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping

import requests

from shared.settings import ROOT

_FOLDER = ROOT / "supabase" / "templates"
_PLACE = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
_SUBJECTS = {"email": "Your sign-in code for PickMyClass", "recovery": "Set a new password for PickMyClass"}

Send = Callable[[str, str, str], None]
"""Takes address, subject and HTML."""


def write(kind: str, words: Mapping[str, str]) -> tuple[str, str]:
    """Subject and HTML of the mail for `kind` (email, recovery). `words` are the names that the templates use."""
    text = (_FOLDER / f"{'recovery' if kind == 'recovery' else 'magic_link'}.html").read_text(encoding="utf-8")
    return _SUBJECTS["recovery" if kind == "recovery" else "email"], _PLACE.sub(
        lambda place: html.escape(words[place[1]]), text
    )


def through_resend(url: str, key: str) -> Send:
    """Send by Resend's API at `url`, as a project does whose SMTP is Resend's."""

    def send(to: str, subject: str, content: str) -> None:
        mail = {"from": "PickMyClass <notify@pickmyclass.example>", "to": to, "subject": subject, "html": content}
        headers = {"Authorization": f"Bearer {key}"}
        requests.post(f"{url}/emails", json=mail, headers=headers, timeout=10).raise_for_status()

    return send
