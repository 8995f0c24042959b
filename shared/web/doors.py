"""The frame of every function: method, size, request id, and errors that give nothing away.

    @functions_framework.http
    @door("GET")
    def health(request): ...

Inside, a function reads the request, calls one flow and answers; anything it raises becomes JSON here.
"""

from __future__ import annotations

import io
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from flask import Request, Response
from gunicorn.http.errors import ParseException
from pydantic import BaseModel, ValidationError
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from shared.database import DatabaseError
from shared.logs import bind
from shared.sections.text import is_clean
from shared.settings import SettingsError
from shared.web.replies import ReplyError, failure, invalid_input, reply

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 64 * 1024
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Function = Callable[[Request], Response]
Form = Callable[[Mapping[str, Any], int, Mapping[str, str] | None], Response]
"""How an error is told: its body, status and headers; JSON unless a page says it in its own way."""
Body = TypeVar("Body", bound=BaseModel)


def door(*methods: str, tell: Form = reply) -> Callable[[Function], Function]:
    """Wrap a function: only `methods` (HEAD counts as GET), at most 64 KB of body, an id on every answer.

    What goes wrong is told by `tell`.
    """
    allowed = sorted({*methods, *(["HEAD"] if "GET" in methods else [])})

    def wrap(function: Function) -> Function:
        @wraps(function)
        def answer(request: Request) -> Response:
            request_id = _request_id(request)
            with bind(request_id=request_id):
                response = _answer(function, request, allowed, tell)
            response.headers["X-Request-Id"] = request_id
            return response

        return answer

    return wrap


def read_json(request: Request, model: type[Body]) -> Body:
    """The request's body as a `model`. Raises the 400 answer naming every wrong field.

    A missing content type passes, a different one does not: it says that the body is something else.
    """
    if request.mimetype and request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise invalid_input([("Content-Type", "must be application/json")])
    try:
        return _clean(model.model_validate_json(request.get_data()))
    except ValidationError as error:
        raise invalid_input(_details(error)) from None


def read_query(request: Request, model: type[Body]) -> Body:
    """The query parameters as a `model`; raises like `read_json`."""
    try:
        return model.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid_input(_details(error)) from None


def _clean(body: Body) -> Body:
    """The body, unless a text in it is none that can be stored: raises the 400 answer naming the fields."""
    odd = [name for name, value in body if isinstance(value, str) and not is_clean(value)]
    if odd:
        raise invalid_input([(name, "holds characters that are no text") for name in odd])
    return body


def _answer(function: Function, request: Request, allowed: list[str], tell: Form) -> Response:
    try:
        if request.method not in allowed:
            raise failure("Method not allowed", 405, {"Allow": ", ".join(allowed)})
        _read_body(request)
        return function(request)
    except ReplyError as error:
        told = error
    except RequestEntityTooLarge:
        _forget_body(request)
        told = failure(f"Body larger than {MAX_BODY_BYTES} bytes", 413)
    except SettingsError as error:
        log.error("settings are wrong", extra={"problems": [str(problem) for problem in error.problems]})
        told = failure("Server configuration error", 500)
    except DatabaseError as error:
        log.error("database failed", extra={"error": str(error)})
        told = failure("The database does not answer right now. Please try again in a minute.", 500)
    except Exception:
        log.exception("unhandled error")
        told = failure("Internal error", 500)
    return tell(told.body, told.status, told.headers)


def _read_body(request: Request) -> None:
    """Read the body now, so that one that is too large is refused whatever the function does with it.

    Werkzeug cuts a body of unknown length at its limit without a word; one byte more shows that it was cut.
    """
    request.max_content_length = MAX_BODY_BYTES + 1
    try:
        length = len(request.get_data())
    except (ParseException, OSError, ClientDisconnected) as error:
        _forget_body(request)
        log.info("a body could not be read", extra={"error": type(error).__name__})
        raise failure("The body is not well-formed", 400, {"Connection": "close"}) from None
    if length > MAX_BODY_BYTES:
        raise RequestEntityTooLarge


def _forget_body(request: Request) -> None:
    """The framework reads the body once more after us, and would fail at the same place."""
    request.__dict__["stream"] = io.BytesIO()


def _request_id(request: Request) -> str:
    given = request.headers.get("X-Request-Id", "")
    return given if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def _details(error: ValidationError) -> list[tuple[str, str]]:
    problems = error.errors(include_input=False, include_url=False)
    return [(".".join(str(part) for part in problem["loc"]) or "body", problem["msg"]) for problem in problems]
