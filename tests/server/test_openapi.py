from __future__ import annotations

import json
import re

import httpx
import pytest
from sanic import HTTPResponse, Request, Sanic

from gptmock.dialects.bodies import Body
from gptmock.dialects.families import family_of
from gptmock.dialects.table import DIALECTS
from gptmock.server.app import create_app
from gptmock.server.context import App, ServerOptions
from gptmock.server.openapi import openapi_document
from tests.harness import many_apps

routes = pytest.mark.parametrize("route", DIALECTS, ids=lambda route: route.name)


@pytest.fixture(scope="module")
def app() -> App:
    with many_apps():
        made = create_app(lambda: pytest.fail("opened"), ServerOptions())
        Sanic.unregister_app(made)
        return made


@pytest.fixture(scope="module")
def document(app):
    return openapi_document(app.router.routes)


def references(value):
    if isinstance(value, dict):
        yield from (child for key, child in value.items() if key == "$ref")
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from references(child)


async def test_the_server_gives_the_document_that_its_routes_make(client: httpx.AsyncClient, document):
    response = await client.get("/openapi.json")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == json.loads(json.dumps(document))


def test_every_route_is_in_the_document_and_nothing_else(app, document):
    listed = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    served = {
        (method, "/" + re.sub(r"<(\w+)[^>]*>", r"{\1}", route.path))
        for route in app.router.routes
        for method in route.methods
    }
    without_prefix = {(method, path) for method, path in served if (method, f"/v1{path}") in served}
    implied = {(method, path) for method, path in served if method == "HEAD" and ("GET", path) in served}
    assert listed == served - without_prefix - implied


async def test_whatever_is_listed_is_served(client: httpx.AsyncClient, document):
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            # An id that exists nowhere may be a 404 of its own, but never one of the router.
            if "101" in item[method]["responses"]:
                # A WebSocket.
                continue
            response = await client.request(method, re.sub(r"\{\w+\}", "some-id", path))
            assert response.status_code != 405
            assert "unknown_url" not in response.text


def test_every_reference_leads_somewhere(document):
    found = set(references(document))
    assert found
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_operations_have_names_of_their_own(document):
    names = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))


@routes
def test_every_route_tells_its_body(route):
    assert route.body is not None, f"Add the pydantic model of the body to the row '{route.name}' of DIALECTS."
    assert issubclass(route.body, Body)


@routes
def test_a_route_is_described_by_the_model_that_reads_it(route, document):
    operation = document["paths"][route.paths[0]][route.method.lower()]
    (reference,) = references(operation["requestBody"])
    schema = document["components"]["schemas"][reference.rpartition("/")[2]]
    assert set(schema["properties"]) == {field.alias or name for name, field in route.body.model_fields.items()}
    assert set(operation["responses"]["200"]["content"]) == {
        "application/json",
        route.dialect.content_type.partition(";")[0],
    }


def test_errors_are_described_in_the_shape_of_their_family(document):
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters", "head"}:
            for status in ("4XX", "5XX"):
                (reference,) = references(item[method]["responses"][status]["content"])
                assert reference.endswith(f"/{family_of(path).name}Error")


def test_later_routes_appear_by_themselves():
    class Order(Body):
        amount: int

    async def handle(_: Request, thing: str) -> HTTPResponse:
        return HTTPResponse(thing)

    with many_apps():
        made = Sanic("later")
        made.add_route(handle, "/v1/things/<thing:path>", methods=["GET", "HEAD"], name="thing_0")
        made.add_route(handle, "/things/<thing:path>", methods=["GET", "HEAD"], name="thing_1")
        made.add_route(handle, "/v1/things/<thing:path>", methods=["DELETE"], name="gone")
        made.add_route(handle, "/api/orders/<thing>", methods=["POST", "DELETE"], name="order", ctx_body=Order)
        Sanic.unregister_app(made)
    paths = openapi_document(made.router.routes)["paths"]
    assert {path: item.keys() - {"parameters"} for path, item in paths.items()} == {
        "/v1/things/{thing}": {"get", "delete"},
        "/api/orders/{thing}": {"post", "delete"},
    }
    assert paths["/v1/things/{thing}"]["parameters"][0]["name"] == "thing"
    assert paths["/api/orders/{thing}"]["delete"].get("requestBody") is None
    (reference,) = references(paths["/api/orders/{thing}"]["post"]["requestBody"])
    assert reference.endswith("/Order")
