"""
Whose shape an answer has where no dialect is asked: unknown paths, wrong methods, requests that cannot be read. The one
place that judges a path by its prefix; a route's own errors come from its dialect, which is of the same family.

Source: client contracts 4.2, 4.3 and 4.7.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gptmock.dialects import ollama_errors, openai_errors
from gptmock.dialects.dialect import ErrorReply
from gptmock.errors import GptmockError, MethodNotAllowed, UnknownRoute, UnsupportedEndpoint

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Family:
    """Clients that read errors alike."""

    name: str
    error: Callable[[GptmockError], ErrorReply]
    """An error in this family's own shape, as ``Dialect.error``."""
    error_schema: Mapping[str, Any]
    """The JSON schema of an error body."""


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

_NOT_HERE: Mapping[str, str] = MappingProxyType(
    {
        "embeddings": "the ChatGPT backend makes no embeddings: use another provider for them",
        "images": "images are made by the image_generation tool of a response, not by this endpoint",
        "audio": "the ChatGPT backend neither speaks nor listens here",
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
"""OpenAI's endpoints that a ChatGPT account cannot serve, by their first segment: what to do instead."""


def family_of(path: str) -> Family:
    """The family of a path, whether or not it exists."""
    return OLLAMA if path == "/api" or path.startswith("/api/") else OPENAI


def unknown_route(method: str, path: str) -> UnknownRoute:
    """The 404 of a path that is not served, with the reason where there is one."""
    segments = path.strip("/").split("/")
    if segments[0] == "v1":
        segments = segments[1:]
    asked = f"{method} {_shown(path)}"
    if segments[:1] == ["v1"]:
        return UnknownRoute(f"Unknown request URL: {asked}. '/v1' stands there twice: check the client's base URL.")
    if family_of(path) is OPENAI and segments and (instead := _NOT_HERE.get(segments[0])):
        return UnsupportedEndpoint(f"gptmock does not serve {asked}: {instead}.")
    return UnknownRoute(f"Unknown request URL: {asked}.")


def wrong_method(method: str, path: str, *, allowed: tuple[str, ...]) -> GptmockError:
    """The 405 of a path that is served to others; ``allowed`` names the methods."""
    if path.strip("/").removeprefix("v1/") == "responses/input_tokens":
        # It looks like the id of a stored response, and is an endpoint of its own.
        return UnsupportedEndpoint(
            f"gptmock does not serve {method} {_shown(path)}: the ChatGPT backend counts tokens only as it answers; "
            "the count stands in 'usage'."
        )
    return MethodNotAllowed(f"Not allowed to {method} on {_shown(path)}.", allowed=allowed)


def _shown(path: str) -> str:
    # Client text in an error is bounded, and what could break a terminal is not repeated.
    return "".join(character for character in path[:_SHOWN_CHARACTERS] if character.isprintable())
