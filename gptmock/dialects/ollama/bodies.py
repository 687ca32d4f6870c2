"""Bodies of the Ollama family, with Ollama's own words where something is not there."""

from __future__ import annotations

from typing import TypeVar

from gptmock.dialects.bodies import Body, decode_body
from gptmock.errors import BadRequest

_Model = TypeVar("_Model", bound=Body)


def read_body(data: bytes, model: type[_Model]) -> _Model:
    """
    The body, in Ollama's words where it is not there.

    Raises:
        BadRequest: it is missing, no JSON object, or a field has a wrong type.
    """
    if not data.strip():
        raise BadRequest("missing request body", code="invalid_json")
    return decode_body(data, model)


def required_model(name: str | None) -> str:
    """
    The model that was named; no default here.

    Raises:
        BadRequest: none was.
    """
    if not (name or "").strip():
        raise BadRequest("model is required", code="missing_required_parameter", param="model")
    return (name or "").strip()
