"""Like with like across sources: a baseline that one source told is compared with what another one says.

Sources count and write differently: what differs because another one speaks is no news.
"""

from __future__ import annotations

from dataclasses import replace

from shared.sections.section import Facts


def as_the_other_would_tell(before: Facts) -> Facts:
    """What one source told of the seats, as far as it can be compared: on all that are free, so the unreserved ones
    count as unknown."""
    return replace(before, non_reserved_seats=None)


def is_news_across(before: Facts, assigned: bool) -> bool:
    """Whether another source's word on the instructor is news: only of an assignment, and only where the old source
    said that nobody was named. A name stands against a name that is written differently, and where the old source
    said nothing at all it may not have known.
    """
    return assigned and before.instructor_name is not None
