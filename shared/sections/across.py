"""Like with like across sources: a baseline that one source told is compared with what another one says.

Sources count and write differently: what differs because another one speaks is no news.
"""

from __future__ import annotations

from dataclasses import replace

from shared.sections.section import Facts


def as_the_other_would_tell(before: Facts, seen: Facts) -> Facts:
    """What one source told, as far as it can be compared with what another one says in `seen`.

    Seats are compared on all that are free, so the unreserved ones count as unknown. An instructor is news only where
    the old source said that nobody was named ("Staff"): a name stands against a name that is written differently, and
    where it said nothing at all it may not have known.
    """
    said_nobody = before.instructor_name is not None and before.instructor_name.strip().casefold() == "staff"
    instructor = before.instructor_name if said_nobody else seen.instructor_name
    return replace(before, non_reserved_seats=None, instructor_name=instructor)
