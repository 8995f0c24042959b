"""Answers: JSON bodies and the two shapes of an error, so that no endpoint invents its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response
from pydantic import BaseModel

from shared.sections.text import json_text
from shared.web.outputs import Detail, Failure, InvalidInput, Refusal

Headers = Mapping[str, str]


class ReplyError(Exception):
    """Raised inside a door to answer at once with an error; `headers` go on the answer."""

    def __init__(self, status: int, body: Failure | Refusal | InvalidInput, headers: Headers | None = None) -> None:
        super().__init__(body.error)
        self.status, self.body, self.headers = status, body.model_dump(), dict(headers or {})


def reply(body: Mapping[str, Any] | BaseModel, status: int = 200, headers: Headers | None = None) -> Response:
    """A JSON answer, kept out of caches: everything here is about this moment or about one person.

    A model of `shared.web.outputs`, which the API's description is made from, says what was set in it.
    """
    if isinstance(body, BaseModel):
        body = body.model_dump(exclude_unset=True)
    return Response(
        json_text(body), status, {"Cache-Control": "no-store", **(headers or {})}, mimetype="application/json"
    )


def failure(error: str, status: int, headers: Headers | None = None) -> ReplyError:
    """An error in the common shape: `{success: false, error}`."""
    return ReplyError(status, Failure(success=False, error=error), headers)


def invalid_input(details: Sequence[tuple[str, str]]) -> ReplyError:
    """400 with every wrong field and what is wrong with it."""
    listed = [Detail(field=field, message=message) for field, message in details]
    return ReplyError(400, InvalidInput(success=False, error="Invalid input", details=listed))


def redirect(address: str) -> Response:
    """302 to `address`."""
    return Response(status=302, headers={"Location": address, "Cache-Control": "no-store"})
