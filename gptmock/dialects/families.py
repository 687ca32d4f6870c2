"""
The error format by path prefix, OpenAI's, Anthropic's or Ollama's, for requests that reach no dialect: unknown paths,
wrong methods, unreadable requests. Errors of a route are rendered by its dialect, in the same format.

Source: client contracts 4.2, 4.3 and 4.7.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gptmock.dialects import backend_errors, ollama_errors, openai_errors
from gptmock.dialects.dialect import ErrorReply
from gptmock.dialects.messages import errors as messages_errors
from gptmock.errors import GptmockError, MethodNotAllowed, UnknownRoute, UnsupportedEndpoint

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Family:
    """An API family: all its routes have the same error format."""

    name: str
    error: Callable[[GptmockError], ErrorReply]
    """Renders an error, as ``Dialect.error``."""
    error_schema: Mapping[str, Any]
    """The JSON schema of an error body."""
    request_id_header: str | None = None
    """Where its clients look for the request's id, besides ``x-request-id``."""


OPENAI = Family(
    "OpenAI",
    openai_errors.error_reply,
    MappingProxyType(
        {
            "type": "object",
            "required": ["error"],
            "additionalProperties": False,
            "properties": {
                "error": {
                    "type": "object",
                    "required": ["message", "type", "param", "code"],
                    "additionalProperties": False,
                    "properties": {
                        "message": {"type": "string", "minLength": 1},
                        "type": {"type": "string", "minLength": 1},
                        "param": {"type": ["string", "null"]},
                        "code": {"type": ["string", "null"]},
                    },
                }
            },
        }
    ),
)
OLLAMA = Family(
    "Ollama",
    ollama_errors.error_reply,
    MappingProxyType(
        {
            "type": "object",
            "required": ["error"],
            "additionalProperties": False,
            "properties": {"error": {"type": "string", "minLength": 1}},
        }
    ),
)

ANTHROPIC = Family(
    "Anthropic", messages_errors.error_reply, messages_errors.ERROR_SCHEMA, request_id_header="request-id"
)
BACKEND = Family(
    "ChatGPT backend",
    backend_errors.error_reply,
    MappingProxyType(
        {
            "type": "object",
            "required": ["detail"],
            "additionalProperties": False,
            "properties": {"detail": {"type": "string", "minLength": 1}},
        }
    ),
)
"""What a Codex asks of the backend beside model calls."""
FAMILIES = (OPENAI, OLLAMA, ANTHROPIC, BACKEND)
BACKEND_PREFIX = "/backend-api/"
_MODEL_CALLS = tuple(f"{BACKEND_PREFIX}codex/{name}" for name in ("responses", "images/", "memories/", "alpha/"))
"""Served as those below ``/v1``, with the same errors."""
VERSION_HEADER = "anthropic-version"
"""Every client of Anthropic's API sends it."""

_ANTHROPIC_ENDPOINTS: Mapping[str, str] = MappingProxyType(
    {
        "batches": "not supported here: batches. Send the requests one by one",
        "files": "not supported here: files. Send the data itself, as base64",
        "skills": "not supported here: skills",
        "complete": "not supported here: text completions. Use /v1/messages",
        "embeddings": "not supported here: embeddings",
    }
)
"""A path segment of Anthropic's API that cannot be served, to what to do instead."""
_UNSUPPORTED_ENDPOINTS: Mapping[str, str] = MappingProxyType(
    {
        "embeddings": "the ChatGPT backend makes no embeddings: use another provider for them",
        "images": "the ChatGPT backend makes no variations: use /v1/images/generations or /v1/images/edits",
        "audio": "the ChatGPT backend does not speak here, and transcribes only with GPTMOCK_TRANSCRIPTION=1",
        "videos": "the ChatGPT backend makes no videos here",
        "moderations": "the ChatGPT backend moderates by itself: use another provider",
        "realtime": "only text over HTTP is available",
        "conversations": "send the items themselves, or 'previous_response_id'",
        "files": "nothing is kept: send files inside the request, as base64",
        "uploads": "nothing is kept: send files inside the request, as base64",
        "vector_stores": "nothing is kept: send files inside the request, as base64",
        "containers": "nothing is kept: send files inside the request, as base64",
        "batches": "send the requests one by one",
        "assistants": "use chat completions or responses",
        "threads": "use chat completions or responses",
        "fine_tuning": "a ChatGPT account trains no models",
        "evals": "a ChatGPT account runs no evaluations",
        "organization": "a ChatGPT account administers nothing here",
    }
)
"""First path segment of OpenAI endpoints that cannot be served, to the reason or the alternative."""


def family_of(path: str, headers: Container[str] = ()) -> Family:
    """
    The family of a path, even if no such route exists.

    Args:
        path: of the URL.
        headers: those of the request, in lower case; clients of two families ask for some paths.
    """
    if path == "/api" or path.startswith("/api/"):
        return OLLAMA
    if path.startswith(BACKEND_PREFIX):
        return OPENAI if path.startswith(_MODEL_CALLS) else BACKEND
    segments = _segments(path)
    return ANTHROPIC if segments[0] in ("messages", "complete") or VERSION_HEADER in headers else OPENAI


def _segments(path: str) -> list[str]:
    segments = path.strip("/").split("/")
    return segments[1:] if segments[0] == "v1" and len(segments) > 1 else segments


def unknown_route(method: str, path: str, headers: Container[str] = ()) -> UnknownRoute:
    """The 404 error for a path without a route, with the reason for known unsupported endpoints."""
    segments = _segments(path)
    asked = f"{method} {_shown(path)}"
    if segments[:1] == ["v1"]:
        return UnknownRoute(f"Unknown request URL: {asked}. '/v1' stands there twice: check the client's base URL.")
    family = family_of(path, headers)
    if path.startswith(BACKEND_PREFIX):
        # As the backend says it: the client goes on without.
        return UnknownRoute("Not Found")
    for segment in segments if family is ANTHROPIC else ():
        if (instead := _ANTHROPIC_ENDPOINTS.get(segment)) is not None:
            return UnsupportedEndpoint(f"{instead}.")
    if family is OPENAI and (instead := _UNSUPPORTED_ENDPOINTS.get(segments[0])):
        return UnsupportedEndpoint(f"gptmock does not serve {asked}: {instead}.")
    return UnknownRoute(f"Unknown request URL: {asked}.")


def below_base_path(method: str, path: str, *, base_path: str) -> UnknownRoute:
    """The 404 error for a path that is not below ``base_path``."""
    return UnknownRoute(
        f"Unknown request URL: {method} {_shown(path)}. This server serves below {base_path}: check the client's base "
        "URL."
    )


def wrong_method(method: str, path: str, *, allowed: tuple[str, ...]) -> GptmockError:
    """The 405 error for a path whose route has only the methods ``allowed``."""
    return MethodNotAllowed(f"Not allowed to {method} on {_shown(path)}.", allowed=allowed)


def _shown(path: str) -> str:
    # Error messages repeat client text only shortened and without control characters.
    return "".join(character for character in path[:_SHOWN_CHARACTERS] if character.isprintable())
