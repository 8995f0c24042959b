"""What a shadow brings over from the old side: who watches what, and what was last seen and told. Never an address."""

from __future__ import annotations

import json
from typing import Any

import psycopg

from workshop.compare.replay.decisions import FACTS

Session = psycopg.Connection[Any]

_WATCH = "id, user_id, term, subject, catalog_nbr, class_nbr, created_at"
_FLAGS = "notifications_enabled, email_bounced, spam_complained, is_disabled"
_STATE = f"term, class_nbr, {', '.join(FACTS)}, last_checked_at, last_changed_at"
_CLAIM = "class_watch_id, notification_type, sent_at, expires_at"

_WHERE = "select pg_postmaster_start_time(), (select oid from pg_database where datname = current_database())"
_USED = """select exists (select from pickmyclass.section_checks) or exists (select from pickmyclass.outbox)
    or exists (select from pickmyclass.workers)"""
_MARKED = "select exists (select from pickmyclass.settings where key = 'shadow')"

_BEGIN = """
truncate pickmyclass.section_checks, pickmyclass.section_events, pickmyclass.outbox, pickmyclass.mail_batches,
    pickmyclass.ticks, public.notifications_sent, public.class_states;
select public.pmc_put_setting('shadow', 'true');
delete from pickmyclass.ownership where term <> '';
update pickmyclass.ownership set owner = 'server';
alter table public.class_watches disable trigger pickmyclass_guard_watch_limit;
"""
# The limit is off in the copy: old accounts may hold more (O31), and it would take one lock per student.
_PEOPLE = """insert into auth.users (id) select distinct user_id
    from jsonb_populate_recordset(null::public.class_watches, %s::jsonb) on conflict do nothing"""
_GONE = """delete from public.class_watches
    where id not in (select id from jsonb_populate_recordset(null::public.class_watches, %s::jsonb))"""
_NO_PROFILE = """delete from public.user_profiles p where not exists (
    select from jsonb_populate_recordset(null::public.user_profiles, %s::jsonb) o where o.user_id = p.user_id)"""
_CHANGED = """on conflict (user_id) do update set notifications_enabled = excluded.notifications_enabled,
    email_bounced = excluded.email_bounced, spam_complained = excluded.spam_complained,
    is_disabled = excluded.is_disabled"""
_KNOWN = "where exists (select from auth.users u where u.id = r.user_id)"  # others watch nothing
_WATCHED = "where exists (select from public.class_watches w where w.id = r.class_watch_id)"


class CopyError(Exception):
    """The database cannot serve as a shadow's own; the message says why, and what to give instead."""


def begin_copy(old: Session, copy: Session) -> None:
    """Make `copy` what the old side is now: people, watches, states and claims; nothing else of it is kept.

    Raises `CopyError` for a database that is the old side's own, is not migrated, or serves something else.
    """
    if old.execute(_WHERE).fetchone() == copy.execute(_WHERE).fetchone():
        raise CopyError("DATABASE_URL must be a copy, not the old side's own database: give it an empty one")
    if _one(copy, "select to_regclass('pickmyclass.section_checks') is null"):
        raise CopyError("DATABASE_URL is not migrated yet: run ./run.sh migrate with it first")
    if _one(copy, _USED) and not _one(copy, _MARKED):
        raise CopyError("DATABASE_URL is in use by something else than a shadow: give it an empty database")
    with copy.transaction():
        copy.execute(_BEGIN)
        follow_people(old, copy)
        _insert(copy, "class_states", _STATE, _read(old, "class_states", _STATE), "on conflict do nothing")
        _insert(copy, "notifications_sent", _CLAIM, _read(old, "notifications_sent", _CLAIM), _WATCHED)


def follow_people(old: Session, copy: Session) -> None:
    """Whoever began or ceased to watch, and who may be told, since the last time."""
    profile = f"user_id, {_FLAGS}"
    watches, profiles = _read(old, "class_watches", _WATCH), _read(old, "user_profiles", profile)
    with copy.transaction():
        copy.execute(_PEOPLE, [watches])
        copy.execute(_GONE, [watches])
        _insert(copy, "class_watches", _WATCH, watches, "on conflict (id) do nothing")
        copy.execute(_NO_PROFILE, [profiles])
        _insert(copy, "user_profiles", profile, profiles, f"{_KNOWN} {_CHANGED}")


def _read(old: Session, table: str, columns: str) -> str:
    """All rows of a table as a JSON text."""
    statement = f"select coalesce(jsonb_agg(to_jsonb(r)), '[]') from (select {columns} from public.{table}) r"  # noqa: S608 - our own words
    return json.dumps(_one(old, statement))


def _insert(copy: Session, table: str, columns: str, rows: str, tail: str = "") -> None:
    source = f"jsonb_populate_recordset(null::public.{table}, %s::jsonb) r"
    statement = f"insert into public.{table} ({columns}) select {columns} from {source} {tail}"  # noqa: S608 - our own words
    copy.execute(statement.encode(), [rows])


def _one(session: Session, statement: str) -> Any:
    row = session.execute(statement.encode()).fetchone()
    return row[0] if row else None
