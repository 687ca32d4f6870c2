"""Decodes bodies of Ollama requests, with Ollama's error messages for a missing body or model."""

from __future__ import annotations

from typing import TypeVar

from gptmock.dialects.bodies import Body, decode_body
from gptmock.dialects.model_options import stripped_name
from gptmock.errors import BadRequest

_Model = TypeVar("_Model", bound=Body)


def read_body(data: bytes, model: type[_Model]) -> _Model:
    """
    Decode a body.

    Raises:
        BadRequest: it is missing, not a JSON object, or a field has a wrong type.
    """
    if not data or data.isspace():
        raise BadRequest("missing request body", code="invalid_json")
    return decode_body(data, model)


def required_model(name: str | None) -> str:
    """
    The model name; unlike on OpenAI routes there is no default.

    Raises:
        BadRequest: it is missing or blank.
        UnknownModel: it is longer than any name.
    """
    stripped = stripped_name(name)
    if not stripped:
        raise BadRequest("model is required", code="missing_required_parameter", param="model")
    return stripped
