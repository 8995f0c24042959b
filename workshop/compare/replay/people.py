"""The people of a scene, signed up in a database: accounts with their profiles, and watches that come and go."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import psycopg

from workshop.campus.sections import Course
from workshop.compare.replay.decisions import Key
from workshop.compare.replay.scene import Scene
from workshop.demo.students import Student, Watch
from workshop.parts.registry import Registry


class People:
    """Does to one side's database what the site does. Close it."""

    def __init__(self, scene: Scene, url: str) -> None:
        """Sign everybody up."""
        self._scene = scene
        self._registry = Registry(url)
        self._registry.sign_up(scene.students)
        self._session: psycopg.Connection[Any] = psycopg.connect(url, autocommit=True, connect_timeout=10)

    def begin(self, slot_ms: int) -> None:
        """Who begins to watch with this slot, and who stops."""
        joining = self._scene.joining.get(slot_ms, [])
        for term in {section[0] for _, section in joining}:
            ours = [(student, section) for student, section in joining if section[0] == term]
            self._registry.add_watches(term, self._courses(term), [_watch(*one, slot_ms) for one in ours])
        leaving = self._scene.leaving.get(slot_ms, [])
        if leaving:
            self._session.execute(
                "delete from public.class_watches w using unnest(%s::text[], %s::text[]) as gone (term, class_nbr)"
                " where w.term = gone.term and w.class_nbr = gone.class_nbr",
                [[one[0] for one in leaving], [one[1] for one in leaving]],
            )

    def end(self, slot_ms: int) -> None:
        """Whoever added a watch during the slot watches from now on."""
        now = datetime.fromtimestamp(slot_ms / 1000, UTC)
        for addition in self._scene.additions.get(slot_ms, ()):
            self._session.execute(
                "insert into public.class_watches (user_id, term, subject, catalog_nbr, class_nbr, created_at)"
                " values (%s, %s, 'CSE', '110', %s, %s)",
                [addition.student.user_id, *addition.section, now],
            )

    def close(self) -> None:
        """End its sessions."""
        self._session.close()
        self._registry.__exit__(None, None, None)

    def _courses(self, term: str) -> dict[str, Course]:
        found: dict[Key, Course] = {key: timeline.course for key, timeline in self._scene.timelines.items()}
        return {class_nbr: course for (one, class_nbr), course in found.items() if one == term}


def _watch(student: Student, section: Key, slot_ms: int) -> Watch:
    return Watch(student, section[1], slot_ms)
