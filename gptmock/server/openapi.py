"""
``/openapi.json``, generated: paths and methods from the router, request schemas from the pydantic models, error schemas
from the dialect families.

``HEAD`` is not listed besides ``GET``, nor are the paths without ``/v1`` that also exist with it.
Source: OpenAPI 3.1; pydantic ``models_json_schema``, which keeps nested models in one place.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from functools import cache
from operator import itemgetter
from typing import Any, Protocol

import msgspec
import pydantic
from pydantic.json_schema import models_json_schema
from sanic import HTTPResponse, Request

from gptmock import __version__
from gptmock.dialects.families import BACKEND, BACKEND_PREFIX, FAMILIES, OPENAI, Family, family_of
from gptmock.dialects.table import DialectRoute
from gptmock.server.context import App
from gptmock.server.multipart import FORM_TYPE

OPENAPI_PATH = "/openapi.json"
_PARAMETER = re.compile(r"<(?P<name>\w+)(?::[^>]*)?>")
_LISTED = ("GET", "POST", "PUT", "PATCH", "DELETE")
_BACKEND_NAME = "backend_"
_CODEX_PREFIX = f"{BACKEND_PREFIX}codex/"
_REF = "#/components/schemas/{model}"
_DESCRIPTION = (
    "The OpenAI, Anthropic and Ollama APIs for a ChatGPT account. Paths under /v1 are served without /v1 too, doubled "
    "and trailing slashes are forgiven, GET routes answer HEAD. Keys of a body that are not listed are ignored; they "
    "and parameters that have no effect are named in the header x-gptmock-ignored."
)

Json = dict[str, Any]


class Route(Protocol):
    """
    The attributes of a Sanic route that are read here. ``ctx`` may hold ``dialect_route`` (of a model call), ``body``
    (the pydantic model of the request body), ``bodiless`` (it has none), ``success_status`` (if it is not 200),
    ``upgrades`` (it is a WebSocket) and ``own_statuses`` (error statuses whose bodies are not the family's).
    """

    name: str
    path: str
    methods: frozenset[str]
    ctx: Any


def add_openapi_route(app: App, *, base_path: str) -> None:
    """
    Add the route. The document is generated for the first request, aside from the event loop: most workers are never
    asked, and the schemas of all bodies take longer than the rest of a worker's start.

    Args:
        app: has all other routes when it starts.
        base_path: the prefix that clients put before the paths; empty for none.
    """

    @cache
    def body() -> bytes:
        servers = {"servers": [{"url": base_path}]} if base_path else {}
        return msgspec.json.encode({**openapi_document(app.router.routes), **servers})

    async def openapi(_: Request) -> HTTPResponse:
        return HTTPResponse(await asyncio.to_thread(body), content_type="application/json")

    app.add_route(openapi, OPENAPI_PATH, methods=["GET", "HEAD"], name="openapi")


def openapi_document(routes: Iterable[Route]) -> Json:
    """The OpenAPI 3.1 document for these routes."""
    served = [(_path(route), route) for route in routes]
    paths = {path for path, _ in served}
    listed = [(path, route) for path, route in sorted(served, key=itemgetter(0)) if f"/v1{path}" not in paths]
    models = dict.fromkeys(model for _, route in listed if (model := _body_of(route)) is not None)
    refs, schemas = _schemas(tuple(models))
    items: dict[str, Json] = {}
    for path, route in listed:
        # Several routes may share a path, with different methods.
        items.setdefault(path, {}).update(_path_item(path, route, refs))
    return {
        "openapi": "3.1.0",
        "info": {"title": "gptmock", "version": __version__, "description": _DESCRIPTION},
        # A key is optional by default; with GPTMOCK_API_KEY set it is required, except for health probes.
        "security": [{"key": []}, {}],
        "paths": items,
        "components": {
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "headers": {"RequestId": {"required": True, "schema": {"type": "string", "minLength": 1}}},
            "schemas": {**schemas, **{_error_name(family): dict(family.error_schema) for family in FAMILIES}},
        },
    }


def _path(route: Route) -> str:
    return "/" + _PARAMETER.sub(r"{\g<name>}", route.path)


def _body_of(route: Route) -> type[pydantic.BaseModel] | None:
    turn: DialectRoute | None = getattr(route.ctx, "dialect_route", None)
    model: type[pydantic.BaseModel] | None = getattr(route.ctx, "body", None) if turn is None else turn.body
    return model


@cache
def _schemas(models: tuple[type[pydantic.BaseModel], ...]) -> tuple[Mapping[type[pydantic.BaseModel], Json], Json]:
    refs, definitions = models_json_schema([(model, "validation") for model in models], ref_template=_REF)
    return {model: refs[model, "validation"] for model in models}, definitions.get("$defs", {})


def _path_item(path: str, route: Route, refs: Mapping[type[pydantic.BaseModel], Json]) -> Json:
    methods = [method for method in _LISTED if method in route.methods]
    if "HEAD" in route.methods and "GET" not in methods:
        methods.append("HEAD")
    item: Json = {method.lower(): _operation(path, method, route, refs) for method in methods}
    names = _PARAMETER.findall(route.path)
    if names:
        item["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in names
        ]
    return item


def _operation(path: str, method: str, route: Route, refs: Mapping[type[pydantic.BaseModel], Json]) -> Json:
    family = family_of(path)
    name = re.sub(r"_\d+\Z", "", route.name.rpartition(".")[2])
    if path.startswith(BACKEND_PREFIX) and not name.startswith(_BACKEND_NAME):
        name = _BACKEND_NAME + name
    # A response to HEAD has no body.
    error = {} if method == "HEAD" else {"application/json": _error_schema(path)}
    operation: Json = {
        "operationId": f"{name}_{method.lower()}",
        "tags": [family.name],
        "responses": {
            **_successes(route),
            "4XX": _response("An error of the client.", error),
            "5XX": _response("An error of the server or the upstream.", error),
            **{
                str(status): _response("An error in another format.", {})
                for status in getattr(route.ctx, "own_statuses", ())
            },
        },
    }
    if method in ("POST", "PUT", "PATCH") and not getattr(route.ctx, "bodiless", False):
        model = _body_of(route)
        schema = {"type": "object"} if model is None else refs[model]
        turn: DialectRoute | None = getattr(route.ctx, "dialect_route", None)
        forms = {} if turn is None or turn.form is None else {FORM_TYPE: {"schema": dict(turn.form)}}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}, **forms}}
    return operation


def _successes(route: Route) -> Json:
    if getattr(route.ctx, "upgrades", False):
        # OpenAPI has no words for the messages of a WebSocket.
        return {"101": {"description": "A WebSocket: each message of the client is one turn, each answer an event."}}
    return {str(getattr(route.ctx, "success_status", 200)): _success(getattr(route.ctx, "dialect_route", None))}


def _success(route: DialectRoute | None) -> Json:
    if route is None:
        return _response("Success.", {})
    streamed = route.dialect.content_type.partition(";")[0]
    return _response(
        "The reply, streamed if the request asks for it.",
        # The schema of a stream is taken for that of each of its events (OpenAPI 3.2), and they differ.
        {"application/json": {"type": "object"}, streamed: {}},
    )


def _response(description: str, content: Mapping[str, Json]) -> Json:
    response: Json = {
        "description": description,
        "headers": {"x-request-id": {"$ref": "#/components/headers/RequestId"}},
    }
    if content:
        response["content"] = {kind: {"schema": schema} for kind, schema in content.items()}
    return response


def _error_schema(path: str) -> Json:
    """Below the backend's path for Codex, dialects answer in their own shape, and all others in the backend's."""
    families = [OPENAI, BACKEND] if path.startswith(_CODEX_PREFIX) else [family_of(path)]
    schemas: list[Json] = [{"$ref": _REF.format(model=_error_name(family))} for family in families]
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _error_name(family: Family) -> str:
    return f"{family.name}Error"
