"""The known differences: for each defect of the old version where it shows, what to expect there, and why.

An unexplained difference fails a comparison; an expected one that does not appear is reported. Reviewed like code:
an entry here says that a difference is wanted.

`decisions`: the kinds of difference in a replay. `answers`: the fields of the cases of `compare http`, with what each
side has there; nothing else in them is explained. `proven`: where the promise is tested, for those that show in
neither.
"""

from __future__ import annotations

from dataclasses import dataclass

from workshop.compare.http.expected import (
    ABSENT,
    LOOKS_AT_MORE,
    NOT_HEARD,
    PRESENT,
    TEXT,
    Expected,
    Shape,
    one_of,
)
from workshop.compare.replay.decisions import (
    EXTRA_EVENT,
    EXTRA_MAIL,
    MISSING_EVENT,
    MISSING_MAIL,
    OTHER_MAIL,
    OTHER_STATE,
)

_LATE = (MISSING_EVENT, EXTRA_EVENT, MISSING_MAIL, EXTRA_MAIL, OTHER_MAIL, OTHER_STATE)
_WRONG_METHOD = "cron-wrong-method|process-section-wrong-method"
_NO_DETAILS = "Failed to fetch class details. Please verify the section number and try again."
_LOOK_UP_MISSING = "fetch-class-details-missing|watches-add-missing"
_MISSING = (
    Expected(_LOOK_UP_MISSING, "status", 500, 404),
    Expected(_LOOK_UP_MISSING, "body.error", _NO_DETAILS, "Class section not found"),
    Expected("process-section-missing", "status", 500, 200),
    Expected("process-section-missing", "body.success", False, True),
    Expected("process-section-missing", "body.error", TEXT, ABSENT),
    Expected("process-section-missing", "body.class_nbr|term", ABSENT, TEXT),
    Expected("process-section-missing", "body.changes_detected", ABSENT, Shape("an object")),
    Expected("process-section-missing", "body.changes_detected.seat_became_available", ABSENT, False),
    Expected("process-section-missing", "body.changes_detected.instructor_assigned|seats_filled", ABSENT, False),
    Expected("process-section-missing", "body.emails_sent|emails_queued", ABSENT, 0),
    Expected("process-section-missing", "body.first_observation", ABSENT, PRESENT),
    Expected("process-section-missing", "body.section_status", ABSENT, one_of("not_found", "retired", "not_owned")),
)
_HEALTH = (
    Expected("health-public|health-operator", "status", 200, LOOKS_AT_MORE, always=False),
    Expected("health-public|health-operator", "body.status", "healthy", LOOKS_AT_MORE, always=False),
    Expected("health-public", "body.checks.circuit_breaker|cron_lock.status", "healthy", NOT_HEARD, always=False),
    Expected("health-public", "body.checks.database.latency_ms|error", PRESENT, ABSENT),
    Expected("health-public", "body.checks.circuit_breaker|cron_lock.type", PRESENT, ABSENT),
    Expected("health-public", "body.checks.circuit_breaker.state|failure_count|success_count", PRESENT, ABSENT),
    Expected("health-public", "body.checks.circuit_breaker.last_failure|last_state_change", PRESENT, ABSENT),
    Expected("health-public", "body.checks.cron_lock.locked|lock_holder|time_held_ms", PRESENT, ABSENT),
    Expected("health-public", "body.checks.cron_lock.lock_acquired_at|expires_at", PRESENT, ABSENT),
    Expected("health-public", "body.checks.configuration.missing_vars", PRESENT, ABSENT),
    Expected("health-public", "body.checks.configuration.missing_vars.*", PRESENT, ABSENT),
    Expected("health-public", "body.checks.email.configured", PRESENT, ABSENT),
)
_ANONYMOUS = "fetch-class-details-anonymous"
_LOOK_UP = "subject|catalog_nbr|title|instructor_name|seats_available|seats_capacity|location|meeting_times"


@dataclass(frozen=True, slots=True)
class Known:
    """One entry. "missing" and "extra" are said of the old side."""

    id: str
    reason: str
    decisions: tuple[str, ...] = ()
    answers: tuple[Expected, ...] = ()
    proven: str = ""

    @property
    def http(self) -> tuple[str, ...]:
        """Where and how it shows over HTTP, in words."""
        return tuple(str(one) for one in self.answers)


