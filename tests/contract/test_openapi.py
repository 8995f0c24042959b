"""/api/openapi.json: true to the routes, and schemathesis finds no answer that it does not tell of."""

import json
import os
import sys
from collections import Counter
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from shared.web.openapi import description
from shared.web.operations import Operation, operations
from shared.web.routes import ROUTES
from tests.contract.test_resend_webhook import event, signed
from tests.support.site import SECRET, SECTIONS, Site, token
from tests.support.world import NOON

REQUESTS = int(os.environ.get("SCHEMATHESIS_REQUESTS", "0"))
"""How many requests to generate in all, other ones each time; 0: the same thousand every time."""

COMBINATIONS = 52
"""Operations with something to vary, by who asks and whether what is sent is right."""

load_all_checks()
CONFORMS = [
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
]
seen: Counter[str] = Counter()


def test_every_route_is_described_and_nothing_else() -> None:
    assert set(description(None)["paths"]) == {route.path for route in ROUTES}


def test_it_is_served_to_anyone(site: Site) -> None:
    answer = site.ask("GET", "/api/openapi.json")
    assert answer.status_code == 200
    document = answer.get_json()
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": site.environment["SITE_URL"]}]


def test_it_is_made_of_the_models_that_validate() -> None:
    document = description(None)
    body = document["paths"]["/api/class-watches"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    model = document["components"]["schemas"][body["$ref"].rpartition("/")[2]]
    assert model["properties"]["class_nbr"]["pattern"] == "^[0-9]{5}$"
    assert model["required"] == ["term", "class_nbr"]


def test_the_sites_cookie_is_described_beside_the_bearer() -> None:
    assert "auth-token" in description(None)["components"]["securitySchemes"]["student"]["description"]


def test_names_of_operations_are_unique() -> None:
    paths = description(None)["paths"].values()
    names = [operation["operationId"] for path in paths for operation in path.values()]
    assert len(names) == len(set(names)) == len(operations())


def test_what_goes_well_answers_200_but_what_is_made_and_what_leads_elsewhere() -> None:
    told = {
        (method, path): [int(code) for code in operation["responses"] if code < "400"]
        for path, operations in description(None)["paths"].items()
        for method, operation in operations.items()
    }
    others = {("post", "/api/class-watches"): [201], ("get", "/go/asu"): [302]}
    assert {key: codes for key, codes in told.items() if codes != [200]} == others
    assert {"200", "500", "503"} <= set(description(None)["paths"]["/api/monitoring/health"]["get"]["responses"])


def test_the_body_of_a_post_is_described_as_json_or_as_anything() -> None:
    json_of_ours = ("/api/class-watches", "/api/fetch-class-details", "/api/queue/process-section")
    posts = {path: told["post"] for path, told in description(None)["paths"].items() if "post" in told}
    assert {path: "".join(post["requestBody"]["content"]) for path, post in posts.items()} == {
        **dict.fromkeys(json_of_ours, "application/json"),
        **dict.fromkeys(("/api/unsubscribe", "/api/webhooks/resend"), "*/*"),
    }


def name(operation: Operation) -> str:
    return f"{operation.method} {operation.path}"


def bearers(site: Site, operation: Operation) -> list[str | None]:
    """Whoever may ask: nobody (with whatever token was made up), a student, the operator."""
    if operation.security == "anyone":
        return [None]
    return [None, token(site.world.add_user()), SECRET]


def make_likely(site: Site, operation: Operation, case: Case, number: int) -> dict[str, str]:
    """Every second time put something in that exists, or hardly any request would get far. Returns more headers."""
    if number % 2:
        return {}
    section = SECTIONS[number % len(SECTIONS)]
    if operation.body:
        case.body = {"term": section.term, "class_nbr": section.class_nbr}
    elif operation.path == "/api/unsubscribe":
        case.query["token"] = site.parts.tokens.issue(site.world.add_user(), NOON)
    elif name(operation) == "DELETE /api/class-watches":
        case.query["id"] = site.world.add_watch(section)
    elif name(operation) == "POST /api/webhooks/resend":
        body = event("bounced", "student@example.edu", bounce={"type": "Permanent"})
        case.body = json.loads(body)
        return {**signed(json.dumps(case.body), f"msg_{number}"), "Content-Type": "application/json"}
    return {}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("operation", operations(), ids=name)
def test_no_request_gets_a_server_error_or_an_undocumented_answer(site: Site, operation: Operation) -> None:
    schema = schemathesis.openapi.from_wsgi("/api/openapi.json", site.client.application)
    described = schema[operation.path][operation.method]
    wanted = CONFORMS if operation.path.endswith("health") else ["not_a_server_error", *CONFORMS]
    checks = CHECKS.get_by_names(wanted)
    known = settings(
        max_examples=max(1, (REQUESTS or 1000) // COMBINATIONS),
        deadline=None,
        database=None,
        derandomize=not REQUESTS,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    def tried(mode: GenerationMode, bearer: str | None) -> Any:
        @known
        @given(described.as_strategy(generation_mode=mode))
        def one(case: Case) -> None:
            seen["requests"] += 1
            headers = make_likely(site, operation, case, seen["requests"])
            if bearer is not None:
                closing = operation.path == "/api/user/delete" and bearer != SECRET
                headers["Authorization"] = f"Bearer {token(site.world.add_user()) if closing else bearer}"
            response = case.call(headers=headers)
            # Health answers 500 by contract while nothing is alive, and no consumer runs here.
            whose = "health" if operation.path.endswith("health") else "status"
            seen[f"{whose} {response.status_code}"] += 1
            case.validate_response(response, checks=checks)

        return one

    for bearer in bearers(site, operation):
        tried(GenerationMode.POSITIVE, bearer)()
        if operation.query or operation.body:
            tried(GenerationMode.NEGATIVE, bearer)()


def test_so_many_were_tried(capsys: pytest.CaptureFixture[str]) -> None:
    """Runs after the others, which count; alone it has nothing to say."""
    if seen["requests"]:
        with capsys.disabled():
            sys.stdout.write(f"\nschemathesis: {dict(sorted(seen.items()))}\n")
