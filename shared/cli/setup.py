"""`./run.sh setup`: asks what only a person knows, tries each service at once, makes the secrets, writes the file.

Nothing is written before everything was asked. A second run offers what is set and changes what is answered.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from dotenv import dotenv_values

from shared.cli.ask import line_of
from shared.health.doctor import EXAMINATIONS
from shared.health.findings import PROBLEM, Finding, fine, problem
from shared.settings import ROOT, Settings, SettingsError, load
from shared.settings_values import is_placeholder
from shared.wiring import Wiring

FILE = ROOT / ".env"
MADE = ("CRON_SECRET", "UNSUBSCRIBE_SIGNING_SECRET")
_PLAIN = re.compile(r"[^\s#'\"\\$`]+( [^\s#'\"\\$`]+)*")


@dataclass(frozen=True, slots=True)
class Group:
    """Settings that are asked for together, and the doctor's examination that tries them."""

    title: str
    names: tuple[str, ...]
    examination: str | None = None
    optional: bool = False


SOURCES = {
    "scraper": Group("The scraper", ("SCRAPER_URL", "SCRAPER_SECRET_TOKEN"), "scraper"),
    "asu": Group("Your address, told to ASU's catalog", ("SOURCE_CONTACT",)),
}
GROUPS = (
    Group("Where students come to", ("SITE_URL",)),
    Group("Redis", ("REDIS_URL",), "redis"),
    Group("Supabase (nothing: Postgres without it)", ("SUPABASE_URL", "SUPABASE_SERVICE_ROLE_KEY"), optional=True),
    Group("Postgres, for migrations and for what does not go through Supabase", ("DATABASE_URL",), "postgres"),
    Group("Who is asked about seats", ("SOURCE",)),
    *SOURCES.values(),
    Group("Resend (nothing: mail waits)", ("RESEND_API_KEY", "NOTIFICATION_FROM_EMAIL"), "resend", optional=True),
    Group("Whom to tell when something is wrong", ("ALERT_EMAIL",), optional=True),
)
_SUGGESTED = {"REDIS_URL": "redis://127.0.0.1:6379/0", "SOURCE": "scraper"}


def run_setup(file: Path = FILE) -> None:
    """Ask, try, write. Raises `click.Abort` when a person stops; then nothing was written."""
    given = {name: value for name, value in dotenv_values(file).items() if value and not is_placeholder(value)}
    for group in GROUPS:
        if group not in SOURCES.values() or any(SOURCES[word] is group for word in given["SOURCE"].split(",")):
            _settle(group, given)
    for name in MADE:
        if name not in given:
            given[name] = secrets.token_urlsafe(32)
            click.echo(f"{name}: made.")
    write(file, given)
    click.echo(f"\nWritten to {file}, for its owner's eyes only.")
    click.echo(
        "Next: `./run.sh migrate`, then `./run.sh functions` and `./run.sh consumer`; `./run.sh ops doctor` looks."
    )


def _settle(group: Group, given: dict[str, str]) -> None:
    """Ask for the group until its answers are well-formed and work, or are kept all the same."""
    click.echo(f"\n{group.title}")
    while True:
        answers = {name: _ask(name, given, optional=group.optional) for name in group.names}
        if group.optional and not answers[group.names[0]]:
            answers = dict.fromkeys(group.names, "")
        wished = {name: value for name, value in {**given, **answers}.items() if value}
        found = list(_examine(group, wished)) if any(answers.values()) else []
        for one in found:
            click.echo(line_of(one).plain)
        if all(one.level != PROBLEM for one in found) or click.confirm("Keep it all the same?", default=False):
            given.clear()
            given.update(wished)
            return


def _ask(name: str, given: Mapping[str, str], *, optional: bool) -> str:
    """One answer; Enter keeps what is set. What is secret is not shown."""
    field = Settings.model_fields[name.lower()]
    click.echo(f"  {field.description}")
    known, hidden = given.get(name, _SUGGESTED.get(name)), not field.repr and name != "REDIS_URL"
    words = f"  {name}" + (" [as it is]" if hidden and known else "")
    default = known or ("" if optional else None)
    answer: str = click.prompt(words, default=default, hide_input=hidden, show_default=bool(known) and not hidden)
    return answer.strip()


def _examine(group: Group, wished: Mapping[str, str]) -> Iterator[Finding]:
    """What is wrong with the answers, by their form or by what the service says."""
    try:
        settings = load(wished, None)
    except SettingsError as error:
        yield from (problem(one.name, one.remedy, "Try again") for one in error.problems if one.name in group.names)
        return
    if group.examination == "postgres":
        yield _postgres(wished["DATABASE_URL"])
    elif group.examination:
        parts = Wiring(settings)
        try:
            yield from EXAMINATIONS[group.examination](parts)
        finally:
            parts.close()


def _postgres(url: str) -> Finding:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=5) as session:
            return fine("postgres", f"PostgreSQL {session.info.server_version // 10000} answers")
    except psycopg.Error as error:
        remedy = "Look at host, port, user and password; at Supabase take the session connection (port 5432)"
        return problem("postgres", f"no connection ({type(error).__name__})", remedy)


def write(file: Path, given: Mapping[str, str]) -> None:
    """Write the settings in the order and with the comments of `.env.example`, readable for the owner alone.

    A file that is there keeps its owner and group (a server's belongs to root and the service's group).
    """
    left = dict(given)
    lines = []
    for line in (ROOT / ".env.example").read_text().splitlines():
        name = re.sub(r"^#? ?([A-Z_]+)=.*$", r"\1", line)
        lines.append(f"{name}={_quoted(left.pop(name))}" if name in left else _off(line))
    lines += [f"{name}={_quoted(value)}" for name, value in left.items()]
    target = file.resolve()
    fresh = target.with_name(f".{target.name}.new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write("\n".join(lines) + "\n")
        if target.exists():
            old = target.stat()
            os.fchown(out.fileno(), old.st_uid, old.st_gid)
            os.fchmod(out.fileno(), 0o600 | (old.st_mode & 0o040))
    fresh.replace(target)


def _off(line: str) -> str:
    """A setting that is not set stays as a comment: its example must not count."""
    return f"# {line}" if re.match(r"[A-Z_]+=", line) else line


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    if "'" in value:
        raise click.ClickException("a value with a space or a sign and a ' in it cannot be written to the file")
    return f"'{value}'"
