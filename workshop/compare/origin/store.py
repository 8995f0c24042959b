"""The old side's statements, as its Workers sent them: the same functions, filters and conflict targets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from workshop.compare.origin.rules import NONE, Defects, Seen

ROWS = 1000
"""As many rows as PostgREST gives at most (O14)."""

# The origin's database told the time itself; in a replay the play does.
_REPLAY_CLOCK = """
create or replace function public.try_record_notification(
    p_class_watch_id uuid, p_notification_type text, p_expires_hours int default 24)
returns boolean language plpgsql security definer set search_path = '' as $$
declare v_now constant timestamptz := current_setting('replay.now')::timestamptz;
begin
    insert into public.notifications_sent (class_watch_id, notification_type, sent_at, expires_at)
    values (p_class_watch_id, p_notification_type, v_now, v_now + make_interval(hours => p_expires_hours))
    on conflict (class_watch_id, notification_type) do nothing;
    return found;
end $$;
create or replace trigger trigger_update_class_state_changed_at before insert or update on public.class_states
    for each row execute function public.update_class_state_changed_at();
create or replace function public.update_class_state_changed_at() returns trigger language plpgsql as $$
begin
    new.last_checked_at := current_setting('replay.now')::timestamptz;
    return new;
end $$;
"""
_BY_TERM = """
alter table public.class_states drop constraint class_states_class_nbr_key;
alter table public.class_states add constraint class_states_class_nbr_key unique (term, class_nbr);
"""
_COLUMNS = ("term", "class_nbr", *Seen.__dataclass_fields__)
_MUTED = """select w.class_nbr, w.term from public.class_watches w
    left join public.user_profiles p on p.user_id = w.user_id
    group by w.class_nbr, w.term having bool_and(p.user_id is not null and not (
        p.notifications_enabled and not p.email_bounced and not p.spam_complained and not p.is_disabled))"""


class Store:
    """One session of the old side's database. `replay` hands the time in; without it the database has the time."""

    def __init__(self, url: str, defects: Defects = NONE, *, replay: bool = False) -> None:
        self._defects, self._replay = defects, replay
        self._session: psycopg.Connection[dict[str, Any]] = psycopg.connect(
            url, autocommit=True, connect_timeout=10, row_factory=dict_row
        )
        self._by_term = replay and "O6" not in defects
        self._year = ""
        if replay:
            self._session.execute(_REPLAY_CLOCK)
            self._session.execute("set synchronous_commit = off")
        if self._by_term:
            self._session.execute(_BY_TERM)

    def begin(self, now: datetime) -> None:
        """Begin a slot of a replay: its time, for the database's own functions. Nobody else is there: one commit."""
        self._year = f"{now:%y}"
        self._session.execute("begin")
        self._session.execute("select set_config('replay.now', %s, false)", [now.isoformat()])

    def sections_to_check(self, stagger: str) -> list[tuple[str, str]]:
        """(term, class_nbr) of the sections of a half, in the old order, cut where PostgREST cuts."""
        rows = self._rows("select class_nbr, term from public.get_sections_to_check(%s) order by 1, 2", stagger)
        found = [(row["term"], row["class_nbr"]) for row in rows]
        if self._replay and "O16" not in self._defects:
            muted = {(row["term"], row["class_nbr"]) for row in self._rows(_MUTED)}
            found = [one for one in found if one not in muted and one[0][1:3] >= self._year]
        return found[:ROWS] if "O14" in self._defects else found

    def state(self, term: str, class_nbr: str) -> Seen | None:
        """What was last seen. The old code asked by the number alone (O6)."""
        statement = "select * from public.class_states where class_nbr = %s"
        rows = self._rows(statement + (" and term = %s" if self._by_term else ""), class_nbr, *self._also(term))
        return Seen(**{name: rows[0][name] for name in Seen.__dataclass_fields__}) if rows else None

    def upsert_state(self, term: str, class_nbr: str, seen: Seen) -> None:
        """Write what was seen, over the row of the same number."""
        row: Mapping[str, Any] = {"term": term, "class_nbr": class_nbr, **seen.row()}
        names, places = ", ".join(_COLUMNS), ", ".join(f"%({name})s" for name in _COLUMNS)
        changes = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name != "class_nbr")
        target = "term, class_nbr" if self._by_term else "class_nbr"
        self._session.execute(
            f"insert into public.class_states ({names}, last_checked_at) values ({places}, now())"  # noqa: S608 - our own words
            f" on conflict ({target}) do update set {changes}, last_checked_at = excluded.last_checked_at",
            row,
        )

    def watchers(self, term: str, class_nbr: str) -> list[dict[str, Any]]:
        """Who is told: `email` and `watch_id` of each; of every term with O6, the disabled too with O35."""
        rows = self._rows("select * from public.get_watchers_for_sections(%s)", [class_nbr])
        if "O35" in self._defects:
            rows += self._rows(
                "select w.id as watch_id, u.email from public.class_watches w join auth.users u on u.id = w.user_id"
                " join public.user_profiles p on p.user_id = w.user_id where p.is_disabled and w.class_nbr = %s",
                class_nbr,
            )
        if "O6" in self._defects:
            return rows
        ids = self._rows("select id from public.class_watches where class_nbr = %s and term = %s", class_nbr, term)
        return [row for row in rows if row["watch_id"] in {one["id"] for one in ids}]

    def claim(self, watch_id: Any, kind: str) -> bool:
        """Take the right to tell a watch of this; an expired one stands for ever with O1."""
        if self._replay and "O1" not in self._defects:
            self._session.execute(
                "delete from public.notifications_sent where class_watch_id = %s and notification_type = %s"
                " and expires_at <= current_setting('replay.now')::timestamptz",
                [watch_id, kind],
            )
        rows = self._rows("select public.try_record_notification(%s, %s) as taken", watch_id, kind)
        return bool(rows[0]["taken"])

    def release(self, term: str, class_nbr: str, kind: str) -> None:
        """Forget who was told, so that the next time is told again."""
        statement, words = "select id from public.class_watches where class_nbr = %s", [class_nbr]
        if "O6" not in self._defects:
            statement += " and term = %s"
            words.append(term)
        ids = [row["id"] for row in self._rows(statement, *words)]
        self._session.execute(
            "delete from public.notifications_sent where class_watch_id = any (%s) and notification_type = %s",
            [ids, kind],
        )

    def all_states(self) -> list[dict[str, Any]]:
        """Every row of `class_states`."""
        return self._rows("select * from public.class_states")

    def end(self) -> None:
        """End the slot."""
        self._session.execute("commit")

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _also(self, term: str) -> tuple[str, ...]:
        return (term,) if self._by_term else ()

    def _rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        return self._session.execute(statement, values).fetchall()
