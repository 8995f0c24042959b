"""What changes in the published tables, as it commits: what a project's replication slot does, by triggers here."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

_CHANNEL = "workshop_realtime"
_SET_UP = """
create schema if not exists workshop_realtime;
create or replace function workshop_realtime.tell() returns trigger
language plpgsql security definer set search_path = '' as $body$
begin
    perform pg_catalog.pg_notify('workshop_realtime', pg_catalog.jsonb_build_object(
        'schema', tg_table_schema, 'table', tg_table_name, 'type', tg_op,
        'record', case when tg_op = 'DELETE' then '{}' else pg_catalog.to_jsonb(new) end,
        -- The primary key is all that a table without a full replica identity tells of what was.
        'old_record', case when tg_op = 'INSERT' then '{}'
                           else pg_catalog.jsonb_build_object('id', pg_catalog.to_jsonb(old) -> 'id') end)::text);
    return null;
end $body$;
"""

Change = dict[str, Any]


class Feed:
    """Hears of every change and hands it on, from a thread of its own."""

    def __init__(self, database_url: str, tell: Callable[[Change], None]) -> None:
        """Listen in the database at `database_url`, as its owner; `tell` gets each change with its time."""
        self._tell = tell
        self._stopped = threading.Event()
        self._listening: psycopg.Connection[Any] = psycopg.connect(database_url, autocommit=True, connect_timeout=10)
        self._asking: psycopg.Connection[Any] = psycopg.connect(database_url, autocommit=True, connect_timeout=10)
        self._lock = threading.Lock()
        self.columns = self._publish()
        self._listening.execute(f"listen {_CHANNEL}")
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def may_read(self, claims: dict[str, Any], table: str, row_id: str) -> bool:
        """Whether row level security shows that row to whoever holds a token with these claims."""
        role = "authenticated" if claims.get("role") == "authenticated" else "anon"
        with self._lock, self._asking.transaction():
            self._asking.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
            self._asking.execute(sql.SQL("set local role {}").format(sql.Identifier(role)))
            found = self._asking.execute(
                sql.SQL("select 1 from public.{} where id = %s").format(sql.Identifier(table)), [row_id]
            ).fetchone()
        return found is not None

    def stop(self) -> None:
        """Hear nothing more."""
        self._stopped.set()
        self._thread.join(5)
        self._listening.close()
        self._asking.close()

    def _publish(self) -> dict[str, list[dict[str, str]]]:
        """A trigger on each table of the publication; names and types of their columns."""
        self._asking.execute(_SET_UP)
        tables = self._asking.execute(
            "select tablename from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public'"
        ).fetchall()
        columns = {}
        for (table,) in tables:
            self._asking.execute(
                sql.SQL(
                    "create or replace trigger workshop_realtime after insert or update or delete on public.{}"
                    " for each row execute function workshop_realtime.tell()"
                ).format(sql.Identifier(table))
            )
            found = self._asking.execute(
                "select column_name, udt_name from information_schema.columns"
                " where table_schema = 'public' and table_name = %s order by ordinal_position",
                [table],
            )
            columns[table] = [{"name": name, "type": kind} for name, kind in found]
        return columns

    def _run(self) -> None:
        while not self._stopped.is_set():
            for notice in self._listening.notifies(timeout=0.2):
                now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
                self._tell({**json.loads(notice.payload), "commit_timestamp": now})
                if self._stopped.is_set():
                    return
