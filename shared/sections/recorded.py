"""A recorded term: the table of changes that a server writes of what it saw, and that a simulated campus plays.

| column | |
|---|---|
| `time_ms` | Unix epoch in ms; a row holds until the next row of its section |
| `section` | the section's number; of longer ones the last five digits count |
| `course` | subject and catalog number: `CSE 110` |
| `code` | empty; other recorders say here which of a course's sections it is |
| `instructor` | `Staff` for nobody |
| `seats_available` | those open to all where the catalog told them, else all open ones |
| `seats_total` | capacity |

It holds nobody's address or watch. What is no event is not in it: five open seats that become seven.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from shared.sections.section import Facts
from shared.sections.text import is_staff

COLUMNS = ("time_ms", "section", "course", "code", "instructor", "seats_available", "seats_total")


@dataclass(frozen=True, slots=True)
class Recorded:
    """A section: what it was like when the term began, and after each event (epoch ms, facts)."""

    class_nbr: str
    before: Facts
    events: tuple[tuple[int, Facts], ...]

    def rows(self, start_ms: int) -> Iterator[tuple[int | str, ...]]:
        """The rows of the tape. Facts without seats or course cannot be told: the row before them stands on."""
        for time_ms, facts in ((start_ms, self.before), *self.events):
            seats = facts.seats_available if facts.non_reserved_seats is None else facts.non_reserved_seats
            if seats is None or not facts.subject or not facts.catalog_nbr:
                continue
            capacity = seats if facts.seats_capacity is None else facts.seats_capacity
            name = "Staff" if is_staff(facts.instructor_name) else facts.instructor_name or ""
            yield (time_ms, self.class_nbr, f"{facts.subject} {facts.catalog_nbr}", "", name, seats, capacity)
