"""The play: a recorded campus, with a second term and everything that ever went wrong laid over its first days.

Each trouble has a section of its own, so that a difference between the sides can be traced to one cause. Numbers of
slots count from the first, an even one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from workshop.campus.sections import HALF_HOUR_MS, Course, Timeline, Values
from workshop.compare.replay.decisions import Key
from workshop.compare.replay.scene import STATE_READ, WATCHER_READ, Addition, Scene
from workshop.demo.students import MOST_WATCHES, Student, Watch

LENGTH = 56
"""Slots that the whole script takes."""

CROWD = 1_000  # sections at once, beside the others
DEAD = 48  # sections that the scraper does not find for one slot
_SHARED = 5  # numbers of the tape that the second term uses too
_COURSE = Course("CSE", "110", "Principles of Programming", "Coor Hall 170", "M W 9:00 AM - 10:15 AM")
_FULL, _OPEN = Values("Ada Byron", 0, 30), Values("Ada Byron", 5, 30)


def lay_over(
    slots_ms: Sequence[int], term: str, tape: Sequence[Timeline], watches: Sequence[Watch], *, crowd: bool = True
) -> Scene:
    """The scene of `tape` in `term`, watched by `watches`, with the script over it; at least `LENGTH` slots.

    Without the `crowd` of more than a thousand sections it is played in half the time, and O14 does not show.
    """
    if len(slots_ms) < LENGTH:
        raise ValueError(f"the script takes {LENGTH} slots")
    scene = Scene(slots_ms, {(term, one.class_nbr): one for one in tape})
    scene.students = list({watch.student.user_id: watch.student for watch in watches}.values())
    for watch in watches:
        scene.joining[watch.since_ms].append((watch.student, (term, watch.class_nbr)))
    script = _Script(scene, term)
    script.troubles()
    script.second_term(tape)
    script.strangers()
    script.dead_sections()
    if crowd:
        script.crowd()
    return scene


class _Script:
    """Writes into a scene."""

    def __init__(self, scene: Scene, term: str) -> None:
        self._scene, self._term, self._slots = scene, term, scene.slots_ms
        self._students = 0

    def troubles(self) -> None:
        """One section for each way in which a check or its mail can go wrong."""
        opens, fault = {0: _FULL, 4: _OPEN}, self._slots[4]
        reserved, again = replace(_OPEN, non_reserved_seats=0), replace(_OPEN, non_reserved_seats=2)
        self._section("70010", {0: _FULL, 2: _OPEN, 4: reserved, 52: again})  # opens twice without filling between
        self._section("70011", {0: _FULL, 2: _OPEN, 4: reserved, 8: again})  # and within a day: told once
        unreserved, some = replace(_OPEN, non_reserved_seats=5), replace(_OPEN, non_reserved_seats=3)
        self._section("70016", {0: replace(_FULL, non_reserved_seats=0), 2: unreserved})
        self._section("70018", {0: replace(_FULL, non_reserved_seats=0), 2: some})
        self._section("70014", {0: _FULL, 2: _OPEN, 6: _FULL, 10: _OPEN})  # fills between: told twice
        renamed = replace(_FULL, instructor="Grace Hopper")
        self._section("70022", {0: _FULL, 6: renamed})  # another name is no news
        one_left = replace(_OPEN, seats_available=1)
        self._section("70024", {0: _FULL, 6: one_left})
        gone = replace(_OPEN, non_reserved_seats=0)
        self._section("70026", {0: unreserved, 4: gone, 8: unreserved})  # unreserved seats go and come
        staff = replace(_OPEN, instructor="Staff")
        another = replace(_OPEN, instructor="Grace Hopper")
        self._section("70012", {0: staff, 2: _OPEN, 6: staff, 10: another})  # named twice
        self._scene.resend_faults.add((fault, self._section("70020", opens)))
        self._scene.database_faults[(fault, self._section("70030", opens))] = WATCHER_READ
        self._scene.database_faults[(fault, self._section("70040", opens))] = STATE_READ
        joined = self._section("70050", {0: _FULL, 5: _OPEN})
        self._scene.additions[self._slots[5]].append(Addition(self._student(), joined))
        self._section("70070", {0: _FULL, 12: _OPEN, 14: _FULL})  # while many sections are not found
        self._section("70080", {0: _FULL, 16: _OPEN, 18: _FULL})  # while the scraper is down
        self._scene.outages.add(self._slots[16])
        self._section("70090", {0: _FULL, 26: _OPEN, 28: _FULL})  # while the tick is late
        self._scene.late.add(self._slots[26])
        garbled = self._section("70100", {0: _OPEN})
        self._scene.garbled[(self._slots[8], garbled)] = {"seats_available": "see advisor"}
        self._section("70110", {0: _OPEN, 6: reserved, 8: _OPEN, 10: reserved})  # reserved seats come and go
        self._section("70120", {0: replace(_OPEN, instructor=None), 6: _OPEN})
        self._section("70122", {0: _OPEN, 6: staff, 8: _OPEN})  # unreadable for one look
        watched = self._section("70130", {0: _FULL, 6: _OPEN})
        self._watch(watched, 0, self._student(refuses="disabled"))
        slow = self._section("70140", {0: _FULL, 30: _OPEN})
        self._scene.slow.add((self._slots[30], slow))

    def second_term(self, tape: Sequence[Timeline]) -> None:
        """The same numbers in the term after next, with other classes behind them."""
        second = f"2{int(self._term[1:3]) + 1:02d}1"
        quiet = [one for one in tape if len({values.instructor for values in one.values}) == 1]
        for one in quiet[:_SHARED]:
            values = Values("Grace Hopper", 0, 20), Values("Grace Hopper", 7, 20)
            key = self._section(one.class_nbr, dict(zip((0, 9), values, strict=True)), term=second)
            for refuses in ("muted", "disabled"):
                self._watch(key, 0, self._student(refuses=refuses))
        self._section("70060", {0: _FULL})
        self._section("70060", {0: _OPEN}, term=second)

    def strangers(self) -> None:
        """Sections that nobody needs: of a term that is over, and one whose only watcher wants no mail."""
        self._section("70160", {0: _OPEN}, term=f"2{int(self._term[1:3]) - 1:02d}7")  # last fall
        muted = ("70150", {0: _FULL, 20: _OPEN})
        self._section(*muted, watcher=self._student(refuses="muted"))

    def dead_sections(self) -> None:
        """Many sections, first in the old side's order, that the scraper does not find for one slot."""
        for number in range(DEAD):
            section = self._section(f"{10000 + 2 * number}", {0: _FULL}, since=10)
            self._scene.unseen.add((self._slots[12], section))
            self._scene.leaving[self._slots[14]].append(section)

    def crowd(self) -> None:
        """More sections in one slot than PostgREST gives rows, last in the old side's order; two of them open."""
        students = [self._student() for _ in range(CROWD // MOST_WATCHES)]
        for number in range(CROWD):
            shown = {0: _FULL, 22: _OPEN} if number >= CROWD - 2 else {0: _FULL}
            watcher = students[number // MOST_WATCHES]
            section = self._section(f"{90000 + 2 * number}", shown, watcher=watcher, since=20)
            self._scene.leaving[self._slots[24]].append(section)

    def _section(
        self,
        class_nbr: str,
        shown: Mapping[int, Values],
        *,
        term: str | None = None,
        watcher: Student | None = None,
        since: int = 0,
    ) -> Key:
        """A section that shows these values from these slots on, watched by one student."""
        key = (term or self._term, class_nbr)
        points = [(self._slots[0] + slot * HALF_HOUR_MS, values) for slot, values in shown.items()]
        self._scene.timelines[key] = Timeline(class_nbr, _COURSE, points)
        self._watch(key, since, watcher or self._student())
        return key

    def _watch(self, section: Key, since: int, student: Student) -> None:
        self._scene.joining[self._slots[since]].append((student, section))

    def _student(self, refuses: str | None = None) -> Student:
        self._students += 1
        number = self._students
        user_id = f"00000000-0000-4000-8000-{number:012d}"
        student = Student(user_id, f"script.{number}@students.example.edu", refuses, has_profile=True)
        self._scene.students.append(student)
        return student
