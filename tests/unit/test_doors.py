"""The frame of every function: methods, sizes, ids, and errors that give nothing away."""

import io

import pytest
from flask import Request, Response
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize
from pydantic import BaseModel
from werkzeug.test import EnvironBuilder

from shared.settings import Problem, SettingsError, load
from shared.web.auth import is_operator, require_operator
from shared.web.doors import MAX_BODY_BYTES, door, read_json
from shared.web.replies import ReplyError, reply


class Body(BaseModel):
    number: int
    name: str


@door("POST")
def echo(request: Request) -> Response:
    return reply({"read": read_json(request, Body).model_dump()})


@door("GET")
def hello(request: Request) -> Response:
    return reply({"hello": "there"})


def request(method: str = "GET", **words) -> Request:
    return Request(EnvironBuilder(method=method, **words).get_environ())


def post(data: bytes | str, **headers: str) -> Response:
    return echo(request("POST", data=data, headers={"Content-Type": "application/json", **headers}))


@pytest.mark.parametrize("odd", ["\\u0000", "\\ud83c"], ids=["nul", "half a character"])
def test_a_text_that_cannot_be_stored_is_refused_by_its_field(odd: str) -> None:
    answer = post('{"number": 1, "name": "Ada' + odd + '"}')
    assert (answer.status_code, answer.get_json()["error"]) == (400, "Invalid input")
    assert [detail["field"] for detail in answer.get_json()["details"]] in (["name"], ["body"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_a_wrong_method_gets_405_with_the_allowed_ones(method: str) -> None:
    answer = hello(request(method))
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert answer.get_json() == {"success": False, "error": "Method not allowed"}


def test_head_is_answered_like_get() -> None:
    assert hello(request("HEAD")).status_code == 200


def test_a_body_over_64_kb_gets_413() -> None:
    assert post(b"x" * (MAX_BODY_BYTES + 1)).status_code == 413


def test_a_body_over_64_kb_gets_413_also_without_a_length() -> None:
    environ = EnvironBuilder(method="POST", content_type="application/json").get_environ()
    environ |= {"wsgi.input": io.BytesIO(b"x" * (MAX_BODY_BYTES + 1)), "wsgi.input_terminated": True}
    environ.pop("CONTENT_LENGTH", None)
    assert echo(Request(environ)).status_code == 413


@pytest.mark.parametrize("data", ["", "{", "[]", "null", '"x"', "\x00", '{"number": NaN, "name": "a"}'])
def test_malformed_json_gets_400_in_the_common_shape(data: str) -> None:
    answer = post(data)
    assert answer.status_code == 400
    body = answer.get_json()
    assert (body["success"], body["error"]) == (False, "Invalid input")
    assert all(set(detail) == {"field", "message"} for detail in body["details"])


def test_every_wrong_field_is_named() -> None:
    details = post('{"number": "x", "name": 3}').get_json()["details"]
    assert {detail["field"] for detail in details} == {"number", "name"}


def test_another_content_type_is_refused_and_none_is_accepted() -> None:
    good = '{"number": 1, "name": "a"}'
    assert post(good, **{"Content-Type": "text/plain"}).status_code == 400
    assert echo(request("POST", data=good)).status_code == 200


@pytest.mark.parametrize(("sent", "kept"), [("abc-123.X_y", True), ("a b", False), ("a\tb", False), ("x" * 65, False)])
def test_a_sane_request_id_is_echoed_another_is_replaced(sent: str, kept: bool) -> None:
    answer = hello(request(headers={"X-Request-Id": sent}))
    assert (answer.headers["X-Request-Id"] == sent) is kept


def test_errors_have_a_request_id_too() -> None:
    assert len(hello(request("PUT")).headers["X-Request-Id"]) == 32


def test_an_unexpected_error_gives_nothing_away() -> None:
    @door("GET")
    def broken(_request: Request) -> Response:
        raise RuntimeError("password=hunter2 at db.internal")

    answer = broken(request())
    assert answer.status_code == 500
    assert answer.get_json() == {"success": False, "error": "Internal error"}


def test_wrong_settings_are_a_configuration_error() -> None:
    @door("GET")
    def unconfigured(_request: Request) -> Response:
        raise SettingsError([Problem("PORT", "must be a number")])

    answer = unconfigured(request())
    assert (answer.status_code, answer.get_json()["error"]) == (500, "Server configuration error")


@pytest.mark.parametrize(
    ("header", "welcome"),
    [
        ("Bearer new", True),
        ("bearer old", True),
        ("BEARER  new ", True),
        ("Bearer new,old", False),
        ("Bearer", False),
        ("Bearer ", False),
        ("Basic new", False),
        ("new", False),
        ("", False),
        ("Bearer n\u00e9w", False),
    ],
)
def test_the_operator_is_whoever_holds_one_of_the_two_secrets(header: str, welcome: bool) -> None:
    # O13, and rotation: both secrets open the door while they are being exchanged.
    assert is_operator(request(headers={"Authorization": header}), "new, old") is welcome


def test_a_secret_beyond_ascii_is_compared_byte_by_byte() -> None:
    as_sent = "gr\u00fcn".encode().decode("latin-1")  # how WSGI hands on the bytes of a header
    assert is_operator(request(headers={"Authorization": f"Bearer {as_sent}"}), "gr\u00fcn")
    assert not is_operator(request(headers={"Authorization": "Bearer gr\u00fcn"}), "gr\u00fcn")  # latin-1 on the wire


def test_no_secret_configured_is_our_fault_not_the_callers() -> None:
    with pytest.raises(ReplyError) as caught:
        require_operator(request(headers={"Authorization": "Bearer "}), load({}, None))
    assert caught.value.status == 500


def test_a_text_that_cannot_be_encoded_still_leaves_as_json_with_an_id() -> None:
    @door("GET")
    def odd(request: Request) -> Response:
        return reply({"title": "half a letter: \ud83c, a control: \x9b"})

    answer = odd(request())
    assert answer.get_json() == {"title": "half a letter: \ud83c, a control: \x9b"}
    assert answer.headers["X-Request-Id"]


class _Cut(io.BytesIO):
    """A body that is not what its sender announced."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        raise self.error


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), ChunkMissingTerminator(b""), ConnectionResetError()])
def test_a_body_that_cannot_be_read_is_the_callers_mistake(error: Exception) -> None:
    environ = EnvironBuilder(method="POST").get_environ() | {"wsgi.input": _Cut(error), "wsgi.input_terminated": True}
    asked = Request(environ)
    answer = echo(asked)
    assert (answer.status_code, answer.get_json()["success"]) == (400, False)
    assert asked.get_data() == b""  # the framework looks once more
