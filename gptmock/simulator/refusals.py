"""Error responses of the backend. Pure.

There are two envelopes: ``{"detail": ...}`` of the gateway and ``{"error": {...}}`` of the model API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from gptmock.simulator.steps import Json

JSON_TYPE = "application/json"
HTML_TYPE = "text/html; charset=UTF-8"

ITEM_NOT_FOUND = (
    "Item with id '{}' not found. Items are not persisted when `store` is set to false. "
    "Try again with `store` set to true, or remove this item from your input."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A complete HTTP error response."""

    status: int
    body: bytes
    content_type: str = JSON_TYPE
    """Empty for none."""
    headers: Mapping[str, str] = field(default_factory=dict)


def document(status: int, content: Json, *, headers: Mapping[str, str] | None = None) -> Refusal:
    """A response with any JSON document."""
    return Refusal(status=status, body=msgspec.json.encode(content), headers=headers or {})


def detail(text: str | Json, *, status: int = 400) -> Refusal:
    """A response in the gateway's envelope."""
    return document(status, {"detail": text})


def api_error(message: str, *, status: int = 400, code: str | None = None, param: str | None = None) -> Refusal:
    """A response in the model API's envelope."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return document(status, {"error": {"message": message, "type": kind, "param": param, "code": code}})


def unauthorized() -> Refusal:
    """The Bearer token or ``chatgpt-account-id`` is missing, or they do not match."""
    return detail("Unauthorized", status=401)


def token_error(code: str) -> Refusal:
    """A Bearer token that is no longer valid: ``token_expired``, ``token_invalidated`` or ``token_revoked``."""
    messages = {
        "token_expired": "Provided authentication token is expired. Please try signing in again.",
        "token_revoked": "Encountered invalidated oauth token for user, failing request",
    }
    message = messages.get(code, "Your authentication token has been invalidated. Please try signing in again.")
    error = {"message": message, "type": "invalid_request_error", "code": code, "param": None}
    return document(401, {"error": error, "status": 401})


def unsupported_parameter(name: str) -> Refusal:
    """An unsupported top-level field."""
    return detail(f"Unsupported parameter: {name}")


def unknown_parameter(path: str) -> Refusal:
    """An unknown nested field."""
    return api_error(f"Unknown parameter: '{path}'.", code="unknown_parameter", param=path)


def missing_parameter(path: str) -> Refusal:
    """A required nested field is missing."""
    return api_error(f"Missing required parameter: '{path}'.", code="missing_required_parameter", param=path)


def invalid_value(path: str, value: object, supported: Sequence[str]) -> Refusal:
    """A value outside its enumeration."""
    names = [f"'{name}'" for name in supported]
    known = names[0] if len(names) == 1 else f"{', '.join(names[:-1])}, and {names[-1]}"
    message = f"Invalid value: '{value}'. Supported values are: {known}."
    return api_error(message, code="invalid_value", param=path)


def invalid_type(path: str, expected: str, value: object) -> Refusal:
    """A value of the wrong JSON type."""
    message = f"Invalid type for '{path}': expected {expected}, but got {json_type(value)} instead."
    return api_error(message, code="invalid_type", param=path)


def too_long(path: str, value: str, limit: int) -> Refusal:
    """A string above its maximum length."""
    message = (
        f"Invalid '{path}': string too long. Expected a string with maximum length {limit}, "
        f"but got a string with length {len(value)} instead."
    )
    return api_error(message, code="string_above_max_length", param=path)


def bad_pattern(path: str, pattern: str) -> Refusal:
    """A string outside its pattern."""
    message = (
        f"Invalid '{path}': string does not match pattern. Expected a string that matches the pattern '{pattern}'."
    )
    return api_error(message, code="invalid_value", param=path)


def model_not_supported(model: object) -> Refusal:
    """Unknown, retired or not part of the plan."""
    return detail(f"The '{model}' model is not supported when using Codex with a ChatGPT account.")


def model_not_found(model: str) -> Refusal:
    """The model is not available to this ``originator``."""
    return api_error(f"Model not found {model}", status=404, param="model")


def newer_version_required(model: str) -> Refusal:
    """The ``version`` header is below the model's ``minimal_client_version``."""
    return detail(
        f"The '{model}' model requires a newer version of Codex. Please upgrade to the latest app or CLI and try again."
    )


def unsupported_effort(effort: object, model: str, supported: Sequence[str]) -> Refusal:
    """An effort that this model lacks."""
    known = ", ".join(f"'{name}'" for name in supported)
    message = f"Unsupported value: '{effort}' is not supported with the '{model}' model. Supported values are: {known}."
    return api_error(message, code="unsupported_value", param="reasoning.effort")


def json_type(value: object) -> str:
    """The name of a JSON type with its article, as the API's messages have it."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a decimal"
        case str():
            return "a string"
        case list():
            return "an array"
        case _:
            return "an object"
