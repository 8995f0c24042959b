"""The API's description, OpenAPI 3.1, built from the table of operations."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from shared.web.operations import Gives, Model, Operation, operations
from shared.web.outputs import Failure

_SCHEMAS = "#/components/schemas/"
_SECURITY: dict[str, list[dict[str, list[str]]]] = {
    "operator": [{"operator": []}],
    "student": [{"student": []}],
    "anyone": [],
    "operator or anyone": [{"operator": []}, {}],
    "operator or local": [{"operator": []}, {}],
}


@lru_cache(maxsize=4)
def description(site_url: str | None) -> dict[str, Any]:
    """The whole document; `site_url` is where the API is served."""
    table = operations()
    paths: dict[str, dict[str, Any]] = {}
    for operation in table:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "PickMyClass",
            "version": "1",
            "description": "Tells students when a seat opens in a class section they watch.",
        },
        "servers": [{"url": site_url or "/"}],
        "paths": paths,
        "components": {
            "schemas": _schemas(table),
            "securitySchemes": {
                "operator": {"type": "http", "scheme": "bearer", "description": "CRON_SECRET"},
                "student": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "A Supabase access token. The site's cookie (sb-<ref>-auth-token, "
                    "whole or in chunks) serves as well, on writes only from the site's own pages.",
                },
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "security": _SECURITY[operation.security],
        "parameters": [*_query(operation.query), *_headers(operation)],
        "responses": {str(status): _answer(gives) for status, gives in sorted(_all_answers(operation).items())},
    }
    if operation.body:
        schema = {"$ref": _SCHEMAS + operation.body.__name__}
        described["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif operation.free_body:
        described["requestBody"] = {"required": False, "content": {"*/*": {"schema": {}}}}
    return described


def _name(operation: Operation) -> str:
    words = operation.path.strip("/").replace(".", "-").replace("/", "-").split("-")
    return operation.method.lower() + "".join(word.capitalize() for word in words)


def _all_answers(operation: Operation) -> dict[int, Gives]:
    """Every path refuses a wrong method; the methods beside this one are described by themselves."""
    wrong = Gives("The path does not know this method.", {"application/json": Failure}, ("Allow",))
    return {**operation.answers, 405: wrong}


def _answer(gives: Gives) -> dict[str, Any]:
    described: dict[str, Any] = {"description": gives.text}
    if gives.headers:
        described["headers"] = {name: {"schema": {"type": "string"}} for name in gives.headers}
    if gives.bodies:
        described["content"] = {media: {"schema": _schema_of(media, model)} for media, model in gives.bodies.items()}
    return described


def _schema_of(media: str, model: Model | None) -> dict[str, Any]:
    if model is None:
        return {} if media == "application/json" else {"type": "string"}
    return {"$ref": _SCHEMAS + model.__name__}


def _query(model: Model | None) -> list[dict[str, Any]]:
    """The parameters of a query model, each with the schema that validates it."""
    if model is None:
        return []
    schema = model.model_json_schema()
    return [
        {
            "name": name,
            "in": "query",
            "required": name in schema.get("required", []),
            "description": field.pop("description", ""),
            "schema": field,
        }
        for name, field in schema["properties"].items()
    ]


def _headers(operation: Operation) -> list[dict[str, Any]]:
    return [{"name": name, "in": "header", "required": False, **said} for name, said in operation.headers.items()]


def _schemas(table: Iterable[Operation]) -> dict[str, Any]:
    """Every model that is referred to, by its name."""
    models: dict[str, type[BaseModel]] = {Failure.__name__: Failure}
    for operation in table:
        found = [operation.body, *(model for gives in operation.answers.values() for model in gives.bodies.values())]
        models |= {model.__name__: model for model in found if model}
    _, schema = models_json_schema(
        [(model, "validation") for model in models.values()], ref_template=_SCHEMAS + "{model}"
    )
    defined: dict[str, Any] = schema["$defs"]
    return defined
