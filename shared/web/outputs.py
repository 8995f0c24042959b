"""What callers get, as models: functions return them, the API's description is made from them, and the contract tests
compare with them.

A row of a table may have more columns than its model tells, and loses none of them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Moment = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""A time as Postgres wrote it, digit by digit."""


class Failure(BaseModel):
    """The operator's endpoints: what went wrong, for a person."""

    success: Literal[False]
    error: str


class Refusal(BaseModel):
    """The students' endpoints: what went wrong, for a person."""

    error: str


class Detail(BaseModel):
    """One wrong field."""

    field: str
    message: str


class InvalidInput(BaseModel):
    """Every wrong field and what is wrong with it."""

    success: Literal[False]
    error: Literal["Invalid input"]
    details: list[Detail]


class Done(BaseModel):
    """It is done."""

    success: Literal[True]


class TickFailed(Failure):
    """Nothing was queued; `duration` in milliseconds."""

    duration: int


class Tick(BaseModel):
    """What a tick queued; `duration` in milliseconds."""

    success: Literal[True]
    sections_enqueued: int
    stagger_group: Literal["even", "odd", "all"]
    duration: int
    already_queued: int
    tick_id: str
    message: str = ""


class LockHeld(Failure):
    """Another run holds the lock."""

    details: str
    current_holder: str | None


class ChangesDetected(BaseModel):
    """What the check saw happen."""

    seat_became_available: bool
    instructor_assigned: bool
    seats_filled: bool


class Checked(BaseModel):
    """How a check went; `processing_time_ms` in milliseconds."""

    success: Literal[True]
    class_nbr: str
    term: str
    changes_detected: ChangesDetected
    emails_sent: int
    emails_queued: int
    first_observation: bool
    processing_time_ms: int
    section_status: Literal["not_found", "retired", "not_owned"] | None = None


class CheckFailed(Failure):
    """The check did not come to its end."""

    processing_time_ms: int


class HealthReport(BaseModel):
    """How it goes: a summary for anyone, details for operators. A probe answers `status`, and when it asks whether all
    is ready, whether `database` and `redis` are."""

    timestamp: Moment | None = None
    status: Literal["healthy", "degraded", "unhealthy", "ok", "ready", "not_ready"]
    checks: dict[str, Any] | None = None
    response_time_ms: int | None = None
    database: bool | None = None
    redis: bool | None = None


class ClassState(BaseModel):
    """What is shown of a section, and when it was last seen (`last_full_at`: full) between the ticks, too."""

    model_config = ConfigDict(extra="allow")

    term: str
    subject: str
    catalog_nbr: str
    class_nbr: str
    title: str | None
    instructor_name: str | None
    seats_available: int | None
    seats_capacity: int | None
    non_reserved_seats: int | None
    location: str | None
    meeting_times: str | None
    last_checked_at: Moment | None
    last_changed_at: Moment | None
    last_seen_at: Moment | None
    last_full_at: Moment | None


class Watch(BaseModel):
    """A watch."""

    model_config = ConfigDict(extra="allow")

    id: str
    user_id: str
    term: str
    subject: str
    catalog_nbr: str
    class_nbr: str
    created_at: Moment | None


class ListedWatch(Watch):
    """A watch with its section."""

    class_state: ClassState | None


class WatchList(BaseModel):
    """A student's watches, newest first."""

    watches: list[ListedWatch]
    maxWatches: int  # noqa: N815 - the site's name for it


class AddedWatch(BaseModel):
    """The new watch."""

    watch: Watch


class ClassDetails(BaseModel):
    """What the university says of a section now; unknown is null."""

    model_config = ConfigDict(from_attributes=True)

    subject: str
    catalog_nbr: str
    title: str | None
    instructor_name: str | None
    seats_available: int | None
    seats_capacity: int | None
    location: str | None
    meeting_times: str | None


class WebhookInfo(BaseModel):
    """What the webhook handles."""

    name: str
    events: list[str]
    status: Literal["configured", "not configured"]


class Phase(BaseModel):
    """One phase of maintenance."""

    status: Literal["done", "to be continued", "failed"]
    rows: int
    error: str | None = None


class MaintenanceRun(BaseModel):
    """How each phase went; `duration_ms` in milliseconds."""

    success: bool
    duration_ms: int
    phases: dict[str, Phase]
    error: str = ""


class Export(BaseModel):
    """Everything that is known about a student, in parts that a person can read."""

    export_info: dict[str, Any]
    user_account: dict[str, Any]
    profile: dict[str, Any] | None
    class_watches: list[ListedWatch]
    notification_history: list[dict[str, Any]]
    summary: dict[str, int]


class Closed(BaseModel):
    """The account is closed, and when it is removed for good."""

    success: Literal[True]
    message: str
    disabled_at: Moment
    permanent_deletion_date: Moment


class LiveWay(BaseModel):
    """The websocket's address, the project's anonymous key, and the student's token with its end (Unix seconds)."""

    url: str
    key: str
    token: str
    expires_at: int | None


class Live(BaseModel):
    """`null` where nothing can be joined."""

    realtime: LiveWay | None