KNOWN = (
    Known("O1", "an expired claim is taken over, so that a later opening is told again", (MISSING_MAIL,)),
    Known("O2", "mail that Resend did not take stays owed", (MISSING_MAIL,)),
    Known("O3", "state and mail move together, so that a failed query loses neither", (MISSING_MAIL,)),
    Known("O4", "a failed read is an error, never first sight", (MISSING_EVENT, MISSING_MAIL, OTHER_STATE)),
    Known("O5", "adding a watch is a check like any other", (MISSING_EVENT, MISSING_MAIL)),
    Known("O6", "what is known is kept per term and number", _LATE),
    Known("O7", "a section that is not found is an answer, not a failure of the scraper", _LATE, _MISSING),
    Known("O8", "while the breaker is open checks wait instead of being lost", _LATE),
    Known("O9", "waiting and running checks are not queued twice", proven="tests/integration/test_queue_delivery.py"),
    Known("O10", "documentation and freshness tell the truth", proven="tests/contract/test_health.py"),
    Known("O11", "the webhook verifies what Resend sends", proven="tests/contract/test_resend_webhook.py"),
    Known(
        "O12",
        "a GET shows a page and changes nothing",
        answers=(Expected("unsubscribe-get", "body", Shape("a page"), Shape("a page that asks")),),
        proven="tests/contract/test_unsubscribe.py",
    ),
    Known("O13", "secrets are compared in constant time", proven="tests/unit/test_doors.py"),
    Known("O14", "the due sections come as one value, which no row limit cuts", _LATE),
    Known(
        "O15", "watchers are claimed as a set in one transaction", proven="tests/integration/test_database_commit.py"
    ),
    Known("O16", "sections of past terms and without anyone to tell are left alone", (OTHER_STATE, EXTRA_EVENT)),
    Known("O17", "health looks at more, tells it to operators, and little to others", answers=_HEALTH),
    Known("O18", "the old version had no tests", proven="tests/"),
    Known("O19", "one bad address fails alone", proven="tests/integration/test_mail_faults.py"),
    Known("O20", "addresses are not logged; ids join the lines", proven="tests/integration/test_logs_story.py"),
    Known("O21", "the breaker counts atomically", proven="tests/integration/test_queue_breaker.py"),
    Known("O22", "one probe at a time tries a recovering scraper", proven="tests/integration/test_queue_breaker.py"),
    Known("O23", "an open breaker always knows since when", proven="tests/unit/test_breaker_states.py"),
    Known("O24", "late failures do not prolong an outage", proven="tests/unit/test_breaker_states.py"),
    Known("O25", "an unreadable breaker lets nobody through", proven="tests/integration/test_queue_outage.py"),
    Known("O26", "a lost lock store is said to be lost", proven="tests/contract/test_cron_tick.py"),
    Known("O27", "a call over HTTP asks for the lock once", proven="tests/contract/test_cron_tick.py"),
    Known("O28", "a late tick checks the half that it was meant for", _LATE),
    Known("O29", "seats that cannot be read are unknown, not 0", _LATE),
    Known("O30", "like is compared with like when reserved seats come and go", _LATE),
    Known("O31", "the limit holds for two posts at once", proven="tests/contract/test_class_watches.py"),
    Known("O32", "a failed look-up is an error, not made-up data", proven="tests/contract/test_fetch_class_details.py"),
    Known("O33", "links are signed with a secret of their own", proven="tests/unit/test_emails_tokens.py"),
    Known(
        "O34",
        "no name, Staff and their like mean nobody yet, and a name that comes back after them is no news",
        (MISSING_EVENT, MISSING_MAIL, EXTRA_EVENT, EXTRA_MAIL),
    ),
    Known("O35", "a disabled account gets no mail", (EXTRA_MAIL,)),
    Known("O36", "an unknown half is refused", proven="tests/contract/test_cron_tick.py"),
    Known("O37", "nobody but the service asks who watches", proven="tests/integration/test_database_rules.py"),
    Known("O38", "privileged columns of a profile are guarded", proven="tests/integration/test_database_rules.py"),
    Known("O39", "the limit holds for inserts over PostgREST", proven="tests/integration/test_database_rules.py"),
    Known(
        "O40",
        "a look-up needs a student",
        answers=(
            Expected(_ANONYMOUS, "status", 200, 401),
            Expected(_ANONYMOUS, f"body.{_LOOK_UP}", PRESENT, ABSENT),
            Expected(_ANONYMOUS, "body.error", ABSENT, "Unauthorized"),
        ),
    ),
    Known("O41", "an older observation does not overwrite a newer one", _LATE),
)
ADDED = (
    Known(
        "N1",
        "a wrong method is told so in JSON, with those that are right",
        answers=(
            Expected(_WRONG_METHOD, "body", Shape("nothing"), Shape("an object")),
            Expected(_WRONG_METHOD, "body.success", ABSENT, False),
            Expected(_WRONG_METHOD, "body.error", ABSENT, "Method not allowed"),
            Expected(_WRONG_METHOD, "header content-type", ABSENT, "application/json"),
            Expected("cron-wrong-method", "header allow", ABSENT, "GET, HEAD"),
            Expected("process-section-wrong-method", "header allow", ABSENT, "POST"),
        ),
    ),
    Known(
        "N2",
        "what cannot be a section is refused before the scraper is asked",
        answers=(
            Expected("process-section-bad-number", "status", 500, 400),
            Expected("process-section-bad-number", "body.error", TEXT, "Invalid input"),
            Expected("process-section-bad-number", "body.processing_time_ms", PRESENT, ABSENT),
            Expected("process-section-bad-number", "body.details", ABSENT, Shape("present")),
        ),
    ),
)
"""No defects of the old version, but contracts that it did not have."""

BY_ID = {known.id: known for known in (*KNOWN, *ADDED)}
IN_DECISIONS = tuple(known.id for known in KNOWN if known.decisions)
