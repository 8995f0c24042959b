"""Write docs/settings.md from the settings themselves: `python -m shared.settings_doc`; `--check` only compares."""

from __future__ import annotations

import sys
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Le

from shared.settings import ROOT, Settings

FILE = ROOT / "docs" / "settings.md"

_HEAD = """\
# Settings

Written by `python -m shared.settings_doc` from `shared/settings.py`; a test keeps it true. Do not edit.

Every setting comes from the environment or, where that says nothing, from `.env` beside `run.sh` (on a server a link to
`/etc/pickmyclass/pickmyclass.env`). All problems are reported at once at start, each with its remedy; a value that is
not understood is an error, never a default. An empty value means not set. After a change:
`sudo systemctl restart pickmyclass.target`, and `deploy/deploy.sh --force` when it was one that Caddy reads
(`SITE_URL`, `SITE_UPSTREAM`, `HOST`, `PORT`).

"🔒" marks what must stay secret; it is never printed or logged.
"""

_TAIL = """
## Names of the old deployment

`NEXT_PUBLIC_SUPABASE_URL`, `NEXT_PUBLIC_SUPABASE_ANON_KEY` and `NEXT_PUBLIC_SITE_URL` are accepted where
`SUPABASE_URL`, `SUPABASE_ANON_KEY` and `SITE_URL` are not set.

## Two of a kind while rotating

`CRON_SECRET=new,old` accepts both; callers move to the new one, then the old one goes. Links in mail are signed with
`UNSUBSCRIBE_SIGNING_SECRET`: a new value ends the links of mail already sent.
"""


def render() -> str:
    """The whole file."""
    either = ["DATABASE_URL", "SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"]
    required = [name for name in Settings.model_validate({}).missing() if name not in either]
    names = [name.upper() for name in Settings.model_fields]
    rest = [name for name in names if name not in {*required, *either}]
    return "".join(
        [
            _HEAD,
            _table("Required", required),
            _table("The database: Supabase's two, or a connection to Postgres", either),
            _table("Optional", rest),
            _TAIL,
        ]
    )


def _table(title: str, names: list[str]) -> str:
    rows = [f"| `{name}`{_lock(name)} | {_meaning(name)} | {_default(name)} |" for name in names]
    return "\n".join(["", f"## {title}", "", "| setting | what it is | default |", "|---|---|---|", *rows, ""])


def _lock(name: str) -> str:
    return "" if Settings.model_fields[name.lower()].repr else " 🔒"


def _meaning(name: str) -> str:
    """What it is, and what values it takes where that is a short list or a range."""
    field = Settings.model_fields[name.lower()]
    words = (field.description or "").rstrip(".")
    choices = [str(choice) for choice in _choices(field.annotation)]
    if choices:
        words += f". One of {', '.join(f'`{choice}`' for choice in choices)}"
    low = next((limit.ge for limit in field.metadata if isinstance(limit, Ge)), None)
    high = next((limit.le for limit in field.metadata if isinstance(limit, Le)), None)
    if low is not None and high is not None:
        words += f". {low} to {high}"
    return words.replace("|", "\\|") + "."


def _choices(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _default(name: str) -> str:
    default = Settings.model_fields[name.lower()].default
    return "" if default is None else f"`{default}`"


def main() -> None:
    """Write the file, or with `--check` leave with status 1 when it is not what would be written."""
    text = render()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text)
    elif not FILE.exists() or FILE.read_text() != text:
        sys.exit("docs/settings.md is out of date: run python -m shared.settings_doc")


if __name__ == "__main__":
    main()
