"""What a student does with watches: see them, add one, remove one, look a section up.

Adding runs the same check as everything else, so that a new watch can never hide an opening from those who already
watch (O5): scrape, commit the check, then insert the watch. Earlier watchers are owed their mail by then; the
newcomer, who sees the seats on screen, is not told what is already there.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime

from shared.checks.check import CheckReport, Outcome
from shared.checks.check_now import CheckNow
from shared.database import DatabaseCalls
from shared.sections.section import Facts, Section, known_from_json
from shared.web.outputs import Watch, WatchList


class SectionNotFoundError(Exception):
    """The source does not know the section."""


class WatchLimitError(Exception):
    """The student watches as many sections as allowed: `most`."""

    def __init__(self, most: int) -> None:
        super().__init__(f"Maximum watches limit reached ({most}). Delete some watches to add more.")
        self.most = most


class AlreadyWatchingError(Exception):
    """The student watches this section already."""


@dataclass(frozen=True, slots=True)
class Watches:
    """What students do, with the parts it needs; safe to share between threads. `timeout`: of a look-up, in seconds."""

    database: DatabaseCalls
    check_now: CheckNow
    timeout: float

    def of(self, user_id: str) -> WatchList:
        """The student's watches, newest first, with their sections' states."""
        found = self.database.call("pmc_list_watches", p_user_id=user_id)
        return WatchList(watches=found["watches"], maxWatches=found["max_watches"])

    def add(self, user_id: str, section: Section, *, seen_at: datetime | None = None) -> Watch:
        """Check the section, then insert the watch and return its row; after that earlier watchers are mailed.

        `seen_at`: the look began then, else now. Raises `SectionNotFoundError`, `AlreadyWatchingError`,
        `WatchLimitError`, and what `look_up` raises.
        """
        added: list[Watch] = []

        def insert(report: CheckReport) -> None:
            added.append(self._insert(user_id, section, self._facts(section, report)))

        self.check_now(section, self.timeout, insert, now=seen_at)
        return added[0]

    def remove(self, user_id: str, watch_id: uuid.UUID) -> None:
        """Remove the student's own watch; what is not there, or not theirs, stays as it is."""
        self.database.call("pmc_remove_watch", p_user_id=user_id, p_watch_id=str(watch_id))

    def look_up(self, section: Section) -> Facts:
        """What the source says of the section now. Writes nothing.

        Raises `SectionNotFoundError`; `BreakerOpenError` or `BreakerUnknownError` when the source must not be asked;
        `CheckError` when it did not answer well (O32: there is nothing to show instead).
        """
        facts = self.check_now.checker.look_up(section, self.timeout)
        if facts is None:
            raise SectionNotFoundError
        return facts

    def _facts(self, section: Section, report: CheckReport) -> Facts:
        """What the check says of the section. One that the old side still checks is looked up and left alone."""
        if report.outcome in (Outcome.NOT_FOUND, Outcome.RETIRED):
            raise SectionNotFoundError
        if report.outcome is Outcome.NOT_OWNED:
            return self.look_up(section)
        if report.facts is not None:
            return report.facts
        # Superseded: somebody saw the section after our scrape began, so what is written down is newer.
        answer = self.database.call("pmc_read_section", p_term=section.term, p_class_nbr=section.class_nbr)
        return known_from_json(answer).facts or Facts()

    def _insert(self, user_id: str, section: Section, facts: Facts) -> Watch:
        answer = self.database.call(
            "pmc_add_watch",
            p_user_id=user_id,
            p_term=section.term,
            p_class_nbr=section.class_nbr,
            p_subject=facts.subject or "",
            p_catalog_nbr=facts.catalog_nbr or "",
        )
        if answer["result"] == "limit":
            raise WatchLimitError(answer["max_watches"])
        if answer["result"] == "exists":
            raise AlreadyWatchingError
        return Watch.model_validate(answer["watch"])
