"""What the site does to the database, done for it: accounts sign up and people add watches.

On a real project that is Supabase's login and the site's pages; here it is a few statements as the owner of an
embedded Postgres. Nothing of the product goes this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import psycopg

from workshop.campus.sections import Course
from workshop.demo.students import Student, Watch

_PROFILES = {
    "muted": "notifications_enabled = false, unsubscribed_at = now()",
    "bounced": "email_bounced = true, email_bounced_at = now()",
    "complained": "spam_complained = true, spam_complained_at = now()",
    "disabled": "is_disabled = true, disabled_at = now()",
}


class Registry:
    """The desk where students sign up. Holds one connection; close it, or use it as a context manager."""

    def __init__(self, url: str) -> None:
        """Connect to the embedded Postgres at `url` as its owner."""
        self._connection: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True, connect_timeout=10)

    def sign_up(self, students: Sequence[Student]) -> None:
        """Create accounts; their profiles come from the database's own trigger."""
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "insert into auth.users (id, email) values (%s, %s)", [(one.user_id, one.email) for one in students]
            )
            for kind, change in _PROFILES.items():
                ids = [one.user_id for one in students if one.refuses == kind]
                cursor.execute(f"update public.user_profiles set {change} where user_id = any (%s::uuid[])", [ids])  # noqa: S608 - our own words
            without = [one.user_id for one in students if not one.has_profile]
            cursor.execute("delete from public.user_profiles where user_id = any (%s::uuid[])", [without])

    def add_watches(self, term: str, courses: dict[str, Course], watches: Sequence[Watch]) -> None:
        """Add watches, each begun at its own time."""
        rows = [
            (
                watch.student.user_id,
                term,
                courses[watch.class_nbr].subject,
                courses[watch.class_nbr].catalog_nbr,
                watch.class_nbr,
                datetime.fromtimestamp(watch.since_ms / 1000, UTC),
            )
            for watch in watches
        ]
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(
                "insert into public.class_watches (user_id, term, subject, catalog_nbr, class_nbr, created_at)"
                " values (%s, %s, %s, %s, %s, %s)",
                rows,
            )

    def count_events(self) -> dict[str, int]:
        """How many events of each kind the product has recorded."""
        found = self._connection.execute("select kind, count(*) from pickmyclass.section_events group by kind")
        return dict(found.fetchall())

    def watchers(self) -> dict[str, list[str]]:
        """The addresses of those who watch each section, by its number."""
        found = self._connection.execute(
            "select w.class_nbr, array_agg(u.email order by u.email) from public.class_watches w"
            " join auth.users u on u.id = w.user_id group by w.class_nbr"
        )
        return dict(found.fetchall())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
