"""What every route takes and gives, made of the models that the functions validate with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from pydantic import BaseModel

from shared.web import inputs, outputs

Model = type[BaseModel]
Security = Literal["operator", "student", "anyone", "operator or anyone", "operator or local"]
HTML = "text/html"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Gives:
    """One answer: in words, and its body's models by media type (none: no body)."""

    text: str
    bodies: Mapping[str, Model | None] = field(default_factory=dict)
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path."""

    path: str
    method: str
    summary: str
    security: Security
    answers: Mapping[int, Gives]
    query: Model | None = None
    body: Model | None = None
    free_body: bool = False
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def _json(text: str, model: Model, *headers: str) -> Gives:
    return Gives(text, {JSON: model}, headers)


def _page_or_json(text: str, model: Model) -> Gives:
    return Gives(text, {JSON: model, HTML: None})


_INVALID = _json("Something that was sent is wrong.", outputs.InvalidInput)
_TOO_LARGE = _json("The body is larger than 64 KB.", outputs.Failure)
_BROKEN = _json("Something here failed; nothing is half-written.", outputs.Failure)
_NOT_OPERATOR = _json("No or a wrong operator's token.", outputs.Failure, "WWW-Authenticate")
_NOBODY = _json("No active account has this token.", outputs.Refusal, "WWW-Authenticate")
_CLOSED = _json("The scraper must not be asked now.", outputs.Refusal, "Retry-After")
_UNVERIFIED = _json("The sign-in service does not answer.", outputs.Refusal, "Retry-After")
_NO_SECTION = _json("The university does not know the section.", outputs.Refusal)
_FAILED = _json("The look-up failed; there is nothing to show instead.", outputs.Refusal)
_OPERATOR = {401: _NOT_OPERATOR, 413: _TOO_LARGE, 500: _BROKEN}
_STUDENT = {
    401: _NOBODY,
    413: _TOO_LARGE,
    429: _json("Too many requests.", outputs.Refusal, "Retry-After"),
    500: _FAILED,
    503: _UNVERIFIED,
}
_ANYONE = {413: _TOO_LARGE, 500: _BROKEN}


def operations() -> list[Operation]:
    """Every operation, in the order of the routes."""
    return [*_clockwork(), *_students(), *_mail(), *_others()]


def _model(function: str, name: str) -> Model:
    """A model that only one function reads stands beside it."""
    model: Model = getattr(import_module(f"functions.{function}.main"), name)
    return model


def _clockwork() -> list[Operation]:
    scheduled = {"type": "string", "pattern": "^[0-9]{1,15}$"}
    health = {
        status: Gives(text, {JSON: outputs.HealthReport, HTML: None})
        for status, text in ((200, "Healthy."), (503, "Degraded, or not ready."), (500, "Unhealthy."))
    }
    return [
        Operation(
            "/api/cron",
            "GET",
            "Queue the sections that are due now",
            "operator",
            {
                200: _json("Queued.", outputs.Tick),
                400: _INVALID,
                409: _json("Another run holds the lock.", outputs.LockHeld),
                503: _json("The lock's store does not answer.", outputs.TickFailed, "Retry-After"),
                **_OPERATOR,
                500: _json("A store failed; nothing is lost.", outputs.Failure),
            },
            query=_model("cron_tick", "Query"),
            headers={"X-Cron-Scheduled-Time": {"schema": scheduled, "description": "Epoch ms of the tick's time."}},
        ),
        Operation(
            "/api/queue/process-section",
            "POST",
            "Check one section now",
            "operator",
            {
                200: _json("Checked.", outputs.Checked),
                400: _INVALID,
                503: _json("The scraper must not be asked now.", outputs.Failure, "Retry-After"),
                **_OPERATOR,
                500: _json("The check did not come to its end.", outputs.CheckFailed),
            },
            body=_model("process_section", "Body"),
        ),
        Operation(
            "/api/monitoring/health",
            "GET",
            "How it goes",
            "operator or anyone",
            {400: _INVALID, 413: _TOO_LARGE, **health},
            query=_model("health", "Query"),
        ),
        Operation(
            "/api/cron/maintenance",
            "GET",
            "Remove what has expired, is over, or was kept long enough",
            "operator",
            {200: _json("How each phase went.", outputs.MaintenanceRun), **_OPERATOR},
        ),
    ]


def _students() -> list[Operation]:
    watches = "/api/class-watches"
    return [
        Operation(
            watches,
            "GET",
            "List watches, newest first",
            "student",
            {200: _json("The watches.", outputs.WatchList), **_STUDENT},
        ),
        Operation(
            watches,
            "POST",
            "Add a watch",
            "student",
            {
                201: _json("Added.", outputs.AddedWatch),
                400: _INVALID,
                404: _NO_SECTION,
                409: _json("Watched already.", outputs.Refusal),
                **_STUDENT,
                429: _json("No room for another watch, or too many requests.", outputs.Refusal),
                503: _CLOSED,
            },
            body=inputs.SectionBody,
        ),
        Operation(
            watches,
            "DELETE",
            "Remove a watch",
            "student",
            {200: _json("Removed, or was not there.", outputs.Done), 400: _INVALID, **_STUDENT},
            query=inputs.WatchQuery,
        ),
        Operation(
            "/api/fetch-class-details",
            "POST",
            "Look a section up",
            "student",
            {
                200: _json("What the university says now.", outputs.ClassDetails),
                400: _INVALID,
                404: _NO_SECTION,
                **_STUDENT,
                503: _CLOSED,
            },
            body=inputs.SectionBody,
        ),
        Operation(
            "/api/user/export",
            "GET",
            "Take all data along",
            "student",
            {200: _json("A file with everything.", outputs.Export, "Content-Disposition"), **_STUDENT},
        ),
        Operation(
            "/api/user/delete",
            "DELETE",
            "Close the account",
            "student",
            {200: _json("Closed.", outputs.Closed), **_STUDENT},
        ),
        Operation(
            "/api/live",
            "GET",
            "How a page of the student's joins the project's Realtime",
            "student",
            {200: _json("Where and with what.", outputs.Live), **_STUDENT},
        ),
    ]


def _mail() -> list[Operation]:
    unsubscribe, webhook = "/api/unsubscribe", "/api/webhooks/resend"
    return [
        Operation(
            unsubscribe,
            "GET",
            "Ask whether to unsubscribe; changes nothing",
            "anyone",
            {200: Gives("The question.", {HTML: None}), 400: Gives("The link is of no use.", {HTML: None}), **_ANYONE},
            query=inputs.TokenQuery,
        ),
        Operation(
            unsubscribe,
            "POST",
            "Unsubscribe, with one click (RFC 8058)",
            "anyone",
            {
                **_ANYONE,
                200: _page_or_json("Unsubscribed.", outputs.Done),
                400: _page_or_json("The link is of no use.", outputs.Failure),
                500: _page_or_json("It did not work; try again.", outputs.Failure),
            },
            query=inputs.TokenQuery,
            free_body=True,
        ),
        Operation(
            webhook,
            "GET",
            "What the webhook handles",
            "anyone",
            {200: _json("Its events.", outputs.WebhookInfo), **_ANYONE},
        ),
        Operation(
            webhook,
            "POST",
            "What became of a mail, signed by the Svix scheme",
            "anyone",
            {
                200: _json("Handled or ignored.", outputs.Done),
                401: _json("The signature is wrong, missing or old.", outputs.Failure),
                **_ANYONE,
            },
            free_body=True,
            headers={
                name: {"schema": {"type": "string"}, "description": "By the Svix scheme."}
                for name in ("svix-id", "svix-timestamp", "svix-signature")
            },
        ),
    ]


def _others() -> list[Operation]:
    return [
        Operation(
            "/go/asu",
            "GET",
            "To the university's page of a section",
            "anyone",
            {302: Gives("To the catalog.", {}, ("Location",)), 400: _INVALID, **_ANYONE},
            query=inputs.GoQuery,
        ),
        Operation(
            "/metrics",
            "GET",
            "Figures for Prometheus",
            "operator or local",
            {200: Gives("The figures.", {"text/plain": None}), **_OPERATOR},
        ),
        Operation(
            "/api/openapi.json",
            "GET",
            "This description",
            "anyone",
            {200: Gives("OpenAPI 3.1.", {JSON: None}), **_ANYONE},
        ),
    ]
