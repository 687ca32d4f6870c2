"""
Renders the model catalogue for Ollama clients: ``/api/tags``, ``/api/show``, ``/api/ps``, ``/api/pull``, and the errors
of model management routes. No member of Ollama's schema is omitted: Zed and Roo parse strictly.

Source: client contracts 5.2 and 5.7; ollama/ollama ``api/types.go``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from gptmock.catalog import ModelCatalog, ModelSpec, explain_unknown
from gptmock.dialects.bodies import Body
from gptmock.dialects.json_text import json_bytes
from gptmock.dialects.listings import CREATED, find_model, listed_names, shown_name
from gptmock.dialects.ollama.bodies import read_body, required_model
from gptmock.dialects.ollama.line_encoder import rfc3339
from gptmock.dialects.ollama_errors import error_line
from gptmock.errors import BadRequest, UnknownModel
from gptmock.protocol.ndjson import ndjson_line

ARCHITECTURE = "gpt"
REMOTE_HOST = "https://chatgpt.com"
_SIZE = 1
"""Bytes. Not 0, since some user interfaces divide by it."""
_TEMPLATE = "{{ .System }}{{ .Prompt }}{{ if .Tools }}{{ .Tools }}{{ end }}{{ if .Suffix }}{{ .Suffix }}{{ end }}"
"""Clients detect features in the template: LiteLLM looks for ``.Tools``, Continue for ``.Suffix``."""
_PULLING = {"status": "pulling manifest"}
_PULLED = {"status": "success"}


class ModelBody(Body):
    """The body of a request about one model; older clients write ``name``."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """A request about one model."""

    name: str
    stream: bool


@dataclass(frozen=True, slots=True)
class PullReply:
    """The reply of ``/api/pull``."""

    body: bytes
    streamed: bool = False
    """NDJSON instead of one object."""


def decode_model_request(body: bytes) -> ModelRequest:
    """
    Decode the body of a request about one model.

    Raises:
        BadRequest: the body is missing or names no model.
    """
    asked = read_body(body, ModelBody)
    return ModelRequest(required_model(asked.model or asked.name), asked.stream is not False)


def tags(catalog: ModelCatalog, *, expose_efforts: bool) -> bytes:
    """``GET /api/tags``: the models that are not retired."""
    entries = [
        _entry(spec, name)
        for spec in catalog.living
        for name in listed_names(catalog, spec, expose_efforts=expose_efforts)
    ]
    return json_bytes({"models": entries})


def running() -> bytes:
    """``GET /api/ps``: always empty, since no model runs locally."""
    return json_bytes({"models": []})


def show(catalog: ModelCatalog, name: str) -> bytes:
    """
    ``POST /api/show``.

    Raises:
        UnknownModel: the model is not in the catalogue, or retired.
    """
    spec = served_model(catalog, name)
    return json_bytes(
        {
            "modelfile": "",
            "parameters": "",
            "template": _TEMPLATE,
            "details": _details(spec),
            "model_info": {
                "general.architecture": ARCHITECTURE,
                "general.basename": name,
                f"{ARCHITECTURE}.context_length": spec.context_window,
                f"{ARCHITECTURE}.embedding_length": 0,
            },
            "capabilities": _capabilities(spec),
            "modified_at": rfc3339(CREATED),
        }
    )


def pull(catalog: ModelCatalog, asked: ModelRequest) -> PullReply:
    """
    ``POST /api/pull``: success for a model of the catalogue, else an error; in a stream the error is its last line.

    Raises:
        UnknownModel: there is no such model, and the client does not stream.
    """
    try:
        served_model(catalog, asked.name)
    except UnknownModel as unknown:
        missing = UnknownModel("pull model manifest: file does not exist", param="model")
        if not asked.stream:
            raise missing from unknown
        return PullReply(ndjson_line(json_bytes(_PULLING)) + error_line(missing), streamed=True)
    if not asked.stream:
        return PullReply(json_bytes(_PULLED))
    return PullReply(ndjson_line(json_bytes(_PULLING)) + ndjson_line(json_bytes(_PULLED)), streamed=True)


def no_embeddings(name: str) -> BadRequest:
    """The error of ``/api/embed`` and ``/api/embeddings``; a 400, since some clients retry a 501."""
    return BadRequest(f'"{shown_name(name)}" does not support embeddings', code="unsupported_endpoint", param="model")


def no_management() -> BadRequest:
    """The error for creating, copying, pushing or deleting a model; never a false success."""
    return BadRequest(
        "models are managed by the upstream; this operation is not supported", code="unsupported_endpoint"
    )


def served_model(catalog: ModelCatalog, name: str) -> ModelSpec:
    """
    The catalogue's model for a name.

    Raises:
        UnknownModel: it is not in the catalogue, or retired; the message names the successor, if known, and all models.
    """
    resolved = find_model(catalog, name)
    assert resolved.spec is not None  # noqa: S101 - find_model has seen to it
    if resolved.spec.retired is not None:
        raise UnknownModel(
            explain_unknown("The upstream does not serve it any more.", resolved, catalog), param="model", model=name
        )
    return resolved.spec


def _entry(spec: ModelSpec, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "modified_at": rfc3339(CREATED),
        "size": _SIZE,
        "digest": hashlib.sha256(name.encode()).hexdigest(),
        "details": _details(spec),
        "capabilities": _capabilities(spec),
        "remote_model": spec.slug,
        "remote_host": REMOTE_HOST,
    }


def _details(spec: ModelSpec) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "",
        "family": ARCHITECTURE,
        "families": [ARCHITECTURE],
        "parameter_size": "",
        "quantization_level": "",
        "context_length": spec.context_window,
    }


def _capabilities(spec: ModelSpec) -> list[str]:
    vision = ["vision"] if "image" in spec.input_modalities else []
    thinking = ["thinking"] if spec.efforts else []
    return ["completion", "tools", *vision, *thinking, "insert"]
