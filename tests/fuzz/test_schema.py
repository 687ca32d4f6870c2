"""
Schemathesis over ``/openapi.json``: bodies that the schema allows and bodies that it forbids, against the whole program
with the simulator behind it. No example may end in a 5xx, and every error has the shape of its family. Bodies that a
route refuses are mended field by field until it takes them, so that odd bodies reach the upstream too.

``GPTMOCK_EXAMPLES`` multiplies how many examples each operation gets; see ``tests/examples.py``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from sanic import Sanic
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from gptmock.dialects.families import ANTHROPIC, BACKEND, OLLAMA, family_of
from gptmock.dialects.table import DIALECTS, DialectRoute
from gptmock.server.app import create_app
from gptmock.server.context import ServerOptions
from gptmock.server.openapi import openapi_document
from tests.examples import examples
from tests.harness import many_apps, server_process, simulator_process, write_login
from tests.playbook import client_of

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(900)]

MOST_STEPS = 8
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]


def _document():
    with many_apps():
        app = create_app(lambda: pytest.fail("opened"), ServerOptions())
        Sanic.unregister_app(app)
    return openapi_document(app.router.routes)


ROUTES = {route.paths[0]: route for route in DIALECTS}
schema = schemathesis.openapi.from_dict(_document()).exclude(
    # The same handlers as below ``/v1``.
    path_regex="^/backend-api/codex/(responses|images|memories|alpha|models)"
)


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("home")
    with simulator_process() as simulator:
        write_login(home, simulator.new_login())
        with (
            server_process(home, simulator.base_url, workers=1) as server,
            httpx.Client(base_url=server.base_url, timeout=30, trust_env=False) as opened,
        ):
            yield opened


@schema.include(path=list(ROUTES)).parametrize()
@settings(max_examples=examples(200), suppress_health_check=list(HealthCheck))
def test_no_example_breaks_a_model_call(case, client):
    _check(case, client)


@schema.exclude(path=list(ROUTES)).parametrize()
@settings(max_examples=examples(50), suppress_health_check=list(HealthCheck))
def test_no_example_breaks_another_operation(case, client):
    """Their bodies are small, or those of a model call."""
    _check(case, client)


def _check(case, client):
    response = case.call(base_url=str(client.base_url), timeout=30)
    case.validate_response(response, checks=CHECKS)
    if response.status_code >= 400 and response.request.method != "HEAD":
        assert_family(case.path, response.content)
    route = ROUTES.get(case.path)
    if route is not None and case.method == route.method and isinstance(case.body, dict):
        _mend(route, dict(case.body), client)


def _mend(route: DialectRoute, body: dict[str, Any], client: httpx.Client) -> None:
    """
    Most made-up bodies are refused for one field. So do as a client would: put a good value in its place, or leave it
    out, until the server takes the rest, however odd. What it then takes, it has to answer.
    """
    good = json.loads(client_of(route).body(stream=bool(body.get("stream"))))
    body = {**body, "model": good["model"]}
    for step in range(MOST_STEPS):
        response = client.post(route.paths[0], content=json.dumps(body))
        if response.status_code == 200:
            return
        assert 400 <= response.status_code < 500, response.text
        error = assert_family(route.paths[0], response.content)
        at_fault = re.match(r"\w*", error.get("param", error["message"]) or "") if isinstance(error, dict) else None
        key = at_fault[0] if at_fault else ""
        if step < MOST_STEPS - 2 and key in body and body[key] != good.get(key):
            body = {**body, key: good.get(key)}
        else:
            body = dict.fromkeys(body) | good
    pytest.fail(f"never accepted: {response.text}")


def assert_family(path: str, body: bytes) -> Any:
    """The error of a body that has the shape of its path's family."""
    document = json.loads(body)
    if family_of(path) is BACKEND and "error" not in document:
        assert set(document) == {"detail"}
        return document["detail"]
    error = document["error"]
    if family_of(path) is OLLAMA:
        assert isinstance(error, str)
    elif family_of(path) is ANTHROPIC:
        assert {"type", "message"} <= set(error) <= {"type", "message", "details"}
    else:
        assert set(error) == {"message", "type", "param", "code"}
    return error
